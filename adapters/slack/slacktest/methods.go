package slacktest

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// methods answers each method of the Web API. They run with the lock held.
var methods = map[string]func(*Server, args, *token) reply{
	"auth.test":             (*Server).authTest,
	"apps.connections.open": (*Server).connectionsOpen,
	"chat.postMessage":      (*Server).postMessage,
	"chat.update":           (*Server).updateMessage,
	"chat.postEphemeral":    (*Server).postEphemeral,
	"chat.getPermalink":     (*Server).permalink,
	"conversations.history": (*Server).history,
	"conversations.replies": (*Server).threadReplies,
	"conversations.info":    (*Server).conversationInfo,
	"conversations.open":    (*Server).conversationOpen,
	"conversations.members": (*Server).conversationMembers,
	"users.info":            (*Server).userInfo,
	"users.list":            (*Server).userList,
	"users.lookupByEmail":   (*Server).lookupByEmail,
	"usergroups.list":       (*Server).groupList,
	"usergroups.users.list": (*Server).groupUsers,
	"views.open":            (*Server).viewsOpen,
	"views.push":            (*Server).viewsPush,
	"views.update":          (*Server).viewsUpdate,
	"views.publish":         (*Server).viewsPublish,
}

func (s *Server) authTest(_ args, t *token) reply {
	if t.app {
		return reply{body: map[string]any{"app_id": s.cfg.AppID, "app_name": s.cfg.BotName}}
	}
	if t.user != "" { // no bot_id: docs.slack.dev/reference/methods/auth.test
		return reply{body: map[string]any{
			"url": "https://" + s.cfg.TeamDomain + ".slack.com/", "team": s.cfg.TeamDomain, "team_id": s.cfg.TeamID,
			"user": s.users[t.user].Name, "user_id": t.user, "is_enterprise_install": false,
		}}
	}
	w := map[string]any{
		"url": "https://" + s.cfg.TeamDomain + ".slack.com/", "team": s.cfg.TeamDomain, "team_id": s.cfg.TeamID,
		"user": s.cfg.BotName, "user_id": s.cfg.BotUserID, "bot_id": BotID, "is_enterprise_install": false,
	}
	if s.cfg.EnterpriseID != "" {
		w["enterprise_id"] = s.cfg.EnterpriseID
	}
	return reply{body: w}
}

// place finds the channel that a message goes to. A user's id means the direct
// message with that user; names work for chat.postMessage only.
func (s *Server) place(channel string, byName bool) *Channel {
	if c := s.channels[channel]; c != nil {
		if c.Private && !s.in(c) {
			return nil // a bot cannot tell a private channel from none
		}
		return c
	}
	if u := s.users[channel]; u != nil && byName && !u.Bot {
		return s.dm(channel)
	}
	if byName {
		for _, c := range s.channels {
			if c.Name != "" && c.Name == strings.TrimPrefix(channel, "#") && (!c.Private || s.in(c)) {
				return c
			}
		}
	}
	return nil
}

func (s *Server) in(c *Channel) bool { return slices.Contains(c.Members, s.cfg.BotUserID) }

// readable is the channel of a conversations.* call that reads messages.
func (s *Server) readable(a args) (*Channel, *reply) {
	c := s.place(a["channel"], false)
	if c == nil {
		r := fail("channel_not_found")
		return nil, &r
	}
	if !s.in(c) {
		r := fail("not_in_channel")
		return nil, &r
	}
	return c, nil
}

func (s *Server) history(a args, _ *token) reply {
	c, bad := s.readable(a)
	if bad != nil {
		return *bad
	}
	var list []*Message
	for _, m := range s.messages[c.ID] {
		if m.ThreadTS == "" || m.ThreadTS == m.TS {
			list = append(list, m)
		}
	}
	slices.Reverse(list) // newest first
	return s.page(a, list, 100)
}

func (s *Server) threadReplies(a args, _ *token) reply {
	c, bad := s.readable(a)
	if bad != nil {
		return *bad
	}
	m := s.message(c.ID, a["ts"])
	if m == nil {
		return fail("thread_not_found")
	}
	if m.ThreadTS != "" {
		if parent := s.message(c.ID, m.ThreadTS); parent != nil {
			m = parent
		}
	}
	return s.page(a, append([]*Message{m}, s.repliesTo(m)...), 1000)
}

var stamp = regexp.MustCompile(`^\d+(\.\d+)?$`)

