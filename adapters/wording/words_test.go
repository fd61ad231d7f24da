package wording_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

func TestVisible(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"Plain", `C:\Program Files\7-Zip`, `C:\Program Files\7-Zip`},
		{"Letters", "Zoë Müller 北京 Ωμέγα", "Zoë Müller 北京 Ωμέγα"},
		{"LineBreaks", "a\r\nb\rc\nd\te", "a\nb␍c\nd\te"},
		{"NUL", "a\x00b\x1bc\x7f", "a␀b␛c␡"},
		{"C1", "a\u0085b", "a⟦U+0085⟧b"},
		{"Bidi", "\u202Eexe.fdp\u202C \u2066x\u2069 \u061c", "⟦U+202E⟧exe.fdp⟦U+202C⟧ ⟦U+2066⟧x⟦U+2069⟧ ⟦U+061C⟧"},
		{"ZeroWidth", "ad\u200Bmin \u200d \u2060 \ufeff \u00ad", "ad⟦U+200B⟧min ⟦U+200D⟧ ⟦U+2060⟧ ⟦U+FEFF⟧ ⟦U+00AD⟧"},
		{"Fillers", "\u3164\u115f\u2800\uffa0", "⟦U+3164⟧⟦U+115F⟧⟦U+2800⟧⟦U+FFA0⟧"},
		{"Separators", "a\u2028b\u2029", "a⟦U+2028⟧b⟦U+2029⟧"},
		{"LoneSurrogate", "a\xed\xa0\x80b", "a⟦U+D800⟧b"},
		{"InvalidUTF8", "a\xffb\xc3", "a⟦0xFF⟧b⟦0xC3⟧"},
		{"PrivateUse", "\ue000 \U000f0000", "⟦U+E000⟧ ⟦U+F0000⟧"},
		{"Tags", "\U000e0041", "⟦U+E0041⟧"},
		{"Emoji", "❤\ufe0f 😀", "❤\ufe0f 😀"},
		{"SelectorAlone", "a\ufe0fb\U000e0100", "a⟦U+FE0F⟧b⟦U+E0100⟧"},
		{"Accents", "e\u0301", "e\u0301"},
		{"MarksPiledUp", "e" + strings.Repeat("\u0301", 6), "e\u0301\u0301\u0301\u0301⟦U+0301⟧⟦U+0301⟧"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := wording.Visible(tt.in)
			if got != tt.want {
				t.Errorf("Visible(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if again := wording.Visible(got); again != got {
				t.Errorf("Visible(%q) = %q", got, again)
			}
		})
	}
}

func TestMsgOwn(t *testing.T) {
	for _, tt := range []struct {
		m    selfcheck.Match
		want string
	}{
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchNo}, ""},
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchYes, Asked: "jdoe@acme.com", Known: "jdoe@acme.com"}, "You cannot decide your own request"},
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: `ACME\jdoe`, Known: "jdoe@acme.com"},
			`This request may be your own: it was made by ACME\jdoe, and you are jdoe@acme.com. Please let somebody else decide it`},
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: "jd\u202eoe\napproved by Ann" + strings.Repeat("x", 200), Known: "jdoe"},
			"This request may be your own: it was made by jd⟦U+202E⟧oe ⏎ approved by Ann" + strings.Repeat("x", 45) + "… and 155 more characters, and you are jdoe. Please let somebody else decide it"},
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe}, wording.MsgUnknownAsker},
		{selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: "jdoe"}, wording.MsgCannotTell},
		{selfcheck.Match{}, wording.MsgUnknownAsker}, // whatever is not known to be different
	} {
		if got := wording.MsgOwn(tt.m); got != tt.want {
			t.Errorf("MsgOwn(%+v) = %q, want %q", tt.m, got, tt.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 10, "short"},
		{strings.Repeat("ä", 100), 40, strings.Repeat("ä", 15) + "… and 85 more characters"},
		{"abcdefghij", 5, "abcd…"},
		{"abcdefghij", 1, "…"},
		{"abcdefghij", 0, ""},
	} {
		if got := wording.Cut(tt.in, tt.limit); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("hello", 3)
	f.Add(strings.Repeat("😀", 200), 30)
	f.Add("a\xff\xfe\u202e\x00", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit %= 300
		got := wording.Cut(s, limit)
		if n := utf8.RuneCountInString(got); n > max(limit, 0) {
			t.Fatalf("Cut(%q, %d) has %d runes", s, limit, n)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Fatalf("Cut(%q, %d) = %q splits a rune", s, limit, got)
		}
		if again := wording.Cut(got, limit); again != got {
			t.Fatalf("Cut twice: %q, then %q", got, again)
		}
		if head, _, cut := strings.Cut(got, "…"); cut && !strings.Contains(s, "…") && !strings.HasPrefix(s, head) {
			t.Fatalf("Cut(%q, %d) = %q is not the beginning", s, limit, got)
		}
	})
}

