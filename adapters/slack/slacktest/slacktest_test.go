package slacktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/slack-go/slack"
)

const (
	channel = "C01EPM"
	ann     = "U01ANN"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time          { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) Advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func newFake(t *testing.T, cfg slacktest.Config) (*slacktest.Server, *slack.Client) {
	t.Helper()
	s, err := slacktest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.AddUser(slacktest.User{ID: ann, Name: "ann", RealName: "Ann Approver", Email: "ann@example.com"})
	s.AddUser(slacktest.User{ID: "U02BOB", Name: "bob"})
	s.AddChannel(slacktest.Channel{ID: channel, Name: "epm", Members: []string{ann, slacktest.BotUserID}})
	return s, client(s)
}

func client(s *slacktest.Server) *slack.Client {
	return slack.New(slacktest.BotToken, slack.OptionAPIURL(s.URL()), slack.OptionAppLevelToken(slacktest.AppToken),
		slack.OptionHTTPClient(&http.Client{Timeout: hang}))
}

func noViolations(t *testing.T, s *slacktest.Server) {
	t.Helper()
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

// hang bounds each wait: it is far above what a busy machine needs.
const hang = 2 * time.Minute

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(hang)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func card(blocks ...string) []slack.Block {
	var b slack.Blocks
	if err := json.Unmarshal([]byte("["+strings.Join(blocks, ",")+"]"), &b); err != nil {
		panic(err)
	}
	return b.BlockSet
}

const buttons = `{"type":"actions","block_id":"act:7","elements":[
 {"type":"button","action_id":"approve","value":"JIT-1042","style":"primary","text":{"type":"plain_text","text":"Approve","emoji":true}},
 {"type":"button","action_id":"deny","value":"JIT-1042","style":"danger","text":{"type":"plain_text","text":"Deny","emoji":true}}]}`

const form = `{"type":"modal","callback_id":"approve","private_metadata":"JIT-1042",
 "title":{"type":"plain_text","text":"Approve JIT-1042"},
 "submit":{"type":"plain_text","text":"Approve"},"close":{"type":"plain_text","text":"Cancel"},
 "blocks":[
  {"type":"section","text":{"type":"plain_text","text":"7-Zip for ACME\\ann","emoji":false}},
  {"type":"input","block_id":"reason","label":{"type":"plain_text","text":"Reason"},
   "element":{"type":"plain_text_input","action_id":"reason","multiline":true,"max_length":1000,"focus_on_load":true}},
  {"type":"input","block_id":"unit","dispatch_action":true,"label":{"type":"plain_text","text":"Duration"},
   "element":{"type":"radio_buttons","action_id":"unit",
    "initial_option":{"text":{"type":"plain_text","text":"Once"},"value":"once"},
    "options":[{"text":{"type":"plain_text","text":"Once"},"value":"once"},
     {"text":{"type":"plain_text","text":"Minutes (5 to 1440)"},"value":"minutes"}]}},
  {"type":"input","block_id":"amount","optional":true,"label":{"type":"plain_text","text":"How many"},
   "element":{"type":"number_input","action_id":"amount","is_decimal_allowed":false,"min_value":"1","max_value":"1440"}}]}`

func modal(t *testing.T, raw string) slack.ModalViewRequest {
	t.Helper()
	var v slack.ModalViewRequest
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func slackError(err error) string {
	var se slack.SlackErrorResponse
	if errors.As(err, &se) {
		return se.Err
	}
	return fmt.Sprintf("not a Slack error: %v", err)
}

func TestMessages(t *testing.T) {
	s, api := newFake(t, slacktest.Config{HistoryPage: 2})
	ctx := t.Context()
	auth, err := api.AuthTestContext(ctx)
	if err != nil || auth.UserID != slacktest.BotUserID || !strings.Contains(auth.Header.Get("X-OAuth-Scopes"), "chat:write") {
		t.Fatalf("AuthTest = %+v, %v", auth, err)
	}
	meta := slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "countersign_ticket", EventPayload: map[string]any{"ticket": "JIT-1042"}})
	ch, ts, err := api.PostMessageContext(ctx, channel, slack.MsgOptionText("hello", false), slack.MsgOptionBlocks(card(buttons)...), meta)
	if err != nil || ch != channel || len(ts) != 17 {
		t.Fatalf("PostMessage = %q, %q, %v", ch, ts, err)
	}
	if _, _, err := api.PostMessageContext(ctx, channel, slack.MsgOptionText("reply", false), slack.MsgOptionTS(ts)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.Say(channel, ann, fmt.Sprint("talk ", i), nil)
	}
	var texts []string
	cursor := ""
	var found *slack.Message
	for {
		h, err := api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
			ChannelID: channel, IncludeAllMetadata: true, Limit: 200, Cursor: cursor, Oldest: ts, Inclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Messages) > 2 {
			t.Fatalf("page of %d", len(h.Messages))
		}
		for _, m := range h.Messages {
			texts = append(texts, m.Text)
			if m.Metadata.EventPayload["ticket"] == "JIT-1042" {
				found = &m
			}
		}
		if cursor = h.ResponseMetaData.NextCursor; !h.HasMore {
			break
		}
	}
	if want := []string{"talk 2", "talk 1", "talk 0", "hello"}; !slices.Equal(texts, want) {
		t.Errorf("history = %q, want %q", texts, want)
	}
	if found == nil || found.Timestamp != ts {
		t.Errorf("metadata not found: %+v", found)
	}
	if rs, _, _, err := api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: ts}); err != nil || len(rs) != 2 {
		t.Errorf("replies = %d, %v", len(rs), err)
	}
	if _, _, _, err := api.UpdateMessageContext(ctx, channel, ts, slack.MsgOptionText("done", false)); err != nil {
		t.Fatal(err)
	}
	m := s.Messages(channel)[0]
	if m.Text != "done" || m.Blocks != nil || m.Edits != 1 || !strings.Contains(string(m.Metadata), "JIT-1042") {
		t.Errorf("after update: %+v", m)
	}
	if link, err := api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: channel, Ts: ts}); err != nil || !strings.Contains(link, channel) {
		t.Errorf("permalink = %q, %v", link, err)
	}
	if _, err := api.PostEphemeralContext(ctx, channel, ann, slack.MsgOptionText("psst", false)); err != nil {
		t.Error(err)
	}
	if e := s.Person(ann).Ephemerals(); len(e) != 1 || e[0].Text != "psst" {
		t.Errorf("ephemerals = %+v", e)
	}
	if dm, _, err := api.PostMessageContext(ctx, ann, slack.MsgOptionText("direct", false)); err != nil || dm != s.DM(ann) || len(s.Messages(dm)) != 1 {
		t.Errorf("direct message: %q, %v", dm, err)
	}
	noViolations(t, s)
}

