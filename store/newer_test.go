package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// tree is a stored form as anybody may read it.
func tree(t testing.TB, doc []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	return m
}

// objects calls visit with each object in v and its path, in which an element
// of an array is [].
func objects(path string, v any, visit func(path string, o map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(path, v)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !strings.HasPrefix(name, "x_") {
				objects(path+"."+name, v[name], visit)
			}
		}
	case []any:
		for _, inner := range v {
			objects(path+"[]", inner, visit)
		}
	}
}

// A form as a version to come may write it, with something new in every
// object: it is written back as it was, in this version's form.
func TestFutureForm(t *testing.T) {
	golden := filepath.Join("testdata", "ticket.v1.future.json")
	if *update {
		b, err := store.Encode(full())
		if err != nil {
			t.Fatal(err)
		}
		m := tree(t, b)
		objects("", m, func(path string, o map[string]any) { o["x_new"] = map[string]any{"of": path, "list": []int{1}} })
		if b, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := store.Decode(doc)
	if err != nil {
		t.Fatal(err)
	}
	again, err := store.Encode(tk)
	if err != nil {
		t.Fatal(err)
	}
	got, want := tree(t, again), tree(t, doc)
	for _, own := range []string{"v", "seal"} {
		delete(got, own)
		delete(want, own)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Encode(Decode) =\n%s\nwant\n%s", again, doc)
	}
	if !bytes.HasPrefix(again, []byte(`{"v":1,"number":"JIT-1042"`)) {
		t.Errorf("the form begins with %.40s", again)
	}
}

// One field alone, in each object there is.
func TestFutureFieldAnywhere(t *testing.T) {
	plain, err := store.Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	for i, more := 0, true; more; i++ {
		more = false
		m, n, where := tree(t, plain), 0, ""
		objects("", m, func(path string, o map[string]any) {
			if n == i {
				o["x_new"], where, more = 1, path, true
			}
			n++
		})
		doc, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		tk, err := store.Decode(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := store.Encode(tk)
		if err != nil || more != bytes.Contains(again, []byte(`"x_new":1`)) {
			t.Errorf("a new field in %s is lost: %s, %v", where, again, err)
		}
	}
}

func TestNewerFields(t *testing.T) {
	at := storetest.Now
	const head = `{"v":1,"number":"JIT-1","type":"Access Request","state":"New","active":true,"created":"2026-01-31T13:05:00Z","id":"a","rev":1`
	const request = `,"request":{"id":"a","kind":"admin"}`
	const decided = `,"decision":{"verdict":"approve","reason":"r","duration":"once","by":{"platform":"slack","id":"U1","x_team":"t"},"at":"2026-01-31T13:05:00Z","place":{"platform":"slack","channel":"C1"},"x_quorum":["U7"]},"sending":{"x_try":7}`
	for name, c := range map[string]struct {
		doc    string
		change func(*tickets.Ticket)
		want   []string // in the form afterwards
		gone   []string
	}{
		"NothingChanges": {
			head + `,"x":{"a": 1e999, "b":"<\u2028>"},"x":2,"request":null}`, func(*tickets.Ticket) {},
			[]string{`"x":{"a":1e999,"b":"<\u2028>"},"x":2`}, nil,
		},
		"WhatIsKnownWins": {
			head + `,"X_STATE":"s","STATE":"Old"}`, func(tk *tickets.Ticket) { tk.State = "Closed" },
			[]string{`"state":"Closed"`, `"X_STATE":"s"`}, []string{"Old", `"STATE"`},
		},
		"InWhatIsLeftOutWhenEmpty": {
			head + `,"sending":{"x":1},"events":[{"kind":"state","at":"2026-01-31T13:05:00Z","actor":{"x":2}}]}`, func(*tickets.Ticket) {},
			[]string{`"sending":{"x":1}`, `"actor":{"x":2}`}, nil,
		},
		// The update that overtook its request stays the first.
		"EventsAreAdded": {
			head + `,"events":[{"kind":"outcome","at":"2026-01-31T13:05:00Z","x":1}]}`,
			func(tk *tickets.Ticket) { tk.Ask(tickets.Request{ID: "a"}, storetest.Rules(), at) },
			[]string{`"events":[{"kind":"outcome","at":"2026-01-31T13:05:00Z","x":1},{"n":2,"kind":"received"`}, nil,
		},
		"AcknowledgedKeepsSending": {
			head + request + decided + `}`, func(tk *tickets.Ticket) { tk.RecordAccepted(*tk.Decision, at) },
			[]string{`"x_quorum":["U7"]`, `"x_team":"t"`, `"x_try":7`, `"done":`}, nil,
		},
		"RefusedTakesItAlong": {
			head + request + decided + `}`, func(tk *tickets.Ticket) { tk.RecordRejection(*tk.Decision, "no", at) },
			[]string{`"refusal":{"decision":{"verdict":"approve","reason":"r","duration":"Once","by":{"platform":"slack","id":"U1","x_team":"t"}`, `"x_quorum":["U7"]`}, []string{`"x_try"`},
		},
		// What a newer version noted of a decision, as who else approved it,
		// is not said of another one.
		"AnotherDecisionGetsNothingOfIt": {
			head + request + decided + `}`, func(tk *tickets.Ticket) {
				tk.Decision, tk.Sending = nil, tickets.Sending{}
				if err := tk.Decide(storetest.Approval(at.Add(time.Hour)), storetest.Rules()); err != nil {
					t.Error(err)
				}
			},
			[]string{`"reason":"ok"`}, []string{"x_"},
		},
		"OutcomeFilledIn": {
			head + request + `,"outcome":{"verdict":"deny","x":1}}`, func(tk *tickets.Ticket) {
				tk.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "console"}, storetest.Rules(), at)
			},
			[]string{`"by":"console"`, `"x":1`}, nil,
		},
		"AnotherOutcome": {
			head + request + `,"outcome":{"verdict":"approve","x":1}}`, func(tk *tickets.Ticket) {
				tk.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "console"}, storetest.Rules(), at)
			},
			[]string{`"by":"console"`}, []string{`"x":1`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tk, err := store.Decode([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			tk.Broken = false // the forms above have no seal
			c.change(tk)
			doc, err := store.Encode(tk)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !bytes.Contains(doc, []byte(want)) {
					t.Errorf("%s\nlacks %s", doc, want)
				}
			}
			for _, gone := range c.gone {
				if bytes.Contains(doc, []byte(gone)) {
					t.Errorf("%s\nhas %s", doc, gone)
				}
			}
		})
	}
}

