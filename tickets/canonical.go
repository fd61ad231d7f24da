package tickets

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Canonical is the one way to write a JSON value: members in the order of
// their names, of several of one name the last, without blanks, and strings
// with no more escapes than they need. Numbers stay as they are written. Other
// ways to write the value have the same canonical form, as other versions may
// write it. Of an object the members that are named in without are left out.
func Canonical(raw []byte, without ...string) ([]byte, error) {
	if err := valid(raw); err != nil {
		return nil, err
	}
	c := canonical{in: raw, without: without}
	return c.value(make([]byte, 0, 2*len(raw))), nil
}

// valid says what is wrong with raw, if it is no JSON.
func valid(raw []byte) error {
	if json.Valid(raw) {
		return nil
	}
	var v any
	return json.Unmarshal(raw, &v)
}

// hashed is the SHA-256, in hex, of begin and the canonical form of raw, which
// is known to be valid: [json.Marshal] has written it, say.
func hashed(begin string, raw []byte, without ...string) string {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.canonical = canonical{in: raw, without: without, members: h.members[:0]}
	h.out = h.value(append(h.out[:0], begin...))
	h.in = nil
	return Digest(h.out)
}

// hasher writes canonical forms that nobody keeps.
type hasher struct {
	canonical
	out []byte
}

var hashers = sync.Pool{New: func() any { return new(hasher) }}

// canonical reads valid JSON.
type canonical struct {
	in      []byte
	at      int
	depth   int
	without []string
	members []canonicalMember
}

type canonicalMember struct {
	name       []byte // as it is said, not as it is written
	begin, end int    // of the member in its canonical form
}

// peek is the next byte that is no blank.
func (c *canonical) peek() byte {
	for {
		switch b := c.in[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return b
		}
	}
}

func (c *canonical) value(dst []byte) []byte {
	switch c.peek() {
	case '{':
		return c.object(dst)
	case '[':
		c.at++
		dst = append(dst, '[')
		for first := true; c.peek() != ']'; first = false {
			if !first {
				c.at++ // the comma
				dst = append(dst, ',')
			}
			dst = c.value(dst)
		}
		c.at++
		return append(dst, ']')
	case '"':
		return c.text(dst)
	}
	begin := c.at
	for c.at < len(c.in) && strings.IndexByte(",]} \t\r\n", c.in[c.at]) < 0 {
		c.at++
	}
	return append(dst, c.in[begin:c.at]...)
}

func (c *canonical) object(dst []byte) []byte {
	c.at++
	c.depth++
	begin, mine, ordered := len(dst), len(c.members), true
	dst = append(dst, '{')
	for first := true; c.peek() != '}'; first = false {
		if !first {
			c.at++ // the comma
			c.peek()
		}
		written := len(dst)
		if len(c.members) > mine {
			dst = append(dst, ',')
		}
		m := canonicalMember{begin: len(dst)}
		from := c.at
		dst = c.text(dst)
		if m.name = c.in[from+1 : c.at-1]; bytes.IndexByte(m.name, '\\') >= 0 || !utf8.Valid(m.name) {
			m.name = said(c.in[from:c.at])
		}
		c.peek()
		c.at++ // the colon
		dst = c.value(append(dst, ':'))
		if c.depth == 1 && slices.Contains(c.without, string(m.name)) {
			dst = dst[:written]
			continue
		}
		m.end = len(dst)
		if last := len(c.members) - 1; last >= mine && bytes.Compare(c.members[last].name, m.name) >= 0 {
			ordered = false
		}
		c.members = append(c.members, m)
	}
	c.at++
	c.depth--
	dst = append(dst, '}')
	if !ordered {
		dst = order(dst, begin, c.members[mine:])
	}
	c.members = c.members[:mine]
	return dst
}

// order writes the object that begins in dst anew, with its members in the
// order of their names.
func order(dst []byte, begin int, members []canonicalMember) []byte {
	slices.SortFunc(members, func(a, b canonicalMember) int {
		return cmp.Or(bytes.Compare(a.name, b.name), a.begin-b.begin)
	})
	// What is written behind the object takes its place.
	end := len(dst)
	dst = append(dst, '{')
	for i, m := range members {
		if i+1 < len(members) && bytes.Equal(members[i+1].name, m.name) {
			continue
		}
		if len(dst) > end+1 {
			dst = append(dst, ',')
		}
		dst = append(dst, dst[m.begin:m.end]...)
	}
	dst = append(dst, '}')
	return append(dst[:begin], dst[end:]...)
}

