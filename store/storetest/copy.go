package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Keeper is a store that can be copied.
type Keeper interface {
	store.Store
	store.Archive
}

// Side is a new and empty store, and how to change it behind its back.
type Side struct {
	Keeper
	SetDoc      func(seq int64, doc []byte)                      // the stored form of a ticket
	Remove      func(seq int64)                                  // a ticket, without a trace
	SetBody     func(id string, raw []byte)                      // the body of a webhook
	SetDue      func(lane tickets.Lane, seq int64, at time.Time) // when the index has a ticket due; the zero time: not at all
	SetProgress func(seq int64, p tickets.Progress)              // what the index has a ticket as
	SetRequest  func(seq int64, id tickets.RequestID)            // the request that the index leads to a ticket from
	SetCounter  func(seq int64)                                  // of the last ticket number
	SetSettings func(doc []byte, docs ...[]byte)                 // the settings, and all their changes, oldest first
}

// Fresh makes a new and empty side each time, which ends with its test.
type Fresh func(t *testing.T, h store.Hooks) Side

type copySuite struct {
	*testing.T
	from, to Side
}

// Copy holds store.Copy to its promises between two stores.
func Copy(t *testing.T, from, to Fresh) {
	for name, test := range map[string]func(*copySuite){
		"Everything":                   (*copySuite).everything,
		"Interrupted":                  (*copySuite).interrupted,
		"WhatWentFurtherWins":          (*copySuite).further,
		"TwoDecisionsStayWhereTheyAre": (*copySuite).twoDecisions,
		"OtherTicketsAreRefused":       (*copySuite).others,
		"SettingsAreNotMixed":          (*copySuite).twoSettings,
		"CounterIsNeverLowered":        (*copySuite).counter,
		"UnreadableHoldsUpNoOther":     (*copySuite).unreadable,
		"FromALiveStore":               (*copySuite).live,
		"RetiredStaysRetired":          (*copySuite).retired,
		"RetiredIsNotOverwritten":      (*copySuite).retiredOtherwise,
	} {
		t.Run(name, func(t *testing.T) { test(&copySuite{t, from(t, store.Hooks{}), to(t, store.Hooks{})}) })
	}
}

func (s *copySuite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *copySuite) ask(to store.Store, in tickets.Incoming) *tickets.Ticket {
	s.Helper()
	_, t, err := to.Accept(s.Context(), in, Asks(in, Now))
	s.must(err)
	return t
}

func (s *copySuite) update(to store.Store, n tickets.Number, change func(*tickets.Ticket) error) {
	s.Helper()
	_, err := to.Update(s.Context(), n, change)
	s.must(err)
}

func decide(by string, at time.Time) func(*tickets.Ticket) error {
	return func(t *tickets.Ticket) error {
		d := Approval(at)
		d.By.ID = by
		return t.Decide(d, Rules())
	}
}

func (s *copySuite) copy() (store.Progress, error) {
	return store.Copy(s.Context(), s.from, s.to, func(store.Progress) {})
}

// did is copy, which must succeed, and how many tickets and webhooks it
// brought to which end.
func (s *copySuite) did() string {
	s.Helper()
	p, err := s.copy()
	s.must(err)
	return tally(p)
}

func tally(p store.Progress) string {
	return fmt.Sprintf("tickets %v webhooks %v unread %d", p.Tickets, p.Incomings, p.Unread)
}

const hostile = "\x00\u202e<!channel> @everyone \"}{countersign:default}:' -- \xff\xed\xa0\x80 😀\r\n"

