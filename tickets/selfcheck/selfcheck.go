// Package selfcheck tells whether a name in a request and a person of a chat may be
// the same: nobody decides what they asked for themselves.
package selfcheck

import (
	"regexp"
	"strings"
	"unicode"
)

// Identity is what a chat knows of a person, to tell whether a request is
// their own.
type Identity struct {
	Emails []string // addresses that the platform vouches for
	Names  []string // handles and display names, which people may choose themselves
}

// SelfMatch says whether somebody made a request.
type SelfMatch string

// The matches. Only SelfMatchNo lets somebody decide.
const (
	SelfMatchYes   SelfMatch = "same"      // an address of theirs is what EPM says who asked
	SelfMatchMaybe SelfMatch = "perhaps"   // names are alike, or one side has none
	SelfMatchNo    SelfMatch = "different" // nothing is alike
)

// Match is a SelfMatch with what it is about: the name in the request and the
// name in the chat that are alike. Both are untrusted. With SelfMatchMaybe, an empty
// Asked means that EPM did not say who asked, and an empty Known that the chat
// knows nothing of the person.
type Match struct {
	SelfMatch
	Asked, Known string
}

// Compare compares the texts that may name who made a request with a person of a
// chat.
//
// The same address, or user principal name, is certain. Account names such as
// ACME\jdoe are not addresses: that one is perhaps the same as
// jdoe@acme.com, j.doe+it@acme.org, @jdoe and Jane Doe; and so are adm-jdoe,
// jdoe_t1 and jdoe2, second accounts that people have beside their own. So are
// names that differ in letter case, accents, punctuation and characters that
// nobody sees. Letters of other alphabets that look alike are different
// letters: who wants another name in a chat can simply choose one, which is
// why no name makes SelfMatchYes. How names are compared is in names.go.
func Compare(texts []string, p Identity) Match {
	var asked, known []name
	addresses := make([]string, len(p.Emails))
	for i, email := range p.Emails {
		addresses[i] = clean(email)
	}
	for _, text := range texts {
		account := clean(text)
		if notAName.MatchString(account) {
			continue
		}
		for i, address := range addresses {
			if isAddress(account, address) {
				return Match{SelfMatchYes, text, p.Emails[i]}
			}
		}
		asked = appendName(asked, newAccount(text))
	}
	known = knownNames(p)
	switch {
	case len(asked) == 0:
		return Match{SelfMatch: SelfMatchMaybe}
	case len(known) == 0:
		return Match{SelfMatch: SelfMatchMaybe, Asked: asked[0].text}
	}
	for _, a := range asked {
		for _, k := range known {
			if a.alike(k) {
				return Match{SelfMatchMaybe, a.text, k.text}
			}
		}
	}
	return Match{SelfMatch: SelfMatchNo}
}

// notAName is an identifier of a security principal, or a GUID.
var notAName = regexp.MustCompile(`^(s-1-[0-9-]+|\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?)$`)

// isAddress reports whether text is the address, or holds it: as in
// AzureAD\jdoe@acme.com. Both are clean.
func isAddress(text, address string) bool {
	if address == "" {
		return false
	}
	if text == address {
		return true
	}
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune("\\/<>()[]\"',;: \t\n", r) }) {
		if piece == address {
			return true
		}
		// A guest's name in Entra is jdoe_acme.com#EXT#@example.onmicrosoft.com
		// (learn.microsoft.com/entra/external-id/user-properties).
		if home, _, guest := strings.Cut(piece, "#ext#@"); guest {
			if i := strings.LastIndexByte(home, '_'); i >= 0 && home[:i]+"@"+home[i+1:] == address {
				return true
			}
		}
	}
	return false
}

// clean is s in one letter case, without characters that nobody sees.
func clean(s string) string { return strings.Map(fold, seen(s)) }

// seen is s without characters that nobody sees.
func seen(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if Hidden(r) {
			return -1
		}
		return r
	}, s))
}

// fold is r in one letter case: i, I, the dotless ı and the dotted İ are the
// same, and so are the wide letters of East Asian keyboards.
func fold(r rune) rune {
	if r >= '！' && r <= '～' {
		r -= '！' - '!'
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// Hidden reports whether r is a character that nobody sees.
func Hidden(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		unicode.IsControl(r) && !unicode.IsSpace(r)
}