func FuzzVisible(f *testing.F) {
	f.Add("a\x00\u202e\xed\xa0\x80\xff\u200b❤\ufe0f\r\n\r")
	f.Fuzz(func(t *testing.T, s string) {
		got := wording.Visible(s)
		if !utf8.ValidString(got) {
			t.Fatalf("Visible(%q) = %q is not UTF-8", s, got)
		}
		if strings.ContainsAny(got, "\x00\r\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\u061c\ufeff") {
			t.Fatalf("Visible(%q) = %q hides something", s, got)
		}
		if again := wording.Visible(got); again != got {
			t.Fatalf("Visible twice: %q, then %q", got, again)
		}
		if line := wording.Line(s); strings.Contains(line, "\n") {
			t.Fatalf("Line(%q) = %q has two lines", s, line)
		}
	})
}

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"one line", "Reason: one line"},
		{"please\napproved by Ann", "Reason:\n│ please\n│ approved by Ann"},
		{strings.Repeat("x\n", 20) + "y", "Reason:\n│ " + strings.Repeat("x\n│ ", 12) + "… and 9 more lines"},
	} {
		if got := wording.Quote("Reason", tt.in, 1000); got != tt.want {
			t.Errorf("Quote(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

var (
	now   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	typ   = tickets.Types()[0]
	rules = tickets.Rules{Type: typ, Active: typ.Active}
	ann   = tickets.Actor{Platform: "slack", ID: "U01ANN", Name: "Ann"}
)

func started() *tickets.Ticket {
	r := adaptertest.Request()
	t := tickets.Start("JIT-1042", r.ID, rules, now)
	t.Ask(r, rules, now)
	return t
}

func decided(t *testing.T) *tickets.Ticket {
	t.Helper()
	tk := started()
	if err := tk.Decide(tickets.Decision{Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Lasting(2 * time.Hour), By: ann, At: now}, rules); err != nil {
		t.Fatal(err)
	}
	return tk
}

func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		ticket func(t *testing.T) *tickets.Ticket
		title  string
		status string
	}{
		"Unknown": {
			func(*testing.T) *tickets.Ticket { return tickets.Start("JIT-1", "x", rules, now) },
			"❔ JIT-1 · Access requested", "EPM has sent an update; the request itself has not arrived",
		},
		"Pending": {
			func(*testing.T) *tickets.Ticket { return started() },
			"⏳ JIT-1042 · Application access requested", "Pending: waiting for a decision · New",
		},
		"Inactive": {
			func(*testing.T) *tickets.Ticket { tk := started(); tk.Move("Closed", ann, rules, now); return tk },
			"⏸ JIT-1042 · Application access requested, inactive", "Pending, but inactive: no decision can be made in state Closed until an admin moves it",
		},
		"RefusedAndInactive": {
			func(t *testing.T) *tickets.Ticket {
				tk := decided(t)
				tk.RecordRejection(*tk.Decision, "expired", now)
				tk.Move("Closed", ann, rules, now)
				return tk
			},
			"⏸ JIT-1042 · Application access requested, inactive",
			"EPM refused the approval by Ann: expired. Pending, but inactive: no decision can be made in state Closed until an admin moves it",
		},
		"Submitting": {
			decided, "📤 JIT-1042 · Application access approved, sending to EPM", "Approved by Ann for 2 hours, sending to EPM",
		},
		"EPMDoesNotAnswer": {
			func(t *testing.T) *tickets.Ticket {
				tk := decided(t)
				tk.BeginSend(time.Now())
				tk.SendFailed(*tk.Decision, true, "no answer", now, now)
				return tk
			},
			"📤 JIT-1042 · Application access approved, sending to EPM",
			"Approved by Ann for 2 hours. EPM does not answer (no answer), trying until it does",
		},
		"Confirmed": {
			func(t *testing.T) *tickets.Ticket {
				tk := decided(t)
				tk.RecordAccepted(*tk.Decision, now)
				tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", At: now.Add(5 * time.Minute)}, rules, now)
				return tk
			},
			"✅ JIT-1042 · Application access approved",
			"Confirmed by EPM: approved for 2 hours, until 2026-11-23 14:05 UTC · decided by Ann, 2026-11-23 12:00 UTC",
		},
		"ConsoleWasFaster": {
			func(t *testing.T) *tickets.Ticket {
				tk := decided(t)
				tk.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "carol", At: now}, rules, now)
				return tk
			},
			"❌ JIT-1042 · Application access denied",
			"EPM recorded, by “carol”: denied · here it was approved by Ann · 2026-11-23 12:00 UTC",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tk := tt.ticket(t)
			if got := wording.Title(tk); got != tt.title {
				t.Errorf("Title() = %q, want %q", got, tt.title)
			}
			if got := wording.Status(tk).String(); got != tt.status {
				t.Errorf("Status() = %q, want %q", got, tt.status)
			}
			fallback := wording.PlainText(tk, "slack")
			if !strings.Contains(fallback, string(tk.Number)) || !strings.Contains(fallback, strings.TrimRight(tt.status, ".")) {
				t.Errorf("Fallback() = %q", fallback)
			}
		})
	}
}

