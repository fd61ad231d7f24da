package epm

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of a body. They are ours and far above what the vendor's templates
// fill: 56 values, two levels.
const (
	maxValues = 10_000
	maxDepth  = 32
)

var (
	errSyntax    = errors.New("not JSON")
	errNoObject  = errors.New("the body is not a JSON object; use the webhook templates that \"countersign templates\" prints")
	errTooMany   = errors.New("the body has too many fields")
	errTooNested = errors.New("the body's objects are nested too deeply")
)

type form uint8

const (
	formText   form = iota
	formBare        // a number, true or false
	formNull        // null
	formArray       // text is the array as it was sent
	formObject      // its values follow; text is empty
)

// value is one value of a body.
type value struct {
	in   string // the object it stands in, in small letters: "" at the top, else for example "requestinfo"
	name string // as EPM wrote it
	text string
	form form
	key  key // set by identify
}

// scan lists the values of a JSON object in their order, each as often as it
// occurs. [encoding/json] would keep the last of equal names only, and its
// tokens cost several times as much; a fuzz test holds the two together.
// Texts alias s. errSyntax means that s is not JSON, other errors are for
// people.
func scan(s string) ([]value, error) {
	c := scanner{s: s}
	c.space()
	if c.peek() != '{' {
		if err := c.skip(0); err != nil {
			return nil, err
		}
		if c.space(); c.i < len(s) {
			return nil, errSyntax
		}
		return nil, errNoObject
	}
	c.values = make([]value, 0, 64)
	if err := c.object("", 1); err != nil {
		return nil, err
	}
	if c.space(); c.i < len(s) {
		return nil, errSyntax
	}
	return c.values, nil
}

type scanner struct {
	s      string
	i      int
	values []value
	raw    bool // strings may hold whatever stands between two quotes
}

// failsAt is where s stops being JSON, whatever its strings hold.
func failsAt(s string) int {
	c := scanner{s: s, raw: true}
	c.space()
	if c.peek() == '{' {
		_ = c.object("", 1)
	}
	c.space()
	return c.i
}

// peek is the byte at hand, 0 at the end.
func (c *scanner) peek() byte {
	if c.i < len(c.s) {
		return c.s[c.i]
	}
	return 0
}

func (c *scanner) space() {
	for c.i < len(c.s) {
		switch c.s[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

func (c *scanner) take(b byte) bool {
	c.space()
	if c.peek() != b || c.i == len(c.s) {
		return false
	}
	c.i++
	return true
}

// object lists the values of the object that begins at hand.
func (c *scanner) object(in string, depth int) error {
	if depth > maxDepth {
		return errTooNested
	}
	c.i++
	if c.take('}') {
		return nil
	}
	for {
		c.space()
		name, ok := c.text()
		if !ok || !c.take(':') {
			return errSyntax
		}
		if len(c.values) == maxValues {
			return errTooMany
		}
		c.space()
		at := len(c.values)
		c.values = append(c.values, value{in: in, name: name})
		start := c.i
		switch c.peek() {
		case '"':
			if c.values[at].text, ok = c.text(); !ok {
				return errSyntax
			}
		case '{':
			c.values[at].form = formObject
			inner := strings.ToLower(name)
			if in != "" {
				inner = in + "." + inner
			}
			if err := c.object(inner, depth+1); err != nil {
				return err
			}
		default:
			v := &c.values[at]
			switch c.peek() {
			case '[':
				v.form = formArray
			case 'n':
				v.form = formNull
			default:
				v.form = formBare
			}
			if err := c.skip(depth); err != nil {
				return err
			}
			v.text = c.s[start:c.i]
		}
		if c.take(',') {
			continue
		}
		if c.take('}') {
			return nil
		}
		return errSyntax
	}
}

// skip passes over any value and checks it.
func (c *scanner) skip(depth int) error {
	if depth > maxDepth {
		return errTooNested
	}
	switch b := c.peek(); b {
	case '"':
		if _, ok := c.text(); !ok {
			return errSyntax
		}
		return nil
	case '{':
		c.i++
		if c.take('}') {
			return nil
		}
		for {
			c.space()
			if _, ok := c.text(); !ok || !c.take(':') {
				return errSyntax
			}
			c.space()
			if err := c.skip(depth + 1); err != nil {
				return err
			}
			if c.take(',') {
				continue
			}
			if c.take('}') {
				return nil
			}
			return errSyntax
		}
	case '[':
		c.i++
		if c.take(']') {
			return nil
		}
		for {
			c.space()
			if err := c.skip(depth + 1); err != nil {
				return err
			}
			if c.take(',') {
				continue
			}
			if c.take(']') {
				return nil
			}
			return errSyntax
		}
	default:
		for _, word := range [...]string{"null", "true", "false"} {
			if strings.HasPrefix(c.s[c.i:], word) {
				c.i += len(word)
				return nil
			}
		}
		n := numberLen(c.s[c.i:])
		if n == 0 {
			return errSyntax
		}
		c.i += n
		return nil
	}
}

// numberLen is the length of the JSON number that s begins with, 0 if it
// begins with none.
func numberLen(s string) int {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// text takes the string at hand.
func (c *scanner) text() (string, bool) {
	if c.peek() != '"' {
		return "", false
	}
	s, start := c.s, c.i+1
	escaped := false
	for i := start; i < len(s); i++ {
		switch b := s[i]; {
		case b == '"':
			c.i = i + 1
			if c.raw {
				return s[start:i], true
			}
			if escaped {
				return unescape(s[start:i])
			}
			return s[start:i], true
		case b == '\\':
			escaped = true
			i++
		case b < ' ' && !c.raw:
			return "", false
		}
	}
	return "", false
}

// unescape reads the escapes of a JSON string, without its quotes. It reports
// false for a backslash that begins none. A lone surrogate becomes U+FFFD, as
// in [encoding/json].
func unescape(s string) (string, bool) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			if b.Len() == 0 {
				return s, true
			}
			b.WriteString(s)
			return b.String(), true
		}
		if b.Len() == 0 {
			b.Grow(len(s))
		}
		b.WriteString(s[:i])
		s = s[i:]
		switch escapeLen(s) {
		case 0:
			return "", false
		case 2:
			c := s[1]
			if at := strings.IndexByte("bfnrt", c); at >= 0 {
				c = "\b\f\n\r\t"[at]
			}
			b.WriteByte(c)
			s = s[2:]
		default:
			r := hex4(s[2:])
			s = s[6:]
			if utf16.IsSurrogate(r) {
				var low rune
				if escapeLen(s) == 6 {
					low = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					s = s[6:]
				}
			}
			b.WriteRune(r)
		}
	}
}

// escapeLen is the length of the escape that s begins with, 0 if it begins
// with none.
func escapeLen(s string) int {
	if len(s) < 2 || s[0] != '\\' {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) >= 6 && hex4(s[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 reads four hexadecimal digits, or is -1.
func hex4(s string) rune {
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
