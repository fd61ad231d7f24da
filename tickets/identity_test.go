package tickets_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/countersign/countersign/tickets"
)

func TestMadeBy(t *testing.T) {
	jane := tickets.Identity{Emails: []string{"jdoe@acme.com"}, Names: []string{"jane", "Jane Doe"}}
	named := func(names ...string) tickets.Identity { return tickets.Identity{Names: names} }
	mail := func(address string, names ...string) tickets.Identity {
		return tickets.Identity{Emails: []string{address}, Names: names}
	}
	const sid, guid = "S-1-5-21-1004336348-1177238915-682003330-1108", "0b9f9d1c-6d1f-4a55-8b57-0f4f4f1f0a01"
	for name, c := range map[string]struct {
		user, id string
		who      tickets.Identity
		want     tickets.SelfMatch
	}{
		"UPN":                 {user: "jdoe@acme.com", who: jane, want: tickets.SelfMatchYes},
		"UPNInCapitals":       {user: "JDoe@ACME.COM", who: jane, want: tickets.SelfMatchYes},
		"UPNWithBlanks":       {user: " jdoe@acme.com\r\n", who: jane, want: tickets.SelfMatchYes},
		"UPNAsID":             {user: `PC-01\localadmin`, id: "jdoe@acme.com", who: jane, want: tickets.SelfMatchYes},
		"UPNOfAzureAD":        {user: `AzureAD\jdoe@acme.com`, who: jane, want: tickets.SelfMatchYes},
		"UPNInBrackets":       {user: "Jane Doe <jdoe@acme.com>", who: jane, want: tickets.SelfMatchYes},
		"UPNOfAGuest":         {user: "jdoe_acme.com#EXT#@other.onmicrosoft.com", who: jane, want: tickets.SelfMatchYes},
		"UPNWithZeroWidth":    {user: "j\u200bdoe@acme\u00ad.com", who: jane, want: tickets.SelfMatchYes},
		"UPNOverridden":       {user: "\u202ejdoe@acme.com\u202c", who: jane, want: tickets.SelfMatchYes},
		"UPNInWideLetters":    {user: "ｊｄｏｅ＠ａｃｍｅ．ｃｏｍ", who: jane, want: tickets.SelfMatchYes},
		"SecondAddress":       {user: "jdoe@acme.com", who: tickets.Identity{Emails: []string{"other@acme.com", "jdoe@acme.com"}}, want: tickets.SelfMatchYes},
		"KelvinSign":          {user: "\u212aim@acme.com", who: mail("kim@acme.com"), want: tickets.SelfMatchYes},
		"LongS":               {user: "\u017fue@acme.com", who: mail("sue@acme.com"), want: tickets.SelfMatchYes},
		"DottedI":             {user: "İREM@ACME.COM", who: mail("irem@acme.com"), want: tickets.SelfMatchYes},
		"DotlessI":            {user: "ırem@acme.com", who: mail("IREM@acme.com"), want: tickets.SelfMatchYes},
		"Sigma":               {user: "ΝΙΚΟΣ@acme.com", who: mail("νικος@acme.com"), want: tickets.SelfMatchYes},
		"AddressBeyondLimits": {user: strings.Repeat("x", 5000) + "@acme.com", who: mail(strings.Repeat("X", 5000) + "@acme.com"), want: tickets.SelfMatchYes},
		"AddressOnlyAsName":   {user: "jdoe@acme.com", who: named("jdoe@acme.com"), want: tickets.SelfMatchMaybe}, // anybody may call themselves so

		"Account":          {user: `ACME\jdoe`, who: jane, want: tickets.SelfMatchMaybe},
		"AccountInCapital": {user: `ACME\JDOE`, who: jane, want: tickets.SelfMatchMaybe},
		"LocalAccount":     {user: `PC-01\jdoe`, who: jane, want: tickets.SelfMatchMaybe},
		"AccountAlone":     {user: "jdoe", who: jane, want: tickets.SelfMatchMaybe},
		"AccountAsID":      {user: `PC-01\build`, id: `ACME\jdoe`, who: jane, want: tickets.SelfMatchMaybe},
		"AzureADName":      {user: `AzureAD\JaneDoe`, who: mail("x17@acme.com", "Jane Doe"), want: tickets.SelfMatchMaybe},
		"Slash":            {user: "ACME/jdoe", who: jane, want: tickets.SelfMatchMaybe},
		"OtherDomain":      {user: "jdoe@acme.onmicrosoft.com", who: jane, want: tickets.SelfMatchMaybe},
		"PlusAddress":      {user: "jdoe@acme.com", who: mail("jdoe+slack@acme.com"), want: tickets.SelfMatchMaybe},
		"PlusOfTheAsker":   {user: "jdoe+pc@acme.com", who: jane, want: tickets.SelfMatchMaybe},
		"Dots":             {user: `ACME\j.d.o.e`, who: jane, want: tickets.SelfMatchMaybe},
		"Underscore":       {user: `ACME\jane_doe`, who: named("jane-doe"), want: tickets.SelfMatchMaybe},
		"LongAndShort":     {user: "jane.doe@acme.com", who: mail("jdoe@acme.com"), want: tickets.SelfMatchMaybe},
		"ShortAndLong":     {user: `ACME\jdoe`, who: mail("jane.doe@acme.com"), want: tickets.SelfMatchMaybe},
		"FirstAndInitial":  {user: `ACME\janed`, who: named("Jane Doe"), want: tickets.SelfMatchMaybe},
		"LastAndInitial":   {user: `ACME\doej`, who: named("Jane Doe"), want: tickets.SelfMatchMaybe},
		"LastAndTwo":       {user: `ACME\doeja`, who: named("Jane Doe"), want: tickets.SelfMatchMaybe},
		"LastFirst":        {user: `ACME\janedoe`, who: named("Doe, Jane"), want: tickets.SelfMatchMaybe},
		"SurnameOnly":      {user: `ACME\doe`, who: named("Jane Doe"), want: tickets.SelfMatchMaybe},
		"Numbered":         {user: `ACME\jdoe02`, who: named("Jane Doe"), want: tickets.SelfMatchMaybe},
		"Decorated":        {user: `ACME\jdoe`, who: named("🦊 Dr. Jane Doe (she/her) | IT"), want: tickets.SelfMatchMaybe},
		"Handle":           {user: `ACME\jdoe`, who: named("@jdoe"), want: tickets.SelfMatchMaybe},
		"HandleHidden":     {user: `ACME\jdoe`, who: named("j\u200bd\u2060o\ufe0fe\u3164"), want: tickets.SelfMatchMaybe},
		"Zalgo":            {user: `ACME\jdoe`, who: named("j\u0301\u0302d\u0303o\u0304e\u20dd"), want: tickets.SelfMatchMaybe},
		"AccentApart":      {user: `ACME\jdoe`, who: named("Jane Do\u0301e"), want: tickets.SelfMatchMaybe},
		"Umlaut":           {user: `ACME\mmueller`, who: named("Max Müller"), want: tickets.SelfMatchMaybe},
		"UmlautWithout":    {user: `ACME\mmuller`, who: named("Max Müller"), want: tickets.SelfMatchMaybe},
		"UmlautDecomposed": {user: `ACME\mmueller`, who: named("Max Mu\u0308ller"), want: tickets.SelfMatchMaybe},
		"UmlautAsked":      {user: `ACME\Jörg`, who: mail("joerg@acme.de"), want: tickets.SelfMatchMaybe},
		"Vietnamese":       {user: `ACME\anguyen`, who: named("Anh Nguyễn"), want: tickets.SelfMatchMaybe},
		"Slashed":          {user: `ACME\lsoerensen`, who: named("Łukasz Sørensen"), want: tickets.SelfMatchMaybe},
		"SharpS":           {user: `ACME\jstrauss`, who: named("Johann Strauß"), want: tickets.SelfMatchMaybe},
		"Apostrophe":       {user: `ACME\jobrien`, who: named("Jane O’Brien"), want: tickets.SelfMatchMaybe},
		"OtherAlphabet":    {user: `ACME\Иванов`, who: named("иван ИВАНОВ"), want: tickets.SelfMatchMaybe},
		"NobodyAsked":      {who: jane, want: tickets.SelfMatchMaybe},
		"OnlyBlanks":       {user: " \u200b\u202e", id: "\t", who: jane, want: tickets.SelfMatchMaybe},
		"OnlyADash":        {user: "-", who: jane, want: tickets.SelfMatchMaybe},
		"OnlySID":          {id: sid, who: jane, want: tickets.SelfMatchMaybe},
		"OnlyGUID":         {id: "{" + guid + "}", who: jane, want: tickets.SelfMatchMaybe},
		"NobodyKnown":      {user: `ACME\jdoe`, want: tickets.SelfMatchMaybe},
		"KnownByNothing":   {user: `ACME\jdoe`, who: tickets.Identity{Emails: []string{""}, Names: []string{"", "🦊", "\u200b"}}, want: tickets.SelfMatchMaybe},

		"SomebodyElse":      {user: `ACME\rcosta`, id: sid, who: jane, want: tickets.SelfMatchNo},
		"OtherUPN":          {user: "rcosta@acme.com", id: guid, who: jane, want: tickets.SelfMatchNo},
		"SameDomain":        {user: `ACME\rcosta`, who: mail("ann@acme.com", "acme", "Ann (ACME)"), want: tickets.SelfMatchNo},
		"SameHost":          {user: `PC-01\rcosta`, who: named("PC-01", "pc"), want: tickets.SelfMatchNo},
		"LookAlike":         {user: "ACME\\jd\u043ee", who: mail("x@acme.com", "jdoe"), want: tickets.SelfMatchNo}, // a Cyrillic o
		"LongerName":        {user: "jdoe@acme.com.evil.example", who: mail("ann@acme.com"), want: tickets.SelfMatchNo},
		"BeginsAlike":       {user: `ACME\jdoerr`, who: jane, want: tickets.SelfMatchNo},
		"FirstNameInCommon": {user: "jane.doe@acme.com", who: mail("jane.smith@acme.com", "Jane", "Jane Smith"), want: tickets.SelfMatchNo},
		"SurnameInCommon":   {user: "jane.doe@acme.com", who: mail("max.doe@acme.com", "max", "Max Doe"), want: tickets.SelfMatchNo},
		"SIDIsNoName":       {user: `ACME\rcosta`, id: sid, who: named("S 1", "s1"), want: tickets.SelfMatchNo},
		"NumbersOnly":       {user: `ACME\100423`, who: mail("jane@acme.com", "100424"), want: tickets.SelfMatchNo},
		"EmptyName":         {user: `ACME\rcosta`, who: mail("", "", "Jane"), want: tickets.SelfMatchNo},
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
	jane := tickets.Identity{Emails: []string{"x17@acme.com"}, Names: []string{"Jane Doe"}}
	for _, c := range []struct {
		r    tickets.Request
		who  tickets.Identity
		want tickets.Match
	}{
		{tickets.Request{User: `ACME\jdoe`, UserID: "S-1-5-21-1"}, jane, tickets.Match{SelfMatch: tickets.SelfMatchMaybe, Asked: `ACME\jdoe`, Known: "Jane Doe"}},
		{tickets.Request{User: `PC\other`, UserID: "X17@acme.com"}, jane, tickets.Match{SelfMatch: tickets.SelfMatchYes, Asked: "X17@acme.com", Known: "x17@acme.com"}},
		{tickets.Request{UserID: "S-1-5-21-1"}, jane, tickets.Match{SelfMatch: tickets.SelfMatchMaybe}},
		{tickets.Request{User: `ACME\jdoe`}, tickets.Identity{}, tickets.Match{SelfMatch: tickets.SelfMatchMaybe, Asked: `ACME\jdoe`}},
		{tickets.Request{User: `ACME\rcosta`}, jane, tickets.Match{SelfMatch: tickets.SelfMatchNo}},
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
	jane := tickets.Identity{Emails: []string{"jdoe@acme.com"}}
	if got := r.CompareRequester(jane).SelfMatch; got != tickets.SelfMatchNo {
		t.Errorf("MadeBy = %s: fields of an honest request name programs, not who asked", got)
	}
	r.SuspectedForgery = true
	if got := r.CompareRequester(jane).SelfMatch; got != tickets.SelfMatchYes {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, tickets.SelfMatchYes)
	}
	r.Fields[0].Value = `ACME\jdoe`
	if got := r.CompareRequester(jane).SelfMatch; got != tickets.SelfMatchMaybe {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, tickets.SelfMatchMaybe)
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
			if got := asked.CompareRequester(tickets.Identity{Emails: []string{"a" + string(other) + "@acme.com"}}); got.SelfMatch != tickets.SelfMatchYes {
				t.Errorf("%U and %U: %s, want %s", r, other, got.SelfMatch, tickets.SelfMatchYes)
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
	if got := r.CompareRequester(tickets.Identity{Emails: []string{other}, Names: []string{other, other}}); got.SelfMatch != tickets.SelfMatchNo {
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
		p := tickets.Identity{Emails: []string{email}, Names: []string{name}}
		m := r.CompareRequester(p)
		if !slices.Contains([]tickets.SelfMatch{tickets.SelfMatchYes, tickets.SelfMatchMaybe, tickets.SelfMatchNo}, m.SelfMatch) {
			t.Fatalf("MadeBy = %q", m.SelfMatch)
		}
		// Who has exactly that address made it, in any letter case.
		for _, upn := range []string{user, id} {
			if !strings.Contains(upn, "@") || !strings.ContainsFunc(upn, unicode.IsLetter) {
				continue
			}
			for _, spelt := range []string{upn, strings.ToLower(upn), " " + upn, "\u200b" + upn} {
				with := tickets.Identity{Emails: append([]string{spelt}, p.Emails...), Names: p.Names}
				if got := r.CompareRequester(with); got.SelfMatch != tickets.SelfMatchYes {
					t.Fatalf("MadeBy(%q) of %q, %q = %+v, want %s", spelt, user, id, got, tickets.SelfMatchYes)
				}
			}
		}
		// To know more of somebody never lets them decide more, as long as
		// something was known.
		if m.SelfMatch != tickets.SelfMatchNo && m.Asked != "" && m.Known != "" {
			p.Names = append(p.Names, "Somebody Else")
			if got := r.CompareRequester(p); got.SelfMatch == tickets.SelfMatchNo {
				t.Fatalf("MadeBy = %+v, and %+v with one more name", m, got)
			}
		}
	})
}
