package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// chained ends a stored form with a chained history of events, whose members
// are given.
func chained(t *testing.T, events ...string) string {
	hash := tickets.Root("a", "2026-01-31T13:05:00Z")
	var list []string
	for i, e := range events {
		e = fmt.Sprintf(`{"n":%d,%s`, i+1, e)
		var err error
		if hash, err = tickets.Link(hash, []byte(e+"}")); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf(`%s,"hash":"%s"}`, e, hash))
	}
	return `,"events":[` + strings.Join(list, ",") + `]}`
}

// What a newer version noted of a decision or an outcome is in the hash of an
// event that this one makes of it.
func TestChainCoversNewerFields(t *testing.T) {
	const (
		head     = `{"v":1,"number":"JIT-1001","type":"Access Request","state":"New","active":true,"created":"2026-01-31T13:05:00Z","id":"a","rev":2,"request":{"id":"a","kind":"admin"},`
		decision = `{"verdict":"approve","reason":"r","duration":"Once","by":{"platform":"slack","id":"U1","x_team":"t"},"at":"2026-01-31T13:05:00Z","place":{"platform":"slack","channel":"C1"},"x_quorum":["U7"]}`
		outcome  = `{"verdict":"deny","x":{"by":1}}`
		received = `"kind":"received","at":"2026-01-31T13:05:00Z","rev":1,"standing":{"type":"Access Request","active":true},"request":"86ab656ce7c6e74eac311834ecad6a42119ed28ee33ca9745bec8472fa76983f"`
	)
	for name, c := range map[string]struct {
		doc    string
		change func(*tickets.Ticket)
	}{
		"Refused": {
			head + `"decision":` + decision + chained(t, received, `"kind":"decided","at":"2026-01-31T13:05:00Z","rev":2,"decision":`+decision),
			func(tk *tickets.Ticket) { tk.RecordRejection(*tk.Decision, "no", storetest.Now) },
		},
		"Detailed": {
			head + `"outcome":` + outcome + chained(t, received, `"kind":"outcome","at":"2026-01-31T13:05:00Z","rev":2,"outcome":`+outcome+`,"x_also":2`),
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
			tk.Broken = false // the form has no seal
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
