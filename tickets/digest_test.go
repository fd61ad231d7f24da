package tickets

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRequestDigest: what a card shows of a request makes its digest, and
// nothing else does.
func TestRequestDigest(t *testing.T) {
	base := func() *Request {
		return &Request{ID: "r-1", Kind: Application, User: `ACME\ann`, Fields: []Field{{Name: "user", Value: `ACME\ann`}, {Name: "reason", Value: "please"}}}
	}
	want := base().Digest()
	if got, ok := ParseRequestDigest(string(want)); !ok || got != want {
		t.Errorf("ParseRequestDigest(%q) = %q, %v", want, got, ok)
	}
	for name, c := range map[string]struct {
		change func(*Request)
		err    error
	}{
		"Same":       {func(*Request) {}, nil},
		"TimeRead":   {func(r *Request) { r.Time = time.Unix(1e9, 0) }, nil},
		"Listed":     {func(r *Request) { r.Listed = true }, nil},
		"Newer":      {func(r *Request) { r.UnknownFields = `{"later":1}` }, nil},
		"Reputation": {func(r *Request) { r.Reputation = "bad" }, nil},
		"OtherID":    {func(r *Request) { r.ID = "r-2" }, ErrOtherRequest},
		"OtherCase":  {func(r *Request) { r.ID = "R-1" }, ErrOtherRequest},
		"Value":      {func(r *Request) { r.Fields[1].Value = "please!" }, ErrMoreKnown},
		"Name":       {func(r *Request) { r.Fields[1].Name = "reasons" }, ErrMoreKnown},
		"Added":      {func(r *Request) { r.Fields = append(r.Fields, Field{}) }, ErrMoreKnown},
		"Order":      {func(r *Request) { r.Fields[0], r.Fields[1] = r.Fields[1], r.Fields[0] }, ErrMoreKnown},
		"MovedText":  {func(r *Request) { r.Fields[1].Name, r.Fields[1].Value = "reasonp", "lease" }, ErrMoreKnown},
		"Joined": {func(r *Request) {
			r.Fields = []Field{{Name: "user", Value: `ACME\annreasonplease`}}
		}, ErrMoreKnown},
	} {
		r := base()
		c.change(r)
		if err := want.Check(r); !errors.Is(err, c.err) {
			t.Errorf("%s: Check() = %v, want %v", name, err, c.err)
		}
	}
	for _, d := range []RequestDigest{"", want[:2*idHash], RequestDigest(strings.Repeat("0", len(want)))} {
		if err := d.Check(base()); !errors.Is(err, ErrOtherRequest) {
			t.Errorf("%q.Check() = %v", d, err)
		}
	}
	if err := want.Check(nil); !errors.Is(err, ErrOtherRequest) {
		t.Errorf("Check(nil) = %v", err)
	}
	for _, s := range []string{"", "x", strings.ToUpper(string(want)), string(want) + "00", string(want[1:]), strings.Repeat("g", len(want))} {
		if _, ok := ParseRequestDigest(s); ok {
			t.Errorf("%q was read as a digest", s)
		}
	}
}

// TestRequestDigestOfStoredForm: a card that was made before the request was
// stored carries the digest that it has when it is read again.
func TestRequestDigestOfStoredForm(t *testing.T) {
	r := &Request{ID: "r\xff\xfe1", Fields: []Field{{Name: "a\xc3", Value: "b\x00\xed\xa0\x80c\u2028<&>"}}}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Request
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if r.Digest() != again.Digest() {
		t.Errorf("the digest is %s, and after it was stored %s", r.Digest(), again.Digest())
	}
}

// TestShownIn: a card may be clicked before its post is recorded.
func TestShownIn(t *testing.T) {
	place := Place{Platform: "chat", Channel: "C1"}
	tk := &Ticket{Messages: []Message{{Place: place}}}
	if tk.ShownIn(place) || tk.ShownIn(Place{}) {
		t.Error("shown before it was posted")
	}
	if !tk.BeginPost(place, time.Now()) || !tk.ShownIn(place) || tk.ShownIn(Place{Platform: "chat", Channel: "C2"}) {
		t.Error("not shown where the post has begun, or elsewhere")
	}
	if tk.UndoAttempt(place); tk.ShownIn(place) {
		t.Error("shown where the post certainly failed")
	}
	tk.RecordPost(place, "m1", tk, time.Now())
	if !tk.ShownIn(place) {
		t.Error("not shown where it was posted")
	}
}
