package discordtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

func TestMessages(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	first := post(t, s, `{"content":" hello ","embeds":[{"title":"t","fields":[{"name":"a","value":"b"}]}],`+none+`}`)
	second := post(t, s, card)
	s.Say(epm, ann, "talk")
	path := "/channels/" + epm + "/messages"

	a := rest(s, "PATCH", path+"/"+first, `{"content":"changed",`+none+`}`)
	want(t, "edit", a, 200, 0)
	if a.str("content") != "changed" || a.body["edited_timestamp"] == nil || len(a.body["embeds"].([]any)) != 1 {
		t.Errorf("edited = %s", a.raw)
	}
	m := s.Messages(epm)
	if len(m) != 3 || m[0].Content != "changed" || m[0].Edits != 1 || m[1].Flags != discordtest.FlagComponentsV2 || m[2].Author != ann {
		t.Fatalf("Messages = %+v", m)
	}
	if !strings.Contains(string(m[1].Components), `"id":1`) || strings.Contains(string(m[1].Components), `"id":0`) {
		t.Errorf("components are not numbered: %s", m[1].Components)
	}
	ids := func(query string) (out []string) {
		t.Helper()
		a := rest(s, "GET", path+query, "")
		want(t, query, a, 200, 0)
		for _, v := range a.list {
			out = append(out, v.(map[string]any)["id"].(string))
		}
		return out
	}
	for query, exp := range map[string][]string{
		"":                                {m[2].ID, second, first},
		"?limit=1":                        {m[2].ID},
		"?after=" + first:                 {m[2].ID, second},
		"?after=" + first + "&limit=1":    {second},
		"?before=" + m[2].ID + "&limit=1": {second},
		"?around=" + second + "&limit=2":  {second, first},
		"?after=0&limit=100":              {m[2].ID, second, first},
	} {
		if got := ids(query); !slices.Equal(got, exp) {
			t.Errorf("list %q = %v, want %v", query, got, exp)
		}
	}
	a = rest(s, "GET", path, "")
	if a.list[0].(map[string]any)["content"] != "" || a.list[2].(map[string]any)["content"] != "changed" {
		t.Errorf("without the message content intent the bot reads its own texts only: %s", a.raw)
	}
	want(t, "get", rest(s, "GET", path+"/"+second, ""), 200, 0)
	want(t, "limit 101", rest(s, "GET", path+"?limit=101", ""), 400, 50035)
	want(t, "edit of others", rest(s, "PATCH", path+"/"+m[2].ID, `{"content":"x",`+none+`}`), 403, 50005)
	want(t, "delete of others", rest(s, "DELETE", path+"/"+m[2].ID, ""), 403, 50013)
	want(t, "delete", rest(s, "DELETE", path+"/"+first, ""), 204, 0)
	want(t, "delete again", rest(s, "DELETE", path+"/"+first, ""), 404, 10008)
	want(t, "edit what is gone", rest(s, "PATCH", path+"/"+first, `{"content":"x",`+none+`}`), 404, 10008)
	want(t, "unknown channel", rest(s, "POST", "/channels/999/messages", `{"content":"x",`+none+`}`), 404, 10003)
	want(t, "not a snowflake", rest(s, "GET", "/channels/epm", ""), 400, 50035)
	want(t, "not JSON", rest(s, "POST", path, `{`), 400, 50109)
	if n := s.Count("POST /channels/{channel}/messages"); n != 4 {
		t.Errorf("Count = %d", n)
	}
	if calls := s.CallsTo("PATCH /channels/{channel}/messages/{message}"); len(calls) != 3 || !calls[0].Did || calls[2].Code != 10008 {
		t.Errorf("Calls = %+v", calls)
	}
	noViolations(t, s)
}

