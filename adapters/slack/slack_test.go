package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

func TestNewRefuses(t *testing.T) {
	const bot, app, secret = "xoxb-0123-secret", "xapp-1-secret", "signing-secret"
	for name, cfg := range map[string]slack.Config{
		"Nothing":       {},
		"NoBotToken":    {AppToken: app},
		"NoEars":        {BotToken: bot},
		"EmptySecrets":  {BotToken: bot, SigningSecrets: []string{"", ""}},
		"Swapped":       {BotToken: app, AppToken: bot},
		"PlainHTTP":     {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "http://slack.example.com/api/"},
		"URLOfSecrets":  {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://user:" + secret + "@slack.example.com/api/"},
		"URLWithQuery":  {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://slack.example.com/api/?key=" + secret},
		"URLThatIsNone": {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://%zz" + secret},
	} {
		_, err := slack.New(cfg)
		if err == nil {
			t.Errorf("%s: New works", name)
		} else if strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "signing secret (HTTP)") {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
	}
	cfg := slack.Config{BotToken: bot, SigningSecrets: []string{secret}}
	c, err := slack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(cfg, c), fmt.Sprintf("%+v %#v %+v %#v", cfg, cfg, c, c)} {
		if strings.Contains(s, "secret") {
			t.Errorf("a Config prints its secrets: %s", s)
		}
	}
}

// TestPostFaults is the table of what a failed post means, and that a repeated
// one never leaves two messages, whether the first took effect or not.
func TestPostFaults(t *testing.T) {
	named := func(name string) slacktest.Fault {
		return slacktest.Fault{Kind: slacktest.SlackError, ErrorName: name}
	}
	for _, tt := range []struct {
		name  string
		fault slacktest.Fault
		want  tickets.Class
		both  bool // it may have taken effect
	}{
		{"Drop", slacktest.Fault{Kind: slacktest.DropConnection}, tickets.Ambiguous, true},
		{"EmptyObject", slacktest.Fault{Kind: slacktest.EmptyObject}, tickets.Ambiguous, true},
		{"OKFalse", slacktest.Fault{Kind: slacktest.OKFalse}, tickets.Ambiguous, true},
		{"NoTS", slacktest.Fault{Kind: slacktest.NoTS}, tickets.Ambiguous, true},
		{"Unavailable", slacktest.Fault{Kind: slacktest.Unavailable}, tickets.Ambiguous, true},
		{"InternalError", slacktest.Fault{Kind: slacktest.InternalError}, tickets.Ambiguous, true},
		{"CaptivePortal", slacktest.Fault{Kind: slacktest.CaptivePortal}, tickets.Ambiguous, true},
		{"UnknownElement", slacktest.Fault{Kind: slacktest.UnknownElement}, tickets.Ambiguous, true},
		{"Slow", slacktest.Fault{Kind: slacktest.Slow, Delay: 3 * time.Second}, tickets.Ambiguous, true},
		{"Fatal", named("fatal_error"), tickets.Ambiguous, true},
		{"Limited", slacktest.Fault{Kind: slacktest.Limited}, tickets.RateLimited, true},
		{"LimitedNoHeader", slacktest.Fault{Kind: slacktest.LimitedNoHeader}, tickets.RateLimited, true},
		{"LimitedInBody", slacktest.Fault{Kind: slacktest.LimitedInBody}, tickets.RateLimited, true},
		{"LimitedOtherName", named("rate_limited"), tickets.RateLimited, true},
		{"LimitedMessages", named("message_limit_exceeded"), tickets.RateLimited, true},
		{"ChannelGone", named("channel_not_found"), tickets.NotFound, false},
		{"Archived", named("is_archived"), tickets.NotFound, false},
		{"NotInvited", named("not_in_channel"), tickets.NotFound, false},
		{"Restricted", named("restricted_action"), tickets.Rejected, false},
		{"Auth", named("invalid_auth"), tickets.Unauthorized, false},
		{"Revoked", named("token_revoked"), tickets.Unauthorized, false},
		{"Unknown", named("a_name_of_tomorrow"), tickets.Unavailable, false},
	} {
		for _, did := range []bool{false, true} {
			if did && !tt.both {
				continue
			}
			t.Run(fmt.Sprintf("%s/did=%v", tt.name, did), func(t *testing.T) {
				b := adaptertest.NewBook()
				w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
					if tt.fault.Kind == slacktest.Slow {
						c.Timeout = tt.fault.Delay / 3
					}
				})
				tk := b.Add(1042, adaptertest.Request(), w.Place())
				f := tt.fault
				f.Method, f.Did = "chat.postMessage", did
				w.fake.Fail(f)
				since := time.Now()
				_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
				var got *tickets.Failure
				if !errors.As(err, &got) || got.Class != tt.want {
					t.Fatalf("Post() = %v, want class %s", err, tt.want)
				}
				if (got.RetryAfter > 0) != (tt.want == tickets.RateLimited) {
					t.Errorf("After is %s", got.RetryAfter)
				}
				if !tt.both || (tt.want == tickets.RateLimited && got.RetryAfter > time.Second) {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				if _, err := w.chat.Post(ctx, w.Place(), tk, since); err != nil {
					t.Fatalf("the second Post() = %v", err)
				}
				if n := len(w.fake.Messages(channel)); n != 1 {
					t.Errorf("%d messages, want 1", n)
				}
			})
		}
	}
}

// TestNoTimestamp: an answer that names something else than a message may
// hold our own token, and a message's id is stored. To see it fail, let isTS
// take anything.
func TestNoTimestamp(t *testing.T) {
	for name, ts := range map[string]string{
		"Secret": "Bearer " + slacktest.BotToken, "Seconds": "1769864700", "Short": "1769864700.00010", "Long": "1769864700.0001000", "Comma": "1769864700,000100",
		"Early": "176986470.000100", "Line": "1769864700.000100\n", "Around": "p1769864700.000100 ", "Digits": "١٧٦٩٨٦٤٧٠٠.٠٠٠١٠٠",
	} {
		t.Run(name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, "http", b, nil)
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			odd := func(method, ts string) {
				w.fake.Fail(slacktest.Fault{Method: method, Kind: slacktest.OtherTS, TS: ts, Did: true})
			}
			unclear := func(call string, err error) {
				t.Helper()
				if err == nil || tickets.FailureOf(err).Class != tickets.Ambiguous || strings.Contains(err.Error(), slacktest.BotToken) {
					t.Errorf("%s = %v, want that it is unclear", call, err)
				}
			}
			since := time.Now()
			odd("chat.postMessage", ts)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if unclear("Post()", err); id != "" {
				t.Errorf("Post() = %q", id)
			}
			if id, err = w.chat.Post(t.Context(), w.Place(), tk, since); err != nil || len(w.fake.Messages(channel)) != 1 || id != w.fake.Messages(channel)[0].TS {
				t.Fatalf("the second Post() = %q, %v, with %v", id, err, w.fake.Messages(channel))
			}
			m := tickets.Message{Place: w.Place(), ID: id}
			odd("chat.update", ts)
			unclear("Edit()", w.chat.Edit(t.Context(), m, tk))
			odd("chat.update", "1769864700.000100")
			unclear("Edit() of another", w.chat.Edit(t.Context(), m, tk))
			odd("chat.postMessage", ts)
			unclear("Reply()", w.chat.Reply(t.Context(), m, tk, 0, time.Time{}))
			w.fake.AddUser(slacktest.User{ID: "U0ANN", Name: "ann"})
			odd("chat.postMessage", ts)
			unclear("Tell()", w.chat.DirectMessage(t.Context(), tickets.Principal{Platform: slack.Platform, Kind: tickets.User, ID: "U0ANN"}, "x"))
		})
	}
}