// fill makes n tickets of every kind there is, and webhooks of every kind.
func (s *copySuite) fill(n int) {
	s.Helper()
	var wg sync.WaitGroup
	const workers = 16 // whose commits are made together
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				if err := s.fillOne(i); err != nil {
					s.Errorf("ticket %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	for v := range int64(3) {
		_, err := s.from.Configure(s.Context(), v, []tickets.Change{sets("category", fmt.Sprint(v, hostile[1:5])), sets("fields", "user")})
		s.must(err)
	}
	s.must(s.from.SetCursor(s.Context(), "events/file", 1))
	for i, in := range []tickets.Incoming{
		{ID: "in-failed", At: Now.Add(time.Hour), Raw: []byte("{\x00\xff"), Error: "the body is not JSON " + hostile[:5], Repaired: true},
		{ID: "in-empty", At: Now},
		{ID: "in-large", At: Now, Raw: bytes.Repeat([]byte(hostile), 3000), Remote: "192.0.2.1"},
	} {
		if _, _, err := s.from.Accept(s.Context(), in, nil); err != nil {
			s.Fatalf("webhook %d: %v", i, err)
		}
	}
	// As a newer version leaves it.
	t, err := s.from.Get(s.Context(), "JIT-1001")
	s.must(err)
	doc, err := store.Encode(t)
	s.must(err)
	s.from.SetDoc(1001, bytes.Replace(doc, []byte(`,"number":`), []byte(`,"x_new":{"a":[1]},"number":`), 1))
}

func (s *copySuite) fillOne(i int) error {
	rng := rand.New(rand.NewPCG(1, uint64(i)))
	id := fmt.Sprintf("r%04d", i)
	in := Asked(id)
	in.At = Now.Add(time.Duration(i/3) * time.Microsecond) // several at once
	switch i % 10 {
	case 1:
		in.Update.Request.Reason = strings.Repeat(hostile, 20)
		in.Update.Request.Fields = []tickets.Field{{Name: hostile, Value: hostile}}
		in.Raw, in.Remote = []byte(hostile), hostile
	case 2:
		up := Concluded(id) // overtakes its request
		if _, _, err := s.from.Accept(s.Context(), up, Concludes(up)); err != nil || i%20 == 2 {
			return err // which may never come
		}
	}
	_, t, err := s.from.Accept(s.Context(), in, Asks(in, Now))
	if err != nil {
		return err
	}
	if i%4 == 0 {
		dup := in
		dup.ID += "-again"
		if _, _, err := s.from.Accept(s.Context(), dup, Asks(dup, Now)); err != nil {
			return err
		}
	}
	if i%3 == 0 {
		_, err = s.from.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
			for range rng.IntN(12) {
				Live(t, rng, Now.Add(time.Duration(rng.IntN(100))*time.Second))
			}
			return nil
		})
	}
	return err
}

// content is everything that can be seen of a store.
func (s *copySuite) content(of Keeper) map[string]string {
	s.Helper()
	all := map[string]string{}
	list, err := of.List(s.Context(), store.Query{Limit: 1 << 20})
	s.must(err)
	for _, t := range list {
		doc, err := store.Encode(t)
		s.must(err)
		all["ticket "+string(t.Number)] = fmt.Sprintf("%d %s", t.Version, doc)
	}
	for _, p := range tickets.Progresses() {
		list, err := of.List(s.Context(), store.Query{Progress: p, Limit: 1 << 20})
		s.must(err)
		all["progress "+string(p)] = fmt.Sprint(numbers(list))
	}
	kept, err := of.Incomings(s.Context(), store.IncomingQuery{Limit: 1 << 20})
	s.must(err)
	raw := s.bodies(of)
	for _, k := range kept {
		k.Raw = raw[k.ID]
		if !strings.HasPrefix(k.ID, "in-r") || strings.HasSuffix(k.ID, "1") {
			k, err = of.Incoming(s.Context(), k.ID)
			s.must(err)
		}
		all["webhook "+k.ID] = fmt.Sprintf("%v %q %x %+v %q %t", k.At, k.Remote, sha256.Sum256(k.Raw), k.Receipt, k.Error, k.Repaired)
	}
	set, err := of.(store.Store).Settings(s.Context())
	s.must(err)
	changes, err := of.(store.Store).Changes(s.Context(), 100)
	s.must(err)
	all["settings"] = fmt.Sprint(set)
	for i, c := range changes {
		all[fmt.Sprintf("change %d", i)] = fmt.Sprint(c.N, c.Version, c.At, c.By, c.Key, text(c.Old), text(c.New), c.Hash)
	}
	ledger, err := of.Ledger(s.Context())
	s.must(err)
	all["ledger"] = fmt.Sprintf("%s", ledger)
	marks, err := of.Marks(s.Context())
	s.must(err)
	all["marks"] = fmt.Sprint(marks)
	failed, err := of.Incomings(s.Context(), store.IncomingQuery{Status: tickets.StatusFailed, Limit: 1 << 20})
	s.must(err)
	all["failed"] = fmt.Sprint(len(failed))
	for _, now := range []time.Time{Now.Add(-time.Hour), Now.Add(time.Minute), Now.Add(10 * time.Hour)} {
		st, err := of.Stats(s.Context(), now)
		s.must(err)
		all["counts"] = fmt.Sprint(st.Progress)
		for lane, b := range st.Due {
			all[fmt.Sprintf("due in %s at %v", lane, now)] = fmt.Sprintf("%d since %v", b.Count, b.Oldest)
		}
	}
	return all
}

