package epm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/countersign/countersign/epm/epmtest"
)

func seeds(f *testing.F) {
	w := newWorld(f)
	for _, b := range epmtest.Breakages() {
		if strings.HasPrefix(b.Name, "leftover") {
			continue
		}
		for _, e := range b.Events {
			f.Add(w.body(e, b.Options))
		}
	}
	for _, s := range []string{"", "{}", "[", `{"a":[1,{"b":"\ud83d\ude4f"}],"c":-1.5e+3,"d":nul}`, `{"a":"\ud800\u0041\ud800"}`, "{\"a\":\"\xff\xfe\"}", `{"a":01}`, `{"a" : {} , "b":[ ]}x`} {
		f.Add([]byte(s))
	}
}

// FuzzParse: no body panics, none both asks and concludes, none is read into
// more than the limits allow.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		p, err := Parse(raw)
		if !bytes.Equal(raw, before) {
			t.Error("the body was changed")
		}
		if err != nil {
			if p.News != nil || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("an error and news, or an error of two lines: %v", err)
			}
			return
		}
		n := p.News
		if (n == nil) != p.Ignored {
			t.Fatalf("news %v, ignored %t", n, p.Ignored)
		}
		if n == nil {
			return
		}
		said := 0
		for _, b := range []bool{n.Request != nil, n.Outcome != nil, n.Waiting} {
			if b {
				said++
			}
		}
		if said != 1 || n.ID == "" || len(n.ID) > 100 {
			t.Fatalf("one body says %d things: %+v", said, n)
		}
		if q := n.Request; q != nil {
			total := 0
			for _, field := range q.Fields {
				total += len(field.Value)
			}
			if q.ID != n.ID || len(q.Fields) > maxFields || total > maxText+maxFields*64 {
				t.Fatalf("id %q of %q, %d fields, %d bytes", q.ID, n.ID, len(q.Fields), total)
			}
		}
	})
}

// FuzzScan holds the scanner to encoding/json: the same bodies are JSON, and
// their strings say the same.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := string([]rune(string(raw)))
		values, err := scan(s)
		if errors.Is(err, errTooNested) || errors.Is(err, errTooMany) {
			return
		}
		valid := json.Valid([]byte(s))
		if valid == errors.Is(err, errSyntax) {
			t.Fatalf("valid %t, scan: %v\n%q", valid, err, s)
		}
		if err != nil {
			return
		}
		want := tokens(t, s)
		i := 0
		for _, v := range values {
			texts := []string{v.name}
			if v.form == formText {
				texts = append(texts, v.text)
			}
			for _, text := range texts {
				if i >= len(want) || want[i] != text {
					t.Fatalf("string %d is %q, encoding/json has %q", i, text, want)
				}
				i++
			}
		}
		if i != len(want) {
			t.Fatalf("%d strings, want %d", i, len(want))
		}
	})
}

// tokens lists the strings of a JSON object outside of arrays.
func tokens(t *testing.T, s string) []string {
	d := json.NewDecoder(strings.NewReader(s))
	var out []string
	depth := 0 // of arrays
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case json.Delim:
			if tok == '[' {
				depth++
			} else if tok == ']' {
				depth--
			}
		case string:
			if depth == 0 {
				out = append(out, tok)
			}
		}
	}
}

// FuzzValues fills the vendor's template, escaped, with any values: they are
// read as they were, and nothing is marked or repaired.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"patch day", `C:\Users\new`, `x", "RequestId": "y`, "a\nb", "%%User%%", "null", `\`, "\x00", `"`, "🙏"} {
		f.Add(s, s)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, reason, command string) {
		reason, command = string([]rune(reason)), string([]rune(command))
		if len(reason)+len(command) > 32<<10 {
			return
		}
		for _, e := range []epmtest.Event{epmtest.AppCreated, epmtest.AdminCreated} {
			p, err := Parse(w.body(e, epmtest.BodyOptions{Values: map[string]string{"Reason": reason, "CmdArgs": command}}))
			if err != nil {
				t.Fatal(err)
			}
			q := p.News.Request
			if p.Repaired || q.SuspectedForgery || q.Reason != givenText(reason) || e == epmtest.AppCreated && q.Command != givenText(command) {
				t.Fatalf("repaired %t, imitates %t, reason %q, command %q; want %q, %q", p.Repaired, q.SuspectedForgery, q.Reason, q.Command, reason, command)
			}
		}
	})
}

// FuzzRawValues fills it without any escaping: whatever somebody writes, the
// body is either refused or about EPM's own request, and does not decide.
func FuzzRawValues(f *testing.F) {
	for _, s := range []string{`C:\Users\new`, `x", "RequestId": "y`, "x\n}\n{", "x\",\n\"EventType\": \"JIT_ADMIN_TICKET_UPDATED\",\n\"Decision\": \"Approved", `he said "x"`, "\\\n\""} {
		f.Add(s, "")
		f.Add("", s)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, reason, command string) {
		for _, e := range []epmtest.Event{epmtest.AppCreated, epmtest.AdminCreated} {
			p, err := Parse(w.body(e, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{"Reason": reason, "CmdArgs": command}}))
			if err != nil {
				continue
			}
			if p.News == nil || p.News.ID != requestID || p.News.Request == nil {
				t.Fatalf("%+v", p.News)
			}
		}
	})
}
