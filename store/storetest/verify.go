package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Verify holds store.Verify to its promise about what fresh makes: whatever is
// changed behind the store's back is found, and where.
func Verify(t *testing.T, fresh Fresh) {
	for name, test := range map[string]func(*verifySuite){
		"AWholeStore":        (*verifySuite).whole,
		"AnyByteOfARecord":   (*verifySuite).anyByte,
		"Indexes":            (*verifySuite).indexes,
		"Tampered":           (*verifySuite).tampered,
		"SettingsTampered":   (*verifySuite).settingsTampered,
		"ARewrittenStore":    (*verifySuite).rewritten,
		"ACopy":              func(s *verifySuite) { s.copied(fresh(s.T, store.Hooks{})) },
		"CheckpointsAreTold": func(s *verifySuite) { s.noted(fresh) },
		"Retired":            func(s *verifySuite) { s.retired(fresh(s.T, store.Hooks{})) },
		"RetiredMeanwhile":   (*verifySuite).retiredMeanwhile,
		"ForgedRetirement":   (*verifySuite).forgedRetirement,
	} {
		t.Run(name, func(t *testing.T) { test(&verifySuite{suite{T: t}, fresh(t, store.Hooks{})}) })
	}
}

type verifySuite struct {
	suite
	side Side
}

// verify is what Verify finds, a line each.
func (s *verifySuite) verify(checkpoints ...tickets.Checkpoint) ([]string, store.Verified) {
	s.Helper()
	var found []string
	v, err := store.Verify(s.Context(), s.side, checkpoints, func(f store.Finding) { found = append(found, f.String()) })
	s.must(err)
	if v.Findings != len(found) {
		s.Errorf("%d findings counted, %d told", v.Findings, len(found))
	}
	return found, v
}

// life is a ticket with everything that happens to most: 1 received, 2 shown,
// 3 opened, 4 decided, 5 submitted, 6 outcome.
func (s *verifySuite) life(id string) *tickets.Ticket {
	s.Helper()
	in := Asked(id)
	in.Update.Request.Reason = "reason of " + id
	_, t, err := s.side.Accept(s.Context(), in, Asks(in, Now))
	s.must(err)
	at := Now.Add(time.Minute)
	_, err = s.side.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
		t.BeginPost(Place, at)
		t.RecordPost(Place, "1.2", t, at)
		t.RecordFormOpened(Ann, tickets.Approve, Place, at)
		if err := t.Decide(Approval(at), Rules()); err != nil {
			return err
		}
		t.BeginSend(at)
		t.RecordAccepted(*t.Decision, at)
		return nil
	})
	s.must(err)
	up := Concluded(id)
	if _, t, err = s.side.Accept(s.Context(), up, Concludes(up)); err != nil {
		s.Fatal(err)
	}
	return t
}

func (s *verifySuite) configure(category string) {
	s.Helper()
	set, err := s.side.Keeper.(store.Store).Settings(s.Context())
	s.must(err)
	_, err = s.side.Configure(s.Context(), set.Version, []tickets.Change{sets("category", category), sets("fields", "user")})
	s.must(err)
}

func (s *verifySuite) fill() {
	s.Helper()
	c := &copySuite{T: s.T, from: s.side}
	for i := range 60 {
		s.must(c.fillOne(i))
	}
	_, _, err := s.side.Accept(s.Context(), tickets.Incoming{ID: "in-failed", At: Now, Raw: []byte("{\x00\xff")}, nil)
	s.must(err)
	s.configure(hostile[1:5])
	s.configure("Security")
}

func (s *verifySuite) whole() {
	if found, v := s.verify(); len(found) > 0 || v != (store.Verified{}) {
		s.Errorf("an empty store: %v, %+v", found, v)
	}
	s.fill()
	found, v := s.verify(s.checkpoints()...)
	if len(found) > 0 {
		s.Errorf("found in a store that nobody touched:\n%s", strings.Join(found, "\n"))
	}
	counts, err := s.side.Count(s.Context())
	s.must(err)
	if v.Tickets != counts.Tickets || v.Incomings != counts.Incomings || v.Changes != 4 || v.Events < v.Tickets || v.Checkpoints != v.Tickets+1 {
		s.Errorf("looked through %+v of %+v", v, counts)
	}
}