func TestNewerFormWhoseFieldsChanged(t *testing.T) {
	if _, err := store.Decode([]byte(`{"v":3,"number":{"prefix":"JIT","seq":1},"x":1}`)); !errors.Is(err, store.ErrNewerForm) {
		t.Errorf("Decode = %v, want ErrNewerForm", err)
	}
}

// FuzzNewerFields: what a newer version added anywhere is still there after
// this one has changed the ticket, in the same value.
func FuzzNewerFields(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(0), `{"a":[1,2]}`)
	f.Add(uint64(2), uint8(40), uint8(5), `"text"`)
	f.Add(uint64(3), uint8(9), uint8(30), `1e400`)
	f.Add(uint64(4), uint8(20), uint8(10), `null`)
	f.Fuzz(func(t *testing.T, seed uint64, news, changes uint8, value string) {
		if len(value) > 1000 || !json.Valid([]byte(value)) {
			t.Skip()
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		now := storetest.Now
		tk := full()
		if seed%2 == 0 {
			tk = tickets.Start("JIT-1", "a", storetest.Rules(), now)
			tk.Ask(tickets.Request{ID: "a", User: "u", Fields: []tickets.Field{{Name: "n"}}}, storetest.Rules(), now)
			for range rng.IntN(20) {
				storetest.Live(tk, rng, now)
			}
		}
		doc, err := store.Encode(tk)
		if err != nil {
			t.Fatal(err)
		}
		m := tree(t, doc)
		type place struct{ path, of string }
		var all []map[string]any
		objects("", m, func(path string, o map[string]any) { all = append(all, o) })
		added := map[string]place{}
		for i := range int(news) {
			o := all[rng.IntN(len(all))]
			o[fmt.Sprintf("x_%d", i)] = json.RawMessage(value)
		}
		if doc, err = json.Marshal(m); err != nil {
			t.Skip() // encoding/json does not write what it reads
		}
		m = tree(t, doc)
		objects("", m, func(path string, o map[string]any) {
			for name := range o {
				if strings.HasPrefix(name, "x_") {
					added[name] = place{path, identity(m, path, o)}
				}
			}
		})
		tk, err = store.Decode(doc)
		if err != nil {
			t.Fatalf("Decode(%s) = %v", doc, err)
		}
		for range changes {
			now = now.Add(time.Minute)
			storetest.Live(tk, rng, now)
		}
		again, err := store.Encode(tk)
		if err != nil {
			t.Fatal(err)
		}
		after := tree(t, again)
		found, there := map[string]place{}, map[place]bool{}
		objects("", after, func(path string, o map[string]any) {
			there[place{path, identity(after, path, o)}] = true
			for name, v := range o {
				if at, ok := added[name]; ok && at.path == path {
					found[name] = place{path, identity(after, path, o)}
					if got, err := json.Marshal(v); err != nil || !sameJSON(t, got, []byte(value)) {
						t.Errorf("%s at %s is %s, want %s", name, path, got, value)
					}
				}
			}
		})
		for name, at := range added {
			switch got, ok := found[name]; {
			case ok && got != at:
				t.Errorf("%s moved from %v to %v", name, at, got)
			case !ok && there[at]:
				t.Errorf("%s is gone from %v\nbefore %s\nafter %s", name, at, doc, again)
			}
		}
	})
}

// identity tells a value from another that may take its place.
func identity(root map[string]any, path string, o map[string]any) string {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, "."), ".")
	switch top {
	case "decision", "sending":
		d, _ := root["decision"].(map[string]any)
		return fmt.Sprint(d["at"], d["verdict"])
	case "outcome":
		c, _ := root["outcome"].(map[string]any)
		return fmt.Sprint(c["verdict"], c["raw"], c["at"])
	case "refusal":
		r, _ := root["refusal"].(map[string]any)
		return fmt.Sprint(r["at"])
	}
	return fmt.Sprint(o["kind"], o["at"], o["channel"], o["n"])
}

func sameJSON(t testing.TB, a, b []byte) bool {
	read := func(b []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return reflect.DeepEqual(read(a), read(b))
}
