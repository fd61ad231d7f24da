package discordtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func (s *Server) getSelf(*call) reply {
	w := s.wireUser(s.cfg.BotUserID)
	w["mfa_enabled"], w["locale"], w["verified"], w["email"], w["premium_type"] = true, "en-US", true, nil, 0
	return ok(w)
}

func (s *Server) getApplication(*call) reply {
	return ok(map[string]any{
		"id": s.cfg.ApplicationID, "name": s.cfg.BotName, "icon": nil, "description": "", "type": nil, "bot": s.wireUser(s.cfg.BotUserID),
		"verify_key": s.PublicKey(), "flags": 0, "flags_new": "0", "redirect_uris": []string{}, "interactions_endpoint_url": orNull(s.url),
		"role_connections_verification_url": nil, "owner": s.wireUser(OwnerID), "approximate_guild_count": 1,
		"approximate_user_install_count": 0, "approximate_user_authorization_count": 0, "explicit_content_filter": 0,
		"team": nil, "eligible_oauth2_scopes": []string{}, "bot_public": false, "bot_require_code_grant": false,
	})
}

func (s *Server) openDM(c *call) reply {
	body, bad := s.object(c, "recipient_id")
	if bad != nil {
		return refuse(bad)
	}
	id := text(body, "recipient_id")
	if s.users[id] == nil || id == s.cfg.BotUserID {
		return fail(http.StatusBadRequest, 50033)
	}
	return ok(s.wireChannel(s.dm(id)))
}

// inGuild checks that a guild is the one where the bot is.
func (s *Server) inGuild(c *call) *apiError {
	if c.params["guild"] != s.cfg.GuildID || s.gone {
		return &apiError{status: http.StatusNotFound, code: 10004}
	}
	return nil
}

func (s *Server) getGuild(c *call) reply {
	if bad := s.inGuild(c); bad != nil {
		return refuse(bad)
	}
	return ok(s.wireGuild())
}

func (s *Server) getRoles(c *call) reply {
	if bad := s.inGuild(c); bad != nil {
		return refuse(bad)
	}
	return ok(s.wireRoles())
}

// getRoleCounts counts the members of each role but @everyone.
func (s *Server) getRoleCounts(c *call) reply {
	if bad := s.inGuild(c); bad != nil {
		return refuse(bad)
	}
	counts := map[string]any{}
	for id := range s.roles {
		if id == GuildID {
			continue
		}
		n := 0
		for _, u := range s.users {
			if !u.Stranger && slices.Contains(u.Roles, id) {
				n++
			}
		}
		counts[id] = n
	}
	return ok(counts)
}

func (s *Server) getChannels(c *call) reply {
	if bad := s.inGuild(c); bad != nil {
		return refuse(bad)
	}
	out := []any{}
	for _, id := range ids(s.channels) {
		if ch := s.channels[id]; ch.Guild == s.cfg.GuildID && ch.Parent == "" {
			out = append(out, s.wireChannel(ch))
		}
	}
	return ok(out)
}

func (s *Server) getMember(c *call) reply {
	if bad := s.inGuild(c); bad != nil {
		return refuse(bad)
	}
	id := c.params["user"]
	if id == "@me" {
		id = s.cfg.BotUserID
	}
	switch u := s.users[id]; {
	case u == nil:
		return fail(http.StatusNotFound, 10013)
	case u.Stranger:
		return fail(http.StatusNotFound, 10007)
	default:
		return ok(s.wireMember(u))
	}
}

// channel finds the channel of a call and checks that the bot has all of need there.
func (s *Server) channel(c *call, need uint64) (*Channel, *apiError) {
	ch := s.channels[c.params["channel"]]
	if ch == nil {
		return nil, &apiError{status: http.StatusNotFound, code: 10003}
	}
	can := s.permissions(s.cfg.BotUserID, ch)
	if can&ViewChannel == 0 {
		return nil, &apiError{status: http.StatusForbidden, code: 50001}
	}
	if can&need != need {
		return nil, &apiError{status: http.StatusForbidden, code: 50013}
	}
	return ch, nil
}

