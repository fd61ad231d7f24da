package tickets_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

func TestFormCheck(t *testing.T) {
	hours := func(n int) tickets.Duration { return tickets.Lasting(time.Duration(n) * time.Hour) }
	minutes := func(n int) tickets.Duration { return tickets.Lasting(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		verdict  tickets.Verdict
		form     tickets.Form
		duration tickets.Duration
		problems tickets.Problems
	}{
		"Once":               {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitOnce}, tickets.Once(), nil},
		"OnceIgnoresAmount":  {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitOnce, Amount: "x"}, tickets.Once(), nil},
		"LeastMinutes":       {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitMinutes, Amount: "5"}, minutes(5), nil},
		"MostMinutes":        {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitMinutes, Amount: " 1440 "}, minutes(1440), nil},
		"TooFewMinutes":      {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitMinutes, Amount: "4"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgMinutes}},
		"TooManyMinutes":     {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitMinutes, Amount: "1441"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgMinutes}},
		"LeastHours":         {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "1"}, hours(1), nil},
		"MostHours":          {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "24"}, hours(24), nil},
		"TooManyHours":       {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "25"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"ZeroHours":          {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "0"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"Decimal":            {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "1.5"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"Signed":             {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "+2"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"OtherDigits":        {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: "٢"}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"Huge":               {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitHours, Amount: strings.Repeat("9", 40)}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgHours}},
		"NoAmount":           {tickets.Approve, tickets.Form{Reason: "ok", Unit: tickets.UnitMinutes}, tickets.Duration{}, tickets.Problems{"amount": tickets.MsgMinutes}},
		"NoUnit":             {tickets.Approve, tickets.Form{Reason: "ok"}, tickets.Duration{}, tickets.Problems{"unit": "Choose Once, Minutes or Hours"}},
		"NoReason":           {tickets.Approve, tickets.Form{Unit: tickets.UnitOnce}, tickets.Duration{}, tickets.Problems{"reason": tickets.MsgReason}},
		"BlankReason":        {tickets.Deny, tickets.Form{Reason: " \n\t\u00a0"}, tickets.Duration{}, tickets.Problems{"reason": tickets.MsgReason}},
		"InvisibleReason":    {tickets.Deny, tickets.Form{Reason: "\u200b\u2060\ufeff\u3164\u2800"}, tickets.Duration{}, tickets.Problems{"reason": tickets.MsgReason}},
		"LongReason":         {tickets.Deny, tickets.Form{Reason: strings.Repeat("ä", 1001)}, tickets.Duration{}, tickets.Problems{"reason": "Shorten the reason to 1000 characters; it has 1001"}},
		"LongestReason":      {tickets.Deny, tickets.Form{Reason: strings.Repeat("ä", 1000)}, tickets.Once(), nil},
		"Both":               {tickets.Approve, tickets.Form{Unit: tickets.UnitHours}, tickets.Duration{}, tickets.Problems{"reason": tickets.MsgReason, "amount": tickets.MsgHours}},
		"DenialNeedsNoUnit":  {tickets.Deny, tickets.Form{Reason: "no"}, tickets.Once(), nil},
		"DenialIgnoresUnits": {tickets.Deny, tickets.Form{Reason: "no", Unit: "weeks", Amount: "7"}, tickets.Once(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, d, problems := c.form.Check(c.verdict)
			if d != c.duration {
				t.Errorf("duration = %v, want %v", d, c.duration)
			}
			if len(problems) != len(c.problems) {
				t.Errorf("problems = %v, want %v", problems, c.problems)
			}
			for f, say := range c.problems {
				if problems[f] != say {
					t.Errorf("problem of %s = %q, want %q", f, problems[f], say)
				}
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		d          tickets.Duration
		wire, text string
	}{
		{tickets.Once(), "Once", "once"},
		{tickets.Lasting(5 * time.Minute), "300", "5 minutes"},
		{tickets.Lasting(time.Hour), "3600", "1 hour"},
		{tickets.Lasting(90 * time.Minute), "5400", "1 hour 30 minutes"},
		{tickets.Lasting(24 * time.Hour), "86400", "24 hours"},
		{tickets.Lasting(31 * 24 * time.Hour), "2678400", "31 days"},
		{tickets.Lasting(61 * time.Second), "61", "1 minute 1 second"},
	} {
		if got := c.d.Wire(); got != c.wire {
			t.Errorf("Wire(%v) = %q, want %q", c.d, got, c.wire)
		}
		if got := c.d.String(); got != c.text {
			t.Errorf("String = %q, want %q", got, c.text)
		}
		b, err := json.Marshal(c.d)
		if err != nil {
			t.Fatal(err)
		}
		var back tickets.Duration
		if err := json.Unmarshal(b, &back); err != nil || back != c.d {
			t.Errorf("round trip of %v = %v, %v", c.d, back, err)
		}
	}
	for _, s := range []string{"", "0", "-1", "1.5", "forever", "99999999999999999999", "%%Duration%%"} {
		if d, err := tickets.ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, d)
		}
	}
}

func TestFormDuration(t *testing.T) {
	for requested, want := range map[string][2]string{
		"3600": {"hours", "1"}, "5400": {"minutes", "90"}, "86400": {"hours", "24"}, "300": {"minutes", "5"},
		"240": {"once", ""}, "90000": {"once", ""}, "61": {"once", ""}, "": {"once", ""}, "Once": {"once", ""}, "a while": {"once", ""},
	} {
		unit, amount := (&tickets.Request{Requested: requested}).FormDuration()
		if string(unit) != want[0] || amount != want[1] {
			t.Errorf("FormDuration(%q) = %s %q, want %v", requested, unit, amount, want)
		}
	}
}

func TestNumber(t *testing.T) {
	if n := tickets.NewNumber("JIT", 1042); n != "JIT-1042" {
		t.Errorf("NewNumber = %q", n)
	}
	for s, want := range map[tickets.Number]int64{"JIT-1042": 1042, "A-B-7": 7} {
		if got, ok := s.Seq(); !ok || got != want {
			t.Errorf("Seq(%q) = %d, %t, want %d", s, got, ok, want)
		}
	}
	for _, s := range []tickets.Number{"", "-1", "JIT-", "JIT-0", "JIT-01", "JIT--1", "JIT-+1", "JIT-1x", "1042"} {
		if got, ok := s.Seq(); ok && s != "JIT--1" {
			t.Errorf("Seq(%q) = %d, want it refused", s, got)
		}
	}
}

func TestParsePrincipal(t *testing.T) {
	for s, want := range map[string]tickets.Principal{
		"slack:U1":         {Platform: "slack", Kind: tickets.User, ID: "U1"},
		" slack:group:S1 ": {Platform: "slack", Kind: tickets.Group, ID: "S1"},
		"discord:role:7":   {Platform: "discord", Kind: tickets.Role, ID: "7"},
		"slack:channel:C1": {Platform: "slack", Kind: tickets.Channel, ID: "C1"},
	} {
		got, err := tickets.ParsePrincipal(s)
		if err != nil || got != want {
			t.Errorf("ParsePrincipal(%q) = %+v, %v, want %+v", s, got, err, want)
		}
		if back, err := tickets.ParsePrincipal(got.String()); err != nil || back != got {
			t.Errorf("round trip of %q = %+v, %v", s, back, err)
		}
	}
	for _, s := range []string{"", "U1", "slack:", ":U1", "slack:group:", "slack:everybody:U1", "a:b:c:d", "slack:U 1"} {
		if p, err := tickets.ParsePrincipal(s); err == nil {
			t.Errorf("ParsePrincipal(%q) = %+v, want an error", s, p)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, typ := range tickets.Types() {
		for _, s := range append([]tickets.State{typ.Closed}, typ.Active...) {
			if _, ok := typ.FindState(string(s)); !ok {
				t.Errorf("%s: %s is not among its states", typ.Name, s)
			}
		}
		for _, s := range typ.Active {
			if s == typ.Closed {
				t.Errorf("%s: closes into the active state %s", typ.Name, s)
			}
		}
	}
	if d := tickets.Types()[0]; d.Name != "Access Request" || d.Prefix != "JIT" {
		t.Errorf("default = %+v", d)
	}
}

func TestStray(t *testing.T) {
	hours := &tickets.Request{Requested: "7200"}
	for name, c := range map[string]struct {
		form tickets.Form
		r    *tickets.Request
		want bool
	}{
		"Nothing":   {tickets.Form{Unit: tickets.UnitOnce}, hours, false},
		"AsAsked":   {tickets.Form{Unit: tickets.UnitOnce, Amount: "2"}, hours, false},
		"Typed":     {tickets.Form{Unit: tickets.UnitOnce, Amount: "60"}, hours, true},
		"NotAsked":  {tickets.Form{Unit: tickets.UnitOnce, Amount: "60"}, &tickets.Request{}, true},
		"Blanks":    {tickets.Form{Unit: tickets.UnitOnce, Amount: "  "}, &tickets.Request{}, false},
		"Hours":     {tickets.Form{Unit: tickets.UnitHours, Amount: "3"}, hours, false},
		"NoUnitYet": {tickets.Form{Amount: "3"}, hours, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.form.UnusedAmount(c.r); (got[tickets.FieldUnit] != "") != c.want {
				t.Errorf("Stray() = %v, want a problem: %v", got, c.want)
			}
		})
	}
}