func TestNobodyListens(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := slack.New(slack.Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, APIURL: dead.URL + "/api/"})
	if err != nil {
		t.Fatal(err)
	}
	tk := adaptertest.NewBook().Add(1, adaptertest.Request(), tickets.Place{})
	_, err = c.Post(t.Context(), tickets.Place{Platform: slack.Platform, Channel: channel}, tk, time.Time{})
	if f := tickets.FailureOf(err); f.Class != tickets.Unavailable {
		t.Errorf("Post() = %v, want class down: it never got there", err)
	}
}

func TestRefusedBlocksArePostedPlain(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.SlackError, ErrorName: "invalid_blocks"})
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cards := w.Cards()
	if len(cards) != 1 || !strings.Contains(cards[0].Text, "JIT-1042") || len(cards[0].Buttons) != 3 {
		t.Errorf("cards are %+v", cards)
	}
	if !strings.Contains(w.log.String(), "slack refuses a message") {
		t.Error("the operator was not told")
	}
	w.fake.Fail(slacktest.Fault{Method: "chat.update", Kind: slacktest.SlackError, ErrorName: "msg_blocks_too_long"})
	if err := w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk); err != nil {
		t.Error(err)
	}
	w.fake.Fail(slacktest.Fault{Method: "chat.update", Kind: slacktest.SlackError, ErrorName: "invalid_blocks", Times: 2})
	if f := tickets.FailureOf(w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk)); f.Class != tickets.Rejected {
		t.Errorf("refused twice: %v, want class refused", f)
	}
}