func text(v *string) string {
	if v == nil {
		return "none"
	}
	return *v
}

// bodies are those of all webhooks.
func (s *copySuite) bodies(of store.Archive) map[string][]byte {
	s.Helper()
	raw := map[string][]byte{}
	for id := ""; ; {
		page, err := of.IncomingsAfter(s.Context(), id, 50)
		s.must(err)
		if len(page) == 0 {
			return raw
		}
		for _, k := range page {
			s.must(k.Err)
			id, raw[k.ID] = k.ID, k.Raw
		}
	}
}

// same compares both stores, and what they will do.
func (s *copySuite) same() {
	s.Helper()
	from, to := s.content(s.from), s.content(s.to)
	bad := 0
	for key, want := range from {
		if got := to[key]; got != want && bad < 5 {
			bad++
			s.Errorf("%s = %.1000s\nwant %.1000s", key, got, want)
		}
	}
	for key := range to {
		if _, ok := from[key]; !ok {
			s.Errorf("there is %s, of which the other knows nothing", key)
		}
	}
	later := Now.Add(10 * time.Hour)
	for _, lane := range []tickets.Lane{tickets.LaneEPM, tickets.LanePoll, tickets.PostLane("slack"), tickets.EditLane("slack"), tickets.DeliverLane(Receiver)} {
		var claimed [2][]tickets.Number
		for i, st := range []store.Store{s.from, s.to} {
			list, err := st.Claim(s.Context(), lane, later, later.Add(time.Minute), 1<<20)
			s.must(err)
			claimed[i] = numbers(list)
			slices.Sort(claimed[i])
			for _, n := range claimed[i] {
				s.must(st.Release(s.Context(), lane, n))
			}
		}
		if !slices.Equal(claimed[0], claimed[1]) {
			s.Errorf("in %s %v are due, want %v", lane, claimed[1], claimed[0])
		}
	}
	counts, err := s.from.Count(s.Context())
	s.must(err)
	got, err := s.to.Count(s.Context())
	s.must(err)
	if got != counts {
		s.Errorf("counts are %+v, want %+v", got, counts)
	}
}

// twoSettings: settings that both have are left as they are in both.
func (s *copySuite) twoSettings() {
	for _, to := range []Side{s.from, s.to} {
		_, err := to.Configure(s.Context(), 0, []tickets.Change{sets("category", fmt.Sprintf("%p", to.Keeper))})
		s.must(err)
	}
	before := s.content(s.to)
	if p, err := s.copy(); err == nil || p.Settings != store.Further || !strings.Contains(err.Error(), "the settings are not copied") {
		s.Errorf("Copy = %v, %v", p.Settings, err)
	}
	if got := s.content(s.to); got["settings"] != before["settings"] || got["change 1"] != "" {
		s.Errorf("the settings there were changed: %s", got["settings"])
	}
}

