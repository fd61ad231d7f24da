package selfcheck

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the names that are compared letter by letter, so that a long one
// costs nothing. Windows has accounts of 20 characters, Slack names of 80.
const (
	maxSpelt = 256 // bytes
	maxWords = 12
	maxCores = 64
	maxTries = 2000 // ways to put one name together from the words of another
)

// shortestCut is how many letters of a login are enough to tell whose it is
// although its end was cut off.
const shortestCut = 5

// name is a text that may name a person, in the forms in which it is compared.
type name struct {
	text  string
	forms []form
}

// form is one way to write a name: with an umlaut as a or as ae, for example.
type form struct {
	words   []word // the first name first
	cores   []core
	address bool // the chat vouches for it
}

// word is one of the words of a name.
type word struct {
	text  string
	given bool // a first name, which says nothing alone
}

// core is what is left of a name without what second accounts have beside it.
type core struct {
	text     string
	part     part
	numbered bool // a number was taken off
}

// part says how much of a name a core is; the less, the more it has to be like.
type part int

const (
	whole   part = iota // all of it but for words, numbers and long affixes that name nobody
	glued               // what follows or comes before one or two letters that may be an affix
	oneWord             // one of several words
)

// affixes are what second accounts have before or behind a person's name.
var affixes = []string{
	"administrator", "admin", "adm", "a", "da", "sa", "ea", "la", "wa", "ca", "ga", "pa", "su",
	"svc", "srv", "service", "ext", "external", "priv", "privileged", "prv", "pam", "paw", "root", "super", "elevated",
	"domainadmin", "localadmin", "serveradmin", "workstationadmin", "cloudadmin", "globaladmin", "cloud", "local",
	"t0", "t1", "t2", "t3", "tier0", "tier1", "tier2", "tier3", "test", "dev", "usr", "user", "x",
}