func TestEscapedPathsAndVersions(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	b := newBot(t, s, func(in interaction) {
		want(t, "callback", in.callback(message(4, 64, "note")), 204, 0)
		want(t, "%40original", in.hook("GET", "/messages/%40original", ""), 200, 0)
	})
	defer b.ws.Close()
	id := post(t, s, card)
	if err := s.Person(ann).Click(t.Context(), epm, id, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "@original was read", func() bool { return s.Count("GET /webhooks/{application}/{token}/messages/{message}") == 1 })
	noViolations(t, s)
	for path, status := range map[string]int{"/api/v9/users/@me": 200, "/api/v10/users/@me": 200, "/api/v8/users/@me": 400} {
		req, _ := http.NewRequest("GET", s.URL()+path, nil)
		req.Header.Set("Authorization", "Bot "+discordtest.BotToken)
		req.Header.Set("User-Agent", "DiscordBot (https://example.com, 1)")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, status)
		}
	}
	oneViolation(t, s, `API version "v8"`)
}

func TestWorld(t *testing.T) {
	s := newFake(t, discordtest.Config{GuildName: "Acme"})
	s.AddUser(discordtest.User{ID: "1300000000000000009", Stranger: true})
	for path, has := range map[string]string{
		"/users/@me":                                         `"id":"` + discordtest.BotUserID + `"`,
		"/applications/@me":                                  `"verify_key":"` + s.PublicKey() + `"`,
		"/oauth2/applications/@me":                           `"id":"` + discordtest.ApplicationID + `"`,
		"/gateway":                                           `"url":"ws://127.0.0.1:`,
		"/gateway/bot":                                       `"max_concurrency":1`,
		"/guilds/" + discordtest.GuildID:                     `"name":"Acme"`,
		"/guilds/" + discordtest.GuildID + "/roles":          `"name":"approvers"`,
		"/guilds/" + discordtest.GuildID + "/channels":       `"name":"epm"`,
		"/guilds/" + discordtest.GuildID + "/members/" + ann: `"roles":["` + appRole + `"]`,
		"/channels/" + epm:                                   `"name":"epm"`,
		"/applications/" + discordtest.ApplicationID + "/guilds/" + discordtest.GuildID + "/commands": `[]`,
	} {
		a := rest(s, "GET", path, "")
		want(t, path, a, 200, 0)
		if !strings.Contains(string(a.raw), has) {
			t.Errorf("%s = %s, want %s in it", path, a.raw, has)
		}
		if a.header.Get("X-RateLimit-Remaining") == "" || a.header.Get("X-RateLimit-Reset-After") == "" || a.header.Get("Date") == "" {
			t.Errorf("%s: headers %v", path, a.header)
		}
	}
	want(t, "stranger", rest(s, "GET", "/guilds/"+discordtest.GuildID+"/members/1300000000000000009", ""), 404, 10007)
	want(t, "nobody", rest(s, "GET", "/guilds/"+discordtest.GuildID+"/members/77", ""), 404, 10013)
	want(t, "other guild", rest(s, "GET", "/guilds/77", ""), 404, 10004)
	noViolations(t, s)

	want(t, "unknown route", rest(s, "GET", "/channels/"+epm+"/pins", ""), 404, 0)
	oneViolation(t, s, "not a route")

	s.RemoveBot()
	want(t, "guild without bot", rest(s, "GET", "/guilds/"+discordtest.GuildID, ""), 404, 10004)
	want(t, "channel without bot", rest(s, "POST", "/channels/"+epm+"/messages", `{"content":"x",`+none+`}`), 403, 50001)
	s.AddBot()
	post(t, s, `{"content":"x",`+none+`}`)
}

func TestToken(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	agent := "DiscordBot (https://example.com, 1)"
	a := restWith(s, "GET", "/users/@me", "", http.Header{"User-Agent": {agent}, "Authorization": {discordtest.BotToken}})
	want(t, "without Bot", a, 401, 0)
	want(t, "gateway needs none", restWith(s, "GET", "/gateway", "", http.Header{"User-Agent": {agent}}), 200, 0)
	s.RevokeToken()
	for range 20 {
		want(t, "revoked", rest(s, "GET", "/users/@me", ""), 401, 0)
	}
	noViolations(t, s)
	rest(s, "GET", "/users/@me", "")
	oneViolation(t, s, "token that is refused")
	if n := s.InvalidRequests(); n != 22 {
		t.Errorf("InvalidRequests = %d", n)
	}
	s.RestoreToken()
	want(t, "restored", rest(s, "GET", "/users/@me", ""), 200, 0)
}