func (s *copySuite) everything() {
	const n = 270 // more than two pages
	s.fill(n)
	before := s.content(s.from)
	pages := 0
	p, err := store.Copy(s.Context(), s.from, s.to, func(store.Progress) { pages++ })
	s.must(err)
	if p.Tickets[store.Copied] != n || p.From != p.To || p.From.Tickets != n || pages < 5 {
		s.Errorf("Copy = %+v in %d pages; want %d tickets copied, as many there, in several", p, pages, n)
	}
	s.same()
	if at, err := s.to.Cursor(s.Context(), "events/file"); err != nil || at != 1 {
		s.Errorf("Mark = %d, %v; want it copied", at, err)
	}
	for key, want := range s.content(s.from) {
		if before[key] != want {
			s.Errorf("what was copied from has changed: %s", key)
		}
	}
	again, err := s.copy()
	s.must(err)
	if again.Tickets[store.Same] != n || len(again.Tickets) != 1 || len(again.Incomings) != 1 || again.Incomings[store.Same] != p.From.Incomings {
		s.Errorf("Copy again = %s; want everything the same", tally(again))
	}
	s.same()
	// The other store goes on: it knows the requests, and the next number.
	dup := Asked("r0003")
	dup.ID = "in-later"
	r, _, err := s.to.Accept(s.Context(), dup, Asks(dup, Now))
	s.must(err)
	if r.Status != tickets.StatusDuplicate {
		s.Errorf("a request that was copied is %s, want a duplicate", r.Status)
	}
	if next := s.ask(s.to, Asked("new")); next.Number != tickets.NewNumber("JIT", p.From.Counter+1) {
		s.Errorf("the next number is %s, want JIT-%d", next.Number, p.From.Counter+1)
	}
	s.update(s.to, "JIT-1002", func(t *tickets.Ticket) error { t.Rev++; return nil })
	// And back.
	s.from, s.to = s.to, s.from
	s.must(err)
	if p, err := s.copy(); err != nil || p.Tickets[store.Copied] != 1 || p.Tickets[store.Updated] != 1 {
		s.Errorf("Copy back = %s, %v; want the new ticket and the changed one", tally(p), err)
	}
	s.same()
}

func (s *copySuite) further() {
	for i := range 7 {
		s.ask(s.from, Asked(fmt.Sprint(i)))
	}
	s.did()
	// There only.
	s.update(s.to, "JIT-1001", decide("U1", Now))
	// Here only.
	s.update(s.from, "JIT-1002", decide("U1", Now))
	// In both the same, and on there.
	s.update(s.to, "JIT-1003", decide("U1", Now))
	s.update(s.from, "JIT-1003", decide("U1", Now))
	s.update(s.to, "JIT-1003", func(t *tickets.Ticket) error { t.RecordAccepted(*t.Decision, Now); return nil })
	// More happened here, but nothing was decided; there it was.
	for _, to := range Rules().Type.States {
		s.update(s.from, "JIT-1004", func(t *tickets.Ticket) error { t.Move(to, Ann, Rules(), Now); return nil })
	}
	s.update(s.to, "JIT-1004", decide("U1", Now))
	// Only something nobody sees.
	s.update(s.from, "JIT-1005", func(t *tickets.Ticket) error { t.BeginPost(Place, Now); return nil })
	// Written more often there, and decided here.
	for range 3 {
		s.update(s.to, "JIT-1007", func(t *tickets.Ticket) error { t.BeginPost(Place, Now); return nil })
	}
	s.update(s.from, "JIT-1007", decide("U1", Now))
	kept := s.content(s.to)
	if got := s.did(); !strings.HasPrefix(got, fmt.Sprintf("tickets map[%d:3 %d:1 %d:3]", store.Updated, store.Same, store.Further)) {
		s.Errorf("Copy = %s; want 3 updated, 1 the same, 3 further there", got)
	}
	// Whoever has read it there before must see that it has changed.
	if t, err := s.to.Get(s.Context(), "JIT-1007"); err != nil || t.Decision == nil || t.Version != 5 {
		s.Errorf("JIT-1007 = %+v, %v; want it decided, at version 5", t, err)
	}
	from, to := s.content(s.from), s.content(s.to)
	for n, want := range map[string]string{
		"JIT-1001": kept["ticket JIT-1001"], "JIT-1003": kept["ticket JIT-1003"], "JIT-1004": kept["ticket JIT-1004"],
		"JIT-1002": from["ticket JIT-1002"], "JIT-1005": from["ticket JIT-1005"],
	} {
		if got := to["ticket "+n]; got != want {
			s.Errorf("%s = %s\nwant %s", n, got, want)
		}
	}
	// The index follows.
	due, err := s.to.Claim(s.Context(), tickets.LaneEPM, Now, Now.Add(time.Minute), 10)
	s.must(err)
	if got := numbers(due); !slices.Equal(got, []tickets.Number{"JIT-1001", "JIT-1002", "JIT-1004", "JIT-1007"}) {
		s.Errorf("due to EPM = %v; want the decisions that it has not", got)
	}
	// And back, so that nothing is left out anywhere.
	s.from, s.to = s.to, s.from
	if got := s.did(); !strings.HasPrefix(got, fmt.Sprintf("tickets map[%d:3 %d:4]", store.Updated, store.Same)) {
		s.Errorf("Copy back = %s; want the 3 that went further", got)
	}
	if got := s.did(); !strings.HasPrefix(got, fmt.Sprintf("tickets map[%d:7]", store.Same)) {
		s.Errorf("Copy again = %s; want all the same", got)
	}
}

