package storetest

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// hookless are the methods of a store that call no hook: they write no ticket and add to
// no history, or bring what another store has written.
var hookless = []string{
	"Cursor", "Find", "FormsAfter", "Get", "Incoming", "Incomings", "List", "Misfiled", "Ping", "Settings", "Changes", "Stats",
	"ChangeForms", "Count", "IncomingsAfter", "Ledger", "Marks", "TicketsAfter",
	"Claim", "ClaimOnce", "Close", "Purge", "Refile", "Release", "SetCursor",
	"RaiseCounter", "RemoveRetired", "RestoreIncomings", "RestoreLedger", "RestoreSettings", "RestoreTickets",
}

// hookWrite is a call of a method that writes. It returns the ticket as written, or else
// the history that it adds to.
type hookWrite struct {
	method string
	call   func(*suite) (*tickets.Ticket, tickets.Number)
}

// hookWrites are called one after the other on one store.
var hookWrites = []hookWrite{
	{"Accept", func(s *suite) (*tickets.Ticket, tickets.Number) { return s.ask("a"), "" }},
	{"Accept", func(s *suite) (*tickets.Ticket, tickets.Number) { return s.conclude("a"), "" }}, // a ticket that there is
	{"Accept", func(s *suite) (*tickets.Ticket, tickets.Number) { return s.conclude("b"), "" }}, // before its request
	{"Accept", func(s *suite) (*tickets.Ticket, tickets.Number) { return s.ask("b"), "" }},
	{"Replay", func(s *suite) (*tickets.Ticket, tickets.Number) {
		return s.replayFailed(Asked("c"), Asks(Asked("c"), Now)), ""
	}},
	{"Replay", func(s *suite) (*tickets.Ticket, tickets.Number) {
		in := Concluded("c")
		return s.replayFailed(in, Concludes(in)), ""
	}},
	{"Update", func(s *suite) (*tickets.Ticket, tickets.Number) {
		t, err := s.s.Update(s.Context(), s.ask("d").Number, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
		s.must(err)
		return t, ""
	}},
	{"Configure", func(s *suite) (*tickets.Ticket, tickets.Number) {
		_, err := s.s.Configure(s.Context(), 0, []tickets.Change{sets("category", "x"), sets("category", "y")})
		s.must(err)
		return nil, store.SettingsCheckpoint
	}},
	{"ResetSettings", nil}, // see Damaged
	{"Retire", func(s *suite) (*tickets.Ticket, tickets.Number) {
		e, err := s.s.Retire(s.Context(), Now.Add(time.Hour), Now.Add(time.Hour), 10)
		s.must(err)
		if e.N == 0 {
			s.Fatal("nothing was retired")
		}
		return nil, store.LedgerCheckpoint
	}},
}

// writesCallHooks runs every method that writes: what BeforeWrite changes is written, and
// AfterCommit is told once.
func (s *suite) writesCallHooks() {
	known := slices.Clone(hookless)
	for _, w := range hookWrites {
		known = append(known, w.method)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[store.Store](), reflect.TypeFor[store.Archive]()} {
		for i := range typ.NumMethod() {
			if name := typ.Method(i).Name; !slices.Contains(known, name) {
				s.Errorf("%s is in neither hookWrites nor hookless", name)
			}
		}
	}

	var told []tickets.Checkpoint
	var observed []int
	owed := true
	s.hooks = store.Hooks{
		BeforeWrite: func(t *tickets.Ticket, n int) {
			observed = append(observed, n)
			if owed {
				t.TrackSink([]tickets.EventSink{Receiver}, n)
			}
		},
		AfterCommit: func(c tickets.Checkpoint) { told = append(told, c) },
	}
	s.reopenStore()
	for i, w := range hookWrites {
		if w.call == nil {
			continue
		}
		if w.method == "Retire" {
			s.settleAll()
		}
		told, observed = nil, nil
		t, history := w.call(s)
		if t == nil {
			if len(told) != 1 || told[0].Ticket != history || told[0].Events == 0 || told[0].Hash == "" {
				s.Errorf("%d, %s told %+v; want the checkpoint of %s once", i, w.method, told, history)
			}
			continue
		}
		got, err := s.s.Get(s.Context(), t.Number)
		s.must(err)
		if len(told) == 0 || slices.Index(told, got.Checkpoint()) != len(told)-1 {
			s.Errorf("%d, %s told %+v; want %+v once, and last", i, w.method, told, got.Checkpoint())
		}
		if got.Delivery(Receiver) == nil || len(observed) == 0 {
			s.Errorf("%d, %s wrote %+v; want what BeforeWrite made of it", i, w.method, got)
		}
		if _, owes := got.NextDue()[tickets.DeliverLane(Receiver)]; owes {
			later := Now.Add(time.Hour)
			list, err := s.s.Claim(s.Context(), tickets.DeliverLane(Receiver), later, later.Add(time.Minute), 100)
			s.must(err)
			if !slices.Contains(numbers(list), t.Number) {
				s.Errorf("%d, %s: the index does not have what BeforeWrite lets it owe", i, w.method)
			}
			for _, t := range list {
				s.must(s.s.Release(s.Context(), tickets.DeliverLane(Receiver), t.Number))
			}
		}
	}
	owed = false
	s.noHooks(&told, &observed)
}

// noHooks is told nothing by what adds to no history, and has BeforeWrite see how much of
// a ticket was observed before.
func (s *suite) noHooks(told *[]tickets.Checkpoint, observed *[]int) {
	t := s.ask("z")
	*told, *observed = nil, nil
	_, err := s.s.Update(s.Context(), t.Number, func(t *tickets.Ticket) error { t.BeginPost(Place, Now); return nil })
	s.must(err)
	if len(*told) > 0 || !slices.Equal(*observed, []int{len(t.Events)}) {
		s.Errorf("a change of no history told %+v, and BeforeWrite that %v were observed; want nothing, and %d", *told, *observed, len(t.Events))
	}
	*observed = nil
	boom := errors.New("boom")
	if _, err := s.s.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
		t.RecordFormOpened(Ann, tickets.Deny, Place, Now)
		return boom
	}); !errors.Is(err, boom) {
		s.Errorf("Update = %v", err)
	}
	again := Asked("z")
	again.ID = "in-z-again"
	_, _, err = s.s.Accept(s.Context(), again, Asks(again, Now))
	s.must(err)
	_, _, err = s.s.Accept(s.Context(), tickets.Incoming{ID: "in-unread", At: Now, Raw: []byte("{"), Error: "unreadable"}, nil)
	s.must(err)
	if _, err := s.s.Configure(s.Context(), 99, []tickets.Change{sets("category", "z")}); !errors.Is(err, store.ErrChanged) {
		s.Errorf("Configure = %v; want ErrChanged", err)
	}
	if e, err := s.s.Retire(s.Context(), Now.Add(-time.Hour), Now, 10); err != nil || e.N != 0 {
		s.Errorf("Retire = %+v, %v; want none", e, err)
	}
	if len(*told) > 0 {
		s.Errorf("what wrote no history told %+v", *told)
	}
}

// conclude accepts what became of a request.
func (s *suite) conclude(id string) *tickets.Ticket {
	s.Helper()
	in := Concluded(id)
	_, t, err := s.s.Accept(s.Context(), in, Concludes(in))
	s.must(err)
	return t
}

// replayFailed keeps a webhook as one that failed, and replays it.
func (s *suite) replayFailed(in tickets.Incoming, apply store.Apply) *tickets.Ticket {
	s.Helper()
	_, _, err := s.s.Accept(s.Context(), tickets.Incoming{ID: in.ID, At: Now, Raw: in.Raw, Error: "unreadable"}, nil)
	s.must(err)
	_, t, err := s.s.Replay(s.Context(), in, apply)
	s.must(err)
	return t
}

// settleAll lets the final tickets owe nothing, so that they may be retired.
func (s *suite) settleAll() {
	s.Helper()
	list, err := s.s.List(s.Context(), store.Query{Progress: tickets.Final})
	s.must(err)
	for _, t := range list {
		_, err := s.s.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
			t.RecordPost(Place, "1.2", t, Now)
			t.RecordDelivery(Receiver, len(t.Events))
			return nil
		})
		s.must(err)
	}
}
