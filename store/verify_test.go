package store_test

import (
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// What a newer version noted of a decision or an outcome is in the hash of an
// event that this one makes of it.
func TestChainCoversNewerFields(t *testing.T) {
	const (
		head     = `{"v":1,"number":"JIT-1001","type":"Access Request","state":"New","active":true,"created":"2026-01-31T13:05:00Z","id":"a","rev":2,"request":{"id":"a","kind":"admin"},`
		decision = `{"verdict":"approve","reason":"r","duration":"once","by":{"platform":"slack","id":"U1","x_team":"t"},"at":"2026-01-31T13:05:00Z","place":{"platform":"slack","channel":"C1"},"x_quorum":["U7"]}`
		outcome  = `{"verdict":"deny","x":{"by":1}}`
	)
	for name, c := range map[string]struct {
		doc    string
		change func(*tickets.Ticket)
	}{
		"Refused": {
			head + `"decision":` + decision + `,"events":[{"kind":"received","at":"2026-01-31T13:05:00Z"},{"kind":"decided","at":"2026-01-31T13:05:00Z","decision":` + decision + `}]}`,
			func(tk *tickets.Ticket) { tk.Refuse(*tk.Decision, "no", storetest.Now) },
		},
		"Detailed": {
			head + `"outcome":` + outcome + `,"events":[{"kind":"received","at":"2026-01-31T13:05:00Z"},{"kind":"outcome","at":"2026-01-31T13:05:00Z","outcome":` + outcome + `,"x_also":2}]}`,
			func(tk *tickets.Ticket) {
				tk.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "console"}, storetest.Rules(), storetest.Now)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tk, err := store.Decode([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			c.change(tk)
			doc, err := store.Encode(tk)
			if err != nil {
				t.Fatal(err)
			}
			if found := store.VerifyForm(1001, doc); len(found) > 0 || len(tk.Events) != 3 {
				t.Errorf("found %v in\n%s", found, doc)
			}
		})
	}
}