func (s *copySuite) twoDecisions() {
	for i := range 3 {
		s.ask(s.from, Asked(fmt.Sprint(i)))
	}
	s.did()
	s.update(s.from, "JIT-1002", decide("U1", Now))
	s.update(s.to, "JIT-1002", decide("U2", Now.Add(time.Second)))
	s.update(s.from, "JIT-1003", decide("U1", Now))
	from, to := s.content(s.from)["ticket JIT-1002"], s.content(s.to)["ticket JIT-1002"]
	p, err := s.copy()
	if err == nil || !strings.Contains(err.Error(), "JIT-1002") || !strings.Contains(err.Error(), "slack:U1") || !strings.Contains(err.Error(), "slack:U2") || !strings.Contains(err.Error(), "Look in EPM") {
		s.Errorf("Copy = %v; want both decisions named, and what to do", err)
	}
	if p.Tickets[store.Refused] != 1 || p.Tickets[store.Updated] != 1 || p.Tickets[store.Same] != 1 {
		s.Errorf("Copy = %s; want one refused, one updated, one the same", tally(p))
	}
	if s.content(s.from)["ticket JIT-1002"] != from || s.content(s.to)["ticket JIT-1002"] != to {
		s.Error("a ticket that was decided in both was written")
	}
}

func (s *copySuite) others() {
	s.ask(s.from, Asked("a"))
	s.ask(s.from, Asked("b"))
	s.ask(s.from, Asked("c"))
	for name, id := range map[string]string{"NumberTaken": "x", "RequestTaken": "b"} {
		s.Run(name, func(t *testing.T) {
			before, err := s.to.Count(t.Context())
			s.must(err)
			if before.Tickets == 0 {
				if id == "b" {
					s.must(s.to.RaiseCounter(t.Context(), 7000))
				}
				s.ask(s.to, Asked(id))
			}
			content := s.content(s.to)
			p, err := s.copy()
			if !errors.Is(err, store.ErrOtherTickets) || !strings.Contains(err.Error(), "JIT-100") || !strings.Contains(err.Error(), "request") || !strings.Contains(err.Error(), "empty store") {
				t.Errorf("Copy = %v; want ErrOtherTickets, both named, and what to do", err)
			}
			if len(p.Tickets) != 0 || fmt.Sprint(s.content(s.to)) != fmt.Sprint(content) {
				t.Errorf("Copy = %s; want nothing written", tally(p))
			}
		})
	}
}

func (s *copySuite) counter() {
	s.must(s.to.RaiseCounter(s.Context(), 5000))
	s.ask(s.from, Asked("a"))
	s.must(s.from.RaiseCounter(s.Context(), 3000))
	if got := s.did(); !strings.HasPrefix(got, fmt.Sprintf("tickets map[%d:1]", store.Copied)) {
		s.Errorf("Copy = %s", got)
	}
	if next := s.ask(s.to, Asked("b")); next.Number != "JIT-5001" {
		s.Errorf("the next number there = %s, want JIT-5001", next.Number)
	}
	s.from, s.to = s.to, s.from
	s.did()
	if next := s.ask(s.to, Asked("c")); next.Number != "JIT-5002" {
		s.Errorf("the next number here = %s, want JIT-5002", next.Number)
	}
}