func TestWhatIsSent(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Fatal(err)
	}
	call := w.fake.CallsTo("chat.postMessage")[0]
	if call.Args["unfurl_links"] != "false" || call.Args["unfurl_media"] != "false" || call.Args["text"] == "" {
		t.Errorf("the arguments are %v", call.Args)
	}
	var meta map[string]any
	if err := json.Unmarshal([]byte(call.Args["metadata"]), &meta); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(meta), "map[event_payload:map[place:slack:C01EPM rev:1 ticket:JIT-1042] event_type:countersign_ticket]"; got != want {
		t.Errorf("metadata is %s, want %s", got, want)
	}
}

// TestFindsOnlyItsOwn: another app imitates our metadata, and the card is
// pages away.
func TestFindsOnlyItsOwn(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(c *slacktest.Config, _ *slack.Config) { c.HistoryPage = 15 })
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	since := time.Now()
	imitation := json.RawMessage(`{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","place":"slack:C01EPM","rev":1}}`)
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.EmptyObject, Did: true})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err == nil {
		t.Fatal("the first post went well")
	}
	own := w.fake.Messages(channel)[0].TS
	for i := range 40 {
		w.fake.Say(channel, userOf(i%20), "chatter", nil)
	}
	w.fake.Say(channel, userOf(1), "an imitation", imitation)
	id, err := w.chat.Post(t.Context(), w.Place(), tk, since)
	if err != nil || id != own {
		t.Errorf("Post() = %q, %v; want %q", id, err, own)
	}
	if n := w.fake.Count("conversations.history"); n != 3 {
		t.Errorf("%d pages were read, want 3", n)
	}
}

// TestHistoryWithoutMessages: an answer that holds no list says nothing about
// the lost card, and is no reason to post another.
func TestHistoryWithoutMessages(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	since := time.Now()
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.EmptyObject, Did: true})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err == nil {
		t.Fatal("the first post went well")
	}
	w.fake.Fail(slacktest.Fault{Method: "conversations.history", Kind: slacktest.NoTS})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, since); tickets.FailureOf(err).Class != tickets.Unavailable {
		t.Errorf("Post() = %v, want class down", err)
	}
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, since); err != nil || len(w.Cards()) != 1 {
		t.Errorf("Post() = %v and %d cards, want 1", err, len(w.Cards()))
	}
}

func TestPostsAgainWhereLookingIsNotAllowed(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(c *slacktest.Config, _ *slack.Config) {
		c.Scopes = []string{"chat:write", "commands", "users:read", "usergroups:read"}
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("a missing optional scope makes the chat unready: %v", err)
	}
}

