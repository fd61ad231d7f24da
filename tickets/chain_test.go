package tickets_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

// The hash of each event, by the formula alone.
func TestChain(t *testing.T) {
	tk := tickets.Start("JIT-1042", "r", rules(), now)
	in := tickets.Incoming{ID: "in-1", Raw: []byte(`{"a":1}`), Update: &tickets.Update{ID: "r", Request: &tickets.Request{ID: "r", Kind: tickets.Application, Reason: "<&>\u2028\x7f\x01 C:\\é\"", Fields: []tickets.Field{{Name: "n", Value: "v"}}}}}
	if status := tk.ApplyUpdate(in, rules(), now); status != tickets.StatusCreated {
		t.Fatalf("Take = %s", status)
	}
	tk.RecordFormOpened(ann, tickets.Approve, place, now)
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		t.Fatal(err)
	}
	hash := sum("countersign ticket\nr\n" + now.Format(time.RFC3339Nano))
	for i, e := range tk.Events {
		if e.N != i+1 {
			t.Errorf("event %d is called %d", i, e.N)
		}
		got := e.Hash
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "hash")
		if hash = sum(hash + "\n" + sorted(t, members)); got != hash {
			t.Errorf("event %d (%s) has the hash %s, want %s", i, e.Kind, got, hash)
		}
	}
	if got, want := tk.Checkpoint(), (tickets.Checkpoint{Ticket: "JIT-1042", Events: 3, Hash: hash}); got != want {
		t.Errorf("Checkpoint = %+v, want %+v", got, want)
	}
	e := tk.Events[0]
	if e.Source.Incoming != "in-1" || e.Source.Body != sum(`{"a":1}`) {
		t.Errorf("received by %+v, want the webhook with the hash of its body", e.Source)
	}
	raw, err := json.Marshal(in.Update.Request)
	if err != nil {
		t.Fatal(err)
	}
	var request any
	if err := json.Unmarshal(raw, &request); err != nil {
		t.Fatal(err)
	}
	if want := sum(sorted(t, request)); e.Request != want {
		t.Errorf("the request has the hash %s, want %s", e.Request, want)
	}
}

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// sorted is v as encoding/json writes a map, in its order, without the escapes
// that HTML wants.
func sorted(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), `\u2028`, "\u2028")
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1, "a":[ {"d":null,"c":true} , "x" ]}`: `{"a":[{"c":true,"d":null},"x"],"b":1}`,
		"\t{\"a\":1e999,\"A\":-0.10}\n":              `{"A":-0.10,"a":1e999}`,
		`{"a":1,"a":{"y":1,"x":2}}`:                  `{"a":{"x":2,"y":1}}`,
		`"\u003c\/\u00e9\ud83d\ude00\u2028\u0001\n"`: "\"</é😀\u2028\\u0001\\n\"",
		`"\ud800"`:                  "\"\uFFFD\"",
		"\"\xff\"":                  "\"\uFFFD\"",
		`{"hash":1,"a":{"hash":2}}`: `{"a":{"hash":2}}`,
		`{}`:                        `{}`,
		`[]`:                        `[]`,
		`[[],{}]`:                   `[[],{}]`,
		`12`:                        `12`,
	} {
		got, err := tickets.Canonical([]byte(in), "hash")
		if err != nil || string(got) != want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{``, `{`, `{"a"}`, `1 2`} {
		if got, err := tickets.Canonical([]byte(in)); err == nil {
			t.Errorf("Canonical(%s) = %s, want an error", in, got)
		}
	}
}

// FuzzRequestDigest: the hash of a request is that of its canonical JSON,
// whatever its fields hold.
func FuzzRequestDigest(f *testing.F) {
	f.Add("", false, int64(0), "")
	f.Add("C:\\7z.exe", true, int64(1769864700_123456789), "a\u2028<&>\"\x7f\x00\n\t")
	f.Add("\xff\xfe é", true, int64(-1), "\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, a string, set bool, at int64, b string) {
		var r tickets.Request
		v := reflect.ValueOf(&r).Elem()
		for i := range v.NumField() {
			switch field := v.Field(i); x := field.Addr().Interface().(type) {
			case *bool:
				*x = set
			case *time.Time:
				*x = time.Unix(0, at).UTC()
				if at%2 == 0 {
					*x = time.Time{}.In(time.FixedZone("", 3600))
				}
			case *[]tickets.Field:
				for n := range len(b) % 4 {
					*x = append(*x, tickets.Field{Name: a, Value: b[n:]})
				}
			case *tickets.UnknownFields:
			default:
				if i%3 > 0 {
					field.SetString(a[:len(a)*i/v.NumField()] + b)
				} else {
					field.SetString(a)
				}
			}
		}
		tk := tickets.Start("JIT-1", r.ID, rules(), now)
		tk.Ask(r, rules(), now)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tickets.Canonical(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tk.Events[0].Request, tickets.Digest(c); got != want {
			t.Errorf("the hash of %s is not that of %s", raw, c)
		}
	})
}

// FuzzCanonical: the canonical form says the same, and is its own.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,{"a":"\u003c"}],"a":null,"b":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := tickets.Canonical(raw)
		if json.Valid(raw) != (err == nil) {
			t.Fatalf("Canonical(%q) = %q, %v", raw, c, err)
		}
		if err != nil {
			return
		}
		again, err := tickets.Canonical(c)
		if err != nil || string(again) != string(c) {
			t.Fatalf("Canonical(%q) = %q, whose is %q, %v", raw, c, again, err)
		}
		var a, b any
		if json.Unmarshal(raw, &a) != nil {
			return // a number that is none of Go's
		}
		if err := json.Unmarshal(c, &b); err != nil {
			t.Fatal(err)
		}
		if x, y := sorted(t, a), sorted(t, b); x != y {
			t.Fatalf("%q says %s, its canonical form %s", raw, x, y)
		}
	})
}

func TestNotesChangeNoCard(t *testing.T) {
	tk := asked()
	tk.BeginPost(place, now)
	tk.RecordPost(place, "m1", tk, now)
	rev, due := tk.Rev, tk.NextDue()
	later := now.Add(time.Hour)
	tk.RecordFormOpened(ann, tickets.Approve, place, later)
	tk.RecordAccessDenied(bob, tickets.Deny, place, "no approver", later)
	tk.ShowFailed(place, "gone", later, false, later)
	tk.ShowFailed(place, "gone", later, false, later)
	tk.RecordEdit(place, tk.Rev, later)
	tk.ShowFailed(place, "deleted", later, true, later)
	var got []tickets.EventKind
	for _, e := range tk.Events[1:] {
		got = append(got, e.Kind)
		if e.Kind.InThread() {
			t.Errorf("%s is told in the thread", e.Kind)
		}
	}
	want := "[card_posted form_opened access_denied delivery_failing delivery_recovered delivery_abandoned]"
	if fmt.Sprint(got) != want || tk.Rev != rev || len(due) != len(tk.NextDue()) || len(tk.PendingSteps(later)) != 0 {
		t.Errorf("events %v, rev %d, owes %v; want %s, rev %d and nothing", got, tk.Rev, tk.PendingSteps(later), want, rev)
	}
	if m := tk.Message(place); m.Told != len(tk.Events) {
		t.Errorf("told of %d events of %d", m.Told, len(tk.Events))
	}
}

// No reply is skipped or repeated for the events that no thread is told of.
func TestNotesBetweenReplies(t *testing.T) {
	tk := asked()
	shown := *tk
	tk.RecordFormOpened(ann, tickets.Approve, place, now)
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		t.Fatal(err)
	}
	tk.RecordFormOpened(bob, tickets.Approve, place, now)
	tk.RecordPost(place, "m1", &shown, now)
	tk.RecordEdit(place, tk.Rev, now)
	tk.RecordAccepted(*tk.Decision, now)
	tk.RecordEdit(place, tk.Rev, now)
	var told []tickets.EventKind
	for range 10 {
		for _, s := range tk.PendingSteps(now) {
			if s.Kind == tickets.StepReply {
				told = append(told, tk.Events[s.Event].Kind)
				tk.RecordAccessDenied(bob, tickets.Approve, place, fmt.Sprint(len(told)), now)
				tk.RecordReply(place, s.Event, now)
			}
		}
		tk.BeginSend(now)
		tk.RecordAccepted(*tk.Decision, now)
		tk.RecordEdit(place, tk.Rev, now)
	}
	if got := fmt.Sprint(told); got != "[decided submitted]" {
		t.Errorf("told of %s", got)
	}
	if m := tk.Message(place); m.Told != len(tk.Events) {
		t.Errorf("told of %d events of %d", m.Told, len(tk.Events))
	}
}

// Clicking makes no history without end, and mutes nobody's decision.
func TestNotesAreBounded(t *testing.T) {
	tk := asked()
	at := now
	if !tk.RecordAccessDenied(bob, tickets.Approve, place, "no approver", at) || tk.RecordAccessDenied(bob, tickets.Approve, place, "no approver", at.Add(59*time.Second)) {
		t.Error("want the same person noted once in a minute")
	}
	if !tk.RecordAccessDenied(bob, tickets.Deny, place, "no approver", at) || !tk.RecordAccessDenied(ann, tickets.Approve, place, "no approver", at) || !tk.RecordAccessDenied(bob, tickets.Approve, place, "own request", at) {
		t.Error("want another verdict, person and reason noted")
	}
	for range 1000 {
		at = at.Add(time.Hour)
		tk.RecordAccessDenied(bob, tickets.Approve, place, "no approver", at)
	}
	last := tk.Events[len(tk.Events)-1]
	if len(tk.Events) != 1+200+1 || last.Kind != tickets.EventsSuppressed || last.Text != string(tickets.EventAccessDenied) {
		t.Errorf("%d events, the last %+v; want 200 noted, and that more are not", len(tk.Events), last)
	}
	if !tk.RecordFormOpened(ann, tickets.Approve, place, at) || tk.Decide(decision(tickets.Approve, ann), rules()) != nil {
		t.Error("others are muted too")
	}
}

func BenchmarkLink(b *testing.B) {
	tk := asked()
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(tk.Events[1])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tickets.Link(tk.Events[0].Hash, raw); err != nil {
			b.Fatal(err)
		}
	}
}