// checkpoints are those of everything in the store.
func (s *verifySuite) checkpoints() []tickets.Checkpoint {
	s.Helper()
	var checkpoints []tickets.Checkpoint
	s.must(store.Forms(s.Context(), s.side, func(page []store.Form) error {
		for _, f := range page {
			checkpoints = append(checkpoints, f.Record().Ticket.Checkpoint())
		}
		return nil
	}))
	changes, err := s.side.Keeper.(store.Store).Changes(s.Context(), 1)
	s.must(err)
	for _, c := range changes {
		checkpoints = append(checkpoints, tickets.Checkpoint{Ticket: store.SettingsCheckpoint, Events: c.N, Hash: c.Hash})
	}
	return checkpoints
}

func (s *verifySuite) form(seq int64) []byte {
	s.Helper()
	forms, err := s.side.FormsAfter(s.Context(), seq-1, 1)
	s.must(err)
	return forms[0].Doc
}

// anyByte changes each byte of a record, one after the other.
func (s *verifySuite) anyByte() {
	s.life("a")
	doc := s.form(1001)
	for i := range doc {
		bad := slices.Clone(doc)
		bad[i] ^= 1
		if found := store.VerifyForm(1001, bad); len(found) == 0 {
			s.Errorf("byte %d changed, and nothing found: %.80s", i, bad[max(0, i-40):])
		}
	}
	if found := store.VerifyForm(1001, doc); len(found) > 0 {
		s.Errorf("nothing changed, and found %v", found)
	}
	s.side.SetDoc(1001, bytes.Replace(doc, []byte("reason of a"), []byte("reason of A"), 1))
	if found, _ := s.verify(); len(found) == 0 {
		s.Error("in the store it is not found")
	}
}

// sealAnew is doc with the seal that it should have: the SHA-256 of what is
// before it, without the counter of the number.
func sealAnew(doc []byte) []byte {
	i := bytes.LastIndex(doc, []byte(`,"seal":"`))
	if i < 0 {
		panic("no seal")
	}
	body := regexp.MustCompile(`("number":"[^"0-9]*)[0-9]+"`).ReplaceAll(doc[:i], []byte(`$1"`))
	sum := sha256.Sum256(body)
	return append(slices.Clone(doc[:i]), `,"seal":"`+hex.EncodeToString(sum[:])+`"}`...)
}

// events is doc with its events, which change may change, sealed anew.
func events(doc []byte, change func([]json.RawMessage) []json.RawMessage) []byte {
	var t struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(doc, &t); err != nil {
		panic(err)
	}
	list := func(events []json.RawMessage) []byte {
		return append(append([]byte(`"events":[`), bytes.Join(raws(events), []byte(","))...), ']')
	}
	return sealAnew(bytes.Replace(doc, list(t.Events), list(change(slices.Clone(t.Events))), 1))
}

func raws(list []json.RawMessage) (out [][]byte) {
	for _, r := range list {
		out = append(out, r)
	}
	return out
}

