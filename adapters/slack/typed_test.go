package slack_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// forms is a Handler that opens both forms.
func forms(tk *tickets.Ticket) handler {
	return handler{
		click: func(context.Context, adapters.Click) adapters.Answer {
			return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
		},
		command: func(context.Context, adapters.Command) adapters.Answer {
			return adapters.Settings{Version: 7, Fields: []adapters.Setting{
				{Key: "category", Label: "Category"},
				{Key: "auto_close", Label: "Auto close", Options: []string{"true", "false"}, Value: "false"},
				{Key: "active_states", Label: "Active states", Options: []string{"New", "On Hold", "Closed"}, Many: true, Value: "New"},
			}}
		},
	}
}

// restarts has another process take what people do, which is still starting:
// it does not know yet who it is.
func (w *world) restarts(t *testing.T, h adapters.Handler) {
	t.Helper()
	cfg := slack.Config{BotToken: slacktest.BotToken, SigningSecrets: []string{slacktest.SigningSecret}, APIURL: w.fake.URL(), Log: logger(&adaptertest.Journal{})}
	c, err := slack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, endpoint := range c.Endpoints(h) {
		mux.Handle(path, endpoint)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	w.fake.SetURLs(slacktest.URLs{Interactions: srv.URL + "/slack/interactions", Commands: srv.URL + "/slack/commands", Events: srv.URL + "/slack/events"})
}

// TestStartingKeepsTheForm: who sends a form, or changes its unit, while the bot
// is starting finds it as it was, and what was typed in it.
func TestStartingKeepsTheForm(t *testing.T) {
	t.Parallel()
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
	h := forms(tk)
	w := begin(t, "http", h, nil)
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Command(t.Context(), 2, "config"); err != nil {
		t.Fatal(err)
	}
	ann, grace := w.fake.Person(userOf(1)), w.fake.Person(userOf(2))
	poll(t, "the forms", func() bool {
		_, a := ann.View()
		_, b := grace.View()
		return a && b
	})
	w.restarts(t, h)
	if err := ann.Type("reason", "for the patch window"); err != nil {
		t.Fatal(err)
	}
	if err := ann.Act(t.Context(), "unit", "hours"); err != nil {
		t.Fatal(err)
	}
	errs, err := ann.Submit(t.Context(), nil)
	if err != nil || errs["reason"] != wording.MsgStarting {
		t.Errorf("Submit() = %v, %v; want the reason marked with %q", errs, err, wording.MsgStarting)
	}
	if v, open := ann.View(); !open || v.Typed["reason"] != "for the patch window" || v.Typed["unit"] != "hours" {
		t.Errorf("the form is %+v, want it with what was typed", v)
	}
	errs, err = grace.Submit(t.Context(), map[string]string{"category@7": "Hardware"})
	if err != nil || len(errs) != 1 || !strings.Contains(errs["active_states@7"], wording.MsgStarting) {
		t.Errorf("Submit() = %v, %v; want the first field marked with %q", errs, err, wording.MsgStarting)
	}
	if v, open := grace.View(); !open || v.Typed["category@7"] != "Hardware" {
		t.Errorf("the form of the settings is %+v, want it with what was typed", v)
	}
}

// TestUnitOfAFormThatCannotBeChanged: a form stays while the store, say, cannot
// be asked.
func TestUnitOfAFormThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
	h := forms(tk)
	open := h.click
	h.click = func(ctx context.Context, c adapters.Click) adapters.Answer {
		if c.Action == adapters.ActionForm {
			return adapters.Note{Text: "away", Retryable: true}
		}
		return open(ctx, c)
	}
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			w := begin(t, mode, h, nil)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			p := w.fake.Person(userOf(1))
			poll(t, "the form", func() bool { _, is := p.View(); return is })
			if err := p.Type("reason", "mine"); err != nil {
				t.Fatal(err)
			}
			if err := p.Act(t.Context(), "unit", "hours"); err != nil {
				t.Fatal(err)
			}
			// What follows an answer would have been done by the next one.
			if err := w.Click(t.Context(), 2, id, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			if v, is := p.View(); !is || v.CallbackID != "approve" || v.Typed["reason"] != "mine" {
				t.Errorf("the form is %+v", v)
			}
		})
	}
}

// TestSettingsThatCannotBeSavedLate: an answer that comes late, and asks to try
// again, finds the form as it was sent.
func TestSettingsThatCannotBeSavedLate(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			h := forms(nil)
			var sent []map[string]string
			h.configure = func(_ context.Context, c adapters.Configuration) adapters.Answer {
				sent = append(sent, c.Values)
				<-release
				return adapters.Note{Text: "The store <is> away, please try again", Retryable: true}
			}
			w := begin(t, mode, h, slacksDeadlines)
			if _, err := w.Command(t.Context(), 2, "config"); err != nil {
				t.Fatal(err)
			}
			p := w.fake.Person(userOf(2))
			poll(t, "the form", func() bool { _, is := p.View(); return is })
			typed := map[string]string{"category@7": "Hardware", "auto_close@7": "true", "active_states@7": "New,Closed"}
			if errs, err := p.Submit(t.Context(), typed); err != nil || len(errs) > 0 {
				t.Fatalf("Submit() = %v, %v", errs, err)
			}
			if v, _ := p.View(); !strings.Contains(string(v.Blocks), wording.MsgMoment) {
				t.Fatalf("the view is %s, want to be told to wait", v.Blocks)
			}
			close(release)
			poll(t, "the form again", func() bool { v, is := p.View(); return is && v.CallbackID == "settings" })
			v, _ := p.View()
			if !strings.Contains(string(v.Blocks), "please try again") || v.Typed["category@7"] != "Hardware" || v.Typed["auto_close@7"] != "true" || v.Title != "Settings" {
				t.Errorf("the form is %+v: %s", v, v.Blocks)
			}
			// Twice: the sentence above it does not pile up.
			if errs, err := p.Submit(t.Context(), nil); err != nil || len(errs) != 1 {
				t.Fatalf("Submit() = %v, %v", errs, err)
			}
			if len(sent) != 2 || sent[1]["category"] != "Hardware" || sent[1]["auto_close"] != "true" || strings.ReplaceAll(sent[1]["active_states"], " ", "") != "New,Closed" {
				t.Errorf("sent: %v", sent)
			}
		})
	}
}