func TestViolations(t *testing.T) {
	good := http.Header{"Authorization": {"Bot " + discordtest.BotToken}, "Content-Type": {"application/json"}, "User-Agent": {"DiscordBot (https://example.com, 1)"}}
	for name, c := range map[string]struct{ body, header, value, want string }{
		"user agent":              {`{"content":"x",` + none + `}`, "User-Agent", "Go-http-client/1.1", "User-Agent"},
		"content type":            {`{"content":"x",` + none + `}`, "Content-Type", "text/plain", "Content-Type"},
		"unknown key":             {`{"content":"x","ID":"1",` + none + `}`, "", "", `unknown key "ID"`},
		"no allowed_mentions":     {`{"content":"x"}`, "", "", "allowed_mentions is missing"},
		"allowed_mentions open":   {`{"content":"x","allowed_mentions":{"parse":["users"]}}`, "", "", "parse is open"},
		"parse null":              {`{"content":"x","allowed_mentions":{"parse":null}}`, "", "", "parse is missing or null"},
		"ephemeral in a channel":  {`{"content":"x","flags":64,` + none + `}`, "", "", "64 has no effect"},
		"enforce without a nonce": {`{"content":"x","enforce_nonce":true,` + none + `}`, "", "", "without a nonce"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake(t, discordtest.Config{})
			h := good.Clone()
			if c.header != "" {
				h.Set(c.header, c.value)
			}
			restWith(s, "POST", "/channels/"+epm+"/messages", c.body, h)
			if v := s.Violations(); len(v) == 0 || !strings.Contains(v[0], c.want) {
				t.Errorf("violations = %q, want %q", v, c.want)
			}
		})
	}
}

func TestNonce(t *testing.T) {
	now := newClock()
	s := newFake(t, discordtest.Config{Now: now.Now})
	body := `{"content":"once","nonce":"JIT-1042.1","enforce_nonce":true,` + none + `}`
	path := "/channels/" + epm + "/messages"
	a := rest(s, "POST", path, body)
	if a.str("nonce") != "JIT-1042.1" {
		t.Errorf("no nonce in %s", a.raw)
	}
	now.Advance(4 * time.Minute)
	again := rest(s, "POST", path, body)
	if a.str("id") != again.str("id") || len(s.Messages(epm)) != 1 || s.Messages(epm)[0].Nonce != "JIT-1042.1" {
		t.Errorf("ids %s, %s, messages %+v", a.str("id"), again.str("id"), s.Messages(epm))
	}
	post(t, s, `{"content":"not enforced","nonce":"JIT-1042.1",`+none+`}`)
	if len(s.Messages(epm)) != 2 {
		t.Error("a nonce without enforce_nonce prevented a message")
	}
	s.Delete(epm, s.Messages(epm)[1].ID)
	want(t, "was posted, then deleted", rest(s, "POST", path, body), 404, 10008)
	now.Advance(6 * time.Minute)
	want(t, "after the window", rest(s, "POST", path, body), 200, 0)
	if len(s.Messages(epm)) != 2 {
		t.Errorf("messages %+v", s.Messages(epm))
	}
	noViolations(t, s)
	other := s.AddChannel(discordtest.Channel{Name: "other"})
	if a := rest(s, "POST", "/channels/"+other.ID+"/messages", body); a.str("channel_id") != epm {
		t.Errorf("the nonce of an author counts in all channels: %s", a.raw)
	}
	oneViolation(t, s, "another channel")
}

