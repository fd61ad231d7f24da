package tickets

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// The history of a ticket is a chain: each event has a hash over the hash
// before it and over itself, so that no event can be changed, removed or
// moved without changing every hash after it.
//
//	hash of an event = SHA-256(hash before it + "\n" + canonical JSON of the event without its hash)
//	hash before the first = SHA-256("countersign ticket\n" + id of the request + "\n" + created)
//
// All hashes are in lower-case hex. A ticket's number is not part of it: a
// store may settle that when the first event is written already.
//
// Events from before there was a chain have no hash of their own. The chain
// goes through them all the same: the first event that has one covers them.

// Root is the hash before the first event of the ticket of a request. created
// is its time as the stored form writes it.
func Root(id RequestID, created string) string {
	return digest("countersign ticket\n" + string(id) + "\n" + created)
}

// ChangesRoot is the hash before the first change of the settings.
func ChangesRoot() string { return digest("countersign settings\n") }

// Link is the hash of an event, or of anything else that is chained, from the
// hash before it and its JSON. A member "hash" is left out.
func Link(before string, event []byte) (string, error) {
	if err := valid(event); err != nil {
		return "", err
	}
	return hashed(before+"\n", event, "hash"), nil
}

// Digest is the SHA-256 of b in hex.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digest(s string) string { return Digest([]byte(s)) }

// Head is the end of a chain: it stands for everything before it.
type Head struct {
	Ticket Number `json:"ticket"`
	Events int    `json:"events"` // how many there are
	Hash   string `json:"hash"`   // of the last one
}

// Head returns the head of t's history.
func (t *Ticket) Head() Head {
	return Head{t.Number, len(t.Events), t.head()}
}

func (t *Ticket) head() string {
	last := len(t.Events) - 1
	from := last
	for from >= 0 && t.Events[from].Hash == "" {
		from--
	}
	h := ""
	if from >= 0 {
		h = t.Events[from].Hash
	} else {
		h = Root(t.ID, t.Created.Format(time.RFC3339Nano))
	}
	for _, e := range t.Events[from+1:] {
		h = e.link(h)
	}
	return h
}

// link is the hash of e after the one before it.
func (e Event) link(before string) string {
	e.Hash = ""
	form := e.form()
	if form == nil {
		return "" // of a time that no JSON can hold: the store refuses the ticket too
	}
	return hashed(before+"\n", form)
}

// form is e as it is stored, with what a newer version has added; nil if it
// cannot be.
func (e Event) form() []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil
	}
	var inner [2]Newer
	if e.Decision != nil {
		inner[0] = e.Decision.Newer
	}
	if e.Outcome != nil {
		inner[1] = e.Outcome.Newer
	}
	if e.Newer == "" && inner == [2]Newer{} {
		return raw
	}
	more := map[string]json.RawMessage{}
	for i, name := range []string{"decision", "outcome"} {
		if inner[i] != "" {
			more[name] = json.RawMessage(inner[i])
		}
	}
	added, err := json.Marshal(more)
	if err != nil {
		return nil
	}
	return withMembers(withMembers(raw, added), []byte(e.Newer))
}

// withMembers is the object o and the members of more that it has not, at any
// depth.
func withMembers(o, more []byte) []byte {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(o, &a) != nil || json.Unmarshal(more, &b) != nil {
		return o
	}
	for name, v := range b {
		if has, ok := a[name]; ok {
			v = withMembers(has, v)
		}
		a[name] = v
	}
	both, err := json.Marshal(a)
	if err != nil {
		return o
	}
	return both
}

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

// hasher writes a canonical form that nobody keeps.
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
