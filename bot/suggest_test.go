package bot_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

func (w *world) suggested(by tickets.Actor, word, arg, typed string, given ...string) []string {
	w.t.Helper()
	c := adapters.Completion{Actor: by, Place: place, Word: word, Arg: arg, Typed: typed, Given: map[string]string{}}
	for pair := range slices.Chunk(given, 2) {
		c.Given[pair[0]] = pair[1]
	}
	var values []string
	for _, one := range w.bot.Autocomplete(w.t.Context(), c) {
		values = append(values, one.Value)
	}
	return values
}

func TestComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	var all []tickets.Number
	for _, id := range []string{"a", "b", "c"} {
		all = append(all, w.ask(id))
	}
	if _, ok := w.approve(all[2], bob, twoHours).(adapters.Done); !ok {
		t.Fatal("not decided")
	}
	w.until(all[2], "decided", func(t *tickets.Ticket) bool { return t.Progress() != tickets.Pending })
	failed := tickets.Incoming{ID: "f0f1f2f3f4", At: time.Now(), Error: "it is not JSON"}
	if _, _, err := w.store.Accept(t.Context(), failed, nil); err != nil {
		t.Fatal(err)
	}
	newestPending := string(all[1]) + " " + string(all[0]) + " " + string(all[2])
	for _, tt := range []struct {
		name string
		got  []string
		want string
	}{
		{"PendingFirst", w.suggested(sam, "ticket", "number", ""), newestPending},
		{"ByNumber", w.suggested(ann, "state", "number", strings.ToLower(string(all[0]))), string(all[0])},
		{"BySubject", w.suggested(sam, "ticket", "number", "7-zip"), newestPending},
		{"ByNothing", w.suggested(sam, "ticket", "number", "nothing"), ""},
		{"StatesOfTheTicket", w.suggested(ann, "state", "state", "", "number", strings.ToLower(string(all[0]))), "In Progress|On Hold|Resolved|Closed|Cancelled"},
		{"StatesOfNoTicket", w.suggested(ann, "state", "state", "n", "number", "JIT-9"), "New|In Progress|On Hold|Cancelled"},
		{"StatesToList", w.suggested(sam, "tickets", "state", "su"), "submitting|submitted"},
		{"Keys", w.suggested(ann, "config", "value", "", "action", "set", "key", "auto_close"), "true|false"},
		{"CommaList", w.suggested(ann, "config", "value", "new, On", "action", "set", "key", "active_states"), "new, On Hold"},
		{"WhatIsSet", w.suggested(ann, "config", "value", "", "action", "set", "key", "approvers"), "chat:U1, chat:U2"},
		{"ListOfFields", w.suggested(ann, "config", "value", "reason, us", "action", "set", "key", "fields"), "reason, user"},
		{"ResetAll", w.suggested(ann, "config", "value", "", "action", "reset"), "yes"},
		{"ResetOne", w.suggested(ann, "config", "value", "", "action", "reset", "key", "category"), ""},
		{"StrangerReset", w.suggested(bob, "config", "value", "", "action", "reset"), ""},
		{"NoAction", w.suggested(ann, "config", "value", "", "key", "approvers"), ""},
		{"NoKey", w.suggested(ann, "config", "value", "", "action", "set", "key", "dance"), ""},
		{"Failed", w.suggested(ann, "incoming", "id", "f0", "action", "replay"), "f0f1f2f3f4"},
		{"FailedOthers", w.suggested(ann, "incoming", "id", "e", "action", "replay"), ""},
		{"NoWord", w.suggested(ann, "dance", "number", ""), ""},
		// Whoever may not use the word learns nothing.
		{"StrangerStates", w.suggested(sam, "state", "state", "", "number", string(all[0])), ""},
		{"StrangerNumbers", w.suggested(bob, "state", "number", ""), ""},
		{"StrangerSettings", w.suggested(bob, "config", "value", "", "action", "set", "key", "approvers"), ""},
		{"StrangerIncoming", w.suggested(sam, "incoming", "id", "", "action", "replay"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sep := "|"
			if strings.HasPrefix(tt.want, "JIT-") {
				sep = " "
			}
			if got := strings.Join(tt.got, sep); got != tt.want {
				t.Errorf("suggested %q, want %q", got, tt.want)
			}
		})
	}
}

// What cannot be found out is not suggested.
func TestCompleteWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admins = []tickets.Principal{{Platform: "chat", Kind: tickets.Group, ID: "G1"}}
	w.chat.holds = func(tickets.Principal, tickets.Actor) (bool, error) { return true, errors.New("away") }
	w.start()
	if got := w.suggested(ann, "config", "value", "", "action", "set", "key", "auto_close"); len(got) > 0 {
		t.Errorf("suggested %q to somebody who may be no admin", got)
	}
	w.ask("a")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if got := w.bot.Autocomplete(over, adapters.Completion{Actor: ann, Word: "ticket", Arg: "number"}); len(got) > 0 {
		t.Errorf("suggested %v when the time was over", got)
	}
}