// postAgain posts JIT-1042 once more, in a Slack that answers with answer to
// everything but who we are.
func postAgain(t *testing.T, answer string) (string, error) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "auth.test") {
			_, _ = io.WriteString(w, `{"ok":true,"team_id":"T01TEAM","user_id":"U0BOT","bot_id":"B0BOT"}`)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer api.Close()
	c, err := slack.New(slack.Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, APIURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
	return c.Post(t.Context(), tickets.Place{Platform: slack.Platform, Channel: channel}, tk, time.Now())
}

// TestHistoryOfOtherApps: what other apps post must not keep us from finding
// our own card.
func TestHistoryOfOtherApps(t *testing.T) {
	history := `{"ok":true,"messages":[
	 {"type":"message","ts":"1769864703.000000","bot_id":"BX","blocks":[{"type":"actions","elements":[{"type":"element_of_tomorrow"}]}],"metadata":{"event_type":7,"event_payload":[]}},
	 {"type":"message","ts":"1769864702.000000","bot_id":{"odd":1},"metadata":"none"},
	 {"type":"message","ts":"1769864701.500000","user":"U0BOT","thread_ts":"1769864701.000000","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}},
	 {"type":"message","ts":"1769864701.000000","user":"U0BOT","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}}]}`
	id, err := postAgain(t, history)
	if err != nil || id != "1769864701.000000" {
		t.Errorf("Post() = %q, %v; want 1769864701.000000", id, err)
	}
}

// TestHistoryWithoutTimestamp: a card that was found and cannot be named is
// looked for again, not posted again.
func TestHistoryWithoutTimestamp(t *testing.T) {
	id, err := postAgain(t, `{"ok":true,"channel":"`+channel+`","ts":"1769864700.000100","messages":[
	 {"type":"message","ts":"xoxb-x","user":"U0BOT","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}}]}`)
	if id != "" || err == nil || tickets.FailureOf(err).Class != tickets.Unavailable || strings.Contains(err.Error(), "xoxb-x") {
		t.Errorf("Post() = %q, %v; want class down", id, err)
	}
}

func TestHoldsGroupsAndChannels(t *testing.T) {
	b := adaptertest.NewBook()
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", b, func(f *slacktest.Config, c *slack.Config) {
		f.HistoryPage = 7 // of members too
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Handle: "helpdesk", Users: []string{userOf(0)}})
	group := tickets.Principal{Platform: slack.Platform, Kind: tickets.Group, ID: "S01HELP"}
	inChannel := tickets.Principal{Platform: slack.Platform, Kind: tickets.Channel, ID: channel}
	check := func(p tickets.Principal, i int, want bool) {
		t.Helper()
		if got, err := w.chat.HasRole(t.Context(), p, w.Actor(i)); err != nil || got != want {
			t.Errorf("Holds(%s, %d) = %v, %v; want %v", p, i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(group, 0, true) })
	}
	all.Wait()
	check(group, 1, false)
	if n := w.fake.Count("usergroups.users.list"); n != 1 {
		t.Errorf("the group was asked for %d times, want 1", n)
	}
	check(inChannel, 19, true) // on the third page
	if got, err := w.chat.HasRole(t.Context(), inChannel, tickets.Actor{Platform: slack.Platform, ID: "U99ELSE"}); got || err != nil {
		t.Errorf("a stranger is in the channel: %v, %v", got, err)
	}

	w.fake.SetGroup("S01HELP", userOf(1))
	check(group, 1, false) // not yet known
	if err := w.fake.SendEvent(t.Context(), map[string]any{"type": "subteam_members_changed", "subteam_id": "S01HELP"}); err != nil {
		t.Fatal(err)
	}
	check(group, 1, true)
	w.fake.SetGroup("S01HELP")
	ahead.Store(int64(61 * time.Second))
	check(group, 1, false)

	ahead.Store(int64(122 * time.Second))
	w.fake.Fail(slacktest.Fault{Method: "usergroups.users.list", Kind: slacktest.Unavailable})
	if got, err := w.chat.HasRole(t.Context(), group, w.Actor(1)); got || err == nil {
		t.Errorf("Holds() of an unreadable group = %v, %v; want an error", got, err)
	}
	role := tickets.Principal{Platform: slack.Platform, Kind: tickets.Role, ID: "1"}
	if got, err := w.chat.HasRole(t.Context(), role, w.Actor(1)); got || err == nil {
		t.Errorf("Holds(%s) = %v, %v; want an error", role, got, err)
	}
}

