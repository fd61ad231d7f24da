package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Records reads and writes stored forms behind a store's back.
type Records interface {
	Doc(seq int64) []byte
	SetDoc(seq int64, doc []byte)
}

// Newer holds a store, which is new and empty, to what is promised about
// tickets that a newer version has written.
func Newer(t *testing.T, st store.Store, records Records) {
	s := &suite{T: t, s: st}
	a, b, c := s.ask("a"), s.ask("b"), s.ask("c")
	seq := func(t *tickets.Ticket) int64 {
		n, _ := t.Number.Seq()
		return n
	}
	plant := func(t *tickets.Ticket, members map[string]any) {
		s.Helper()
		var doc map[string]any
		s.must(json.Unmarshal(records.Doc(seq(t)), &doc))
		for name, v := range members {
			doc[name] = v
		}
		// The version comes first, as every version writes it.
		v, err := json.Marshal(doc["v"])
		s.must(err)
		delete(doc, "v")
		delete(doc, "seal")
		rest, err := json.Marshal(doc)
		s.must(err)
		records.SetDoc(seq(t), sealAnew([]byte(`{"v":`+string(v)+`,`+string(rest[1:len(rest)-1])+`,"seal":""}`)))
	}

	// What is only added stays.
	plant(a, map[string]any{"x_added": map[string]any{"deep": []string{"kept"}}})
	_, err := s.s.Update(s.Context(), a.Number, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
	s.must(err)
	_, _, err = s.s.Accept(s.Context(), Concluded("a"), Concludes(Concluded("a")))
	s.must(err)
	if doc := string(records.Doc(seq(a))); !strings.Contains(doc, `"x_added":{"deep":["kept"]}`) || !strings.Contains(doc, `"outcome":`) {
		s.Errorf("after a change and a webhook the form is %s", doc)
	}

	// What means something else is left alone.
	plant(b, map[string]any{"v": store.FormVersion + 1, "events": "packed"})
	before := string(records.Doc(seq(b)))
	if _, err := s.s.Get(s.Context(), b.Number); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Get = %v; want ErrNewerForm", err)
	}
	if _, err := s.s.Update(s.Context(), b.Number, func(*tickets.Ticket) error { s.Error("changed"); return nil }); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Update = %v; want ErrNewerForm", err)
	}
	again := Asked("b")
	again.ID = "in-again"
	if _, _, err := s.s.Accept(s.Context(), again, Asks(again, Now)); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Accept of its request = %v; want ErrNewerForm", err)
	}
	up := Concluded("b")
	if _, _, err := s.s.Accept(s.Context(), up, Concludes(up)); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Accept of its outcome = %v; want ErrNewerForm", err)
	}
	for _, id := range []string{again.ID, up.ID} {
		if _, err := s.s.Incoming(s.Context(), id); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("Incoming(%s) = %v; want it not kept, so that it comes again", id, err)
		}
	}
	list, err := s.s.List(s.Context(), store.Query{})
	if !errors.Is(err, store.ErrNewerForm) || !slices.Equal(numbers(list), []tickets.Number{c.Number, a.Number}) {
		s.Errorf("List = %v, %v; want the others, and ErrNewerForm", numbers(list), err)
	}
	later := Now.Add(time.Hour)
	lane := tickets.PostLane("slack")
	claimed, err := s.s.Claim(s.Context(), lane, later, later.Add(time.Hour), 5)
	if !errors.Is(err, store.ErrNewerForm) || !slices.Equal(numbers(claimed), []tickets.Number{a.Number, c.Number}) {
		s.Errorf("Claim = %v, %v; want the others, and ErrNewerForm", numbers(claimed), err)
	}
	if got, err := s.s.Claim(s.Context(), lane, later, later.Add(time.Hour), 5); err != nil || len(got) > 0 {
		s.Errorf("second Claim = %v, %v; want nothing, and nothing reported twice", numbers(got), err)
	}
	if _, err := s.s.Claim(s.Context(), lane, later.Add(2*time.Hour), later.Add(3*time.Hour), 5); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Claim after a while = %v; want it reported again", err)
	}
	if st, err := s.s.Stats(s.Context(), later); err != nil || st.Due[lane].Count != 3 {
		s.Errorf("Stats = %+v, %v; want it counted as due", st.Due, err)
	}
	if next := s.ask("d"); next.Number == b.Number {
		s.Errorf("the number %s was given out twice", b.Number)
	}
	if after := string(records.Doc(seq(b))); after != before {
		s.Errorf("its form was changed to %s", after)
	}
}

func numbers(list []*tickets.Ticket) []tickets.Number {
	ns := make([]tickets.Number, 0, len(list))
	for _, t := range list {
		ns = append(ns, t.Number)
	}
	return ns
}

// Concluded is a webhook with what became of the request of Asked(id).
func Concluded(id string) tickets.Incoming {
	return tickets.Incoming{
		ID: "in-up-" + id, At: Now, Raw: []byte(`{"RequestId":"` + id + `","Decision":"Denied"}`),
		Update: &tickets.Update{ID: tickets.RequestID(id), Outcome: &tickets.Outcome{Verdict: tickets.Deny, By: "console"}},
	}
}

// Concludes applies a webhook of Concluded.
func Concludes(in tickets.Incoming) store.Apply {
	return func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		if t == nil {
			t = tickets.Start(tickets.NewNumber("JIT", seq), in.Update.ID, Rules(), Now)
		}
		return taken(t, in, Now)
	}
}
