package tickets

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Identity is what a chat knows of a person, to tell whether a request is
// their own.
type Identity struct {
	Emails []string // addresses that the platform vouches for
	Names  []string // handles and display names, which people may choose themselves
}

// Likeness says whether somebody made a request.
type Likeness string

// The likenesses. Only Different lets somebody decide.
const (
	Same      Likeness = "same"      // an address of theirs is what EPM says who asked
	Perhaps   Likeness = "perhaps"   // names are alike, or one side has none
	Different Likeness = "different" // nothing is alike
)

// Match is a Likeness with what it is about: the name in the request and the
// name in the chat that are alike. Both are untrusted. With Perhaps, an empty
// Asked means that EPM did not say who asked, and an empty Known that the chat
// knows nothing of the person.
type Match struct {
	Likeness
	Asked, Known string
}

// MadeBy compares who made r with a person of a chat.
//
// The same address, or user principal name, is certain. Account names such as
// ACME\jdoe are not addresses: that one is perhaps the same as
// jdoe@acme.com, j.doe+it@acme.org, @jdoe and Jane Doe. So are names that
// differ in letter case, accents, punctuation and characters that nobody
// sees. Letters of other alphabets that look alike are different letters: who
// wants another name in a chat can simply choose one, which is why no name
// makes Same.
func (r *Request) MadeBy(p Identity) Match {
	var asked, known []spelling
	addresses := make([]string, len(p.Emails))
	for i, email := range p.Emails {
		addresses[i] = clean(email)
		known = spell(known, email, mailbox(addresses[i]))
	}
	for _, text := range r.askers() {
		name := clean(text)
		for i, address := range addresses {
			if isAddress(name, address) {
				return Match{Same, text, p.Emails[i]}
			}
		}
		asked = spell(asked, text, accountName(name))
	}
	for _, name := range p.Names {
		known = spell(known, name, clean(name))
	}
	switch {
	case len(asked) == 0:
		return Match{Likeness: Perhaps}
	case len(known) == 0:
		return Match{Likeness: Perhaps, Asked: asked[0].text}
	}
	for _, a := range asked {
		for _, k := range known {
			if a.alike(k) {
				return Match{Perhaps, a.text, k.text}
			}
		}
	}
	return Match{Likeness: Different}
}

// notAName is an identifier of a security principal, or a GUID.
var notAName = regexp.MustCompile(`^(s-1-[0-9-]+|\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?)$`)

// askers are the texts that may name who made r.
func (r *Request) askers() []string {
	texts := []string{r.User, r.UserID}
	if r.Imitates {
		// Which of its fields EPM wrote cannot be told.
		for _, f := range r.Fields {
			texts = append(texts, f.Value)
		}
	}
	var out []string
	for _, s := range texts {
		if !notAName.MatchString(clean(s)) {
			out = append(out, s)
		}
	}
	return out
}

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
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return fold(r)
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

func hidden(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		unicode.IsControl(r) && !unicode.IsSpace(r)
}

// Limits of the names that are compared letter by letter, so that a long one
// costs nothing. Windows has accounts of 20 characters, Slack names of 80.
const (
	maxSpelt = 256 // bytes
	maxWords = 8
)

// spelling is a name in the forms in which it is compared.
type spelling struct {
	text  string
	whole []string // all letters and digits: with and without e for an umlaut
	words []string
}

// accountName is the name in ACME\jdoe or jdoe@acme.com.
func accountName(s string) string {
	if i := strings.LastIndexAny(s, `\/`); i+1 < len(s) {
		s = s[i+1:]
	}
	return mailbox(s)
}

// mailbox is what of an address names a person.
func mailbox(address string) string {
	name, _, _ := strings.Cut(address, "@")
	name, _, _ = strings.Cut(name, "+")
	return name
}

// spell adds name, which is what counts of text and clean, unless it has
// neither letters nor digits.
func spell(list []spelling, text, name string) []spelling {
	if len(name) > maxSpelt {
		name = name[:maxSpelt]
	}
	s := spelling{text: text}
	for _, name := range []string{name, longLetters.Replace(name)} {
		words := strings.Fields(strings.Map(letter, plainLetters.Replace(name)))
		whole := strings.Join(words, "")
		if whole == "" || slices.Contains(s.whole, whole) {
			continue
		}
		s.whole = append(s.whole, whole)
		s.words = append(s.words, words[:min(len(words), maxWords)]...)
	}
	if len(s.whole) == 0 {
		return list
	}
	return append(list, s)
}

// letter keeps letters and digits, drops accents and apostrophes, and makes a
// blank of what stands between words.
func letter(r rune) rune {
	switch {
	case strings.ContainsRune("'’ʼ`´", r), unicode.Is(unicode.M, r):
		return -1
	case unicode.IsLetter(r), unicode.IsDigit(r):
		return r
	}
	return ' '
}

// alike reports whether an account name and what is known of a person may be
// of the same: the same letters, or one a short form of the other.
func (s spelling) alike(known spelling) bool {
	for _, account := range s.whole {
		for _, name := range known.whole {
			// One word of several is a short form of a person's name, but
			// somebody called Jane is not jane.doe.
			if account == name || slices.Contains(known.words, unnumbered(account)) || short(account, known.words) || short(name, s.words) {
				return true
			}
		}
	}
	return false
}

// short reports whether name is made of one of the words and the beginning of
// another: jdoe, janed and doej of jane doe.
func short(name string, words []string) bool {
	name = unnumbered(name)
	for i, word := range words {
		for j, other := range words {
			if i == j {
				continue
			}
			before, ok := strings.CutSuffix(name, word)
			if ok && before != "" && strings.HasPrefix(other, before) {
				return true
			}
			after, ok := strings.CutPrefix(name, word)
			if ok && after != "" && strings.HasPrefix(other, after) {
				return true
			}
		}
	}
	return false
}

// unnumbered is name without the number that tells it from others: jdoe2.
func unnumbered(name string) string {
	if cut := strings.TrimRight(name, "0123456789"); cut != "" {
		return cut
	}
	return name
}

// plainLetters takes the accents off Latin letters, longLetters writes them
// out where that is a custom. The standard library does not decompose letters.
var (
	plainLetters = replacer(map[string]string{
		"a": "àáâãäåāăąǎạảấầẩẫậắằẳẵặ", "c": "çćĉċč", "d": "ďđð", "e": "èéêëēĕėęěẹẻẽếềểễệ", "g": "ĝğġģ", "h": "ĥħ",
		"i": "ìíîïĩīĭįǐỉị", "j": "ĵ", "k": "ķ", "l": "ĺļľŀł", "n": "ñńņňŋ", "o": "òóôõöøōŏőơǒọỏốồổỗộớờởỡợ",
		"r": "ŕŗř", "s": "śŝşšș", "t": "ţťŧț", "u": "ùúûüũūŭůűųưǔụủứừửữự", "w": "ŵ", "y": "ýÿŷỳỵỷỹ", "z": "źżž",
		"ss": "ß", "ae": "æ", "oe": "œ", "th": "þ",
	})
	longLetters = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "a\u0308", "ae", "o\u0308", "oe", "u\u0308", "ue", "ø", "oe", "å", "aa")
)

func replacer(letters map[string]string) *strings.Replacer {
	var pairs []string
	for plain, accented := range letters {
		for _, r := range accented {
			pairs = append(pairs, string(r), plain)
		}
	}
	return strings.NewReplacer(pairs...)
}