// TestHoldsOfWhatIsGone: nobody is in a group or a channel that is gone, which
// is no error and is not asked on each click; what cannot be read lets nobody in
// either, and is one.
func TestHoldsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	group, inChannel := principal(tickets.Group, "S01HELP"), principal(tickets.Channel, "C0LEADS")
	says := func(method, name string) func(*world) {
		return func(w *world) {
			w.fake.Fail(slacktest.Fault{Method: method, Kind: slacktest.SlackError, ErrorName: name, Times: -1})
		}
	}
	const ofGroup, ofChannel = "usergroups.users.list", "conversations.members"
	for name, tt := range map[string]struct {
		p       tickets.Principal
		breakIt func(*world)
		method  string
		unread  bool
	}{
		"GroupDeleted": {p: group, breakIt: func(w *world) { w.fake.RemoveGroup("S01HELP") }, method: ofGroup},
		"GroupDisabled": {p: group, breakIt: func(w *world) {
			w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Disabled: true, Users: []string{userOf(0)}})
		}, method: ofGroup},
		"GroupsGone":     {p: group, breakIt: says(ofGroup, "plan_upgrade_required"), method: ofGroup},
		"ChannelDeleted": {p: inChannel, breakIt: func(w *world) { w.fake.RemoveChannel("C0LEADS") }, method: ofChannel},
		"GroupScope":     {p: group, breakIt: func(w *world) { w.fake.RemoveScopes("usergroups:read") }, method: ofGroup, unread: true},
		"GroupLimited":   {p: group, breakIt: says(ofGroup, "ratelimited"), method: ofGroup, unread: true},
		"GroupAway":      {p: group, breakIt: func(w *world) { w.fake.SetDown(true) }, method: ofGroup, unread: true},
		"GroupDenied":    {p: group, breakIt: says(ofGroup, "team_access_not_granted"), method: ofGroup, unread: true},
		"ChannelScope":   {p: inChannel, breakIt: func(w *world) { w.fake.RemoveScopes("channels:read", "groups:read") }, method: ofChannel, unread: true},
		"ChannelUnread":  {p: inChannel, breakIt: says(ofChannel, "fetch_members_failed"), method: ofChannel, unread: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, "http", adaptertest.NewBook(), nil)
			w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Handle: "helpdesk", Users: []string{userOf(0)}})
			w.fake.AddChannel(slacktest.Channel{ID: "C0LEADS", Name: "leads", Members: []string{userOf(0), slacktest.BotUserID}})
			tt.breakIt(w)
			before := w.fake.Count(tt.method)
			for i := range 3 {
				if i > 0 && tt.unread {
					break // a limit would be waited for
				}
				if got, err := w.chat.HasRole(t.Context(), tt.p, w.Actor(i)); got || (err != nil) != tt.unread {
					t.Errorf("Holds(%s, %d) = %v, %v; want nobody, an error: %v", tt.p, i, got, err, tt.unread)
				}
			}
			if n := w.fake.Count(tt.method) - before; !tt.unread && n != 1 {
				t.Errorf("it was asked %d times, want once", n)
			}
		})
	}
}