// tampered changes a store in one way each time; whoever does it knows how to
// seal a record.
func (s *verifySuite) tampered() {
	for _, id := range []string{"a", "b", "c", "d"} {
		s.life(id)
	}
	good := s.form(1002)
	replaced := func(old, with string, n int) []byte {
		if !bytes.Contains(good, []byte(old)) {
			s.Fatalf("the record has no %s", old)
		}
		return sealAnew(bytes.Replace(good, []byte(old), []byte(with), n))
	}
	for name, c := range map[string]struct {
		doc  []byte
		want []string // what each finding begins with
	}{
		"Nothing":      {sealAnew(good), nil},
		"Seal":         {append(slices.Clone(good[:len(good)-6]), `0000"}`...), []string{"JIT-1002: seal"}},
		"NoSeal":       {append(slices.Clone(good[:bytes.LastIndex(good, []byte(`,"seal"`))]), '}'), []string{"JIT-1002: seal"}},
		"Request":      {replaced("reason of b", "reason of x", 1), []string{"JIT-1002: record_mismatch: the record's request"}},
		"State":        {replaced(`"state":"New","active"`, `"state":"Closed","active"`, 1), []string{"JIT-1002: record_mismatch: the record's state"}},
		"Decision":     {replaced(`"reason":"ok"`, `"reason":"no"`, 1), []string{"JIT-1002, event 4: record_mismatch: the record's decision"}},
		"Outcome":      {replaced(`"outcome":{"verdict":"deny"`, `"outcome":{"verdict":"approve"`, 1), []string{"JIT-1002, event 6: record_mismatch: the record's outcome"}},
		"Message":      {replaced(`"id":"1.2"`, `"id":"1.3"`, 1), []string{"JIT-1002: record_mismatch: the record's message"}},
		"Type":         {replaced(`"type":"Access Request"`, `"type":"Incident"`, 1), []string{"JIT-1002: record_mismatch: the record's type"}},
		"Title":        {replaced(`"title":"EPM JIT Access Request"`, `"title":"EPM JIT"`, 1), []string{"JIT-1002: record_mismatch: the record's title"}},
		"Active":       {replaced(`"active":true`, `"active":false`, 1), []string{"JIT-1002: record_mismatch: the record's active"}},
		"Rev":          {replaced(`"rev":4,"decision"`, `"rev":9,"decision"`, 1), []string{"JIT-1002: record_mismatch: the record's rev"}},
		"LowRev":       {replaced(`"rev":4,"decision"`, `"rev":1,"decision"`, 1), []string{"JIT-1002: record_mismatch: the record's rev"}},
		"Sent":         {replaced(`"done":"2026-01-31T13:06:00Z"`, `"done":"2026-01-31T13:06:01Z"`, 1), []string{"JIT-1002: record_mismatch: the record says when EPM took"}},
		"NeverSent":    {replaced(`,"done":"2026-01-31T13:06:00Z"`, ``, 1), []string{"JIT-1002: record_mismatch: the record says when EPM took"}},
		"Attempts":     {replaced(`"sending":{"attempts":1`, `"sending":{"attempts":7`, 1), []string{"JIT-1002: record_mismatch: the record says how often"}},
		"Polls":        {replaced(`"sending":{`, `"sending":{"polls":26,`, 1), []string{"JIT-1002: record_mismatch: the record says whether EPM was asked"}},
		"Refusal":      {replaced(`"messages":[`, `"refusal":{"decision":{},"reason":"no","at":"2026-01-31T13:06:00Z"},"messages":[`, 1), []string{"JIT-1002: record_mismatch: the record's refusal"}},
		"Dead":         {replaced(`"id":"1.2","shown"`, `"id":"1.2","dead":true,"shown"`, 1), []string{"JIT-1002: record_mismatch: the record says of the message"}},
		"Reposted":     {replaced(`"id":"1.2","shown"`, `"id":"1.2","reposted":true,"shown"`, 1), []string{"JIT-1002: record_mismatch: the record says of the message"}},
		"Shown":        {replaced(`"shown":1,`, `"shown":8,`, 1), []string{"JIT-1002: record_mismatch: the record says of the message"}},
		"Number":       {replaced(`"number":"JIT-1002"`, `"number":"JIT-1009"`, 1), []string{"number 1002: record_mismatch"}},
		"Created":      {replaced(`"created":"2026-01-31T13:05:00Z"`, `"created":"2026-01-30T13:05:00Z"`, 1), []string{"JIT-1002, event 1: changed"}},
		"ID":           {replaced(`"id":"b","request"`, `"id":"x","request"`, 1), []string{"JIT-1002, event 1: changed"}},
		"NoEvents":     {events(good, func([]json.RawMessage) []json.RawMessage { return nil }), []string{"JIT-1002: missing", "JIT-1002: record_mismatch: the record's decision", "JIT-1002: record_mismatch: the record's outcome", "JIT-1002: record_mismatch: the record's request", "JIT-1002: record_mismatch: the record's message"}},
		"FirstRemoved": {without(good, 0), []string{"JIT-1002, event 1: missing: event 1 is missing", "JIT-1002: record_mismatch: the record's request", "JIT-1002: missing: no event tells the type", "JIT-1002: missing: webhook in-b"}},
		"OneRemoved":   {without(good, 2), []string{"JIT-1002, event 3: missing: event 3 is missing"}},
		"TwoRemoved":   {without(without(good, 2), 2), []string{"JIT-1002, event 3: missing: events 3 to 4 are missing", "JIT-1002: record_mismatch: the record's decision"}},
		"LastRemoved":  {without(good, 5), []string{"JIT-1002: record_mismatch: the record's outcome", "JIT-1002: record_mismatch: the record's rev", "JIT-1002: missing: webhook in-up-b"}},
		"Swapped":      {events(good, func(e []json.RawMessage) []json.RawMessage { e[1], e[2] = e[2], e[1]; return e }), []string{"JIT-1002, event 2: reordered", "JIT-1002, event 3: reordered"}},
		"Repeated":     {events(good, func(e []json.RawMessage) []json.RawMessage { return slices.Insert(e, 3, e[2]) }), []string{"JIT-1002, event 4: reordered"}},
		"EventChanged": {events(good, func(e []json.RawMessage) []json.RawMessage {
			return changed(e, 2, `"verdict":"approve"`, `"verdict":"deny"`)
		}), []string{"JIT-1002, event 3: changed"}},
		"HashChanged": {events(good, func(e []json.RawMessage) []json.RawMessage { return changed(e, 2, `"hash":"`, `"hash":"0`) }), []string{"JIT-1002, event 3: changed", "JIT-1002, event 4: changed"}},
		"HashRemoved": {events(good, func(e []json.RawMessage) []json.RawMessage { return changed(e, 2, `"hash":"`, `"hush":"`) }), []string{"JIT-1002, event 3: added", "JIT-1002, event 4: changed"}},
		"OneAdded": {events(good, func(e []json.RawMessage) []json.RawMessage {
			return append(e, json.RawMessage(`{"kind":"form_opened","at":"2026-01-31T13:05:00Z"}`))
		}), []string{"JIT-1002, event 7: added"}},
		"MemberAdded":   {events(good, func(e []json.RawMessage) []json.RawMessage { return changed(e, 2, `"kind":`, `"x":1,"kind":`) }), []string{"JIT-1002, event 3: changed"}},
		"MembersMoved":  {events(good, func(e []json.RawMessage) []json.RawMessage { return changed(e, 2, `{"n":3,`, `{ "n" : 3 ,`) }), nil},
		"NotJSON":       {[]byte(`{"v":1,`), []string{"number 1002: unreadable"}},
		"OtherTicket":   {s.form(1003), []string{"number 1002: record_mismatch", "JIT-1003: missing: webhook in-b", "JIT-1003: missing: webhook in-up-b"}},
		"NewerForm":     {[]byte(`{"v":99,"number":"JIT-1002"}`), []string{"JIT-1002: unreadable"}},
		"EventNotAText": {events(good, func(e []json.RawMessage) []json.RawMessage { e[2] = json.RawMessage(`7`); return e }), []string{"JIT-1002, event 3: unreadable", "JIT-1002, event 3: added", "JIT-1002, event 4: changed"}},
	} {
		s.side.SetDoc(1002, c.doc)
		found, _ := s.verify()
		s.told(name, found, c.want)
	}
	s.side.SetDoc(1002, good)

	s.side.SetBody("in-b", []byte(`{"RequestId":"B"}`))
	found, _ := s.verify()
	s.told("Body", found, []string{"JIT-1002, event 1: changed: the body"})
	s.side.SetBody("in-b", Asked("b").Raw)

	checkpoints := s.checkpoints()
	s.side.Remove(1002)
	found, _ = s.verify()
	s.told("TicketRemoved", found, []string{"number 1002: missing"})
	found, _ = s.verify(checkpoints...)
	s.told("TicketRemoved with checkpoints", found, []string{"number 1002: missing", "JIT-1002: missing"})
	s.side.Remove(1003)
	s.side.Remove(1004) // the newest
	found, _ = s.verify()
	s.told("LastTicketsRemoved", found, []string{"numbers 1002 to 1004: missing"})
	// Nobody notices by the numbers.
	s.side.SetCounter(1001)
	found, _ = s.verify()
	s.told("CounterSetBack", found, []string{"number 1002: missing", "number 1003: missing", "number 1004: missing"})
	found, _ = s.verify(checkpoints...)
	if len(found) < 6 {
		s.Errorf("CounterSetBack with checkpoints: found %v", found)
	}
}

