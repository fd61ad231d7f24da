package slack_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// TestSocketTraps: whatever comes over the socket is acknowledged, and the
// next click works.
func TestSocketTraps(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "socket", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.fake.SendEvent(t.Context(), map[string]any{"type": "event_of_tomorrow"}); err != nil {
		t.Errorf("an unknown event: %v", err)
	}
	for kind, payload := range map[string]string{
		"envelope_of_tomorrow": `{"x":1}`, "interactive": `{"type":"block_actions","user":7}`, "slash_commands": `"odd"`, "events_api": `[]`,
	} {
		if _, err := w.fake.SendEnvelope(t.Context(), kind, json.RawMessage(payload)); err != nil {
			t.Errorf("%s %s: %v", kind, payload, err)
		}
	}
	w.fake.SendText("this is no JSON")
	w.fake.SendText(`{"type":"events_api"}`)
	w.fake.SendText(`7`)

	// A message in which another app's element stands, which the library
	// cannot decode: the click works all the same.
	click := `{"type":"block_actions","api_app_id":"A01APP","team":{"id":"T01TEAM"},"user":{"id":"` + userOf(3) + `","team_id":"T01TEAM"},
		"container":{"type":"message","message_ts":"` + id + `","channel_id":"C01EPM"},"channel":{"id":"C01EPM"},
		"message":{"ts":"1","blocks":[{"type":"actions","elements":[{"type":"element_of_tomorrow"}]}]},
		"actions":[{"type":"button","action_id":"approve","value":"JIT-99","action_ts":"1.1"}]}`
	if _, err := w.fake.SendEnvelope(t.Context(), "interactive", json.RawMessage(click)); err != nil {
		t.Fatal(err)
	}
	poll(t, "a note", func() bool { return len(w.Notes(3)) == 1 })

	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil || w.Screen(0) == "" {
		t.Errorf("the click afterwards: %v", err)
	}
}

func TestSocketComesBack(t *testing.T) {
	for name, cut := range map[string]func(w *world){
		"refresh": func(w *world) { w.fake.Refresh("refresh_requested") },
		"warning": func(w *world) { w.fake.Refresh("warning") },
		"cut":     func(w *world) { w.fake.CutSockets() },
		"outage":  func(w *world) { w.fake.SetDown(true); w.fake.SetDown(false) },
	} {
		t.Run(name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, "socket", b, func(c *slacktest.Config, _ *slack.Config) { c.WarnAhead = 50 * time.Millisecond })
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			opened := w.fake.Count("apps.connections.open")
			cut(w)
			poll(t, "another connection", func() bool { return w.fake.Count("apps.connections.open") > opened && w.fake.Sockets() == 1 })
			poll(t, "a form", func() bool {
				_ = w.Click(t.Context(), 0, id, adapters.ActionApprove) // the first may go to the socket that ends
				return w.Screen(0) != ""
			})
			if err := w.chat.Ready(); err != nil {
				t.Errorf("Ready() = %v during a refresh", err)
			}
		})
	}
}

// holding takes one click on tk, and answers it when release is closed.
func holding(tk *tickets.Ticket) (h handler, begun, release chan struct{}) {
	begun, release = make(chan struct{}), make(chan struct{})
	h.click = func(context.Context, adapters.Click) adapters.Answer {
		close(begun)
		<-release
		return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
	}
	return h, begun, release
}

