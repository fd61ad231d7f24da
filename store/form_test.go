package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

var update = flag.Bool("update", false, "write the golden file of a form that was never released")

// full is a ticket with everything in it.
func full() *tickets.Ticket {
	t := decided()
	t.Broken, t.Sending.NotPermitted, t.Sending.As, t.Undecidable = true, true, "slack:U1 Ann", tickets.NoApprovers
	t.Messages[0].Reposted = true
	t.Request.TimeRaw, t.Outcome.StartRaw, t.Outcome.EndRaw = "noon", "one", "three"
	t.Deliveries = []tickets.Delivery{{To: storetest.Receiver, Done: 2, Attempts: 3, NotBefore: storetest.Now, Problem: "no answer"}}
	t.Events[0].State, t.Events[0].Request = "New", tickets.Digest([]byte("request"))
	t.Events[0].Source = tickets.Source{Incoming: "in-1", Body: tickets.Digest([]byte("body"))}
	t.Events = append(t.Events,
		tickets.Event{Kind: tickets.EventCardPosted, At: storetest.Now, Place: storetest.Place, Message: "1.2"},
		tickets.Event{Kind: tickets.EventFormOpened, At: storetest.Now, Actor: storetest.Ann, Verdict: tickets.Deny, Place: storetest.Place},
		tickets.Event{Kind: tickets.EventSubmitted, At: storetest.Now, Rev: 3, Attempts: 2, Standing: &tickets.Standing{
			Type: "Access Request", Title: "EPM JIT Access Request", Category: "Security", Active: true, Undecidable: tickets.NoApprovers,
		}})
	hash := tickets.Root(t.ID, "2026-01-31T13:05:00Z")
	for i := range t.Events {
		e := &t.Events[i]
		e.N = i + 1
		raw, err := json.Marshal(e)
		if err == nil {
			hash, err = tickets.Link(hash, raw)
		}
		if err != nil {
			panic(err)
		}
		e.Hash = hash
	}
	return t
}

// decided is a ticket that was decided, with every field of its request.
func decided() *tickets.Ticket {
	at := storetest.Now
	d := storetest.Approval(at)
	d.Duration = tickets.Lasting(7200e9)
	o := tickets.Outcome{Verdict: tickets.Other, Raw: "Revoked", Duration: "7200", By: "console", At: at, AtRaw: "2026-01-31 13:05:00", Start: at, End: at.Add(7200e9), Imitates: true}
	return &tickets.Ticket{
		Number: "JIT-1042", Type: "Access Request", State: "New", Active: true, Title: "EPM JIT Access Request", Category: "Security", Created: at, ID: "7b0c6a1e",
		Request: &tickets.Request{
			ID: "7b0c6a1e", Kind: tickets.Application, EPMNumber: "EPM000238", Tenant: "t", Time: at, User: `ACME\ann`, UserID: "S-1-5", Host: "PC-0815",
			Computer: "c", Group: "g", Reason: "r", Requested: "7200", Product: "7-Zip", Version: "24.09", Publisher: "Igor Pavlov", Path: `C:\7z.exe`,
			Command: "7z x", Parent: "explorer.exe", Source: "https://example.com", SHA256: "aa", SHA1: "bb", Reputation: "3 (VirusTotal)", SuspectedForgery: true, Listed: true,
			Fields: []tickets.Field{{Name: "EventType", Value: "URM_Native_Ticket_Created"}},
		},
		Rev: 3, Decision: &d, Outcome: &o,
		Sending:  tickets.Sending{Attempts: 2, Begun: true, Unclear: true, UnclearAt: at, NotBefore: at, Problem: "p", Done: at, Polls: 1},
		Refusal:  &tickets.Refusal{Decision: d, Reason: "no", At: at},
		Messages: []tickets.Message{{Place: storetest.Place, ID: "1.2", Shown: 2, Told: 1, FirstTry: at, Tries: 2, Attempts: 3, NotBefore: at, Problem: "gone", Dead: true}},
		Events: []tickets.Event{
			{Kind: tickets.EventReceived, At: at},
			{Kind: tickets.EventDecided, At: at, Actor: storetest.Ann, Decision: &d},
			{Kind: tickets.EventOutcome, At: at, Outcome: &o, Text: "t"},
		},
	}
}

// Every form that was ever released must stay readable: never rewrite a
// golden file of one, add the next version's beside it.
func TestStoredForm(t *testing.T) {
	golden := filepath.Join("testdata", "ticket.v1.json")
	got, err := store.Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.TrimSpace(want)) {
		t.Errorf("Encode =\n%s\nwant\n%s", got, want)
	}
	back, err := store.Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, full()) {
		t.Errorf("Decode = %+v, want %+v", back, full())
	}
	full := reflect.ValueOf(*full())
	for i := range full.NumField() {
		if name := full.Type().Field(i).Name; full.Field(i).IsZero() && name != "Version" && name != "UnknownFields" {
			t.Errorf("the golden ticket says nothing of %s", name)
		}
	}
}

// A form that something else has changed is read, and says so for good.
func TestBrokenSeal(t *testing.T) {
	tk := tickets.Start("JIT-1", "a", storetest.Rules(), storetest.Now)
	tk.Ask(tickets.Request{ID: "a", Reason: "lunch"}, storetest.Rules(), storetest.Now)
	doc, err := store.Encode(tk)
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := store.Decode(doc); err != nil || whole.Broken {
		t.Fatalf("Decode = %+v, %v; want it whole", whole, err)
	}
	for i := range doc {
		bad := slices.Clone(doc)
		bad[i] ^= 1
		if tk, err := store.Decode(bad); err == nil && !tk.Broken {
			t.Errorf("byte %d changed: %s is whole", i, bad)
		}
	}
	tk, err = store.Decode(bytes.Replace(doc, []byte("lunch"), []byte("punch"), 1))
	if err != nil {
		t.Fatal(err)
	}
	tk.RecordEdit(storetest.Place, 1, storetest.Now)
	if doc, err = store.Encode(tk); err != nil {
		t.Fatal(err)
	}
	if tk, err = store.Decode(doc); err != nil || !tk.Broken {
		t.Errorf("after the next write = %+v, %v; want it broken", tk, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{``, `{}`, `[]`, `{"v":1}`, `{"v":1,"number":"x"}`, `{"number":"JIT-1"}`, `{"v":1,"number":"JIT-1","decision":{"duration":"soon"}}`} {
		if tk, err := store.Decode([]byte(s)); err == nil {
			t.Errorf("Decode(%s) = %+v, want an error", s, tk)
		}
	}
	if _, err := store.Decode(fmt.Appendf(nil, `{"v":%d,"number":"JIT-1"}`, store.FormVersion+1)); !errors.Is(err, store.ErrNewerForm) {
		t.Errorf("newer form = %v, want ErrNewerForm", err)
	}
}

// FuzzStoredForm: what can be read can be written, and reads the same again.
func FuzzStoredForm(f *testing.F) {
	b, err := store.Encode(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"number":"JIT-1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := store.Decode(b)
		if err != nil {
			return
		}
		again, err := store.Encode(first)
		if err != nil {
			t.Skip("times beyond year 9999 and durations that no rule allows cannot be written")
		}
		second, err := store.Decode(again)
		if err != nil {
			t.Fatalf("Decode(Encode(t)) = %v for %s", err, again)
		}
		third, err := store.Encode(second)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("the form changes when it is read and written:\n%s\n%s", again, third)
		}
		_, _ = first.PendingSteps(storetest.Now), first.NextDue()
	})
}