// text reads a string, and appends its canonical form.
func (c *canonical) text(dst []byte) []byte {
	begin := c.at
	c.at += 1 + bytes.IndexByte(c.in[begin+1:], '"')
	if plain := c.in[begin : c.at+1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		c.at++
		return append(dst, plain...) // nothing in it needs an escape
	}
	for c.at = begin + 1; c.in[c.at] != '"'; c.at++ {
		if c.in[c.at] == '\\' {
			c.at++
		}
	}
	c.at++
	return appendString(dst, said(c.in[begin:c.at]))
}

// said is what a valid JSON string says, in valid UTF-8.
func said(written []byte) []byte {
	inner := written[1 : len(written)-1]
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		b := inner[i]
		if b != '\\' {
			out = append(out, b)
			continue
		}
		i++
		if j := strings.IndexByte(shortEscapes, inner[i]); j >= 0 {
			out = append(out, escaped[j])
			continue
		}
		r := hexRune(inner[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			// Two of them are one character, and one alone is none.
			second := rune(-1)
			if rest := inner[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
				second = hexRune(rest[2:])
			}
			if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
				i += 6
			}
		}
		out = utf8.AppendRune(out, r)
	}
	if utf8.Valid(out) {
		return out
	}
	// A character for each byte that is none, as encoding/json has it.
	return []byte(string([]rune(string(out))))
}

// The escapes of one letter, and what they say.
const (
	shortEscapes = `"\/bfnrt`
	escaped      = "\"\\/\b\f\n\r\t"
)

// hexRune reads the four digits that b begins with.
func hexRune(b []byte) rune {
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

func appendString(dst, s []byte) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, b := range s {
		switch {
		case b == '"', b == '\\':
			dst = append(dst, '\\', b)
		case b >= ' ':
			dst = append(dst, b)
		default:
			if j := strings.IndexByte("\b\t\n\f\r", b); j >= 0 {
				dst = append(dst, '\\', "btnfr"[j])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			}
		}
	}
	return append(dst, '"')
}

// canonicalDigest is the SHA-256 of r's canonical JSON, empty if r cannot be written:
// the store refuses it too.
func (r *Request) canonicalDigest() string {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	out, err := r.appendCanonical(h.out[:0])
	if err != nil {
		return ""
	}
	h.out = out
	return Digest(out)
}

// appendCanonical appends r's canonical JSON, without what a newer version has
// added: what [Canonical] makes of what [json.Marshal] writes, in a fifth of
// the time, which is most of what a new request costs. An error means a time
// that no JSON can hold.
func (r *Request) appendCanonical(dst []byte) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, '{')
	v := reflect.ValueOf(r).Elem()
	for _, m := range requestMembers {
		f := v.Field(m.field)
		if m.optional && isZero(f) {
			continue
		}
		if len(dst) > begin+1 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.name...)
		switch x := f.Addr().Interface().(type) {
		case *time.Time:
			at, err := x.MarshalJSON()
			if err != nil {
				return nil, err
			}
			dst = append(dst, at...)
		case *bool:
			dst = strconv.AppendBool(dst, *x)
		case *[]Field:
			dst = append(dst, '[')
			for i, field := range *x {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendText(append(dst, `{"n":`...), field.Name)
				dst = append(appendText(append(dst, `,"v":`...), field.Value), '}')
			}
			dst = append(dst, ']')
		default:
			dst = appendText(dst, f.String())
		}
	}
	return append(dst, '}'), nil
}

func isZero(v reflect.Value) bool {
	if v.Kind() == reflect.Slice {
		return v.Len() == 0
	}
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		return at.IsZero()
	}
	return v.IsZero()
}

// requestMembers are the members of a request's JSON, in the order of their
// names.
var requestMembers = func() []requestMember {
	var list []requestMember
	typ := reflect.TypeFor[Request]()
	for i := range typ.NumField() {
		name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if name != "-" {
			list = append(list, requestMember{`"` + name + `":`, i, options != ""})
		}
	}
	slices.SortFunc(list, func(a, b requestMember) int { return cmp.Compare(a.name, b.name) })
	return list
}()

type requestMember struct {
	name     string // as it is written
	field    int
	optional bool
}

// appendText appends the canonical form of a string.
func appendText(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if b := s[i]; b < ' ' || b == '"' || b == '\\' || b >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	switch {
	case plain:
		return append(append(append(dst, '"'), s...), '"')
	case !utf8.ValidString(s):
		s = string([]rune(s)) // as said has it
	}
	return appendString(dst, []byte(s))
}