func TestEditsArePaced(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Pace = slack.Pace{EditBurst: 2, EditsPerMinute: 1, PostBurst: 1, PostsPerSecond: 0.01}
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	m := tickets.Message{Place: w.Place(), ID: id}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 2 {
		if err := w.chat.Edit(ctx, m, tk); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // a refused wait takes nothing from the limit
		if f := tickets.FailureOf(w.chat.Edit(ctx, m, tk)); f.Class != tickets.RateLimited || f.RetryAfter > time.Minute || f.RetryAfter < 50*time.Second {
			t.Errorf("the third edit: %v after %s, want limited for a minute", f, f.RetryAfter)
		}
	}
	if f := tickets.FailureOf(w.chat.Reply(ctx, m, tk, 0, time.Time{})); f.Class != tickets.RateLimited {
		t.Errorf("the second message in the channel: %v, want limited", f)
	}
	if n := w.fake.Count("chat.update"); n != 2 {
		t.Errorf("%d edits, want 2", n)
	}
}

// TestRetryAfterHoldsForOthers: what Slack said to one caller counts for the
// next, of that channel only.
func TestRetryAfterHoldsForOthers(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	w.fake.AddChannel(slacktest.Channel{ID: "C02OTHER", Members: []string{slacktest.BotUserID}})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.Limited, RetryAfter: 20 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 2 {
		_, err := w.chat.Post(ctx, w.Place(), tk, time.Time{})
		if f := tickets.FailureOf(err); f.Class != tickets.RateLimited || f.RetryAfter > 20*time.Second || f.RetryAfter < 15*time.Second {
			t.Errorf("Post() = %v after %s", err, f.RetryAfter)
		}
	}
	if n := w.fake.Count("chat.postMessage"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if _, err := w.chat.Post(ctx, tickets.Place{Platform: slack.Platform, Channel: "C02OTHER"}, tk, time.Time{}); err != nil {
		t.Errorf("the other channel: %v", err)
	}
}

func TestRunUntilSlackTells(t *testing.T) {
	b := adaptertest.NewBook()
	w := prepare(t, "http", b, nil)
	w.fake.Fail(slacktest.Fault{Method: "auth.test", Kind: slacktest.Unavailable})
	if w.chat.Ready() == nil {
		t.Error("ready before Run")
	}
	w.run(b)
	poll(t, "ready", func() bool { return w.chat.Ready() == nil })
	if n := w.fake.Count("auth.test"); n != 2 {
		t.Errorf("%d calls of auth.test, want 2", n)
	}
}

func TestRunStopsForGood(t *testing.T) {
	for _, tt := range []struct{ name, mode, token string }{
		{"invalid_auth", "http", slacktest.BotToken},
		{"token_revoked", "socket", slacktest.BotToken},
		{"token_expired", "socket", slacktest.AppToken},
		{"account_inactive", "socket", slacktest.AppToken},
		{"not_allowed_token_type", "socket", slacktest.AppToken},
		{"missing_scope", "socket", slacktest.AppToken},
	} {
		t.Run(tt.mode+" "+tt.name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := prepare(t, tt.mode, b, nil)
			w.fake.FailToken(tt.token, tt.name)
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			go func() { ended <- w.chat.Run(ctx, b) }()
			err := <-ended
			if err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Fatalf("Run() = %v, want %s", err, tt.name)
			}
			if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("Ready() = %v, want %s", err, tt.name)
			}
		})
	}
}

func TestRunStopsWhenUninstalled(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			if err := w.fake.SendEvent(t.Context(), map[string]any{"type": "tokens_revoked", "tokens": map[string]any{"oauth": []string{"U1"}}}); err != nil {
				t.Fatal(err)
			}
			w.fake.FailToken(slacktest.BotToken, "account_inactive")
			_ = w.fake.SendEvent(t.Context(), map[string]any{"type": "app_uninstalled"}) // its connection may end with it
			err := <-w.ended
			w.ended <- nil
			if err == nil || !strings.Contains(err.Error(), "app_uninstalled") {
				t.Errorf("Run() = %v", err)
			}
			if w.chat.Ready() == nil {
				t.Error("still ready")
			}
		})
	}
}

