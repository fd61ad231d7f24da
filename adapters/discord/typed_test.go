package discord_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// replaced ends the chat, and has another process take its place.
func (w *world) replaced(h adapters.Handler) {
	w.t.Helper()
	w.stop()
	<-w.over
	w.over = make(chan struct{})
	var err error
	if w.chat, err = discord.New(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	if w.bot != "" {
		mux := http.NewServeMux()
		for path, handler := range w.chat.Endpoints(h) {
			mux.Handle(path, handler)
		}
		server := httptest.NewServer(mux)
		w.t.Cleanup(server.Close)
		if err := w.fake.SetInteractionsURL(w.t.Context(), server.URL+"/discord/interactions"); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run(h)
	w.poll("ready", func() bool { return w.chat.Ready() == nil })
}

// TestTypedReachesAnotherProcess: whatever asks somebody to try again keeps what
// they typed, also when the process that they tell next is another one, and asks
// them once more.
func TestTypedReachesAnotherProcess(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			var away atomic.Bool
			no := adapters.Note{Text: "I cannot reach my store, please try again", Retryable: true}
			h := handler{
				click: func(ctx context.Context, c adapters.Click) adapters.Answer {
					if away.Load() {
						return no
					}
					return b.Click(ctx, c)
				},
				submit: func(ctx context.Context, s adapters.Submission) adapters.Answer {
					if away.Load() {
						return no
					}
					return b.Submit(ctx, s)
				},
			}
			w := begin(t, mode, h, nil)
			tk, card := posted(t, b, w)
			p := w.fake.Person(userOf(0))
			if err := w.Click(t.Context(), 0, card, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			away.Store(true)
			typed := map[string]string{"reason": "for the ```patch``` window", "unit": "minutes", "amount": "30"}
			id, custom, text := w.mistaken(0, typed)
			if !strings.Contains(text, no.Text) {
				t.Errorf("told %q", text)
			}
			w.replaced(h) // nothing that the first one remembered is left
			for range 2 {
				if err := p.ClickEphemeral(t.Context(), id, custom); err != nil {
					t.Fatal(err)
				}
				if _, open := p.Modal(); open {
					t.Error("a form opened while the store is away")
				}
				if text := w.Notes(0)[0]; !strings.Contains(text, no.Text) || !strings.Contains(text, "window") {
					t.Errorf("told %q, want to be told to try again, and what was typed", text)
				}
			}
			away.Store(false)
			if got := w.reopens(0, id, custom); fmt.Sprint(got) != fmt.Sprint(typed) {
				t.Errorf("the form holds %q, want %q", got, typed)
			}
			if err := p.Submit(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if d := tk.Decision; d == nil || d.Reason != typed["reason"] || d.Duration != tickets.Lasting(30*time.Minute) {
				t.Errorf("the decision is %+v", d)
			}
		})
	}
}

// TestBusyKeepsTheForm: a form for which nobody has time is not lost.
func TestBusyKeepsTheForm(t *testing.T) {
	t.Parallel()
	b := &slow{Book: adaptertest.NewBook(), begun: make(chan struct{}, 10), hold: make(chan struct{})}
	w := begin(t, "gateway", b, func(_ *discordtest.Config, c *discord.Config) { c.Workers = 2 })
	_, id := posted(t, b.Book, w)
	clicked := make(chan error, 3)
	click := func(i int) { clicked <- w.Click(t.Context(), i, id, adapters.ActionApprove) }
	go click(1)
	<-b.begun
	b.hold <- struct{}{}
	if err := <-clicked; err != nil {
		t.Fatal(err)
	}
	go click(0)
	<-b.begun
	for working := false; !working; { // the worker may still be at the end of the click before
		go click(2)
		select {
		case <-b.begun:
			working = true
		case <-clicked:
		}
	}
	_, _, text := w.mistaken(1, map[string]string{"reason": "for the patch window", "unit": "once", "amount": ""})
	if !strings.Contains(text, wording.MsgBusy) || !strings.Contains(text, "for the patch window") {
		t.Errorf("told %q, want to be told to try again, and what was typed", text)
	}
	close(b.hold)
	for range 2 {
		if err := <-clicked; err != nil {
			t.Error(err)
		}
	}
}