// TestSocketEndsWhileAnswering: what came over a connection is acknowledged,
// whatever happens to that before the answer is known.
func TestSocketEndsWhileAnswering(t *testing.T) {
	const renewed = "xapp-renewed"
	for name, tc := range map[string]struct {
		end      func(w *world)
		hangsUp  bool
		anywhere bool
	}{
		"refresh": {end: func(w *world) { w.fake.Refresh("refresh_requested") }},
		"warning": {end: func(w *world) { w.fake.Refresh("warning") }},
		"revoked": {end: func(w *world) { w.fake.RevokeAppToken(slacktest.AppToken) }},
		// Slack is not known to take it: what can be done is done.
		"cut":      {end: func(w *world) { w.fake.CutSockets() }, anywhere: true},
		"hangs up": {end: func(w *world) { w.fake.Refresh("refresh_requested") }, hangsUp: true, anywhere: true},
	} {
		t.Run(name, func(t *testing.T) {
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			h, begun, release := holding(tk)
			var token atomic.Value
			token.Store(slacktest.AppToken)
			w := begin(t, "socket", h, func(f *slacktest.Config, c *slack.Config) {
				f.WarnAhead, f.HangsUp, f.AckAnywhere = 50*time.Millisecond, tc.hangsUp, tc.anywhere
				c.Current = func() slack.Secrets {
					return slack.Secrets{BotToken: slacktest.BotToken, AppToken: token.Load().(string)}
				}
			})
			done := w.clickUnderWay(t, tk, begun)
			if name == "revoked" {
				w.fake.AddAppToken(renewed)
				token.Store(renewed)
				poll(t, "a connection with the new token", func() bool { return w.fake.Sockets() == 2 })
			}
			connected := strings.Count(w.log.String(), "socket mode is connected")
			tc.end(w)
			if name != "revoked" {
				poll(t, "another connection", func() bool { return strings.Count(w.log.String(), "socket mode is connected") > connected })
			}
			poll(t, "the end of the first", func() bool { return w.fake.Sockets() == 1 })
			close(release)
			if err := <-done; err != nil || w.Screen(0) == "" {
				t.Errorf("the click: %v, form %q", err, w.Screen(0))
			}
		})
	}
}

// TestSocketWarnsBeforeItEnds: a connection of which Slack says that it will
// end goes on until there is another one, and no click fails.
func TestSocketWarnsBeforeItEnds(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "socket", b, func(c *slacktest.Config, _ *slack.Config) { c.WarnAhead = time.Second })
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Fail(slacktest.Fault{Method: "apps.connections.open", Kind: slacktest.Slow, Did: true, Delay: 100 * time.Millisecond})
	w.fake.Refresh("warning")
	poll(t, "another connection", func() bool {
		if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
			t.Error(err)
		}
		return strings.Count(w.log.String(), "socket mode is connected") == 2
	})
	poll(t, "the end of the first", func() bool { return w.fake.Sockets() == 1 })
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Error(err)
	}
}

func TestSocketNotReadyWhenAway(t *testing.T) {
	var ahead atomic.Int64
	now := time.Now()
	b := adaptertest.NewBook()
	w := begin(t, "socket", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.Fail(slacktest.Fault{Method: "apps.connections.open", Kind: slacktest.Unavailable, Times: -1})
	w.fake.CutSockets()
	poll(t, "a try", func() bool { return w.fake.Count("apps.connections.open") > 1 })
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after a moment", err)
	}
	ahead.Store(int64(time.Minute))
	if err := w.chat.Ready(); err == nil {
		t.Error("ready without a connection")
	}
}

// TestSocketRetriesAreTaken: what was sent while no socket was open comes only
// as a retry.
func TestSocketRetriesAreTaken(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "socket", b, func(c *slacktest.Config, _ *slack.Config) {
		c.RetryDelays = []time.Duration{0, 300 * time.Millisecond, time.Second}
		c.AckWait = 200 * time.Millisecond
	})
	w.fake.Fail(slacktest.Fault{Method: "apps.connections.open", Kind: slacktest.Unavailable, Times: 1})
	w.fake.CutSockets()
	poll(t, "no socket", func() bool { return w.fake.Sockets() == 0 })
	w.fake.FailToken(slacktest.BotToken, "account_inactive")
	_ = w.fake.SendEvent(t.Context(), map[string]any{"type": "app_uninstalled"}) // nobody hears it
	err := <-w.ended
	w.ended <- nil
	if err == nil || !strings.Contains(err.Error(), "app_uninstalled") {
		t.Errorf("Run() = %v", err)
	}
}