func (s *Server) getChannel(c *call) reply {
	ch, bad := s.channel(c, 0)
	if bad != nil {
		return refuse(bad)
	}
	return ok(s.wireChannel(ch))
}

// holdsText reports a channel that has messages.
func (c *Channel) holdsText() bool {
	switch c.Kind {
	case TextChannel, AnnouncementChannel, PublicThread, DirectMessage:
		return true
	}
	return false
}

func (s *Server) listMessages(c *call) reply {
	ch, bad := s.channel(c, 0)
	if bad != nil {
		return refuse(bad)
	}
	if !ch.holdsText() {
		return fail(http.StatusBadRequest, 50008)
	}
	limit := 50
	p := &problems{}
	if v := c.query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 100 {
			p.bad("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
		}
		limit = n
	}
	var mark, how string
	for name, v := range c.query {
		switch name {
		case "limit":
		case "before", "after", "around":
			if how != "" {
				s.violate("%s: only one of before, after and around is allowed", c.where())
			}
			how, mark = name, v[0]
			if !isSnowflake(mark) && mark != "0" {
				p.bad(name, "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not snowflake.", mark))
			}
		default:
			s.violate("%s: unknown query parameter %q", c.where(), name)
		}
	}
	if e := p.err(); e != nil {
		return refuse(e)
	}
	if s.permissions(s.cfg.BotUserID, ch)&ReadMessageHistory == 0 {
		return ok([]any{}) // no error: discord.com/developers/docs/resources/message, "Get Channel Messages"
	}
	all := s.messages[ch.ID] // oldest first
	var some []*message
	switch how {
	case "after":
		some = slices.DeleteFunc(slices.Clone(all), func(m *message) bool { return !older(mark, m.ID) })
		some = some[:min(limit, len(some))] // the oldest of them
	case "before":
		some = slices.DeleteFunc(slices.Clone(all), func(m *message) bool { return !older(m.ID, mark) })
		some = some[max(0, len(some)-limit):]
	case "around":
		at := slices.IndexFunc(all, func(m *message) bool { return !older(m.ID, mark) })
		if at < 0 {
			at = len(all)
		}
		from := max(0, at-limit/2)
		some = slices.Clone(all[from:min(len(all), from+limit)])
	default:
		some = slices.Clone(all[max(0, len(all)-limit):])
	}
	slices.Reverse(some) // newest first, always
	out := []any{}
	for _, m := range some {
		out = append(out, s.readable(m))
	}
	return ok(out)
}

func (s *Server) getMessage(c *call) reply {
	ch, bad := s.channel(c, ReadMessageHistory)
	if bad != nil {
		return refuse(bad)
	}
	m := s.message(ch.ID, c.params["message"])
	if m == nil {
		return fail(http.StatusNotFound, 10008)
	}
	return ok(s.readable(m))
}

// nonce remembers the message that was posted with it.
type nonce struct {
	channel, message string
	at               time.Time
}

