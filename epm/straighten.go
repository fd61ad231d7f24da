package epm

import (
	"fmt"
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// straightened is a body with the faults of its template mended, and where
// each of its bytes came from.
type straightened struct {
	text string
	from []int // for each byte of text, where it stood; and one more for the end
	// strange is set if something that was mended may be somebody's, to make
	// EPM's fields vanish: a comment with the quote in it that ends a value, or
	// strings in several kinds of quotes, of which one swallows the other's.
	strange bool
}

// straighten mends what a template's author, or the editor, does to JSON and
// what can be meant in one way only: placeholders without quotes that were left
// unfilled, or filled with a word; nothing after a colon; typographic or single
// quotes; blanks that cannot be seen; comments; commas before a brace. What
// stands in a string stays as it is.
func straighten(s string) straightened {
	p := straightener{s: s, kinds: map[rune]bool{}}
	for p.i < len(s) {
		p.next()
	}
	p.from = append(p.from, len(s))
	strange := len(p.kinds) > 1
	for kind := range p.kinds {
		strange = strange || strings.ContainsFunc(p.comments.String(), func(r rune) bool { return kindOf(r) == kind })
	}
	return straightened{text: string(p.out), from: p.from, strange: strange}
}

// straightenHTML undoes what a form does that writes a template as HTML, in
// which no quote is left.
func straightenHTML(s string) string {
	if strings.Contains(s, `"`) || !strings.Contains(s, "&quot;") && !strings.Contains(s, "&#34;") {
		return s
	}
	return html.UnescapeString(s)
}

type straightener struct {
	s    string
	i    int
	out  []byte
	from []int

	kinds    map[rune]bool   // of quotes around strings
	comments strings.Builder // all of them
}

// emit writes text in place of what stands at hand.
func (p *straightener) emit(text string) {
	for i := range len(text) {
		p.out = append(p.out, text[i])
		p.from = append(p.from, p.i)
	}
}

// copy writes n bytes as they are.
func (p *straightener) copy(n int) {
	for range n {
		p.out = append(p.out, p.s[p.i])
		p.from = append(p.from, p.i)
		p.i++
	}
}

// next mends what is at hand, outside of strings.
func (p *straightener) next() {
	rest := p.s[p.i:]
	r, n := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"':
		n, ok := stringLen(rest)
		if !ok {
			n = len(rest) // from here on nobody knows what is a string
		}
		p.kinds['"'] = true
		p.copy(n)
	case isQuote(r):
		p.quoted(r, n)
	case r == '\n', r == '\r', r == '\t', r == ' ':
		p.copy(n)
	case isBlank(r):
		p.emit(" ")
		p.i += n
	case commentLen(p.s, p.i) > 0:
		n := commentLen(p.s, p.i)
		p.comments.WriteString(rest[:n])
		p.emit(" ")
		p.i += n
	case r == ':':
		p.copy(1)
		p.value()
	case r == ',':
		if after := p.skipBlanks(p.i + 1); after == len(p.s) || strings.IndexByte("}],", p.s[after]) >= 0 {
			p.i++
			return
		}
		p.copy(1)
	default:
		p.copy(n)
	}
}

// maxWord and maxComment are how many bytes are looked at for the end of a
// value without quotes, and of a comment.
const (
	maxWord    = 256
	maxComment = 4096
)

// value mends a value that is no JSON, behind its colon.
func (p *straightener) value() {
	at := p.skipBlanks(p.i)
	if at == len(p.s) {
		return
	}
	rest := p.s[at:]
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == ',' || r == '}' || r == '"' && strings.Contains(p.s[p.i:at], "\n") && isName(rest):
		p.emit(" null")
		if r == '"' {
			p.emit(",")
		}
		return
	case r == '"', r == '{', r == '[', isQuote(r):
		return
	}
	end := strings.IndexAny(rest[:min(len(rest), maxWord)], ",}\r\n")
	if end < 0 {
		return
	}
	for i := range end {
		if commentLen(rest, i) > 0 {
			end = i
			break
		}
	}
	word := strings.TrimFunc(rest[:end], isBlank)
	if word == "" || word == "null" || word == "true" || word == "false" || numberLen(word) == len(word) {
		return
	}
	p.i = at
	if isPlaceholder(word) {
		p.emit("null")
		p.i += end
		return
	}
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+/ ") == "" {
		p.emit(`"` + word + `"`)
		p.i += end
	}
}

