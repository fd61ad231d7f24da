package wording

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/tickets"
)

// Visible makes every character of s one that a reader sees. Text of a
// request is written by whoever asks for access: a right-to-left override
// turns exe.fdp around, a zero-width space makes two names look the same, a
// NUL ends the text for some readers. Such characters are shown by name, for
// example ⟦U+202E⟧ or ␀. Line breaks and tabs stay; \r\n becomes \n. Words that
// look like others are marked, see markLookalikes.
//
// Visible(Visible(s)) is Visible(s).
func Visible(s string) string { return markLookalikes(unhide(s)) }

// unhide makes every character of s one that a reader sees.
func unhide(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	marks, symbol := 0, false // combining marks in a row; the rune before was a symbol
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			if c, ok := surrogate(s[i:]); ok {
				named(&b, c)
				i += 3
			} else {
				fmt.Fprintf(&b, "⟦0x%02X⟧", s[i])
				i++
			}
			marks, symbol = 0, false
			continue
		}
		i += n
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == '\n', r == '\t':
			b.WriteRune(r)
		case r == '\r' && i < len(s) && s[i] == '\n':
			// the line feed that follows is enough
		case r < ' ':
			b.WriteRune('␀' + r)
		case r == 0x7f:
			b.WriteRune('␡')
		case r == 0xfe0f && symbol: // colours the emoji before it
			b.WriteRune(r)
		case !unicode.IsGraphic(r), unseen(r), marks > maxMarks:
			named(&b, r)
		default:
			b.WriteRune(r)
		}
		symbol = unicode.Is(unicode.So, r) && !unseen(r)
	}
	return b.String()
}

// maxMarks is how many combining marks may sit on one character: living
// scripts use up to three or four, more only hide the lines around them.
const maxMarks = 4

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\n' && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}

func named(b *strings.Builder, r rune) { fmt.Fprintf(b, "⟦U+%04X⟧", r) }

// unseen reports whether r counts as graphic and yet shows nothing.
func unseen(r rune) bool {
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x2800, 0x3164, 0xffa0:
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// surrogate reads half a surrogate pair written as if it were a character, as
// some encoders do with broken UTF-16.
func surrogate(s string) (rune, bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2]&0xc0 != 0x80 {
		return 0, false
	}
	return rune(s[0]&0x0f)<<12 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), true
}

// Line is Visible on one line: a line break is shown as ⏎, so that nobody
// can write a line that looks like ours.
func Line(s string) string { return markLookalikes(Unmarked(s)) }

// Unmarked is Line without the marks of words that look like others: for what
// is kept, and shown by Line later.
func Unmarked(s string) string {
	s = strings.TrimSpace(unhide(s))
	if !strings.ContainsAny(s, "\n\t") {
		return s
	}
	return strings.NewReplacer("\n", lineBreak, "\t", " ").Replace(s)
}

// lineBreak is a line break on one line.
const lineBreak = " ⏎ "

// Cut shortens s to at most limit runes. If there is room it says how many
// were left out: "… and 12 more characters", and "more than 12" if what was left
// out holds what stands for something else: a character by its name, or such a
// count. It splits neither a rune nor a name nor a count.
func Cut(s string, limit int) string {
	if len(s) <= limit { // as many bytes or fewer
		return s
	}
	total := utf8.RuneCountInString(s)
	if total <= limit {
		return s
	}
	if limit <= 0 {
		return ""
	}
	for end := more(total, true, "characters"); ; {
		keep := limit - utf8.RuneCountInString(end)
		if keep < 1 {
			return firstRunes(s, limit-1) + "…"
		}
		kept := notWithin(s, firstRunes(s, keep))
		n, exact := count(s[len(kept):])
		now := more(n, exact, "characters")
		if utf8.RuneCountInString(now) <= utf8.RuneCountInString(end) {
			return kept + now
		}
		end = now
	}
}

func more(n int, exact bool, what string) string {
	than := ""
	if !exact {
		than = "more than "
	}
	return "… and " + than + strconv.Itoa(n) + " more " + what
}

// count is how many runes of s stand for themselves, and whether all do.
func count(s string) (n int, exact bool) {
	exact = true
	for s != "" {
		if skip := standIn(s); skip > 0 {
			s, exact = s[skip:], false
			continue
		}
		_, size := utf8.DecodeRuneInString(s)
		s, n = s[size:], n+1
	}
	return n, exact
}

// counts is what tells how much was left out: here, or of a request that was
// too large to be kept whole.
var counts = regexp.MustCompile(`^… (and (more than )?\d{1,10} more (characters|lines)|\(\d{1,10} more bytes\))`)

// longestStandIn is more than any stand-in has bytes.
const longestStandIn = 128

// standIn is how many bytes of the beginning of s stand for something else,
// whether we or whoever wrote s put them there: a character by its name, letters
// that look like others, a line break on one line, or a count of what was left out.
func standIn(s string) int {
	switch {
	case strings.HasPrefix(s, "⟦U+"), strings.HasPrefix(s, "⟦0x"):
		const name = len("⟦U+10FFFF")
		if i := strings.Index(s[:min(len(s), name+len("⟧"))], "⟧"); i > 0 {
			return i + len("⟧")
		}
	case strings.HasPrefix(s, "⟦"):
		return len(lookalikeMarks.FindString(s[:min(len(s), longestStandIn)]))
	case strings.HasPrefix(s, lineBreak):
		return len(lineBreak)
	case strings.HasPrefix(s, "… "):
		return len(counts.FindString(s[:min(len(s), longestStandIn)]))
	}
	return 0
}

// notWithin is kept, the beginning of s, without the half of a stand-in at its
// end.
func notWithin(s, kept string) string {
	for i := max(0, len(kept)-longestStandIn); i < len(kept); i++ {
		if n := standIn(s[i:]); i+n > len(kept) {
			return s[:i]
		}
	}
	return kept
}

// MoreFields says how many fields are not shown. Those that stand for others,
// which a request had too many of to be kept, are not counted.
func MoreFields(hidden []tickets.Field) string {
	n := 0
	for _, f := range hidden {
		if f.Name != tickets.FieldsLeftOut {
			n++
		}
	}
	return more(n, n == len(hidden), "fields")
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// short is an untrusted value for the middle of a sentence.
func short(s string, limit int) string { return Cut(Line(s), limit) }

// quoteLines is how many lines of somebody's text a card shows.
const quoteLines = 12

// Quote puts a label before s, several lines perhaps, so that each line of s
// is seen to belong to it: a single line follows the label, of more each gets
// a bar in front. It keeps at most limit runes of s and a dozen lines.
func Quote(label, s string, limit int) string {
	s = strings.TrimSpace(Visible(s))
	if !strings.Contains(s, "\n") {
		return label + ": " + Cut(s, limit)
	}
	lines := strings.Split(Cut(s, limit), "\n")
	if len(lines) > quoteLines {
		n, exact := strings.Count(s, "\n")+1-quoteLines, true
		if strings.HasSuffix(s, " more bytes)") { // perhaps with line breaks among them
			n, exact = n-1, false
		}
		lines = append(lines[:quoteLines:quoteLines], more(n, exact, "lines"))
	}
	return label + ":\n│ " + strings.Join(lines, "\n│ ")
}

// Typed is what somebody typed, to be typed again: unchanged but for what no
// platform takes, and in at most limit runes.
func Typed(s string, limit int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	return firstRunes(s, limit)
}