func (s *Server) createMessage(c *call) reply {
	ch, bad := s.channel(c, 0)
	if bad != nil {
		return refuse(bad)
	}
	can := s.permissions(s.cfg.BotUserID, ch)
	need := SendMessages
	if ch.Parent != "" {
		need = SendMessagesInThreads
	}
	switch {
	case !ch.holdsText():
		return fail(http.StatusBadRequest, 50008)
	case can&need == 0:
		return fail(http.StatusForbidden, 50013)
	case ch.DM != "" && (s.closedDM[ch.DM] || s.user(ch.DM).Stranger):
		return fail(http.StatusForbidden, 50007)
	case ch.Locked && can&ManageThreads == 0:
		return fail(http.StatusBadRequest, 160005)
	}
	d, bad := s.readMessage(c, onCreate, nil)
	if bad != nil {
		return refuse(bad)
	}
	if len(d.embeds) > 0 && can&EmbedLinks == 0 {
		return fail(http.StatusForbidden, 50013)
	}
	if d.nonce != "" && d.enforce {
		if n := s.nonces[d.nonce]; n != nil && s.cfg.Now().Sub(n.at) < s.cfg.NonceWindow {
			if n.channel != ch.ID {
				s.violate("%s: the nonce %q was used in another channel a moment ago", c.where(), d.nonce)
			}
			m := s.message(n.channel, n.message)
			if m == nil {
				return fail(http.StatusNotFound, 10008)
			}
			return ok(s.wireMessage(m, true))
		}
	}
	m := &message{Message: Message{ID: s.id(), Channel: ch.ID, Author: s.cfg.BotUserID, Created: s.cfg.Now(), Nonce: d.nonce}}
	s.fill(m, d, true)
	s.messages[ch.ID] = append(s.messages[ch.ID], m)
	if d.nonce != "" {
		if len(s.nonces) > 10000 { // a demo runs for days
			for k, n := range s.nonces {
				if s.cfg.Now().Sub(n.at) >= s.cfg.NonceWindow {
					delete(s.nonces, k)
				}
			}
		}
		s.nonces[d.nonce] = &nonce{channel: ch.ID, message: m.ID, at: s.cfg.Now()}
	}
	ch.Archived = false
	s.changed()
	return ok(s.wireMessage(m, true))
}

func (s *Server) editMessage(c *call) reply {
	ch, bad := s.channel(c, 0)
	if bad != nil {
		return refuse(bad)
	}
	m := s.message(ch.ID, c.params["message"])
	switch {
	case m == nil:
		return fail(http.StatusNotFound, 10008)
	case m.Author != s.cfg.BotUserID:
		return fail(http.StatusForbidden, 50005)
	case ch.Archived:
		return fail(http.StatusBadRequest, 50083)
	case ch.Locked && s.permissions(s.cfg.BotUserID, ch)&ManageThreads == 0:
		return fail(http.StatusBadRequest, 160005)
	}
	if s.cfg.Limits && s.cfg.Now().Sub(m.Created) > oldAge {
		if _, _, wait := s.take("old edits "+ch.ID, oldEdits, oldEditWindow); wait > 0 {
			return fail(http.StatusTooManyRequests, 30046)
		}
	}
	d, bad := s.readMessage(c, onEdit, m)
	if bad != nil {
		return refuse(bad)
	}
	if len(d.embeds) > 0 && s.permissions(s.cfg.BotUserID, ch)&EmbedLinks == 0 {
		return fail(http.StatusForbidden, 50013)
	}
	s.fill(m, d, false)
	s.changed()
	return ok(s.wireMessage(m, false))
}

func (s *Server) deleteMessage(c *call) reply {
	ch, bad := s.channel(c, 0)
	if bad != nil {
		return refuse(bad)
	}
	m := s.message(ch.ID, c.params["message"])
	switch {
	case m == nil:
		return fail(http.StatusNotFound, 10008)
	case m.Author != s.cfg.BotUserID && s.permissions(s.cfg.BotUserID, ch)&ManageMessages == 0:
		return fail(http.StatusForbidden, 50013)
	case ch.Archived:
		return fail(http.StatusBadRequest, 50083)
	}
	s.remove(ch.ID, m.ID)
	return noContent()
}