// quoted writes a string in other quotes, which begins at hand, as JSON. It
// ends with a quote behind which the object goes on.
func (p *straightener) quoted(open rune, n int) {
	end := -1
	for i := p.i + n; i < len(p.s); {
		r, n := utf8.DecodeRuneInString(p.s[i:])
		if isQuote(r) && kindOf(r) == kindOf(open) {
			after := i + n
			line := strings.TrimLeftFunc(p.s[after:], func(r rune) bool { return r != '\n' && isBlank(r) })
			if line == "" || strings.IndexByte(":,}]\n", line[0]) >= 0 {
				end = i
				break
			}
		}
		i += n
	}
	if end < 0 {
		p.copy(len(p.s) - p.i)
		return
	}
	p.kinds[kindOf(open)] = true
	p.emit(`"`)
	p.i += n
	for p.i < end {
		if p.s[p.i] == '"' {
			p.emit(`\`)
		}
		p.copy(1)
	}
	p.emit(`"`)
	_, n = utf8.DecodeRuneInString(p.s[p.i:])
	p.i += n
}

// skipBlanks is where what is neither blank nor a comment begins, from i on.
func (p *straightener) skipBlanks(i int) int {
	for i < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[i:])
		if c := commentLen(p.s, i); c > 0 {
			n = c
		} else if !isBlank(r) {
			break
		}
		i += n
	}
	return i
}

// stringLen is the length of the string that s begins with; false if it has no
// end.
func stringLen(s string) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return 0, false
}

// isName reports whether s begins with a string and a colon.
func isName(s string) bool {
	n, ok := stringLen(s)
	return ok && strings.HasPrefix(strings.TrimLeftFunc(s[n:], isBlank), ":")
}

// commentLen is the length of the comment that begins at i, or 0.
func commentLen(s string, i int) int {
	switch {
	case strings.HasPrefix(s[i:], "//"):
	case s[i] == '#' && beginsLine(s[:i]):
	case strings.HasPrefix(s[i:], "/*"):
		if end := strings.Index(s[i+2:min(len(s), i+maxComment)], "*/"); end >= 0 {
			return end + 4
		}
		return 0
	default:
		return 0
	}
	if end := strings.IndexByte(s[i:], '\n'); end >= 0 {
		return end
	}
	return len(s) - i
}

// beginsLine reports whether what follows s is the first in its line.
func beginsLine(s string) bool {
	s = strings.TrimRight(s, " \t")
	return s == "" || s[len(s)-1] == '\n'
}

// isBlank reports whether r shows nothing.
func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// isQuote reports whether r is a quote that word processors write, or a single
// one.
func isQuote(r rune) bool { return strings.ContainsRune("'“”„‟″", r) }

// kindOf is the same for all quotes that may belong together, and 0 for what is
// no quote.
func kindOf(r rune) rune {
	switch {
	case r == '"' || r == '\'':
		return r
	case isQuote(r):
		return '“'
	}
	return 0
}

// unreadable says in which line and column of s the body stops being JSON.
func unreadable(s string, at int) error {
	line, column := position(s, min(at, len(s)))
	return fmt.Errorf("the body is neither valid JSON nor a filled template of ours: it cannot be read from line %d, column %d on; compare the webhook's template in EPM with the output of \"countersign templates\"", line, column)
}

// position is the line and column of the byte at in s, both from 1, columns in
// characters.
func position(s string, at int) (line, column int) {
	return strings.Count(s[:at], "\n") + 1, utf8.RuneCountInString(s[strings.LastIndexByte(s[:at], '\n')+1:at]) + 1
}