func TestPeopleAndChannels(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	ctx := t.Context()
	s.AddGroup(slacktest.Group{ID: "S01", Handle: "approvers", Users: []string{ann}})
	if u, err := api.GetUserByEmailContext(ctx, "ann@example.com"); err != nil || u.ID != ann {
		t.Errorf("by email: %+v, %v", u, err)
	}
	if _, err := api.GetUserByEmailContext(ctx, "nobody@example.com"); slackError(err) != "users_not_found" {
		t.Errorf("by email: %v", err)
	}
	if u, err := api.GetUserInfoContext(ctx, ann); err != nil || u.Profile.Email != "ann@example.com" {
		t.Errorf("info: %+v, %v", u, err)
	}
	if m, err := api.GetUserGroupMembersContext(ctx, "S01"); err != nil || !slices.Equal(m, []string{ann}) {
		t.Errorf("group: %q, %v", m, err)
	}
	s.SetGroup("S01", ann, "U02BOB")
	if g, err := api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeUsers(true)); err != nil || len(g) != 1 || len(g[0].Users) != 2 {
		t.Errorf("groups: %+v, %v", g, err)
	}
	if m, _, err := api.GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{ChannelID: channel}); err != nil || len(m) != 2 {
		t.Errorf("members: %q, %v", m, err)
	}
	if c, err := api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel}); err != nil || !c.IsMember || c.Name != "epm" {
		t.Errorf("channel: %+v, %v", c, err)
	}
	if c, _, _, err := api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{ann}}); err != nil || c.ID != s.DM(ann) {
		t.Errorf("open: %+v, %v", c, err)
	}
	post := func() string {
		_, _, err := api.PostMessageContext(ctx, channel, slack.MsgOptionText("x", false))
		return slackError(err)
	}
	_, ts, _ := api.PostMessageContext(ctx, channel, slack.MsgOptionText("x", false))
	s.Archive(channel, true)
	if got := post(); got != "is_archived" {
		t.Errorf("archived: %s", got)
	}
	if _, _, _, err := api.UpdateMessageContext(ctx, channel, ts, slack.MsgOptionText("y", false)); slackError(err) != "is_inactive" {
		t.Errorf("archived: %v", err)
	}
	s.Archive(channel, false)
	s.Kick(channel, slacktest.BotUserID)
	s.RemoveScopes("chat:write.public")
	if got := post(); got != "not_in_channel" {
		t.Errorf("kicked: %s", got)
	}
	s.RemoveScopes("chat:write")
	_, _, err := api.PostMessageContext(ctx, channel, slack.MsgOptionText("x", false))
	var se slack.SlackErrorResponse
	if !errors.As(err, &se) || se.Err != "missing_scope" || se.Needed != "chat:write" || !strings.Contains(se.Provided, "users:read") {
		t.Errorf("missing scope: %+v", se)
	}
	s.FailToken(slacktest.BotToken, "token_revoked")
	if got := post(); got != "token_revoked" {
		t.Errorf("revoked: %s", got)
	}
	if _, err := slack.New("xoxb-other", slack.OptionAPIURL(s.URL())).AuthTestContext(ctx); slackError(err) != "invalid_auth" {
		t.Errorf("other token: %v", err)
	}
	s.AddUserToken("xoxp-ann", ann, "users:read")
	if r, err := slack.New("xoxp-ann", slack.OptionAPIURL(s.URL())).AuthTestContext(ctx); err != nil || r.UserID != ann || r.BotID != "" || r.Header.Get("X-OAuth-Scopes") != "users:read" {
		t.Errorf("user token: %+v, %v", r, err)
	}
	if _, err := slack.New(slacktest.AppToken, slack.OptionAPIURL(s.URL())).GetUserInfoContext(ctx, ann); slackError(err) != "not_allowed_token_type" {
		t.Errorf("app token: %v", err)
	}
	noViolations(t, s)
}

