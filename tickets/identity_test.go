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
		want     tickets.Likeness
	}{
		"UPN":                 {user: "jdoe@acme.com", who: jane, want: tickets.Same},
		"UPNInCapitals":       {user: "JDoe@ACME.COM", who: jane, want: tickets.Same},
		"UPNWithBlanks":       {user: " jdoe@acme.com\r\n", who: jane, want: tickets.Same},
		"UPNAsID":             {user: `PC-01\localadmin`, id: "jdoe@acme.com", who: jane, want: tickets.Same},
		"UPNOfAzureAD":        {user: `AzureAD\jdoe@acme.com`, who: jane, want: tickets.Same},
		"UPNInBrackets":       {user: "Jane Doe <jdoe@acme.com>", who: jane, want: tickets.Same},
		"UPNOfAGuest":         {user: "jdoe_acme.com#EXT#@other.onmicrosoft.com", who: jane, want: tickets.Same},
		"UPNWithZeroWidth":    {user: "j\u200bdoe@acme\u00ad.com", who: jane, want: tickets.Same},
		"UPNOverridden":       {user: "\u202ejdoe@acme.com\u202c", who: jane, want: tickets.Same},
		"UPNInWideLetters":    {user: "ｊｄｏｅ＠ａｃｍｅ．ｃｏｍ", who: jane, want: tickets.Same},
		"SecondAddress":       {user: "jdoe@acme.com", who: tickets.Identity{Emails: []string{"other@acme.com", "jdoe@acme.com"}}, want: tickets.Same},
		"KelvinSign":          {user: "\u212aim@acme.com", who: mail("kim@acme.com"), want: tickets.Same},
		"LongS":               {user: "\u017fue@acme.com", who: mail("sue@acme.com"), want: tickets.Same},
		"DottedI":             {user: "İREM@ACME.COM", who: mail("irem@acme.com"), want: tickets.Same},
		"DotlessI":            {user: "ırem@acme.com", who: mail("IREM@acme.com"), want: tickets.Same},
		"Sigma":               {user: "ΝΙΚΟΣ@acme.com", who: mail("νικος@acme.com"), want: tickets.Same},
		"AddressBeyondLimits": {user: strings.Repeat("x", 5000) + "@acme.com", who: mail(strings.Repeat("X", 5000) + "@acme.com"), want: tickets.Same},
		"AddressOnlyAsName":   {user: "jdoe@acme.com", who: named("jdoe@acme.com"), want: tickets.Perhaps}, // anybody may call themselves so

		"Account":          {user: `ACME\jdoe`, who: jane, want: tickets.Perhaps},
		"AccountInCapital": {user: `ACME\JDOE`, who: jane, want: tickets.Perhaps},
		"LocalAccount":     {user: `PC-01\jdoe`, who: jane, want: tickets.Perhaps},
		"AccountAlone":     {user: "jdoe", who: jane, want: tickets.Perhaps},
		"AccountAsID":      {user: `PC-01\build`, id: `ACME\jdoe`, who: jane, want: tickets.Perhaps},
		"AzureADName":      {user: `AzureAD\JaneDoe`, who: mail("x17@acme.com", "Jane Doe"), want: tickets.Perhaps},
		"Slash":            {user: "ACME/jdoe", who: jane, want: tickets.Perhaps},
		"OtherDomain":      {user: "jdoe@acme.onmicrosoft.com", who: jane, want: tickets.Perhaps},
		"PlusAddress":      {user: "jdoe@acme.com", who: mail("jdoe+slack@acme.com"), want: tickets.Perhaps},
		"PlusOfTheAsker":   {user: "jdoe+pc@acme.com", who: jane, want: tickets.Perhaps},
		"Dots":             {user: `ACME\j.d.o.e`, who: jane, want: tickets.Perhaps},
		"Underscore":       {user: `ACME\jane_doe`, who: named("jane-doe"), want: tickets.Perhaps},
		"LongAndShort":     {user: "jane.doe@acme.com", who: mail("jdoe@acme.com"), want: tickets.Perhaps},
		"ShortAndLong":     {user: `ACME\jdoe`, who: mail("jane.doe@acme.com"), want: tickets.Perhaps},
		"FirstAndInitial":  {user: `ACME\janed`, who: named("Jane Doe"), want: tickets.Perhaps},
		"LastAndInitial":   {user: `ACME\doej`, who: named("Jane Doe"), want: tickets.Perhaps},
		"LastAndTwo":       {user: `ACME\doeja`, who: named("Jane Doe"), want: tickets.Perhaps},
		"LastFirst":        {user: `ACME\janedoe`, who: named("Doe, Jane"), want: tickets.Perhaps},
		"SurnameOnly":      {user: `ACME\doe`, who: named("Jane Doe"), want: tickets.Perhaps},
		"Numbered":         {user: `ACME\jdoe02`, who: named("Jane Doe"), want: tickets.Perhaps},
		"Decorated":        {user: `ACME\jdoe`, who: named("🦊 Dr. Jane Doe (she/her) | IT"), want: tickets.Perhaps},
		"Handle":           {user: `ACME\jdoe`, who: named("@jdoe"), want: tickets.Perhaps},
		"HandleHidden":     {user: `ACME\jdoe`, who: named("j\u200bd\u2060o\ufe0fe\u3164"), want: tickets.Perhaps},
		"Zalgo":            {user: `ACME\jdoe`, who: named("j\u0301\u0302d\u0303o\u0304e\u20dd"), want: tickets.Perhaps},
		"AccentApart":      {user: `ACME\jdoe`, who: named("Jane Do\u0301e"), want: tickets.Perhaps},
		"Umlaut":           {user: `ACME\mmueller`, who: named("Max Müller"), want: tickets.Perhaps},
		"UmlautWithout":    {user: `ACME\mmuller`, who: named("Max Müller"), want: tickets.Perhaps},
		"UmlautDecomposed": {user: `ACME\mmueller`, who: named("Max Mu\u0308ller"), want: tickets.Perhaps},
		"UmlautAsked":      {user: `ACME\Jörg`, who: mail("joerg@acme.de"), want: tickets.Perhaps},
		"Vietnamese":       {user: `ACME\anguyen`, who: named("Anh Nguyễn"), want: tickets.Perhaps},
		"Slashed":          {user: `ACME\lsoerensen`, who: named("Łukasz Sørensen"), want: tickets.Perhaps},
		"SharpS":           {user: `ACME\jstrauss`, who: named("Johann Strauß"), want: tickets.Perhaps},
		"Apostrophe":       {user: `ACME\jobrien`, who: named("Jane O’Brien"), want: tickets.Perhaps},
		"OtherAlphabet":    {user: `ACME\Иванов`, who: named("иван ИВАНОВ"), want: tickets.Perhaps},
		"NobodyAsked":      {who: jane, want: tickets.Perhaps},
		"OnlyBlanks":       {user: " \u200b\u202e", id: "\t", who: jane, want: tickets.Perhaps},
		"OnlyADash":        {user: "-", who: jane, want: tickets.Perhaps},
		"OnlySID":          {id: sid, who: jane, want: tickets.Perhaps},
		"OnlyGUID":         {id: "{" + guid + "}", who: jane, want: tickets.Perhaps},
		"NobodyKnown":      {user: `ACME\jdoe`, want: tickets.Perhaps},
		"KnownByNothing":   {user: `ACME\jdoe`, who: tickets.Identity{Emails: []string{""}, Names: []string{"", "🦊", "\u200b"}}, want: tickets.Perhaps},

		"SomebodyElse":      {user: `ACME\rcosta`, id: sid, who: jane, want: tickets.Different},
		"OtherUPN":          {user: "rcosta@acme.com", id: guid, who: jane, want: tickets.Different},
		"SameDomain":        {user: `ACME\rcosta`, who: mail("ann@acme.com", "acme", "Ann (ACME)"), want: tickets.Different},
		"SameHost":          {user: `PC-01\rcosta`, who: named("PC-01", "pc"), want: tickets.Different},
		"LookAlike":         {user: "ACME\\jd\u043ee", who: mail("x@acme.com", "jdoe"), want: tickets.Different}, // a Cyrillic o
		"LongerName":        {user: "jdoe@acme.com.evil.example", who: mail("ann@acme.com"), want: tickets.Different},
		"BeginsAlike":       {user: `ACME\jdoerr`, who: jane, want: tickets.Different},
		"FirstNameInCommon": {user: "jane.doe@acme.com", who: mail("jane.smith@acme.com", "Jane", "Jane Smith"), want: tickets.Different},
		"SurnameInCommon":   {user: "jane.doe@acme.com", who: mail("max.doe@acme.com", "max", "Max Doe"), want: tickets.Different},
		"SIDIsNoName":       {user: `ACME\rcosta`, id: sid, who: named("S 1", "s1"), want: tickets.Different},
		"NumbersOnly":       {user: `ACME\100423`, who: mail("jane@acme.com", "100424"), want: tickets.Different},
		"EmptyName":         {user: `ACME\rcosta`, who: mail("", "", "Jane"), want: tickets.Different},
	} {
		t.Run(name, func(t *testing.T) {
			r := tickets.Request{User: c.user, UserID: c.id}
			if got := r.MadeBy(c.who); got.Likeness != c.want {
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
		{tickets.Request{User: `ACME\jdoe`, UserID: "S-1-5-21-1"}, jane, tickets.Match{Likeness: tickets.Perhaps, Asked: `ACME\jdoe`, Known: "Jane Doe"}},
		{tickets.Request{User: `PC\other`, UserID: "X17@acme.com"}, jane, tickets.Match{Likeness: tickets.Same, Asked: "X17@acme.com", Known: "x17@acme.com"}},
		{tickets.Request{UserID: "S-1-5-21-1"}, jane, tickets.Match{Likeness: tickets.Perhaps}},
		{tickets.Request{User: `ACME\jdoe`}, tickets.Identity{}, tickets.Match{Likeness: tickets.Perhaps, Asked: `ACME\jdoe`}},
		{tickets.Request{User: `ACME\rcosta`}, jane, tickets.Match{Likeness: tickets.Different}},
	} {
		if got := c.r.MadeBy(c.who); got != c.want {
			t.Errorf("MadeBy(%+v) of %+v = %+v, want %+v", c.who, c.r, got, c.want)
		}
	}
}

// TestMadeByForgedFields: whoever writes a second "user" into a value must not
// get rid of their own name.
func TestMadeByForgedFields(t *testing.T) {
	r := tickets.Request{User: `ACME\bob`, Fields: []tickets.Field{{Name: "user", Value: "jdoe@acme.com"}, {Name: "productName", Value: "x"}, {Name: "user", Value: `ACME\bob`}}}
	jane := tickets.Identity{Emails: []string{"jdoe@acme.com"}}
	if got := r.MadeBy(jane).Likeness; got != tickets.Different {
		t.Errorf("MadeBy = %s: fields of an honest request name programs, not who asked", got)
	}
	r.Imitates = true
	if got := r.MadeBy(jane).Likeness; got != tickets.Same {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, tickets.Same)
	}
	r.Fields[0].Value = `ACME\jdoe`
	if got := r.MadeBy(jane).Likeness; got != tickets.Perhaps {
		t.Errorf("MadeBy = %s of a request that may be forged, want %s", got, tickets.Perhaps)
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
			if got := asked.MadeBy(tickets.Identity{Emails: []string{"a" + string(other) + "@acme.com"}}); got.Likeness != tickets.Same {
				t.Errorf("%U and %U: %s, want %s", r, other, got.Likeness, tickets.Same)
			}
		}
	}
}