// page answers one page of messages: oldest and latest are exclusive unless
// inclusive is set (docs.slack.dev/reference/methods/conversations.history).
func (s *Server) page(a args, list []*Message, size int) reply {
	for _, end := range []string{"oldest", "latest"} {
		if a[end] != "" && !stamp.MatchString(a[end]) {
			return fail("invalid_ts_" + end)
		}
	}
	inclusive := a.bool("inclusive")
	list = slices.DeleteFunc(slices.Clone(list), func(m *Message) bool {
		if o := compareTS(m.TS, a["oldest"]); a["oldest"] != "" && (o < 0 || o == 0 && !inclusive) {
			return true
		}
		l := compareTS(m.TS, a["latest"])
		return a["latest"] != "" && a["latest"] != "0" && (l > 0 || l == 0 && !inclusive)
	})
	if a["limit"] != "" {
		n, err := strconv.Atoi(a["limit"])
		if err != nil || n < 0 {
			return fail("invalid_arguments", "[ERROR] limit must be a number")
		}
		if n > 0 {
			size = n
		}
	}
	size = min(size, s.cfg.HistoryPage)
	start := 0
	if a["cursor"] != "" {
		ts, ok := readCursor(a["cursor"], "next_ts:")
		if start = slices.IndexFunc(list, func(m *Message) bool { return m.TS == ts }); !ok || start < 0 {
			return fail("invalid_cursor")
		}
	}
	end := min(start+size, len(list))
	out := []any{}
	for _, m := range list[start:end] {
		out = append(out, s.wireMessage(m, a.bool("include_all_metadata")))
	}
	body := map[string]any{"messages": out, "has_more": end < len(list), "pin_count": 0}
	if end < len(list) {
		body["response_metadata"] = map[string]any{"next_cursor": cursor("next_ts:", list[end].TS)}
	}
	return reply{body: body}
}

func cursor(kind, at string) string { return base64.StdEncoding.EncodeToString([]byte(kind + at)) }

func readCursor(c, kind string) (string, bool) {
	raw, err := base64.StdEncoding.DecodeString(c)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(raw), kind)
}

// compareTS compares message timestamps, which may have fewer than six decimals.
func compareTS(a, b string) int {
	sa, fa, _ := strings.Cut(a, ".")
	sb, fb, _ := strings.Cut(b, ".")
	na, _ := strconv.ParseInt(sa, 10, 64)
	nb, _ := strconv.ParseInt(sb, 10, 64)
	if na != nb {
		return int(max(-1, min(1, na-nb)))
	}
	for len(fa) < len(fb) {
		fa += "0"
	}
	for len(fb) < len(fa) {
		fb += "0"
	}
	return strings.Compare(fa, fb)
}

func (s *Server) wireChannel(c *Channel) map[string]any {
	if c.DM != "" {
		return map[string]any{"id": c.ID, "is_im": true, "user": c.DM, "is_archived": c.Archived, "is_private": false}
	}
	return map[string]any{"id": c.ID, "name": c.Name, "name_normalized": c.Name, "is_channel": !c.Private, "is_group": c.Private,
		"is_im": false, "is_private": c.Private, "is_archived": c.Archived, "is_member": s.in(c), "context_team_id": s.cfg.TeamID}
}

func (s *Server) conversationInfo(a args, _ *token) reply {
	c := s.place(a["channel"], false)
	if c == nil {
		return fail("channel_not_found")
	}
	w := s.wireChannel(c)
	if a.bool("include_num_members") {
		w["num_members"] = len(c.Members)
	}
	return reply{body: map[string]any{"channel": w}}
}

func (s *Server) conversationOpen(a args, _ *token) reply {
	user := a["users"]
	if a.given("channel") {
		c := s.channels[a["channel"]]
		if c == nil || c.DM == "" {
			return fail("channel_not_found")
		}
		user = c.DM
	}
	u := s.users[user]
	switch {
	case user == "":
		return fail("users_list_not_supplied")
	case strings.Contains(user, ","):
		return fail("too_many_users") // this fake opens direct messages with one person
	case u == nil:
		return fail("user_not_found")
	case u.Deleted:
		return fail("user_disabled")
	}
	c := s.dm(user)
	w := map[string]any{"id": c.ID}
	if a.bool("return_im") {
		w = s.wireChannel(c)
	}
	return reply{body: map[string]any{"channel": w}}
}

