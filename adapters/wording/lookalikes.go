package wording

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

//go:generate go run ../../.ci/lookalikes lookalikes_tables.go

// publishers are names that a forger would want to be read, a line each.
//
//go:embed publishers.txt
var publishers string

// markLookalikes marks the words of s that are not what they seem:
//
//   - letters of another script within a word, as in Micros⟦Cyrillic о⟧ft, if
//     the word is above the level "highly restrictive" of UTS 39: one script,
//     or Latin with what Japanese, Chinese or Korean is written in;
//   - a word of one script that looks as a publisher's name does:
//     GoogIe⟦looks like Google⟧.
//
// What it has marked it does not mark again: the brackets part a word.
func markLookalikes(s string) string {
	var b strings.Builder
	done := 0 // what of s is in b
	for i := 0; i < len(s); {
		end, ascii := wordEnd(s[i:])
		if end == 0 {
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			continue
		}
		end += i
		word, rest := s[i:end], s[end:]
		if ascii {
			if len(word) < shortest || len(word) > longestName/4 {
				// no name
			} else if mark := impostor(word, rest); mark != "" {
				b.WriteString(s[done:end] + mark)
				done = end
			}
		} else {
			b.WriteString(s[done:i])
			markWord(&b, word, rest)
			done = end
		}
		i = end
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// lookalikeMarks are what markLookalikes writes, but for runs of great length.
var lookalikeMarks = regexp.MustCompile(`^⟦(looks like \w+|[A-Z][A-Za-z ]* [^⟦⟧\s]+(⟦looks like \w+⟧)?)⟧`)

// wordEnd is how many bytes of a word s begins with.
func wordEnd(s string) (n int, ascii bool) {
	ascii = true
	for n < len(s) {
		if c := s[n]; c < utf8.RuneSelf {
			if c|0x20 < 'a' || c|0x20 > 'z' {
				if c < '0' || c > '9' {
					break
				}
			}
			n++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) {
			break
		}
		ascii = false
		n += size
	}
	return n, ascii
}

// markWord writes word, which rest follows, with its marks.
func markWord(b *strings.Builder, word, rest string) {
	base := mainScripts(word)
	if base == nil {
		b.WriteString(word + impostor(word, rest))
		return
	}
	from, script := 0, "" // the run that is read, and its script if it is foreign
	write := func(to int) {
		run := word[from:to]
		from = to
		switch {
		case run == "":
		case script != "":
			b.WriteString("⟦" + strings.ReplaceAll(script, "_", " ") + " " + run + impostor(run, "") + "⟧")
		case to == len(word):
			b.WriteString(run + impostor(run, rest))
		default:
			b.WriteString(run + impostor(run, ""))
		}
	}
	for i, r := range word {
		foreign := ""
		if scripts := scriptsOf(r); !within(scripts, base) {
			foreign = scripts[0]
		} else if script != "" && len(scripts) == 0 && unicode.IsMark(r) {
			foreign = script // an accent belongs to its letter
		}
		if foreign != script {
			write(i)
			script = foreign
		}
	}
	write(len(word))
}

// together are the scripts that a word may mix (UTS 39, "highly restrictive").
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// units have a Greek letter in Latin text: μm, kΩ. (The micro sign of its own
// is of no script, but some programs turn it into the letter.)
var units = regexp.MustCompile(`^[0-9]*(μ[A-Za-z]*|[kMGTmnµμ]?[Ω\x{2126}]c?m?)$`)

// mainScripts are the scripts that word is written in, as far as one word may
// mix them; nil if it may be written as it is.
func mainScripts(word string) []string {
	if ofOneScript(word) {
		return nil
	}
	sets := slices.Clip(together)
	counts := make([]int, len(sets), len(sets)+2) // how many characters each set has
	all := 0
	for _, r := range word {
		scripts := scriptsOf(r)
		if len(scripts) == 0 {
			continue
		}
		all++
		for i, set := range together {
			if within(scripts, set) {
				counts[i]++
			}
		}
		for _, script := range scripts {
			i := slices.IndexFunc(sets[len(together):], func(set []string) bool { return set[0] == script })
			if i < 0 {
				i = len(sets) - len(together)
				sets, counts = append(sets, []string{script}), append(counts, 0)
			}
			counts[len(together)+i]++
		}
	}
	best := 0
	for i, n := range counts {
		if n > counts[best] {
			best = i
		}
	}
	switch {
	case counts[best] == all, len(word) < 100 && units.MatchString(word):
		return nil
	case looksLike(word) != "":
		return together[0] // it is to be read as Latin
	}
	return sets[best]
}

// ofOneScript is the usual case, told quickly. It may report false for a word
// of one script that has characters which are used in several.
func ofOneScript(word string) bool {
	var first []string
	for _, r := range word {
		switch scripts := scriptsOf(r); {
		case len(scripts) == 0:
		case first == nil:
			first = scripts
		case first[0] != scripts[0] || len(first) > 1 || len(scripts) > 1:
			return false
		}
	}
	return true
}

// within reports whether what is used in scripts may stand among those of set.
func within(scripts, set []string) bool {
	return len(scripts) == 0 || slices.ContainsFunc(scripts, func(s string) bool { return slices.Contains(set, s) })
}

// scriptsOf are the scripts that r is used in; none if it may be in any.
func scriptsOf(r rune) []string {
	t := tables()
	if int(r) < len(t.first) {
		return t.first[r]
	}
	return t.find(r)
}

func (t *tableSet) find(r rune) []string {
	if i, ok := slices.BinarySearchFunc(t.extensions, r, func(e extension, r rune) int {
		switch {
		case e.hi < r:
			return -1
		case e.lo > r:
			return 1
		}
		return 0
	}); ok {
		return t.extensions[i].scripts
	}
	for _, s := range t.scripts {
		if unicode.Is(s.table, r) {
			return s.name
		}
	}
	return nil
}

// impostor is the mark behind word if it looks like a publisher's name and is
// not that. It is empty if rest, which follows, begins with it: the text was
// marked before.
func impostor(word, rest string) string {
	name := looksLike(word)
	if name == "" || isASCII(word) && (strings.EqualFold(word, name) || len(word) < shortest) {
		return ""
	}
	mark := "⟦looks like " + name + "⟧"
	if strings.HasPrefix(rest, mark) {
		return ""
	}
	return mark
}

// shortest is how many letters and digits of ASCII may be taken for a name: de11
// is rather a part of a hash.
const shortest = 5

// longestName is how many bytes a word may have that looks like a name: four
// for each character.
const longestName = 64

// looksLike is the publisher's name that word looks like or is.
func looksLike(word string) string {
	if len(word) > longestName {
		return ""
	}
	var space [2 * longestName]byte
	return publisherNames()[string(appendKey(space[:0], word))]
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// appendKey appends to b what word looks like: its skeleton of UTS 39 without
// regard to case, as far as that is ASCII.
func appendKey(b []byte, word string) []byte {
	for _, r := range word {
		switch {
		case '！' <= r && r <= '～': // of full width, of which the table has a part
			r -= '！' - '!'
		case r == 'ӏ': // i in the table, and yet the l of аррӏе
			r = 'l'
		}
		if r >= utf8.RuneSelf {
			like, ok := tables().alike[r]
			if !ok {
				return append(b, 0xff) // like no name
			}
			for _, c := range []byte(like) {
				b = appendASCII(b, c)
			}
			continue
		}
		b = appendASCII(b, byte(r))
	}
	return b
}

func appendASCII(b []byte, c byte) []byte {
	switch c {
	case '0':
		return append(b, 'o')
	case '1', 'I':
		return append(b, 'l')
	case 'm', 'M':
		return append(b, "rn"...)
	}
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return append(b, c)
}

// publisherNames has each name under what looks like it, however it is cased.
var publisherNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for name := range strings.FieldsSeq(publishers) {
		for _, cased := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			names[string(appendKey(nil, cased))] = name
		}
	}
	return names
})

type extension struct {
	lo, hi  rune
	scripts []string
}

type script struct {
	name  []string // one
	table *unicode.RangeTable
}

type tableSet struct {
	alike      map[rune]string
	extensions []extension
	scripts    []script        // the usual ones first
	first      [0x600][]string // what find says of Latin, Greek, Cyrillic, Hebrew
}

var tables = sync.OnceValue(func() *tableSet {
	t := &tableSet{alike: map[rune]string{}}
	for _, l := range looksLatin {
		for _, r := range l.alike {
			t.alike[r] = l.ascii
		}
	}
	for _, e := range sharedBy {
		t.extensions = append(t.extensions, extension{e.lo, e.hi, strings.Fields(e.scripts)})
	}
	usual := []string{"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai"}
	for _, name := range usual {
		t.scripts = append(t.scripts, script{[]string{name}, unicode.Scripts[name]})
	}
	for name, table := range unicode.Scripts {
		if name != "Common" && name != "Inherited" && !slices.Contains(usual, name) {
			t.scripts = append(t.scripts, script{[]string{name}, table})
		}
	}
	for r := range t.first {
		t.first[r] = t.find(rune(r))
	}
	return t
})