func TestPermissions(t *testing.T) {
	all := discordtest.BotPermissions
	msg := `{"content":"x",` + none + `}`
	embed := `{"embeds":[{"title":"x"}],` + none + `}`
	for name, c := range map[string]struct {
		bits         uint64
		method, path string
		body         string
		status, code int
	}{
		"all":             {all, "POST", "/messages", msg, 200, 0},
		"not visible":     {all &^ discordtest.ViewChannel, "POST", "/messages", msg, 403, 50001},
		"not visible get": {0, "GET", "", "", 403, 50001},
		"no sending":      {all &^ discordtest.SendMessages, "POST", "/messages", msg, 403, 50013},
		"no embeds":       {all &^ discordtest.EmbedLinks, "POST", "/messages", embed, 403, 50013},
		"embeds":          {all, "POST", "/messages", embed, 200, 0},
		"no history":      {all &^ discordtest.ReadMessageHistory, "GET", "/messages", "", 200, 0},
		"no threads":      {all &^ discordtest.CreatePublicThreads, "POST", "/messages/MSG/threads", `{"name":"x"}`, 403, 50013},
		"threads":         {all, "POST", "/messages/MSG/threads", `{"name":"x"}`, 201, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake(t, discordtest.Config{})
			id := post(t, s, msg)
			s.SetPermissions(epm, c.bits)
			if got := effective(t, s, epm); got&all != c.bits&all && c.bits&discordtest.ViewChannel != 0 {
				t.Errorf("computed from REST: %b, want %b", got, c.bits)
			}
			a := rest(s, c.method, "/channels/"+epm+strings.ReplaceAll(c.path, "MSG", id), c.body)
			want(t, name, a, c.status, c.code)
			if name == "no history" && string(a.raw) != "[]" {
				t.Errorf("history = %s", a.raw)
			}
			noViolations(t, s)
		})
	}
}