func (s *Server) conversationMembers(a args, _ *token) reply {
	c := s.place(a["channel"], false)
	if c == nil {
		return fail("channel_not_found")
	}
	size := 100
	if a["limit"] != "" {
		n, err := strconv.Atoi(a["limit"])
		if err != nil || n < 1 || n > 1000 {
			return fail("invalid_limit")
		}
		size = n
	}
	size = min(size, s.cfg.HistoryPage)
	members := slices.Sorted(slices.Values(c.Members))
	start := 0
	if a["cursor"] != "" {
		id, ok := readCursor(a["cursor"], "user:")
		if start = slices.Index(members, id); !ok || start < 0 {
			return fail("invalid_cursor")
		}
	}
	end := min(start+size, len(members))
	next := ""
	if end < len(members) {
		next = cursor("user:", members[end])
	}
	return reply{body: map[string]any{"members": append([]string{}, members[start:end]...),
		"response_metadata": map[string]any{"next_cursor": next}}}
}

func (s *Server) wireUser(u *User, t *token) map[string]any {
	profile := map[string]any{"real_name": u.RealName, "display_name": u.Name, "team": u.TeamID}
	if slices.Contains(t.scopes, "users:read.email") && !s.addressesHidden && u.Email != "" {
		profile["email"] = u.Email
	}
	if u.ID == s.cfg.BotUserID {
		profile["api_app_id"], profile["bot_id"] = s.cfg.AppID, BotID
	}
	w := map[string]any{"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"is_bot": u.Bot, "is_restricted": u.Guest, "is_ultra_restricted": false, "is_app_user": false,
		"is_stranger": u.TeamID != s.cfg.TeamID, "profile": profile, "tz": "Etc/UTC", "updated": s.cfg.Now().Unix()}
	if u.EnterpriseID != "" {
		w["enterprise_user"] = map[string]any{"id": u.ID, "enterprise_id": u.EnterpriseID, "enterprise_name": "Acme", "is_admin": false, "is_owner": false, "teams": []string{u.TeamID}}
	}
	return w
}

func (s *Server) userInfo(a args, t *token) reply {
	u := s.users[a["user"]]
	if u == nil && a["user"] == s.cfg.BotUserID {
		u = &User{ID: s.cfg.BotUserID, TeamID: s.cfg.TeamID, Name: s.cfg.BotName, Bot: true}
	}
	if u == nil {
		return fail("user_not_found")
	}
	return reply{body: map[string]any{"user": s.wireUser(u, t)}}
}

// userList answers the users in the order of their ids, page by page.
func (s *Server) userList(a args, t *token) reply {
	size, err := strconv.Atoi(a["limit"])
	if a["limit"] != "" && (err != nil || size < 1 || size > 1000) {
		return fail("invalid_limit")
	}
	ids := slices.Sorted(maps.Keys(s.users))
	start, next := 0, ""
	if a["cursor"] != "" {
		id, ok := readCursor(a["cursor"], "user:")
		if start = slices.Index(ids, id); !ok || start < 0 {
			return fail("invalid_cursor")
		}
	}
	ids = ids[start:]
	if size > 0 && len(ids) > size {
		next = cursor("user:", ids[size])
		ids = ids[:size]
	}
	members := []any{}
	for _, id := range ids {
		members = append(members, s.wireUser(s.users[id], t))
	}
	return reply{body: map[string]any{"members": members, "response_metadata": map[string]any{"next_cursor": next}}}
}

func (s *Server) lookupByEmail(a args, t *token) reply {
	for _, u := range s.users {
		if u.Email != "" && strings.EqualFold(u.Email, a["email"]) && !u.Deleted {
			return reply{body: map[string]any{"user": s.wireUser(u, t)}}
		}
	}
	return fail("users_not_found")
}

func (s *Server) groupList(a args, _ *token) reply {
	out := []any{}
	ids := make([]string, 0, len(s.groups))
	for id := range s.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		g := s.groups[id]
		if g.Disabled && !a.bool("include_disabled") {
			continue
		}
		name := g.Name
		if name == "" {
			name = g.Handle
		}
		w := map[string]any{"id": g.ID, "team_id": s.cfg.TeamID, "is_usergroup": true, "handle": g.Handle, "name": name, "date_delete": 0}
		if g.Disabled {
			w["date_delete"] = 1
		}
		if a.bool("include_users") {
			w["users"] = append([]string{}, g.Users...)
		}
		if a.bool("include_count") {
			w["user_count"] = len(g.Users)
		}
		out = append(out, w)
	}
	return reply{body: map[string]any{"usergroups": out}}
}

func (s *Server) groupUsers(a args, _ *token) reply {
	g := s.groups[a["usergroup"]]
	if g == nil || g.Disabled && !a.bool("include_disabled") {
		return fail("no_such_subteam")
	}
	return reply{body: map[string]any{"users": append([]string{}, g.Users...)}}
}