// TestComesBackWithAnotherToken: what was given up goes on when the token is
// another one.
func TestComesBackWithAnotherToken(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			var now atomic.Value
			now.Store(slacktest.BotToken)
			w := begin(t, mode, b, func(_ *slacktest.Config, c *slack.Config) {
				first := *c
				c.Current = func() slack.Secrets {
					return slack.Secrets{BotToken: now.Load().(string), AppToken: first.AppToken, SigningSecrets: append(first.SigningSecrets, "")}
				}
			})
			w.fake.FailToken(slacktest.BotToken, "token_revoked")
			_ = w.fake.SendEvent(t.Context(), map[string]any{"type": "app_uninstalled"}) // its connection may end with it
			poll(t, "given up", func() bool {
				err := w.chat.Ready()
				return err != nil && strings.Contains(err.Error(), "app_uninstalled")
			})
			w.fake.AddToken("xoxb-2", slacktest.DefaultScopes()...)
			if err := w.chat.Try(t.Context(), slack.Secrets{BotToken: "xoxb-2"}); err != nil {
				t.Errorf("Try() = %v", err)
			}
			if err := w.chat.Try(t.Context(), slack.Secrets{BotToken: slacktest.BotToken}); tickets.FailureOf(err).Class != tickets.Unauthorized {
				t.Errorf("Try() of the revoked one = %v", err)
			}
			now.Store("xoxb-2")
			poll(t, "ready", func() bool { return w.chat.Ready() == nil })
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeniedShowsInReady(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.FailToken(slacktest.BotToken, "token_revoked")
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if f := tickets.FailureOf(err); f.Class != tickets.Unauthorized {
		t.Errorf("Post() = %v, want class denied", err)
	}
	if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "token_revoked") {
		t.Errorf("Ready() = %v", err)
	}
	w.fake.FailToken(slacktest.BotToken, "")
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after it went well", err)
	}
}