// effective computes the bot's permissions as a client does that knows only
// the REST API.
func effective(t *testing.T, s *discordtest.Server, channel string) uint64 {
	t.Helper()
	get := func(path string, to any) {
		a := rest(s, "GET", path, "")
		if a.status == 200 {
			if err := json.Unmarshal(a.raw, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	num := func(v string) uint64 { n, _ := strconv.ParseUint(v, 10, 64); return n }
	var roles []struct{ ID, Permissions string }
	get("/guilds/"+discordtest.GuildID+"/roles", &roles)
	var member struct{ Roles []string }
	get("/guilds/"+discordtest.GuildID+"/members/"+discordtest.BotUserID, &member)
	var ch struct {
		Overwrites []struct {
			ID          string
			Type        int
			Allow, Deny string
		} `json:"permission_overwrites"`
	}
	get("/channels/"+channel, &ch)
	var p uint64
	for _, r := range roles {
		if r.ID == discordtest.GuildID || slices.Contains(member.Roles, r.ID) {
			p |= num(r.Permissions)
		}
	}
	for _, o := range ch.Overwrites {
		if o.ID == discordtest.BotUserID && o.Type == 1 {
			p = p&^num(o.Deny) | num(o.Allow)
		}
	}
	return p
}

func TestPrivateChannel(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	c := s.AddChannel(discordtest.Channel{Name: "secret", Private: true, Members: []string{appRole}})
	path := "/channels/" + c.ID + "/messages"
	want(t, "bot is not a member", rest(s, "POST", path, `{"content":"x",`+none+`}`), 403, 50001)
	s.SetPermissions(c.ID, discordtest.BotPermissions)
	want(t, "bot is", rest(s, "POST", path, card), 200, 0)
	id := s.Messages(c.ID)[0].ID
	if err := s.Person(bob).Click(t.Context(), c.ID, id, "approve:JIT-1042"); err != discordtest.ErrNoSuchMessage {
		t.Errorf("bob sees the channel: %v", err)
	}
	if s.Permissions(ann, c.ID)&discordtest.ViewChannel == 0 || s.Permissions(bob, c.ID) != 0 {
		t.Error("who sees the channel")
	}
	s.AddRole(discordtest.Role{ID: "1400000000000000002", Name: "root", Permissions: discordtest.Administrator})
	s.SetRoles(bob, "1400000000000000002")
	if s.Permissions(bob, c.ID)&discordtest.ViewChannel == 0 {
		t.Error("an administrator does not see the channel")
	}
}

func TestThreads(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	id := post(t, s, card)
	start := "/channels/" + epm + "/messages/" + id + "/threads"
	a := rest(s, "POST", start, `{"name":"JIT-1042","auto_archive_duration":1440}`)
	want(t, "start", a, 201, 0)
	if a.str("id") != id || a.str("parent_id") != epm {
		t.Errorf("thread = %s", a.raw)
	}
	want(t, "start again", rest(s, "POST", start, `{"name":"JIT-1042"}`), 400, 160004)
	want(t, "get", rest(s, "GET", "/channels/"+id, ""), 200, 0)
	if m := s.Messages(epm)[0]; m.ThreadID != id || m.Flags&discordtest.FlagHasThread == 0 {
		t.Errorf("message = %+v", m)
	}
	want(t, "message with thread", rest(s, "GET", "/channels/"+epm+"/messages/"+id, ""), 200, 0)
	reply := rest(s, "POST", "/channels/"+id+"/messages", `{"content":"in the thread",`+none+`}`)
	want(t, "post", reply, 200, 0)
	if m := s.Messages(id); len(m) != 1 || m[0].Content != "in the thread" {
		t.Errorf("thread = %+v", m)
	}
	edit := "/channels/" + id + "/messages/" + reply.str("id")
	s.ArchiveThread(id, true)
	want(t, "edit in an archived thread", rest(s, "PATCH", edit, `{"content":"y",`+none+`}`), 400, 50083)
	want(t, "post wakes it up", rest(s, "POST", "/channels/"+id+"/messages", `{"content":"z",`+none+`}`), 200, 0)
	want(t, "edit", rest(s, "PATCH", edit, `{"content":"y",`+none+`}`), 200, 0)
	s.LockThread(id, true)
	want(t, "post in a locked thread", rest(s, "POST", "/channels/"+id+"/messages", `{"content":"z",`+none+`}`), 400, 160005)
	s.LockThread(id, false)
	s.SetPermissions(epm, discordtest.BotPermissions&^discordtest.SendMessagesInThreads)
	want(t, "no sending in threads", rest(s, "POST", "/channels/"+id+"/messages", `{"content":"z",`+none+`}`), 403, 50013)
	s.DeleteThread(id)
	want(t, "deleted", rest(s, "GET", "/channels/"+id, ""), 404, 10003)
	if m := s.Messages(epm)[0]; m.ThreadID != "" {
		t.Errorf("message = %+v", m)
	}
	noViolations(t, s)
}

func TestDirectMessages(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	a := rest(s, "POST", "/users/@me/channels", `{"recipient_id":"`+ann+`"}`)
	want(t, "open", a, 200, 0)
	if a.str("id") != s.DM(ann) {
		t.Errorf("DM = %s", a.raw)
	}
	path := "/channels/" + a.str("id") + "/messages"
	want(t, "post", rest(s, "POST", path, `{"content":"psst",`+none+`}`), 200, 0)
	s.CloseDMs(ann, true)
	want(t, "closed", rest(s, "POST", path, `{"content":"psst",`+none+`}`), 403, 50007)
	want(t, "nobody", rest(s, "POST", "/users/@me/channels", `{"recipient_id":"77"}`), 400, 50033)
	if s.Permissions(bob, a.str("id")) != 0 {
		t.Error("bob sees ann's direct messages")
	}
	noViolations(t, s)
}

func TestMentions(t *testing.T) {
	role := "1400000000000000007"
	for name, c := range map[string]struct {
		content, allowed string
		want             []string
	}{
		"none":             {"<@" + ann + "> @everyone <@&" + role + ">", `{"parse":[]}`, nil},
		"the one role":     {"<@&" + role + "> <@" + ann + "> <@&" + appRole + ">", `{"parse":[],"roles":["` + role + `"]}`, []string{role}},
		"not mentionable":  {"<@&" + appRole + ">", `{"parse":[],"roles":["` + appRole + `"]}`, nil},
		"user":             {"<@!" + ann + ">", `{"parse":[],"users":["` + ann + `"]}`, []string{ann}},
		"in code":          {"`<@" + ann + ">` ```\n<@" + ann + ">```", `{"parse":[],"users":["` + ann + `"]}`, nil},
		"open":             {"<@" + ann + "> <@&" + role + "> @here", `{"parse":["users","roles","everyone"]}`, []string{ann, role}},
		"text, no mention": {"hello", `{"parse":[],"roles":["` + role + `"]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake(t, discordtest.Config{})
			s.AddRole(discordtest.Role{ID: role, Name: "help", Mentionable: true})
			for _, body := range []string{
				fmt.Sprintf(`{"content":%q,"allowed_mentions":%s}`, c.content, c.allowed),
				fmt.Sprintf(`{"flags":32768,"components":[{"type":10,"content":%q}],"allowed_mentions":%s}`, c.content, c.allowed),
			} {
				id := post(t, s, body)
				m := s.Messages(epm)
				if got := m[len(m)-1]; !slices.Equal(got.Pings, c.want) {
					t.Errorf("Pings = %q, want %q", got.Pings, c.want)
				}
				want(t, "edit", rest(s, "PATCH", "/channels/"+epm+"/messages/"+id, `{"allowed_mentions":{"parse":["users"]}}`), 200, 0)
				m = s.Messages(epm)
				if got := m[len(m)-1]; !slices.Equal(got.Pings, c.want) || got.Edits != 1 {
					t.Errorf("an edit notified: %q", got.Pings)
				}
			}
		})
	}
	s := newFake(t, discordtest.Config{})
	s.SetPermissions(epm, discordtest.BotPermissions|discordtest.MentionEveryone)
	post(t, s, `{"content":"@everyone <@&`+appRole+`>"}`)
	if got := s.Messages(epm)[0].Pings; !slices.Equal(got, []string{appRole, "@everyone"}) {
		t.Errorf("with the permission and the defaults: %q", got)
	}
}

func TestLimits(t *testing.T) {
	now := newClock()
	s := newFake(t, discordtest.Config{Limits: true, Now: now.Now})
	path := "/channels/" + epm + "/messages"
	msg := `{"content":"x",` + none + `}`
	var id string
	for i := range 5 {
		a := rest(s, "POST", path, msg)
		want(t, "post", a, 200, 0)
		id = a.str("id")
		if r := a.header.Get("X-RateLimit-Remaining"); r != strconv.Itoa(4-i) {
			t.Errorf("remaining = %s", r)
		}
	}
	a := rest(s, "POST", path, msg)
	want(t, "sixth post", a, 429, 0)
	if a.body["retry_after"] != 5.0 || a.header.Get("Retry-After") != "5" || a.header.Get("X-RateLimit-Scope") != "user" || a.body["global"] != false {
		t.Errorf("429 = %v %s", a.header, a.raw)
	}
	now.Advance(5 * time.Second)
	want(t, "five seconds later", rest(s, "POST", path, msg), 200, 0)

	now.Advance(2 * time.Hour)
	for range 3 {
		want(t, "edit of an old message", rest(s, "PATCH", path+"/"+id, msg), 200, 0)
	}
	a = rest(s, "PATCH", path+"/"+id, msg)
	want(t, "fourth edit", a, 429, 30046)
	if a.header.Get("Retry-After") != "" || a.body["retry_after"] != nil {
		t.Errorf("30046 says how long to wait: %s", a.raw)
	}
	now.Advance(6 * time.Second)
	want(t, "edit, later", rest(s, "PATCH", path+"/"+id, msg), 200, 0)

	now.Advance(time.Minute)
	for range 49 {
		rest(s, "GET", "/users/@me", "")
	}
	want(t, "fiftieth", rest(s, "GET", "/gateway/bot", ""), 200, 0)
	a = rest(s, "GET", "/channels/"+epm, "")
	want(t, "global", a, 429, 0)
	if a.header.Get("X-RateLimit-Global") != "true" || a.header.Get("X-RateLimit-Bucket") != "" || a.body["global"] != true {
		t.Errorf("global = %v %s", a.header, a.raw)
	}
	noViolations(t, s)
}

func TestFaults(t *testing.T) {
	msg := `{"content":"x",` + none + `}`
	for name, c := range map[string]struct {
		fault  discordtest.Fault
		status int
		check  func(a answer) bool
	}{
		"drop": {discordtest.Fault{Kind: discordtest.DropConnection}, 0, func(a answer) bool { return a.err != nil }},
		"limited": {discordtest.Fault{Kind: discordtest.Limited, RetryAfter: 1500 * time.Millisecond}, 429, func(a answer) bool {
			return a.body["retry_after"] == 1.5 && a.header.Get("Retry-After") == "2" && a.header.Get("X-RateLimit-Remaining") == "0" && a.header.Get("X-RateLimit-Scope") == "user"
		}},
		"shared": {discordtest.Fault{Kind: discordtest.LimitedShared}, 429, func(a answer) bool { return a.header.Get("X-RateLimit-Scope") == "shared" }},
		"global": {discordtest.Fault{Kind: discordtest.LimitedGlobal}, 429, func(a answer) bool {
			return a.header.Get("X-RateLimit-Global") == "true" && a.header.Get("X-RateLimit-Reset-After") == ""
		}},
		"no retry_after": {discordtest.Fault{Kind: discordtest.LimitedNoRetryAfter}, 429, func(a answer) bool { return a.body["retry_after"] == nil && a.header.Get("Retry-After") == "" }},
		"old edit":       {discordtest.Fault{Kind: discordtest.LimitedOldEdit}, 429, func(a answer) bool { return a.code() == 30046 }},
		"edge":           {discordtest.Fault{Kind: discordtest.LimitedHTML}, 429, func(a answer) bool { return strings.HasPrefix(string(a.raw), "<!DOCTYPE") }},
		"502":            {discordtest.Fault{Kind: discordtest.ServerError}, 502, func(a answer) bool { return a.body["message"] != nil }},
		"503 html":       {discordtest.Fault{Kind: discordtest.ServerError, Status: 503, HTML: true}, 503, func(a answer) bool { return strings.HasPrefix(a.header.Get("Content-Type"), "text/html") }},
		"error":          {discordtest.Fault{Kind: discordtest.DiscordError, Code: 50001, Status: 403}, 403, func(a answer) bool { return a.code() == 50001 && a.str("message") == "Missing Access" }},
		"component":      {discordtest.Fault{Kind: discordtest.UnknownComponent}, 200, func(a answer) bool { return strings.Contains(string(a.raw), `"type":99`) && a.str("channel_id") == epm }},
		"reset":          {discordtest.Fault{Kind: discordtest.BadReset}, 200, func(a answer) bool { return a.header.Get("X-RateLimit-Reset-After") == "soon" }},
		"empty":          {discordtest.Fault{Kind: discordtest.Empty}, 200, func(a answer) bool { return string(a.raw) == "[]" }},
		"slow":           {discordtest.Fault{Kind: discordtest.Slow, Delay: 20 * time.Millisecond}, 200, func(a answer) bool { return a.str("content") == "x" }},
	} {
		for _, did := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s did %v", name, did), func(t *testing.T) {
				s := newFake(t, discordtest.Config{})
				f := c.fault
				f.Did, f.Skip, f.Method, f.Route, f.Channel = did, 1, "POST", "/channels/{channel}/messages", epm
				s.Fail(f)
				s.AddChannel(discordtest.Channel{ID: "1200000000000000002", Name: "other"})
				want(t, "other channel", rest(s, "POST", "/channels/1200000000000000002/messages", msg), 200, 0)
				post(t, s, msg)
				began := time.Now()
				a := rest(s, "POST", "/channels/"+epm+"/messages", msg)
				if !did && (name == "slow" || name == "reset") {
					if a.err == nil {
						t.Errorf("an answer to what was not done: %s", a.raw)
					}
				} else if a.status != c.status || !c.check(a) {
					t.Errorf("status %d, %v, %v, %s", a.status, a.err, a.header, a.raw)
				}
				if time.Since(began) < f.Delay {
					t.Error("too soon")
				}
				if n := len(s.Messages(epm)); (n == 2) != did {
					t.Errorf("%d messages, did %v", n, did)
				}
				if calls := s.Calls(); calls[2].Did != did {
					t.Errorf("Call.Did = %v", calls[2].Did)
				}
				post(t, s, msg)
				noViolations(t, s)
			})
		}
	}
}

func TestOutage(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	newBot(t, s, nil)
	s.SetDown(true)
	if a := rest(s, "GET", "/users/@me", ""); a.err == nil {
		t.Errorf("an answer during an outage: %s", a.raw)
	}
	eventually(t, "the connection is cut", func() bool { return s.Connections() == 0 })
	s.SetDown(false)
	want(t, "after it", rest(s, "GET", "/users/@me", ""), 200, 0)
}