func TestArgumentsAreChecked(t *testing.T) {
	s, _ := newFake(t, slacktest.Config{})
	for _, c := range []struct{ method, form, want string }{
		{"chat.postMessage", "channel=C01EPM&text=x&colour=red", "invalid_arguments"},
		{"chat.postMessage", "text=x", "invalid_arguments"},
		{"chat.nonsense", "", "unknown_method"},
	} {
		before := len(s.Violations())
		resp, err := http.PostForm(s.URL()+c.method, must(url.ParseQuery(c.form+"&token="+slacktest.BotToken)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), `"error":"`+c.want+`"`) || len(s.Violations()) == before {
			t.Errorf("%s %s = %s, violations %q", c.method, c.form, body, s.Violations())
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestFaults states for each kind what slack-go makes of it and whether the message is there.
func TestFaults(t *testing.T) {
	var limited *slack.RateLimitedError
	kinds := map[string]struct {
		kind slacktest.FaultKind
		is   func(ts string, err error) bool
	}{
		"DropConnection":  {slacktest.DropConnection, func(_ string, err error) bool { return errors.Is(err, io.EOF) }},
		"EmptyObject":     {slacktest.EmptyObject, func(ts string, err error) bool { return ts == "" && err == nil }},
		"OKFalse":         {slacktest.OKFalse, func(ts string, err error) bool { return ts == "" && err == nil }},
		"NoTS":            {slacktest.NoTS, func(ts string, err error) bool { return ts == "" && err == nil }},
		"OtherTS":         {slacktest.OtherTS, func(ts string, err error) bool { return ts == "planted" && err == nil }},
		"Limited":         {slacktest.Limited, func(_ string, err error) bool { return errors.As(err, &limited) && limited.RetryAfter == 7*time.Second }},
		"LimitedNoHeader": {slacktest.LimitedNoHeader, func(_ string, err error) bool { return strings.Contains(fmt.Sprint(err), "429") }},
		"LimitedInBody":   {slacktest.LimitedInBody, func(_ string, err error) bool { return slackError(err) == "ratelimited" }},
		"Unavailable": {slacktest.Unavailable, func(_ string, err error) bool {
			var se slack.StatusCodeError
			return errors.As(err, &se) && se.Code == 503
		}},
		"InternalError": {slacktest.InternalError, func(_ string, err error) bool { return err != nil }},
		"CaptivePortal": {slacktest.CaptivePortal, func(_ string, err error) bool { var se *json.SyntaxError; return errors.As(err, &se) }},
		"SlackError":    {slacktest.SlackError, func(_ string, err error) bool { return slackError(err) == "fatal_error" }},
		"UnknownElement": {slacktest.UnknownElement, func(ts string, err error) bool {
			return ts == "" && strings.Contains(fmt.Sprint(err), "unsupported block element")
		}},
	}
	for name, k := range kinds {
		for _, did := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/did=%v", name, did), func(t *testing.T) {
				s, api := newFake(t, slacktest.Config{})
				s.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: k.kind, Did: did, RetryAfter: 7 * time.Second, TS: "planted"})
				_, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false))
				if !k.is(ts, err) {
					t.Errorf("PostMessage = %q, %T %v", ts, err, err)
				}
				if got := len(s.Messages(channel)) == 1; got != did {
					t.Errorf("posted = %v, want %v", got, did)
				}
				if c := s.CallsTo("chat.postMessage"); len(c) != 1 || c[0].Did != did {
					t.Errorf("calls = %+v", c)
				}
				if _, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false)); err != nil || ts == "" {
					t.Errorf("the call after the fault: %v", err)
				}
				noViolations(t, s)
			})
		}
	}
	t.Run("Slow", func(t *testing.T) {
		s, api := newFake(t, slacktest.Config{})
		s.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.Slow, Did: true, Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := api.PostMessageContext(ctx, channel, slack.MsgOptionText("x", false)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		eventually(t, "message", func() bool { return len(s.Messages(channel)) == 1 })
	})
	t.Run("SkipAndTimes", func(t *testing.T) {
		s, api := newFake(t, slacktest.Config{})
		s.Fail(slacktest.Fault{Skip: 1, Times: 2, Kind: slacktest.SlackError, ErrorName: "internal_error"})
		var got []bool
		for range 4 {
			_, err := api.AuthTestContext(t.Context())
			got = append(got, err == nil)
		}
		if want := []bool{true, false, false, true}; !slices.Equal(got, want) {
			t.Errorf("ok = %v, want %v", got, want)
		}
	})
	t.Run("Down", func(t *testing.T) {
		s, api := newFake(t, slacktest.Config{})
		s.SetDown(true)
		if _, err := api.AuthTestContext(t.Context()); err == nil {
			t.Error("no error while down")
		}
		s.SetDown(false)
		if _, err := api.AuthTestContext(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRateLimits(t *testing.T) {
	c := &clock{t: time.Unix(1769864700, 0)}
	s, api := newFake(t, slacktest.Config{Limits: true, Now: c.Now})
	s.AddChannel(slacktest.Channel{ID: "C02", Members: []string{slacktest.BotUserID}})
	post := func(ch string) error {
		_, _, err := api.PostMessageContext(t.Context(), ch, slack.MsgOptionText("x", false))
		return err
	}
	for i := range 3 {
		if err := post(channel); err != nil {
			t.Fatalf("post %d: %v", i, err)
		}
	}
	var rl *slack.RateLimitedError
	if err := post(channel); !errors.As(err, &rl) || rl.RetryAfter != time.Second {
		t.Errorf("fourth post: %v", err)
	}
	if err := post("C02"); err != nil {
		t.Errorf("other channel: %v", err)
	}
	c.Advance(time.Second)
	if err := post(channel); err != nil {
		t.Errorf("a second later: %v", err)
	}
	ts := s.Messages(channel)[0].TS
	n := 0
	for ; n < 100; n++ {
		if _, _, _, err := api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText("y", false)); err != nil {
			if !errors.As(err, &rl) {
				t.Fatal(err)
			}
			break
		}
	}
	if n != 50 {
		t.Errorf("%d updates in a minute, want 50", n)
	}
}

func TestChanges(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ch := s.Changes(ctx)
	if _, _, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ch:
	case <-time.After(hang):
		t.Fatal("no change reported")
	}
	cancel()
	eventually(t, "closed channel", func() bool {
		select {
		case _, ok := <-ch:
			return !ok
		default:
			return false
		}
	})
}

// TestManyClicks is twenty people at once.
func TestManyClicks(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	a := &app{t: t}
	a.serve(s)
	_, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false), slack.MsgOptionBlocks(card(buttons)...))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		u := s.AddUser(slacktest.User{Name: fmt.Sprint("user", i)})
		wg.Go(func() {
			if err := s.Person(u.ID).Click(t.Context(), channel, ts, "deny"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a.count() != 20 {
		t.Errorf("%d clicks", a.count())
	}
}

// TestClose ends everything while people, sockets and slow answers wait.
func TestClose(t *testing.T) {
	s, api := newFake(t, slacktest.Config{AckWait: time.Minute, RetryDelays: []time.Duration{time.Hour}})
	s.Fail(slacktest.Fault{Kind: slacktest.Slow, Method: "auth.test", Delay: time.Hour})
	a := &app{t: t}
	a.connect(t.Context(), s)
	ended := make(chan error, 2)
	go func() { _, err := api.AuthTestContext(t.Context()); ended <- err }()
	go func() { ended <- s.SendEvent(t.Context(), map[string]any{"type": "app_home_opened"}) }()
	eventually(t, "both under way", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return s.Count("auth.test") == 1 && len(a.raw) == 1
	})
	changes := s.Changes(context.Background())
	s.Close()
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("no error after Close")
		}
	}
	if _, open := <-changes; open {
		t.Error("Changes still open")
	}
	if err := s.Person(ann).ClickRaw(t.Context(), slacktest.RawClick{}); !errors.Is(err, slacktest.ErrUnreachable) {
		t.Errorf("click after Close: %v", err)
	}
	s.Close() // twice is fine
	eventually(t, "no goroutine of the server", func() bool {
		buf := make([]byte, 1<<20)
		return !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "slacktest.(*Server).")
	})
}
