package store_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// begins is an Apply that makes a ticket of full's request, whose text looks
// like the number that a draft has meanwhile.
func begins(_ *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
	r := *full().Request
	r.Reason = `"number":"JIT-4611686018427387904"`
	t := tickets.Start(tickets.NewNumber("JIT", seq), r.ID, storetest.Rules(), storetest.Now)
	t.Ask(r, storetest.Rules(), storetest.Now)
	return t, tickets.StatusCreated
}

// The form that a draft becomes is the one that its ticket has.
func TestDraft(t *testing.T) {
	d, err := store.NewDraft(begins)
	if err != nil {
		t.Fatal(err)
	}
	form := d.Form(1234)
	settled := d.AssignNumber(1234)
	if settled.Number != "JIT-1234" || settled.Version != 1 || d.Status != tickets.StatusCreated {
		t.Errorf("settled as %s, version %d, %s", settled.Number, settled.Version, d.Status)
	}
	if want, err := store.Encode(settled); err != nil || string(form) != string(want) {
		t.Errorf("form = %s, %v\nwant   %s", form, err, want)
	}
	if got, err := store.Decode(form); err != nil || got.Broken || got.Number != "JIT-1234" || got.Request.Reason != settled.Request.Reason {
		t.Errorf("decoded: %+v, %v", got, err)
	}
}

func TestDraftRefused(t *testing.T) {
	none, err := store.NewDraft(func(*tickets.Ticket, int64) (*tickets.Ticket, tickets.Status) { return nil, tickets.StatusDuplicate })
	if err != nil || none.Ticket != nil || none.Status != tickets.StatusDuplicate {
		t.Errorf("no ticket: %+v, %v", none, err)
	}
	for name, apply := range map[string]store.Apply{
		"a panic":        func(*tickets.Ticket, int64) (*tickets.Ticket, tickets.Status) { panic("oh") },
		"another number": func(*tickets.Ticket, int64) (*tickets.Ticket, tickets.Status) { return full(), tickets.StatusCreated },
		"written already": func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			t, s := begins(t, seq)
			t.Version = 3
			return t, s
		},
	} {
		if _, err := store.NewDraft(apply); err == nil || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}
