package tickets_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

func TestMadeBy(t *testing.T) {
	jane := selfcheck.Identity{Emails: []string{"jdoe@acme.com"}, Names: []string{"jane", "Jane Doe"}}
	named := func(names ...string) selfcheck.Identity { return selfcheck.Identity{Names: names} }
	mail := func(address string, names ...string) selfcheck.Identity {
		return selfcheck.Identity{Emails: []string{address}, Names: names}
	}
	const sid, guid = "S-1-5-21-1004336348-1177238915-682003330-1108", "0b9f9d1c-6d1f-4a55-8b57-0f4f4f1f0a01"
	for name, c := range map[string]struct {
		user, id string
		who      selfcheck.Identity
		want     selfcheck.SelfMatch
	}{
		"UPN":                 {user: "jdoe@acme.com", who: jane, want: selfcheck.SelfMatchYes},
		"UPNInCapitals":       {user: "JDoe@ACME.COM", who: jane, want: selfcheck.SelfMatchYes},
		"UPNWithBlanks":       {user: " jdoe@acme.com\r\n", who: jane, want: selfcheck.SelfMatchYes},
		"UPNAsID":             {user: `PC-01\localadmin`, id: "jdoe@acme.com", who: jane, want: selfcheck.SelfMatchYes},
		"UPNOfAzureAD":        {user: `AzureAD\jdoe@acme.com`, who: jane, want: selfcheck.SelfMatchYes},
		"UPNInBrackets":       {user: "Jane Doe <jdoe@acme.com>", who: jane, want: selfcheck.SelfMatchYes},
		"UPNOfAGuest":         {user: "jdoe_acme.com#EXT#@other.onmicrosoft.com", who: jane, want: selfcheck.SelfMatchYes},
		"UPNWithZeroWidth":    {user: "j\u200bdoe@acme\u00ad.com", who: jane, want: selfcheck.SelfMatchYes},
		"UPNOverridden":       {user: "\u202ejdoe@acme.com\u202c", who: jane, want: selfcheck.SelfMatchYes},
		"UPNInWideLetters":    {user: "ｊｄｏｅ＠ａｃｍｅ．ｃｏｍ", who: jane, want: selfcheck.SelfMatchYes},
		"SecondAddress":       {user: "jdoe@acme.com", who: selfcheck.Identity{Emails: []string{"other@acme.com", "jdoe@acme.com"}}, want: selfcheck.SelfMatchYes},
		"KelvinSign":          {user: "\u212aim@acme.com", who: mail("kim@acme.com"), want: selfcheck.SelfMatchYes},
		"LongS":               {user: "\u017fue@acme.com", who: mail("sue@acme.com"), want: selfcheck.SelfMatchYes},
		"DottedI":             {user: "İREM@ACME.COM", who: mail("irem@acme.com"), want: selfcheck.SelfMatchYes},
		"DotlessI":            {user: "ırem@acme.com", who: mail("IREM@acme.com"), want: selfcheck.SelfMatchYes},
		"Sigma":               {user: "ΝΙΚΟΣ@acme.com", who: mail("νικος@acme.com"), want: selfcheck.SelfMatchYes},
		"AddressBeyondLimits": {user: strings.Repeat("x", 5000) + "@acme.com", who: mail(strings.Repeat("X", 5000) + "@acme.com"), want: selfcheck.SelfMatchYes},
		"AddressOnlyAsName":   {user: "jdoe@acme.com", who: named("jdoe@acme.com"), want: selfcheck.SelfMatchMaybe}, // anybody may call themselves so

		"Account":          {user: `ACME\jdoe`, who: jane, want: selfcheck.SelfMatchMaybe},
		"AccountInCapital": {user: `ACME\JDOE`, who: jane, want: selfcheck.SelfMatchMaybe},
		"LocalAccount":     {user: `PC-01\jdoe`, who: jane, want: selfcheck.SelfMatchMaybe},
		"AccountAlone":     {user: "jdoe", who: jane, want: selfcheck.SelfMatchMaybe},
		"AccountAsID":      {user: `PC-01\build`, id: `ACME\jdoe`, who: jane, want: selfcheck.SelfMatchMaybe},
		"AzureADName":      {user: `AzureAD\JaneDoe`, who: mail("x17@acme.com", "Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"Slash":            {user: "ACME/jdoe", who: jane, want: selfcheck.SelfMatchMaybe},
		"OtherDomain":      {user: "jdoe@acme.onmicrosoft.com", who: jane, want: selfcheck.SelfMatchMaybe},
		"PlusAddress":      {user: "jdoe@acme.com", who: mail("jdoe+slack@acme.com"), want: selfcheck.SelfMatchMaybe},
		"PlusOfTheAsker":   {user: "jdoe+pc@acme.com", who: jane, want: selfcheck.SelfMatchMaybe},
		"Dots":             {user: `ACME\j.d.o.e`, who: jane, want: selfcheck.SelfMatchMaybe},
		"Underscore":       {user: `ACME\jane_doe`, who: named("jane-doe"), want: selfcheck.SelfMatchMaybe},
		"LongAndShort":     {user: "jane.doe@acme.com", who: mail("jdoe@acme.com"), want: selfcheck.SelfMatchMaybe},
		"ShortAndLong":     {user: `ACME\jdoe`, who: mail("jane.doe@acme.com"), want: selfcheck.SelfMatchMaybe},
		"FirstAndInitial":  {user: `ACME\janed`, who: named("Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"LastAndInitial":   {user: `ACME\doej`, who: named("Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"LastAndTwo":       {user: `ACME\doeja`, who: named("Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"LastFirst":        {user: `ACME\janedoe`, who: named("Doe, Jane"), want: selfcheck.SelfMatchMaybe},
		"SurnameOnly":      {user: `ACME\doe`, who: named("Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"Numbered":         {user: `ACME\jdoe02`, who: named("Jane Doe"), want: selfcheck.SelfMatchMaybe},
		"Decorated":        {user: `ACME\jdoe`, who: named("🦊 Dr. Jane Doe (she/her) | IT"), want: selfcheck.SelfMatchMaybe},
		"Handle":           {user: `ACME\jdoe`, who: named("@jdoe"), want: selfcheck.SelfMatchMaybe},
		"HandleHidden":     {user: `ACME\jdoe`, who: named("j\u200bd\u2060o\ufe0fe\u3164"), want: selfcheck.SelfMatchMaybe},
		"Zalgo":            {user: `ACME\jdoe`, who: named("j\u0301\u0302d\u0303o\u0304e\u20dd"), want: selfcheck.SelfMatchMaybe},
		"AccentApart":      {user: `ACME\jdoe`, who: named("Jane Do\u0301e"), want: selfcheck.SelfMatchMaybe},
		"Umlaut":           {user: `ACME\mmueller`, who: named("Max Müller"), want: selfcheck.SelfMatchMaybe},
		"UmlautWithout":    {user: `ACME\mmuller`, who: named("Max Müller"), want: selfcheck.SelfMatchMaybe},
		"UmlautDecomposed": {user: `ACME\mmueller`, who: named("Max Mu\u0308ller"), want: selfcheck.SelfMatchMaybe},
		"UmlautAsked":      {user: `ACME\Jörg`, who: mail("joerg@acme.de"), want: selfcheck.SelfMatchMaybe},
		"Vietnamese":       {user: `ACME\anguyen`, who: named("Anh Nguyễn"), want: selfcheck.SelfMatchMaybe},
		"Slashed":          {user: `ACME\lsoerensen`, who: named("Łukasz Sørensen"), want: selfcheck.SelfMatchMaybe},
		"SharpS":           {user: `ACME\jstrauss`, who: named("Johann Strauß"), want: selfcheck.SelfMatchMaybe},
		"Apostrophe":       {user: `ACME\jobrien`, who: named("Jane O’Brien"), want: selfcheck.SelfMatchMaybe},
		"OtherAlphabet":    {user: `ACME\Иванов`, who: named("иван ИВАНОВ"), want: selfcheck.SelfMatchMaybe},
		"NobodyAsked":      {who: jane, want: selfcheck.SelfMatchMaybe},
		"OnlyBlanks":       {user: " \u200b\u202e", id: "\t", who: jane, want: selfcheck.SelfMatchMaybe},
		"OnlyADash":        {user: "-", who: jane, want: selfcheck.SelfMatchMaybe},
		"OnlySID":          {id: sid, who: jane, want: selfcheck.SelfMatchMaybe},
		"OnlyGUID":         {id: "{" + guid + "}", who: jane, want: selfcheck.SelfMatchMaybe},
		"NobodyKnown":      {user: `ACME\jdoe`, want: selfcheck.SelfMatchMaybe},
		"KnownByNothing":   {user: `ACME\jdoe`, who: selfcheck.Identity{Emails: []string{""}, Names: []string{"", "🦊", "\u200b"}}, want: selfcheck.SelfMatchMaybe},

		"SomebodyElse":      {user: `ACME\rcosta`, id: sid, who: jane, want: selfcheck.SelfMatchNo},
		"OtherUPN":          {user: "rcosta@acme.com", id: guid, who: jane, want: selfcheck.SelfMatchNo},
		"SameDomain":        {user: `ACME\rcosta`, who: mail("ann@acme.com", "acme", "Ann (ACME)"), want: selfcheck.SelfMatchNo},
		"SameHost":          {user: `PC-01\rcosta`, who: named("PC-01", "pc"), want: selfcheck.SelfMatchNo},
		"LookAlike":         {user: "ACME\\jd\u043ee", who: mail("x@acme.com", "jdoe"), want: selfcheck.SelfMatchNo}, // a Cyrillic o
		"LongerName":        {user: "jdoe@acme.com.evil.example", who: mail("ann@acme.com"), want: selfcheck.SelfMatchNo},
		"BeginsAlike":       {user: `ACME\jdoerr`, who: jane, want: selfcheck.SelfMatchNo},
		"FirstNameInCommon": {user: "jane.doe@acme.com", who: mail("jane.smith@acme.com", "Jane", "Jane Smith"), want: selfcheck.SelfMatchNo},
		"SurnameInCommon":   {user: "jane.doe@acme.com", who: mail("max.doe@acme.com", "max", "Max Doe"), want: selfcheck.SelfMatchNo},
		"SIDIsNoName":       {user: `ACME\rcosta`, id: sid, who: named("S 1", "s1"), want: selfcheck.SelfMatchNo},
		"NumbersOnly":       {user: `ACME\100423`, who: mail("jane@acme.com", "100424"), want: selfcheck.SelfMatchNo},
		"EmptyName":         {user: `ACME\rcosta`, who: mail("", "", "Jane"), want: selfcheck.SelfMatchNo},
	} {
		t.Run(name, func(t *testing.T) {
			r := tickets.Request{User: c.user, UserID: c.id}
			if got := r.CompareRequester(c.who); got.SelfMatch != c.want {
				t.Errorf("MadeBy(%+v) of %q, %q = %+v, want %s", c.who, c.user, c.id, got, c.want)
			}
		})
	}
}

// TestMadeByNamesBoth: the sentence that refuses must say what is alike.
func TestMadeByNamesBoth(t *testing.T) {
	jane := selfcheck.Identity{Emails: []string{"x17@acme.com"}, Names: []string{"Jane Doe"}}
	for _, c := range []struct {
		r    tickets.Request
		who  selfcheck.Identity
		want selfcheck.Match
	}{
		{tickets.Request{User: `ACME\jdoe`, UserID: "S-1-5-21-1"}, jane, selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: `ACME\jdoe`, Known: "Jane Doe"}},
		{tickets.Request{User: `PC\other`, UserID: "X17@acme.com"}, jane, selfcheck.Match{SelfMatch: selfcheck.SelfMatchYes, Asked: "X17@acme.com", Known: "x17@acme.com"}},
		{tickets.Request{UserID: "S-1-5-21-1"}, jane, selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe}},
		{tickets.Request{User: `ACME\jdoe`}, selfcheck.Identity{}, selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: `ACME\jdoe`}},
		{tickets.Request{User: `ACME\rcosta`}, jane, selfcheck.Match{SelfMatch: selfcheck.SelfMatchNo}},
	} {
		if got := c.r.CompareRequester(c.who); got != c.want {
			t.Errorf("MadeBy(%+v) of %+v = %+v, want %+v", c.who, c.r, got, c.want)
		}
	}
}

// TestMadeByForgedFields: whoever writes a second "user" into a value must not
// get rid of their own name.
func TestMadeByForgedFields(t *testing.T) {
	r := tickets.Request{User: `ACME\bob`, Fields: []tickets.Field{{Name: "user", Value: "jdoe@acme.com"}, {Name: "productName", Value: "x"}, {Name: "user", Value: `ACME\bob`}}}
	jane := selfcheck.Identity{Emails: []string{"jdoe@acme.com"}}
	if got := r.CompareRequester(jane).SelfMatch; got != selfcheck.SelfMatchNo {
		t.Errorf("MadeBy = %s: fields of an honest request name programs, not who asked", got)
	}
	r.SuspectedForgery = true
	if got := r.CompareRequester(jane).SelfMatch; got != selfcheck.SelfMatchYes {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, selfcheck.SelfMatchYes)
	}
	r.Fields[0].Value = `ACME\jdoe`
	if got := r.CompareRequester(jane).SelfMatch; got != selfcheck.SelfMatchMaybe {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, selfcheck.SelfMatchMaybe)
	}
}

// TestMadeByInAnyLetterCase goes through every letter that has another case.
func TestMadeByInAnyLetterCase(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		for _, other := range []rune{unicode.SimpleFold(r), unicode.ToLower(r), unicode.ToUpper(r), unicode.ToTitle(r)} {
			if other == r {
				continue
			}
			asked := tickets.Request{User: "a" + string(r) + "@acme.com"}
			if got := asked.CompareRequester(selfcheck.Identity{Emails: []string{"a" + string(other) + "@acme.com"}}); got.SelfMatch != selfcheck.SelfMatchYes {
				t.Errorf("%U and %U: %s, want %s", r, other, got.SelfMatch, selfcheck.SelfMatchYes)
			}
		}
	}
}

// TestMadeByIsQuick: the names are as long as somebody likes.
func TestMadeByIsQuick(t *testing.T) {
	long, other := strings.Repeat("ab ", 40_000), strings.Repeat("cd ", 40_000)
	r := tickets.Request{User: long, UserID: long, SuspectedForgery: true}
	for range 256 {
		r.Fields = append(r.Fields, tickets.Field{Value: long[:512]})
	}
	begun := time.Now()
	if got := r.CompareRequester(selfcheck.Identity{Emails: []string{other}, Names: []string{other, other}}); got.SelfMatch != selfcheck.SelfMatchNo {
		t.Errorf("MadeBy = %.100v", got)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func FuzzMadeBy(f *testing.F) {
	f.Add(`ACME\jdoe`, "S-1-5-21-1", "jdoe@acme.com", "Jane Doe", false)
	f.Add("jdoe@acme.com", "", "JDOE@ACME.COM", "", true)
	f.Add("jdoe_acme.com#EXT#@x.onmicrosoft.com", "{0b9f9d1c-6d1f-4a55-8b57-0f4f4f1f0a01}", "a\xff@b", "\u202e\u0301 O'B", false)
	f.Add("İ@x", "@", "+@", `\/`, true)
	f.Fuzz(func(t *testing.T, user, id, email, name string, imitates bool) {
		r := tickets.Request{User: user, UserID: id, SuspectedForgery: imitates, Fields: []tickets.Field{{Value: name}}}
		p := selfcheck.Identity{Emails: []string{email}, Names: []string{name}}
		m := r.CompareRequester(p)
		if !slices.Contains([]selfcheck.SelfMatch{selfcheck.SelfMatchYes, selfcheck.SelfMatchMaybe, selfcheck.SelfMatchNo}, m.SelfMatch) {
			t.Fatalf("MadeBy = %q", m.SelfMatch)
		}
		// Who has exactly that address made it, in any letter case.
		for _, upn := range []string{user, id} {
			if !strings.Contains(upn, "@") || !strings.ContainsFunc(upn, unicode.IsLetter) {
				continue
			}
			for _, spelt := range []string{upn, strings.ToLower(upn), " " + upn, "\u200b" + upn} {
				with := selfcheck.Identity{Emails: append([]string{spelt}, p.Emails...), Names: p.Names}
				if got := r.CompareRequester(with); got.SelfMatch != selfcheck.SelfMatchYes {
					t.Fatalf("MadeBy(%q) of %q, %q = %+v, want %s", spelt, user, id, got, selfcheck.SelfMatchYes)
				}
			}
		}
		// To know more of somebody never lets them decide more, as long as
		// something was known.
		if m.SelfMatch != selfcheck.SelfMatchNo && m.Asked != "" && m.Known != "" {
			p.Names = append(p.Names, "Somebody Else")
			if got := r.CompareRequester(p); got.SelfMatch == selfcheck.SelfMatchNo {
				t.Fatalf("MadeBy = %+v, and %+v with one more name", m, got)
			}
		}
	})
}