// TestNothingIsGrantedBeforeEPMSays: no card calls a decision a fact that EPM
// has not recorded.
func TestNothingIsGrantedBeforeEPMSays(t *testing.T) {
	tk := decided(t)
	for _, s := range []string{wording.Title(tk), wording.Status(tk).String()} {
		if !strings.Contains(s, "sending to EPM") {
			t.Errorf("%q sounds as if it were done", s)
		}
	}
}

func TestFallbackIsShort(t *testing.T) {
	r := adaptertest.Hostile()
	r.SuspectedForgery = true
	tk := tickets.Start("JIT-1042", r.ID, rules, now)
	tk.Ask(r, rules, now)
	tk.Outcome = &tickets.Outcome{Verdict: tickets.Other, Raw: r.Reason, By: r.Command, Duration: r.Command}
	if n := utf8.RuneCountInString(wording.PlainText(tk, "slack")); n > 2000 {
		t.Errorf("the fallback has %d runes", n)
	}
}

func TestFacts(t *testing.T) {
	tk := started()
	tk.Request.Publisher = " "
	var got []string
	for _, f := range wording.Facts(tk, []string{"Publisher", "nonsense", "reason", "source"}) {
		got = append(got, f.Label+"="+f.Value)
	}
	if want := "Publisher=not signed or unknown|Reason=need to unpack the installer"; strings.Join(got, "|") != want {
		t.Errorf("Facts() = %q, want %q", strings.Join(got, "|"), want)
	}
	// Everything that a decision is made by, where EPM sends it.
	all := tickets.Request{
		Kind: tickets.Application, User: "who", Host: "where", Product: "what", Publisher: "signer", SHA256: strings.Repeat("h", 64), Path: "path",
		Command: "command", Parent: "parent", Source: "source", Reputation: "reputation", Reason: "why", Requested: "3600",
	}
	got = nil
	for _, f := range wording.Facts(&tickets.Ticket{Request: &all}, nil) {
		got = append(got, f.Label+"="+f.Value)
	}
	const want = "User=who|Computer=where|Application=what|Publisher=signer|Reputation=reputation|Asked for=1 hour|SHA-256=hhhhhhhhhhhh…hhhhhhhh|" +
		"Path=path|Command line=command|Started by=parent|Downloaded from=source|Reason=why"
	if got := strings.Join(got, "|"); got != want {
		t.Errorf("the card of an application tells %q, want %q", got, want)
	}
	all.Kind = tickets.Admin
	got = nil
	for _, f := range wording.Facts(&tickets.Ticket{Request: &all}, nil) {
		got = append(got, f.Field)
	}
	if got := strings.Join(got, " "); got != "user computer duration reason" {
		t.Errorf("the card of administrator rights tells %s", got)
	}
	for _, k := range []tickets.Kind{tickets.Application, tickets.Admin} {
		for _, f := range wording.DefaultFields(k) {
			if !strings.Contains("|"+strings.Join(wording.Fields(), "|")+"|", "|"+f+"|") {
				t.Errorf("the default field %q of %s is none", f, k)
			}
		}
	}
}