func (s *Server) startThread(c *call) reply {
	ch, bad := s.channel(c, CreatePublicThreads)
	if bad != nil {
		return refuse(bad)
	}
	if ch.Kind != TextChannel && ch.Kind != AnnouncementChannel {
		return fail(http.StatusBadRequest, 50024)
	}
	m := s.message(ch.ID, c.params["message"])
	switch {
	case m == nil:
		return fail(http.StatusNotFound, 10008)
	case m.ThreadID != "":
		return fail(http.StatusBadRequest, 160004)
	}
	body, bad := s.object(c, "name", "auto_archive_duration", "rate_limit_per_user")
	if bad != nil {
		return refuse(bad)
	}
	p := &problems{}
	name := p.str("name", body["name"], 1, 100)
	if v, there := number(body["auto_archive_duration"]); there && !slices.Contains([]int{60, 1440, 4320, 10080}, v) {
		p.bad("auto_archive_duration", "BASE_TYPE_CHOICES", "Value must be one of (60, 1440, 4320, 10080).")
	}
	if e := p.err(); e != nil {
		return refuse(e)
	}
	t := &Channel{ID: m.ID, Name: name, Kind: PublicThread, Guild: ch.Guild, Parent: ch.ID, Owner: s.cfg.BotUserID, created: s.cfg.Now()}
	s.channels[t.ID] = t
	m.ThreadID = t.ID
	m.Flags |= FlagHasThread
	s.changed()
	w := s.wireChannel(t)
	w["member"] = map[string]any{"id": t.ID, "user_id": s.cfg.BotUserID, "join_timestamp": stamp(t.created), "flags": 0}
	return reply{status: http.StatusCreated, body: w}
}

// object reads a body that is a JSON object and notes keys that nobody knows.
func (s *Server) object(c *call, known ...string) (map[string]any, *apiError) {
	var body map[string]any
	if !utf8.Valid(c.body) {
		s.violate("%s: the body is not UTF-8", c.where())
	}
	if decode(c.body, &body) != nil || body == nil {
		return nil, &apiError{status: http.StatusBadRequest, code: 50109}
	}
	for _, k := range sortedKeys(body) {
		if !contains(known, k) {
			s.violate("%s: unknown key %q", c.where(), k)
		}
	}
	return body, nil
}

// fill puts what was sent into a message; made says that it is new.
func (s *Server) fill(m *message, d *draft, made bool) {
	if d.contentSet {
		m.Content = d.content
	}
	if len(d.files) > 0 {
		m.files = d.files
	}
	if d.componentsSet {
		m.components, m.Components = d.components, nil
		s.unfurled(m)
		if len(d.components) > 0 {
			m.Components = marshal(d.components)
		}
	}
	if d.embedsSet {
		m.embeds, m.Embeds = d.embeds, nil
		if len(d.embeds) > 0 {
			m.Embeds = marshal(d.embeds)
		}
	}
	const kept = FlagHasThread | FlagEphemeral | FlagLoading
	if d.flagsSet {
		m.Flags = m.Flags&kept | d.flags&^kept
	}
	m.AllowedMentions = d.allowed
	s.mention(m, d, made)
	if !made {
		m.Edits++
		m.edited = s.cfg.Now()
	}
}

// mention finds out whom a message mentions and, if it is new, notifies them.
// What is not allowed by allowed_mentions is only shown.
func (s *Server) mention(m *message, d *draft, made bool) {
	all := m.Content + "\n" + strings.Join(texts(m.components), "\n")
	f := findMentions(all)
	m.mentions, m.mentioned, m.everyone = nil, nil, false
	c := s.channels[m.Channel]
	anyRole := s.permissions(s.cfg.BotUserID, c)&MentionEveryone != 0
	var pings []string
	for _, id := range f.users {
		if u := s.users[id]; u != nil && d.mentions.user(id) {
			m.mentions = append(m.mentions, id)
			if s.permissions(id, c)&ViewChannel != 0 {
				pings = append(pings, id)
			}
		}
	}
	for _, id := range f.roles {
		if r := s.roles[id]; r != nil && d.mentions.role(id) {
			m.mentioned = append(m.mentioned, id)
			if r.Mentionable || anyRole {
				pings = append(pings, id)
			}
		}
	}
	if d.mentions.everyone && anyRole {
		for _, word := range f.everyone {
			m.everyone = true
			pings = append(pings, word)
		}
	}
	if made && m.only == "" {
		m.Pings = pings
	}
}