// TestMadeByIsQuick: the names are as long as somebody likes.
func TestMadeByIsQuick(t *testing.T) {
	long, other := strings.Repeat("ab ", 40_000), strings.Repeat("cd ", 40_000)
	r := tickets.Request{User: long, UserID: long, Imitates: true}
	for range 256 {
		r.Fields = append(r.Fields, tickets.Field{Value: long[:512]})
	}
	begun := time.Now()
	if got := r.MadeBy(tickets.Identity{Emails: []string{other}, Names: []string{other, other}}); got.Likeness != tickets.Different {
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
		r := tickets.Request{User: user, UserID: id, Imitates: imitates, Fields: []tickets.Field{{Value: name}}}
		p := tickets.Identity{Emails: []string{email}, Names: []string{name}}
		m := r.MadeBy(p)
		if !slices.Contains([]tickets.Likeness{tickets.Same, tickets.Perhaps, tickets.Different}, m.Likeness) {
			t.Fatalf("MadeBy = %q", m.Likeness)
		}
		// Who has exactly that address made it, in any letter case.
		for _, upn := range []string{user, id} {
			if !strings.Contains(upn, "@") || !strings.ContainsFunc(upn, unicode.IsLetter) {
				continue
			}
			for _, spelt := range []string{upn, strings.ToLower(upn), " " + upn, "\u200b" + upn} {
				with := tickets.Identity{Emails: append([]string{spelt}, p.Emails...), Names: p.Names}
				if got := r.MadeBy(with); got.Likeness != tickets.Same {
					t.Fatalf("MadeBy(%q) of %q, %q = %+v, want %s", spelt, user, id, got, tickets.Same)
				}
			}
		}
		// To know more of somebody never lets them decide more, as long as
		// something was known.
		if m.Likeness != tickets.Different && m.Asked != "" && m.Known != "" {
			p.Names = append(p.Names, "Somebody Else")
			if got := r.MadeBy(p); got.Likeness == tickets.Different {
				t.Fatalf("MadeBy = %+v, and %+v with one more name", m, got)
			}
		}
	})
}