func (s *copySuite) unreadable() {
	for i := range 5 {
		s.ask(s.from, Asked(fmt.Sprint(i)))
	}
	t, err := s.from.Get(s.Context(), "JIT-1002")
	s.must(err)
	doc, err := store.Encode(t)
	s.must(err)
	s.from.SetDoc(1002, fmt.Appendf(nil, `{"v":%d,"number":2}`, store.FormVersion+1))
	s.from.SetDoc(1004, []byte(`{"v":1`))
	p, err := s.copy()
	if !errors.Is(err, store.ErrNewerForm) || !strings.Contains(err.Error(), "1002") || !strings.Contains(err.Error(), "1004") {
		s.Errorf("Copy = %v; want both named, and ErrNewerForm", err)
	}
	if p.Unread != 2 || p.Tickets[store.Copied] != 3 || p.Incomings[store.Copied] != 5 {
		s.Errorf("Copy = %s; want all others copied", tally(p))
	}
	if next := s.ask(s.to, Asked("new")); next.Number != "JIT-1006" {
		s.Errorf("the next number there = %s, want JIT-1006", next.Number)
	}
	s.from.SetDoc(1002, doc)
	if p, _ := s.copy(); p.Unread != 1 || p.Tickets[store.Copied] != 1 || p.Tickets[store.Same] != 3 {
		s.Errorf("Copy by the newer version = %s; want what was left out copied", tally(p))
	}
	// There: it is left as it is.
	s.to.SetDoc(1003, fmt.Appendf(nil, `{"v":%d,"number":2}`, store.FormVersion+1))
	if p, err := s.copy(); !errors.Is(err, store.ErrNewerForm) || !strings.Contains(err.Error(), "JIT-1003") || p.Tickets[store.Refused] != 1 {
		s.Errorf("Copy onto a newer form = %s, %v; want it refused", tally(p), err)
	}
	if _, err := s.to.Get(s.Context(), "JIT-1003"); !errors.Is(err, store.ErrNewerForm) {
		s.Errorf("Get = %v; want it as it was", err)
	}
	k := store.StoredIncoming{Incoming: tickets.Incoming{ID: "in-4", At: Now, Raw: []byte("other")}, Receipt: tickets.Receipt{Incoming: "in-4", Status: tickets.StatusFailed}}
	did, err := s.to.RestoreIncomings(s.Context(), []store.StoredIncoming{k})
	s.must(err)
	if got, err := s.to.Incoming(s.Context(), "in-4"); did[0] != store.Refused || err != nil || string(got.Raw) == "other" {
		s.Errorf("another webhook of the same name = %v, %+v; want it refused", did, got)
	}
}

// live copies while both requests and decisions come in.
func (s *copySuite) live() {
	s.fill(50)
	ctx, cancel := context.WithCancel(s.Context())
	var bot sync.WaitGroup
	bot.Go(func() {
		for i := 0; ctx.Err() == nil && i < 200; i++ {
			in := Asked(fmt.Sprint("live", i))
			in.At = Now.Add(time.Duration(i) * time.Second)
			_, t, err := s.from.Accept(s.Context(), in, Asks(in, Now))
			if err == nil {
				_, err = s.from.Update(s.Context(), t.Number, decide("U1", Now))
			}
			if err == nil {
				_, err = s.from.Update(s.Context(), tickets.NewNumber("JIT", 1001+int64(i%50)), func(t *tickets.Ticket) error {
					t.Rev++
					return nil
				})
			}
			if err != nil {
				s.Error(err)
				return
			}
		}
	})
	for range 3 {
		if p, err := s.copy(); err != nil && !strings.Contains(err.Error(), "Run it again") {
			s.Errorf("Copy of a live store = %s, %v", tally(p), err)
		}
	}
	cancel()
	bot.Wait()
	s.did()
	if got := s.did(); strings.Contains(got, fmt.Sprintf("%d:", store.Updated)) && !strings.HasPrefix(got, fmt.Sprintf("tickets map[%d:", store.Same)) {
		s.Errorf("Copy at rest = %s; want all the same", got)
	}
	s.same()
}
