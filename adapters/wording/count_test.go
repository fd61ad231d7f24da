package wording_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

var counted = regexp.MustCompile(`… and (more than )?(\d+) more (characters|lines|fields)$`)

// TestCutTellsTheTruth: how many characters are not shown is the true number, or
// "more than" one that is lower, whatever the text is made of.
func TestCutTellsTheTruth(t *testing.T) {
	const many = 100_000
	for name, c := range map[string]struct {
		text  string
		more  int // characters beyond those of text, which an earlier count stands for
		exact bool
	}{
		"Plain":      {strings.Repeat("x", many), 0, true},
		"Umlauts":    {strings.Repeat("ä", many), 0, true},
		"Emoji":      {strings.Repeat("😀", many), 0, true},
		"Controls":   {strings.Repeat("\x00x", many/2), 0, true},
		"Bidi":       {strings.Repeat("x", 40) + strings.Repeat("\u202e", many), 0, false},
		"BidiAll":    {strings.Repeat("\u202e", many), 0, false},
		"Bytes":      {strings.Repeat("\xff", many), 0, false},
		"Written":    {strings.Repeat("⟦U+202E⟧", many/8), 0, false},
		"HalfAName":  {strings.Repeat("⟦U+202", many/6), 0, true},
		"Lines":      {strings.Repeat("cmd /c x\n", many/9) + "x", 0, false}, // on one line
		"KeptInPart": {strings.Repeat("x", 65_536) + "… (34464 more bytes)", 34_464 - 20, false},
		"Imitated":   {strings.Repeat("x", 65_536) + "… (34464 more bytes)", 0, false},
		"CutBefore":  {strings.Repeat("x", 60) + "… and 99400 more characters" + strings.Repeat("y", 40), 99_373, false},
	} {
		line := wording.Line(c.text)
		for limit := 48; limit < 90; limit++ {
			got := wording.Cut(line, limit)
			m := counted.FindStringSubmatch(got)
			if m == nil || utf8.RuneCountInString(got) > limit {
				t.Fatalf("%s cut to %d: %q", name, limit, got)
			}
			shown := strings.TrimSuffix(got, m[0])
			said, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			// A name stands for one character of the text, unless it was typed.
			if name != "Written" {
				shown = regexp.MustCompile(`⟦[^⟦⟧]*⟧| ⏎ `).ReplaceAllString(shown, "·")
			}
			if n := strings.Count(shown, "⟦"); name != "HalfAName" && n != strings.Count(shown, "⟧") {
				t.Fatalf("%s cut to %d splits a name: %q", name, limit, got)
			}
			hidden := utf8.RuneCountInString(c.text) - utf8.RuneCountInString(shown) + c.more
			if m[1] == "" && said != hidden || m[1] != "" && said >= hidden || (m[1] == "") != c.exact {
				t.Fatalf("%s cut to %d says %q, and %d characters are hidden", name, limit, m[0], hidden)
			}
		}
	}
}

// TestQuoteTellsTheTruth: of lines too.
func TestQuoteTellsTheTruth(t *testing.T) {
	text := strings.Repeat("x\n", 10_000)
	for in, want := range map[string]string{
		text + "y":                             "… and 9989 more lines",
		text + "y… (1000 more bytes)":          "… and more than 9988 more lines",
		text + "\u202e":                        "… and 9989 more lines",
		strings.Repeat("long ", 100_000) + "x": "… and 499029 more characters",
	} {
		if got := wording.Quote("Reason", in, 1000); !strings.HasSuffix(got, want) {
			t.Errorf("%d bytes: %q, want %q at its end", len(in), got[max(0, len(got)-60):], want)
		}
	}
}

// TestListTellsTheTruth: a text that was cut is cut once more in a list.
func TestListTellsTheTruth(t *testing.T) {
	tk := started()
	tk.Request.Product = strings.Repeat("x", 100_000)
	tk.Request.User = "ACME\\" + strings.Repeat("u", 100_000)
	for _, got := range []string{wording.ListLine(tk, "slack"), wording.Cut(wording.PlainText(tk, "slack"), 100)} {
		for _, m := range regexp.MustCompile(`and (more than )?(\d+) more`).FindAllStringSubmatch(got, -1) {
			if n, _ := strconv.Atoi(m[2]); m[1] == "" && n < 90_000 {
				t.Errorf("%q says %q, and nearly all of 100,000 characters are hidden", got, m[0])
			}
		}
	}
}

func TestMoreFields(t *testing.T) {
	var fields []tickets.Field
	for i := range 9 {
		fields = append(fields, tickets.Field{Name: fmt.Sprint(i)})
	}
	if got, want := wording.MoreFields(fields), "… and 9 more fields"; got != want {
		t.Errorf("MoreFields = %q, want %q", got, want)
	}
	fields[3].Name = tickets.FieldsLeftOut
	if got, want := wording.MoreFields(fields), "… and more than 8 more fields"; got != want {
		t.Errorf("MoreFields = %q, want %q", got, want)
	}
}
