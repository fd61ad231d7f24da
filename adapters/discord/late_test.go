package discord_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/wording"
)

// slowly is a Handler whose commands end with their context.
var slowly = handler{command: func(ctx context.Context, c adapters.Command) adapters.Answer {
	<-ctx.Done()
	return adapters.Note{Text: "You said: " + c.Text}
}}

// TestStopHurriesCommands: one that does not end holds up nobody for long, and
// the person is told.
func TestStopHurriesCommands(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := begin(t, mode, slowly, func(_ *discordtest.Config, c *discord.Config) {
				c.Drain, c.AnswerTime = 100*time.Millisecond, chatkit.AnswerTime
			})
			told := make(chan string, 1)
			go func() {
				said, err := w.Command(t.Context(), 0, "status")
				if err != nil {
					t.Error(err)
				}
				told <- said
			}()
			w.poll("a word that it takes a moment", func() bool { return w.Waits(0) })
			w.stop()
			<-w.over
			if said := <-told; said != wording.MsgStopping {
				t.Errorf("told %q, want that the program stops", said)
			}
		})
	}
}

// TestPagesArePrivate: a click on a message that others see too, such as a card
// to which somebody gave a button of ours, shows them nothing of the answer.
func TestPagesArePrivate(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, nil)
	_, id := posted(t, b, w)
	before := w.Cards()[0].Text
	for i, text := range []string{"tickets", "something else"} {
		if err := w.fake.Person(userOf(0)).ClickRaw(t.Context(), channel, id, "older:"+text); err != nil {
			t.Fatal(err)
		}
		w.poll("an answer", func() bool { return len(w.Notes(0)) == i+1 })
		if got := w.Notes(0)[i]; !strings.Contains(got, "You said: "+text) {
			t.Errorf("told %q", got)
		}
	}
	if after := w.Cards()[0].Text; after != before {
		t.Errorf("the card shows\n%s", after)
	}
}

// TestLateAnswerIsRefused: words stand in for an answer that Discord does not
// take, and a form cannot follow another answer.
func TestLateAnswerIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer adapters.Answer
		fault  discordtest.Fault
		want   string
	}{
		"Form":    {adapters.Form{}, discordtest.Fault{Method: "NONE"}, wording.MsgAgain},
		"Invalid": {adapters.Note{Text: "x"}, discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.DiscordError, Code: 50035}, "Discord did not take Countersign's answer. Please look at the request's message, and tell your admin if this happens again"},
		"Limited": {adapters.Note{Text: "x"}, discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.Limited, Times: 2}, "x"},
		"Down":    {adapters.Note{Text: "x"}, discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.ServerError, Times: 3, Did: true}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold := make(chan struct{})
			h := handler{command: func(context.Context, adapters.Command) adapters.Answer { <-hold; return c.answer }}
			w := begin(t, "gateway", h, discordsDeadlines)
			go func() {
				defer close(hold)
				w.poll("a word that it takes a moment", func() bool { return w.Waits(0) })
				w.fake.Fail(c.fault)
			}()
			said, err := w.Command(t.Context(), 0, "status")
			if err != nil || said != c.want {
				t.Errorf("told %q, %v; want %q", said, err, c.want)
			}
			if all := w.Notes(0); len(all) != 1 {
				t.Errorf("told %q, want one answer", all)
			}
		})
	}
}

// TestSuggestionsAreInTime: late ones, and those for people of other servers,
// are none. Discord takes no words in their place.
func TestSuggestionsAreInTime(t *testing.T) {
	t.Parallel()
	h := handler{complete: func(ctx context.Context, _ adapters.Completion) adapters.Suggestions {
		<-ctx.Done()
		return adapters.Suggestions{{Text: "late", Value: "late"}}
	}}
	w := begin(t, "http", h, discordsDeadlines)
	begun := time.Now()
	_, err := w.Complete(t.Context(), 0, "ticket", "number", "", nil)
	if took := time.Since(begun); err != nil || took < time.Second {
		t.Errorf("Complete() = %v after %s", err, took)
	}
	for name, guild := range map[string]string{"Stranger": "1100000000000000999", "Nobody": ""} {
		body := `{"id":"12000000000000007` + fmt.Sprint(10+len(guild)) + `","application_id":"` + discordtest.ApplicationID + `","type":4,"token":"x","version":1,"guild_id":"` + guild + `","channel_id":"` + channel +
			`","member":{"user":{"id":"` + userOf(0) + `"},"roles":[]},"data":{"name":"epm","type":1,"options":[{"type":1,"name":"ticket","options":[{"type":3,"name":"number","value":"J","focused":true}]}]}}`
		status, answer, err := w.fake.Deliver(t.Context(), discordtest.RawDelivery{Body: body})
		if err != nil || status != http.StatusOK || strings.TrimSpace(answer) != `{"type":8,"data":{"choices":[]}}` {
			t.Errorf("%s: status %d, %s, %v; want no choices", name, status, answer, err)
		}
	}
}

// TestPictureIsRefused: the words are there all the same, and the operator
// reads why there is no picture.
func TestPictureIsRefused(t *testing.T) {
	t.Parallel()
	w := begin(t, "http", adaptertest.NewBook(), nil)
	w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Route: routeFollowUp, Kind: discordtest.DiscordError, Status: http.StatusForbidden, Code: 50013})
	if said, err := w.Command(t.Context(), 0, "report"); err != nil || said != "You said: report" {
		t.Errorf("told %q, %v", said, err)
	}
	w.poll("the reason", func() bool { return strings.Contains(w.log.String(), "send follow-up response") })
	if alts, _ := w.Pictures(0); len(alts) > 0 || len(w.Notes(0)) != 1 {
		t.Errorf("shown %q and %q", alts, w.Notes(0))
	}
}

// TestSlowCommandsHoldNoPlace: however many commands wait for an answer that
// comes late, a click is worked on.
func TestSlowCommandsHoldNoPlace(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	h := handler{
		click: func(context.Context, adapters.Click) adapters.Answer { return adapters.Note{Text: "worked on"} },
		command: func(ctx context.Context, _ adapters.Command) adapters.Answer {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return adapters.Note{Text: "late"}
		},
	}
	w := begin(t, "gateway", h, func(_ *discordtest.Config, c *discord.Config) { c.AnswerTime, c.Workers = chatkit.AnswerTime, 2 })
	_, id := posted(t, adaptertest.NewBook(), w)
	for i := range 2 {
		go func() {
			_, _ = w.Command(t.Context(), i, "status") // which ends with the test
		}()
		w.poll("a word that it takes a moment", func() bool { return w.Waits(i) })
	}
	w.poll("a click that is worked on", func() bool { // a worker may still be at the end of a command
		if err := w.Click(t.Context(), 5, id, adapters.ActionApprove); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(w.Notes(5), "worked on")
	})
	if !w.Waits(0) || !w.Waits(1) {
		t.Error("the click was worked on when the commands were over")
	}
}