// TestNoSecretInErrors makes every call fail in every way, against a Slack
// that answers with the secrets themselves.
func TestNoSecretInErrors(t *testing.T) {
	const token, app, secret = "xoxb-TOPSECRET-bot", "xapp-TOPSECRET-app", "TOPSECRET-signing"
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"error name": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"ok":false,"error":%q}`, token) },
		"needed": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"missing_scope","needed":%q}`, "chat:write "+token)
		},
		"errors": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"invalid_blocks","errors":{"odd":%q}}`, token)
		},
		"pointers": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["%s [json-pointer:/blocks/0]"]}}`, token)
		},
		"html":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "<html>%s</html>", token) },
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusBadGateway) },
		"retry after": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", token)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/?token="+token, http.StatusFound)
		},
		"types": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"ok":%q,"ts":1}`, token) },
		"drop":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(answer))
			defer api.Close()
			log := &adaptertest.Journal{}
			c, err := slack.New(slack.Config{BotToken: token, AppToken: app, SigningSecrets: []string{secret}, APIURL: api.URL + "/api/", Log: logger(log)})
			if err != nil {
				t.Fatal(err)
			}
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			place := tickets.Place{Platform: slack.Platform, Channel: channel}
			m := tickets.Message{Place: place, ID: "1.0"}
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			var errs []error
			note := func(err error) { errs = append(errs, err) }
			_, err = c.Post(ctx, place, tk, time.Time{})
			note(err)
			_, err = c.Post(ctx, place, tk, time.Now())
			note(err)
			note(c.Edit(ctx, m, tk))
			note(c.Reply(ctx, m, tk, 0, time.Time{}))
			_, err = c.HasRole(ctx, tickets.Principal{Platform: slack.Platform, Kind: tickets.Group, ID: "S1"}, tickets.Actor{Platform: slack.Platform, ID: "U1"})
			note(err)
			_, err = c.HasRole(ctx, tickets.Principal{Platform: slack.Platform, Kind: tickets.Channel, ID: "C1"}, tickets.Actor{Platform: slack.Platform, ID: "U1"})
			note(err)
			short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			_ = c.Run(short, adaptertest.NewBook())
			note(c.Ready())
			for i, err := range errs {
				if err == nil {
					t.Errorf("call %d works", i)
				} else if s := fmt.Sprintf("%v %+v", err, tickets.FailureOf(err).UserMessage); strings.Contains(s, "TOPSECRET") {
					t.Errorf("call %d: %s", i, s)
				}
			}
			if strings.Contains(log.String(), "TOPSECRET") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestTransportSeesEveryCall(t *testing.T) {
	var methods sync.Map
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			methods.Store(r.URL.Path, true)
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/api/auth.test", "/api/chat.postMessage", "/api/conversations.history"} {
		if _, ok := methods.Load(want); !ok {
			t.Errorf("%s was not seen", want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// handler is a Handler made of functions.
type handler struct {
	click   func(context.Context, adapters.Click) adapters.Answer
	submit  func(context.Context, adapters.Submission) adapters.Answer
	command func(context.Context, adapters.Command) adapters.Answer

	configure func(context.Context, adapters.Configuration) adapters.Answer
	complete  func(context.Context, adapters.Completion) adapters.Suggestions
	home      func(context.Context, tickets.Actor) adapters.Answer
}

func (h handler) Click(ctx context.Context, c adapters.Click) adapters.Answer { return h.click(ctx, c) }
func (h handler) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	return h.submit(ctx, s)
}
func (h handler) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	return h.configure(ctx, c)
}
func (h handler) Autocomplete(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	return h.complete(ctx, c)
}
func (h handler) Home(ctx context.Context, a tickets.Actor) adapters.Answer { return h.home(ctx, a) }
func (h handler) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	return h.command(ctx, c)
}

// payloadOf is the interaction in a delivery of either kind.
func payloadOf(t *testing.T, d slacktest.Delivery) json.RawMessage {
	t.Helper()
	if d.Via == "http" {
		v, err := url.ParseQuery(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(v.Get("payload"))
	}
	var env struct{ Payload json.RawMessage }
	if err := json.Unmarshal([]byte(d.Body), &env); err != nil {
		t.Fatal(err)
	}
	return env.Payload
}

func TestIdentify(t *testing.T) {
	b := adaptertest.NewBook()
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.AddUser(slacktest.User{ID: userOf(0), Name: "jane", RealName: "Jane Doe", Email: "jdoe@acme.com"})
	check := func(email string) {
		t.Helper()
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		want := tickets.Identity{Emails: []string{email}, Names: []string{"jane", "Jane Doe"}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Identify() = %+v, %v; want %+v", got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check("jdoe@acme.com") })
	}
	all.Wait()
	if n := w.fake.Count("users.info") - 1; n != 1 {
		t.Errorf("the user was asked for %d times, want 1", n)
	}
	w.fake.AddUser(slacktest.User{ID: userOf(0), Name: "jane", RealName: "Jane Doe", Email: "jane@acme.com"})
	check("jdoe@acme.com")
	ahead.Add(int64(61 * time.Second))
	check("jane@acme.com")

	// What is not told is an error, and asked again.
	for name, breaks := range map[string]func() (mend func()){
		"NoEmailScope": func() func() {
			w.fake.RemoveScopes("users:read.email")
			return func() { w.fake.AddScopes("users:read.email") }
		},
		"NoScope": func() func() {
			w.fake.RemoveScopes("users:read")
			return func() { w.fake.AddScopes("users:read") }
		},
		"NoUser": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.SlackError, ErrorName: "user_not_found"})
			return func() {}
		},
		"Empty": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.NoTS})
			return func() {}
		},
		"Portal": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.CaptivePortal})
			return func() {}
		},
	} {
		ahead.Add(int64(61 * time.Second))
		mend := breaks()
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		mend()
		if err == nil {
			t.Errorf("%s: Identify() = %+v, want an error", name, got)
		} else if strings.Contains(err.Error(), "acme") || name == "NoEmailScope" && !strings.Contains(err.Error(), "users:read.email") {
			t.Errorf("%s: Identify() = %v; want what to do, and nobody's data", name, err)
		}
		check("jane@acme.com")
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("not ready because of one profile: %v", err)
	}
}