// newAccount is a text of a request that may name who made it:
// ACME\jdoe, jdoe@acme.com, jdoe/admin@ACME.COM, Doe, Jane.
func newAccount(text string) name {
	s := seen(text)
	account := s
	switch _, after, ok := strings.Cut(s, `\`); {
	case ok && after != "":
		account = after
	default:
		// Kerberos writes what an account is for behind the name.
		domain, after, ok := strings.Cut(s, "/")
		if ok && after != "" && !slices.Contains(affixes, clean(mailbox(after))) {
			account = after
		} else if ok {
			account = domain + " " + after
		}
	}
	n := name{text: text}
	spelt := []string{mailbox(account), beforeAt(account)}
	if i := strings.LastIndexAny(account, `\/`); i+1 < len(account) {
		spelt = append(spelt, mailbox(account[i+1:]))
	}
	for _, s := range spelt {
		n.add(s, false, nil)
	}
	return n
}

// knownNames are the names in a chat, told apart into first and other names.
func knownNames(p Identity) []name {
	var out []name
	given := map[string]bool{}  // as the display names tell
	spoken := map[string]bool{} // all words of display names of several words
	var boxes []string
	for _, email := range p.Emails {
		boxes = append(boxes, clean(mailbox(email)))
	}
	for _, text := range p.Names {
		n := name{text: text}
		n.add(seen(text), false, boxes)
		if before := beforeAt(seen(text)); before != "" && !strings.ContainsFunc(seen(text), unicode.IsSpace) {
			n.add(before, false, boxes) // an address that they call themselves
		}
		for _, f := range n.forms {
			for _, w := range f.words {
				if len(f.words) > 1 {
					spoken[w.text] = true
					given[w.text] = given[w.text] || w.given
				}
			}
		}
		out = appendName(out, n)
	}
	var addresses []name
	for _, email := range p.Emails {
		n := name{text: email}
		for _, s := range []string{mailbox(seen(email)), beforeAt(seen(email))} {
			n.add(s, true, nil)
		}
		addresses = appendName(addresses, n)
	}
	out = append(addresses, out...)
	// smith.jane@acme.com has the order of Jane Smith.
	for _, n := range out {
		for _, f := range n.forms {
			if slices.ContainsFunc(f.words, func(w word) bool { return spoken[w.text] }) {
				for i := range f.words {
					f.words[i].given = given[f.words[i].text]
				}
			} else if f.address && len(f.words) == 1 {
				f.words[0].given = false // jsmith@ of somebody who is called Janey here
			}
		}
	}
	return out
}

// mailbox is what of an address names a person.
func mailbox(address string) string {
	name, _, _ := strings.Cut(beforeAt(address), "+")
	return name
}

func beforeAt(address string) string {
	name, _, _ := strings.Cut(address, "@")
	return name
}

func appendName(list []name, n name) []name {
	if len(n.forms) == 0 {
		return list // it has neither letters nor digits
	}
	return append(list, n)
}

// add adds the forms of s, which is seen. Boxes, the first parts of the
// person's addresses, may tell which of the words is the first name.
func (n *name) add(s string, address bool, boxes []string) {
	if len(s) > maxSpelt {
		s = s[:maxSpelt]
	}
	split, given := splitName(s)
	for _, long := range []bool{false, true} {
		f := form{address: address}
		var texts []string
		for i, w := range split {
			if long {
				w = longLetters.Replace(w)
			}
			text := strings.Map(letter, plainLetters.Replace(w))
			if text == "" || len(texts) == maxWords {
				continue
			}
			texts = append(texts, text)
			f.words = append(f.words, word{text, slices.Contains(given, i)})
		}
		f.turn(boxes)
		f.cores = cores(texts)
		if len(texts) > 0 && !slices.ContainsFunc(n.forms, func(o form) bool { return slices.Equal(o.words, f.words) }) {
			n.forms = append(n.forms, f)
		}
	}
}

// turn finds out from an address such as jsmith@ that Smith Jane has her
// first name last.
func (f *form) turn(boxes []string) {
	if len(f.words) != 2 || !f.words[0].given {
		return
	}
	for _, box := range boxes {
		before, ok := strings.CutSuffix(box, f.words[0].text)
		if ok && before != "" && strings.HasPrefix(f.words[1].text, before) {
			f.words[0].given, f.words[1].given = false, true
			slices.Reverse(f.words)
			return
		}
	}
}

// titles come before a name, degrees after it and a comma.
var (
	titles  = []string{"dr", "prof", "mr", "mrs", "ms", "mx", "sir", "herr", "frau", "ing", "dipl"}
	degrees = []string{"phd", "md", "jr", "sr", "ii", "iii", "iv", "mba", "msc", "bsc", "esq", "pmp", "cissp", "it"}
)

// splitName splits s, which is seen, into words in one letter case, with the
// first name in front, and returns which of them are first names.
func splitName(s string) (words []string, given []int) {
	tokens := func(s string) [][]string {
		var out [][]string
		for token := range strings.FieldsFuncSeq(s, func(r rune) bool { return !joins(r) && !isDash(r) }) {
			if parts := strings.FieldsFunc(token, isDash); len(parts) > 0 {
				out = append(out, parts)
			}
		}
		return out
	}
	before, after, _ := strings.Cut(s, ",")
	list, last := tokens(before), tokens(after)
	if len(last) > 0 && len(list) > 0 && !slices.Contains(degrees, strings.Map(fold, last[0][0])) {
		list = append(last, list...) // Doe, Jane
	} else {
		list = append(list, last...)
		if i := shouted(list); i > 0 { // DOE Jane
			list = append(slices.Clone(list[i:]), list[:i]...)
		}
	}
	first := true
	for i, parts := range list {
		for j, part := range parts {
			text := strings.Map(fold, part)
			// Of jane-doe alone Jane is the first name, of anne-marie.doe both are.
			if first && (j == 0 || len(list) > 1) && !familyFirst(text) {
				given = append(given, len(words))
			}
			words = append(words, text)
		}
		if first && !(len(parts) == 1 && i < len(list)-1 && slices.Contains(titles, words[len(words)-1])) {
			first = false
		} else if first {
			given = nil
		}
	}
	if n := len(words); n > 1 && familyFirst(words[0]) {
		given = []int{n - 1}
	}
	return words, given
}

// shouted is how many of the first names of list are in capitals, if others
// are not: some write their surname so.
func shouted(list [][]string) int {
	for i, parts := range list {
		for _, s := range parts {
			if utf8.RuneCountInString(s) < 2 || strings.ToUpper(s) != s || strings.ToLower(s) == s {
				return i
			}
		}
	}
	return 0
}

// familyFirst reports whether s is written in a script whose names begin with
// the family's.
func familyFirst(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana)
}

// joins reports whether r stands within a word.
func joins(r rune) bool {
	return isApostrophe(r) || unicode.In(r, unicode.M, unicode.L) || unicode.IsDigit(r)
}

func isApostrophe(r rune) bool { return strings.ContainsRune("'’ʼ`´", r) }
func isDash(r rune) bool       { return unicode.Is(unicode.Pd, r) }

// letter keeps letters and digits and drops accents and apostrophes.
func letter(r rune) rune {
	if !isApostrophe(r) && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return r
	}
	return -1
}

// cores are what is left of a name of these words when what names nobody is
// taken off, in each way in which that can be done.
func cores(words []string) []core {
	var list []core
	add := func(c core) {
		if c.text == "" || len(list) == maxCores {
			return
		}
		for i, old := range list {
			if old.text == c.text {
				list[i].part = min(old.part, c.part)
				list[i].numbered = old.numbered && c.numbered
				return
			}
		}
		list = append(list, c)
	}
	add(core{text: strings.Join(words, "")})
	names := slices.DeleteFunc(slices.Clone(words), isAffix)
	left := whole
	if slices.ContainsFunc(words, isInitials) {
		left = glued // a.doe may be Ann Doe
	}
	add(core{text: strings.Join(names, ""), part: left})
	spelt := slices.DeleteFunc(slices.Clone(names), isNumber)
	numbered := len(spelt) < len(names)
	add(core{strings.Join(spelt, ""), left, numbered})
	// Jane R. Doe is Jane Doe.
	for i := 1; i < len(spelt); i++ {
		if len(spelt) > 2 && utf8.RuneCountInString(spelt[i]) == 1 {
			add(core{strings.Join(slices.Delete(slices.Clone(spelt), i, i+1), ""), left, numbered})
		}
	}
	if len(words) > 1 {
		for _, w := range names {
			if utf8.RuneCountInString(w) > 2 {
				add(core{w, oneWord, false})
			}
		}
	}
	// What is found is cut again: adm01jdoe, jdoe.t1 and ajdoe2.
	for i := 0; i < len(list); i++ {
		c := list[i]
		for _, text := range []string{strings.Trim(c.text, digits), strings.Map(dropDigit, c.text)} {
			if text != c.text && letters(text) > 1 {
				add(core{text, c.part, true})
			}
		}
		for _, affix := range affixes {
			rest := c
			if isInitials(affix) {
				rest.part = max(c.part, glued)
			}
			for _, cut := range []func(string, string) (string, bool){strings.CutPrefix, strings.CutSuffix} {
				var ok bool
				if rest.text, ok = cut(c.text, affix); ok && utf8.RuneCountInString(rest.text) > 2 {
					add(rest)
				}
			}
		}
	}
	return list
}

const digits = "0123456789"

func dropDigit(r rune) rune {
	if strings.ContainsRune(digits, r) {
		return -1
	}
	return r
}

func letters(s string) (n int) {
	for _, r := range s {
		if unicode.IsLetter(r) {
			n++
		}
	}
	return n
}

func isNumber(word string) bool { return letters(word) == 0 }

// isAffix reports whether word is an affix, or a numbered one: adm01.
func isAffix(word string) bool {
	return slices.Contains(affixes, word) || slices.Contains(affixes, strings.Trim(word, digits)) && strings.Trim(word, digits) != ""
}

// isInitials reports whether the affix word may as well be initials.
func isInitials(word string) bool {
	return len(word) < 3 && isAffix(word) && strings.IndexFunc(word, unicode.IsDigit) < 0
}

// alike reports whether an account and what is known of a person may be of the
// same: the same letters, or one a short form of the other.
func (n name) alike(known name) bool {
	for _, f := range n.forms {
		for _, k := range known.forms {
			if f.alike(k) {
				return true
			}
		}
	}
	return false
}

func (f form) alike(known form) bool {
	for _, c := range f.cores {
		for _, k := range known.cores {
			if k.part != oneWord && f.sameCore(c, known, k) {
				return true
			}
		}
		if len(known.words) > 1 && madeOf(c, known.words) {
			return true
		}
	}
	own := slices.DeleteFunc(slices.Clone(f.words), func(w word) bool { return isAffix(w.text) || isNumber(w.text) })
	if len(own) < 2 {
		return false
	}
	own[0].given = own[0].given || !slices.ContainsFunc(own, func(w word) bool { return w.given })
	if known.address || len(known.words) == 1 {
		for _, k := range known.cores {
			if k.part != oneWord && madeOf(k, own) {
				return true
			}
		}
	}
	return sharesNames(own, known.words)
}

// sameCore reports whether the core c of an account and k of what is known are
// the same, or one is the other cut short.
func (f form) sameCore(c core, known form, k core) bool {
	if c.part != whole && k.part != whole || c.numbered && k.numbered {
		return false // asmith and sasmith, asmith and mary.smith, jdoe1 and jdoe2 are two people
	}
	first := func(s string) bool { // a first name, as far as anybody knows
		return len(f.words) > 1 && f.words[0].text == s && !known.address || slices.ContainsFunc(known.words, func(w word) bool { return w.given && w.text == s })
	}
	if c.text == k.text {
		// Somebody called Jane is not jane.doe.
		return c.part != oneWord || !first(c.text)
	}
	short, long := c.text, k.text
	if len(short) > len(long) {
		short, long = long, short
	}
	return c.part == whole && k.part == whole && utf8.RuneCountInString(short) >= shortestCut && letters(short) == utf8.RuneCountInString(short) &&
		strings.HasPrefix(long, short) && !beginsFirstName(short, f.words) && !beginsFirstName(short, known.words)
}

// beginsFirstName reports whether s is the first name of several words, or its
// beginning.
func beginsFirstName(s string, words []word) bool {
	return len(words) > 1 && slices.ContainsFunc(words, func(w word) bool { return w.given && strings.HasPrefix(w.text, s) })
}

// sharesNames reports whether an account of several words has a surname of a
// person, and their first name or its beginning: jane.smith.jones of Jane Jones.
func sharesNames(account, known []word) bool {
	for i, a := range account {
		for _, k := range known {
			if k.given || a.text != k.text || utf8.RuneCountInString(k.text) < 2 {
				continue
			}
			for j, other := range account {
				if i != j && slices.ContainsFunc(known, func(k word) bool { return k.given && strings.HasPrefix(k.text, other.text) }) {
					return true
				}
			}
		}
	}
	return false
}

// madeOf reports whether c is made of a person's words and their beginnings,
// in their order or with the surname first: jdoe, janed, doej and jrdoe of
// Jane R. Doe, jsmithjones of Jane Smith-Jones, abuckmin of Anna Buckminster.
func madeOf(c core, words []word) bool {
	if c.part != whole && slices.ContainsFunc(words, func(w word) bool { return !w.given && w.text == c.text }) {
		return false // the surname alone, also where its end could be initials: gardn-er of Eric Gardner
	}
	text := []rune(c.text)
	spelt := make([][]rune, len(words))
	for i, w := range words {
		spelt[i] = []rune(w.text)
	}
	for first := range words {
		m := making{core: c, words: words, spelt: spelt, first: first}
		if m.from(0, text, made{}) {
			return true
		}
	}
	// A middle initial that nobody knows of: jrdoe of Jane Doe.
	for i, w := range words {
		for _, n := range []int{1, len(spelt[i])} {
			if w.given && len(text) > n+3 && slices.Equal(text[:n], spelt[i][:n]) &&
				slices.ContainsFunc(words, func(w word) bool { return !w.given && w.text == string(text[n+1:]) }) {
				return true
			}
		}
	}
	return false
}

// making is the search for the words of which a core is made.
type making struct {
	core  core
	words []word
	spelt [][]rune
	first int // the word that is taken for the first one
	tries int
}

// made is what is known of the pieces so far.
type made struct {
	pieces         int
	letters        int
	surname, given bool // one of them is a whole surname, a whole first name
	surnames       int  // how many are of surnames
	longest        int  // letters of a surname
	shortest       int  // letters of any
}

// from reports whether left is made of the words from the nth on.
func (m *making) from(n int, left []rune, so made) bool {
	if len(left) == 0 {
		return m.enough(so)
	}
	if m.tries++; m.tries > maxTries {
		return true // nobody knows
	}
	for ; n < len(m.words); n++ {
		i := (m.first + n) % len(m.words)
		w, spelt := m.words[i], m.spelt[i]
		for size := 1; size <= min(len(spelt), len(left)) && spelt[size-1] == left[size-1]; size++ {
			next := so
			next.pieces++
			next.letters += size
			if next.shortest == 0 || size < next.shortest {
				next.shortest = size
			}
			all := size == len(spelt) && size > 1
			if w.given {
				next.given = next.given || all
			} else {
				next.surnames++
				next.surname = next.surname || all
				next.longest = max(next.longest, size)
			}
			if m.from(n+1, left[size:], next) {
				return true
			}
		}
	}
	return false
}

// enough reports whether such pieces name a person.
func (m *making) enough(s made) bool {
	switch {
	case s.surnames == 0:
		return false // a first name alone
	case s.pieces == 1:
		return m.core.part == whole && !isAffix(m.core.text) && (s.surname || s.longest >= shortestCut)
	case s.surnames == s.pieces && m.core.part != whole:
		return false // smithjones of jerry.smithjones names the family
	case s.surname:
		return true
	case m.core.part == oneWord:
		return s.letters > shortestCut && s.longest >= shortestCut
	}
	return s.given || s.letters >= shortestCut && (s.longest > 3 || s.shortest > 2)
}