// TestLargeAnswers: an acknowledgement has room for 20 KiB.
func TestLargeAnswers(t *testing.T) {
	big := strings.Repeat("&<😀>", 2000)
	tk := adaptertest.NewBook().Add(1042, adaptertest.Hostile(), tickets.Place{})
	h := handler{
		click: func(context.Context, adapters.Click) adapters.Answer {
			return adapters.Form{Ticket: tk, Verdict: tickets.Deny}
		},
		submit:  func(context.Context, adapters.Submission) adapters.Answer { return adapters.Details{Ticket: tk} },
		command: func(context.Context, adapters.Command) adapters.Answer { return adapters.Note{Text: big} },
	}
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			// What follows an answer must not be overtaken by it.
			w := begin(t, mode, h, func(fake *slacktest.Config, _ *slack.Config) { fake.AnswerLag = 250 * time.Millisecond })
			p := w.fake.Person(userOf(0))
			a, err := p.Command(t.Context(), "/epm", "status")
			if err != nil {
				t.Fatal(err)
			}
			poll(t, "the answer", func() bool { return a.Text != "" || len(p.Ephemerals()) == 1 })
			if got := w.Notes(0)[0]; !strings.HasPrefix(got, "&<😀>&<😀>") {
				t.Errorf("the answer is %.100q", got)
			}
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Click(t.Context(), 0, id, adapters.ActionDeny); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Submit(t.Context(), map[string]string{"reason": "x"}); err != nil {
				t.Fatal(err)
			}
			poll(t, "the details", func() bool { return strings.Contains(w.Screen(0), "field49") })
		})
	}
}

// TestBusy: with all workers at work nobody waits in silence.
func TestBusy(t *testing.T) {
	release := make(chan struct{})
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
	var slow atomic.Bool
	var waiting atomic.Int64
	h := handler{
		click: func(context.Context, adapters.Click) adapters.Answer {
			if slow.Load() {
				waiting.Add(1)
				<-release
			}
			return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
		},
	}
	w := begin(t, "socket", h, func(_ *slacktest.Config, c *slack.Config) { c.Workers = 1 })
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil && waiting.Load() == 0 { // the worker may still be at the end of the click before
			err = w.Click(t.Context(), 0, id, adapters.ActionApprove)
		}
		done <- err
	}()
	poll(t, "the first click", func() bool { return waiting.Load() == 1 })

	errs, err := w.fake.Person(userOf(1)).Submit(t.Context(), map[string]string{"reason": "ok"})
	if err != nil || errs["reason"] != wording.MsgBusy {
		t.Errorf("Submit() = %v, %v", errs, err)
	}
	if got, err := w.Command(t.Context(), 2, "status"); err != nil || got != "" {
		t.Errorf("Command() = %q, %v", got, err)
	}
	if a := w.fake.Person(userOf(2)).Ephemerals(); len(a) != 1 || a[0].Text != wording.MsgBusy {
		t.Errorf("the command was answered with %+v", a)
	}
	if err := w.Click(t.Context(), 3, id, adapters.ActionApprove); err != nil {
		t.Error(err)
	}
	poll(t, "a note", func() bool { return len(w.Notes(3)) == 1 })
	if got := w.Notes(3)[0]; got != wording.MsgBusy {
		t.Errorf("told %q", got)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// clickUnderWay posts tk and has it clicked, and returns when the bot works on
// that; what becomes of the click is told later.
func (w *world) clickUnderWay(t *testing.T, tk *tickets.Ticket, begun <-chan struct{}) <-chan error {
	t.Helper()
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Click(t.Context(), 0, id, adapters.ActionApprove) }()
	<-begun
	return done
}

// TestStopAnswersWhatHasBegun: a click that is being worked on when the
// program stops still opens its form.
func TestStopAnswersWhatHasBegun(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			h, begun, release := holding(tk)
			w := begin(t, mode, h, nil)
			done := w.clickUnderWay(t, tk, begun)
			w.stop()
			select {
			case <-w.ended:
				t.Fatal("Run did not wait")
			case <-time.After(400 * time.Millisecond): // long enough to end, if nothing were owed
			}
			close(release)
			if err := <-done; err != nil || w.Screen(0) == "" {
				t.Errorf("the click: %v, form %q", err, w.Screen(0))
			}
			if err := <-w.ended; err != nil {
				t.Errorf("Run() = %v", err)
			}
			w.ended <- nil
		})
	}
}