// pending is a ticket that waits, shown in its place, with a decision on its
// way if it is decided.
func (s *verifySuite) pending(id string, decided bool) *tickets.Ticket {
	s.Helper()
	t := s.ask(id)
	t, err := s.side.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
		t.BeginPost(Place, Now)
		t.RecordPost(Place, "1.2", t, Now)
		if decided {
			return t.Decide(Approval(Now), Rules())
		}
		return nil
	})
	s.must(err)
	return t
}

// indexes changes what leads to tickets, and leaves the tickets as they are.
func (s *verifySuite) indexes() {
	s.s = s.side.Keeper
	waits, decided := s.pending("a", false), s.pending("b", true)
	s.life("c")
	lane := tickets.LaneEPM
	for name, c := range map[string]struct {
		tamper func()
		want   []string
	}{
		"Nothing":     {func() {}, nil},
		"Emptied":     {func() { s.side.SetDue(lane, 1002, time.Time{}) }, []string{"number 1002: index: the index of what is due in the lane epm"}},
		"PutOff":      {func() { s.side.SetDue(lane, 1002, Now.AddDate(9, 0, 0)) }, []string{"number 1002: index: the index of what is due in the lane epm"}},
		"TooEarly":    {func() { s.side.SetDue(lane, 1002, Now.AddDate(-1, 0, 0)) }, nil},
		"Progress":    {func() { s.side.SetProgress(1002, tickets.Final) }, []string{`number 1002: index: the index has it as "final"`}},
		"Hidden":      {func() { s.side.SetProgress(1001, tickets.Final) }, []string{`number 1001: index: the index has it as "final"`}},
		"FinalAsOpen": {func() { s.side.SetProgress(1003, tickets.Pending) }, []string{`number 1003: index: the index has it as "pending"`}},
	} {
		c.tamper()
		found, _ := s.verify()
		s.told(name, found, c.want)
		for _, n := range []tickets.Number{"JIT-1001", "JIT-1002", "JIT-1003"} {
			s.must(s.side.Refile(s.Context(), n))
		}
		found, _ = s.verify()
		s.told(name+", mended", found, nil)
	}
	// A request leads to another ticket, or to a number without one.
	s.side.SetRequest(1001, "nobody's")
	s.side.SetRequest(1999, "b")
	s.must(s.side.Refile(s.Context(), waits.Number))
	s.must(s.side.Refile(s.Context(), decided.Number))
	found, _ := s.verify()
	s.told("requests, mended", found, nil)
	for id, want := range map[tickets.RequestID]tickets.Number{"a": waits.Number, "b": decided.Number} {
		if t, err := s.side.Find(s.Context(), id); err != nil || t.Number != want {
			s.Errorf("the request %s leads to %v, %v; want %s", id, t, err, want)
		}
	}
	// It is as if nothing had happened: what is owed is given out, and listed.
	due := Now.Add(time.Hour)
	got, err := s.side.Claim(s.Context(), lane, due, due.Add(time.Minute), 9)
	s.must(err)
	if len(got) != 1 || got[0].Number != decided.Number {
		s.Errorf("claimed %v; want %s", got, decided.Number)
	}
	list, err := s.side.List(s.Context(), store.Query{Progress: tickets.Pending})
	s.must(err)
	stats, err := s.side.Stats(s.Context(), due)
	s.must(err)
	if len(list) != 1 || list[0].Number != waits.Number || stats.Progress[tickets.Pending] != 1 || stats.Progress[tickets.Final] != 1 {
		s.Errorf("pending are %v, counted %v", list, stats.Progress)
	}
	if err := s.side.Refile(s.Context(), "JIT-1999"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Refile of a ticket that there is not = %v; want ErrNotFound", err)
	}
	// What was changed since it was read is not compared.
	old := store.EntriesOf(waits)
	s.must(func() error {
		_, err := s.side.Update(s.Context(), waits.Number, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
		return err
	}())
	if found, err := s.side.Misfiled(s.Context(), []store.Entries{old}); err != nil || len(found) > 0 {
		s.Errorf("Misfiled of an old reading = %v, %v", found, err)
	}
}

func without(doc []byte, i int) []byte {
	return events(doc, func(e []json.RawMessage) []json.RawMessage { return slices.Delete(e, i, i+1) })
}

func changed(list []json.RawMessage, i int, old, with string) []json.RawMessage {
	if !bytes.Contains(list[i], []byte(old)) {
		panic(fmt.Sprintf("%s has no %s", list[i], old))
	}
	list[i] = bytes.Replace(list[i], []byte(old), []byte(with), 1)
	return list
}

func (s *verifySuite) told(name string, found, want []string) {
	s.Helper()
	ok := len(found) == len(want)
	for i := range min(len(found), len(want)) {
		ok = ok && strings.HasPrefix(found[i], want[i])
	}
	if !ok {
		s.Errorf("%s: found\n\t%s\nwant\n\t%s", name, strings.Join(found, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (s *verifySuite) settingsTampered() {
	for _, c := range []string{"a", "b", "c"} {
		s.configure(c)
	}
	docs, err := s.side.ChangeForms(s.Context(), 100)
	s.must(err)
	slices.Reverse(docs)
	set, err := s.side.Keeper.(store.Store).Settings(s.Context())
	s.must(err)
	doc, _, err := store.EncodeSettings(set, nil)
	s.must(err)
	replaced := func(b []byte, old, with string) []byte {
		if !bytes.Contains(b, []byte(old)) {
			s.Fatalf("%s has no %s", b, old)
		}
		return bytes.Replace(b, []byte(old), []byte(with), 1)
	}
	swapped := slices.Clone(docs)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	changed := slices.Clone(docs)
	changed[2] = replaced(docs[2], `"U1"`, `"U2"`)
	for name, c := range map[string]struct {
		doc  []byte
		docs [][]byte
		want []string
	}{
		"Nothing":  {doc, docs, nil},
		"Settings": {replaced(doc, `"category":"c"`, `"category":"x"`), docs, []string{"settings: record_mismatch"}},
		"Changed":  {doc, changed, []string{"settings, event 3: changed"}},
		"Removed":  {doc, slices.Delete(slices.Clone(docs), 2, 3), []string{"settings, event 3: missing: change 3 is missing"}},
		"Last":     {doc, docs[:4], []string{"settings: record_mismatch"}},
		"Swapped":  {doc, swapped, []string{"settings, event 3: reordered", "settings, event 4: reordered"}},
		"Damaged":  {[]byte(`{"v":1,`), docs, []string{"settings: unreadable"}},
	} {
		s.side.SetSettings(c.doc, c.docs...)
		found, _ := s.verify()
		s.told(name, found, c.want)
	}
}

// rewritten is a store that somebody made anew, with everything that belongs
// to it: nothing in it contradicts itself.
func (s *verifySuite) rewritten() {
	for _, id := range []string{"a", "b"} {
		s.life(id)
	}
	s.configure("a")
	checkpoints := s.checkpoints()
	if found, _ := s.verify(checkpoints...); len(found) > 0 {
		s.Fatalf("found %v", found)
	}
	_, err := s.side.Update(s.Context(), "JIT-1002", func(t *tickets.Ticket) error {
		t.Events, t.Decision, t.Outcome, t.Request, t.Messages, t.Sending = nil, nil, nil, nil, nil, tickets.Sending{}
		in := Asked("b")
		in.Update.Request.Reason = "another reason"
		t.ApplyUpdate(in, Rules(), Now)
		t.BeginPost(Place, Now)
		t.RecordPost(Place, "1.2", t, Now)
		if err := t.Decide(Approval(Now), Rules()); err != nil {
			return err
		}
		t.ApplyUpdate(Concluded("b"), Rules(), Now)
		return nil
	})
	s.must(err)
	found, _ := s.verify()
	s.told("without checkpoints", found, nil)
	found, _ = s.verify(checkpoints...)
	s.told("with checkpoints", found, []string{"JIT-1002, event 6: missing: a checkpoint tells of 6 events"})
	checkpoints[1].Events = 1
	found, _ = s.verify(checkpoints...)
	s.told("with an early checkpoint", found, []string{"JIT-1002, event 1: checkpoint"})
	// A store that goes on is still the one of its checkpoints.
	checkpoints = s.checkpoints()
	s.life("c")
	s.configure("b")
	_, err = s.side.Update(s.Context(), "JIT-1002", func(t *tickets.Ticket) error {
		t.RecordFormOpened(Ann, tickets.Deny, Place, Now)
		return nil
	})
	s.must(err)
	found, _ = s.verify(checkpoints...)
	s.told("later", found, nil)
}

// copied is a copy: it is as whole as what was copied, to the last hash.
func (s *verifySuite) copied(to Side) {
	s.fill()
	checkpoints := s.checkpoints()
	_, before := s.verify(checkpoints...)
	if _, err := store.Copy(s.Context(), s.side, to, func(store.Progress) {}); err != nil {
		s.Fatal(err)
	}
	s.side = to
	found, after := s.verify(checkpoints...)
	s.told("copy", found, nil)
	if before != after {
		s.Errorf("looked through %+v, and of the copy %+v", before, after)
	}
}

// noted tells each checkpoint once it has changed, and no other.
func (s *verifySuite) noted(fresh Fresh) {
	var mu sync.Mutex
	told := map[tickets.Number][]tickets.Checkpoint{}
	s.side = fresh(s.T, store.Hooks{AfterCommit: func(h tickets.Checkpoint) {
		mu.Lock()
		defer mu.Unlock()
		told[h.Ticket] = append(told[h.Ticket], h)
	}})
	for _, id := range []string{"a", "b"} {
		s.life(id)
	}
	s.configure("a")
	failed := Asked("c")
	_, _, err := s.side.Accept(s.Context(), tickets.Incoming{ID: failed.ID, At: Now, Raw: failed.Raw, Error: "unreadable"}, nil)
	s.must(err)
	_, made, err := s.side.Replay(s.Context(), failed, Asks(failed, Now))
	s.must(err)
	for range 2 { // changes no history
		_, err := s.side.Update(s.Context(), made.Number, func(t *tickets.Ticket) error { t.BeginPost(Place, Now); return nil })
		s.must(err)
	}
	again := Asked("a")
	again.ID = "in-again"
	_, _, err = s.side.Accept(s.Context(), again, Asks(again, Now))
	s.must(err)
	doc, _, err := store.EncodeSettings(tickets.Settings{Version: 2}, nil)
	s.must(err)
	docs, err := s.side.ChangeForms(s.Context(), 10)
	s.must(err)
	slices.Reverse(docs)
	s.side.SetSettings(doc[:10], docs...)
	_, err = s.side.ResetSettings(s.Context(), tickets.Change{At: Now, By: Ann})
	s.must(err)
	for _, h := range s.checkpoints() {
		list := told[h.Ticket]
		if len(list) == 0 || list[len(list)-1] != h {
			s.Errorf("of %s told %+v, last must be %+v", h.Ticket, list, h)
		}
	}
	if n := len(told["JIT-1001"]); n != 3 || len(told["JIT-1003"]) != 1 || len(told[store.SettingsCheckpoint]) != 2 {
		s.Errorf("told %+v; want each change of a history once", told)
	}
	var all []tickets.Checkpoint
	for _, list := range told {
		all = append(all, list...)
	}
	found, v := s.verify(all...)
	s.told("with every checkpoint", found, nil)
	if v.Checkpoints != len(all) {
		s.Errorf("%d checkpoints compared of %d", v.Checkpoints, len(all))
	}
}
