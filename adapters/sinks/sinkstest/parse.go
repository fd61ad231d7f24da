package sinkstest

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is a syslog message as RFC 5424 defines it.
type Message struct {
	Facility, Severity       int
	Time                     time.Time // zero for the nil value
	Host, App, Process, Kind string    // empty for the nil value
	Data                     []Element
	Text                     string
}

// Element is one element of structured data.
type Element struct {
	ID     string
	Params []Param
}

// Param is one parameter of an element, without its escapes.
type Param struct{ Name, Value string }

// Param returns the value of an element's parameter, and false if there is
// none.
func (m Message) Param(element, name string) (string, bool) {
	for _, e := range m.Data {
		for _, p := range e.Params {
			if e.ID == element && p.Name == name {
				return p.Value, true
			}
		}
	}
	return "", false
}

var (
	priority  = regexp.MustCompile(`^<(0|[1-9][0-9]{0,2})>1 `)
	timestamp = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$`)
	sdName    = regexp.MustCompile(`^[!#-<>-\\^-~]{1,32}$`) // printable ASCII but = ] "
)

// Parse reads a message, and refuses everything that RFC 5424 (section 6) does
// not allow.
func Parse(s string) (m Message, err error) {
	head := priority.FindStringSubmatch(s)
	if head == nil {
		return m, errors.New("no priority and version 1")
	}
	pri, _ := strconv.Atoi(head[1])
	if pri > 191 {
		return m, fmt.Errorf("the priority is %d", pri)
	}
	m.Facility, m.Severity = pri/8, pri%8
	rest := s[len(head[0]):]
	var fields [5]string
	for i, limit := range []int{32, 255, 48, 128, 32} {
		field, after, ok := strings.Cut(rest, " ")
		if !ok || field == "" || len(field) > limit || strings.ContainsFunc(field, func(r rune) bool { return r < '!' || r > '~' }) {
			return m, fmt.Errorf("header field %d is %.50q", i+1, field)
		}
		fields[i], rest = field, after
	}
	if fields[0] != "-" {
		if !timestamp.MatchString(fields[0]) {
			return m, fmt.Errorf("the timestamp is %q", fields[0])
		}
		if m.Time, err = time.Parse(time.RFC3339Nano, fields[0]); err != nil {
			return m, err
		}
	}
	for i, field := range []*string{&m.Host, &m.App, &m.Process, &m.Kind} {
		if fields[i+1] != "-" {
			*field = fields[i+1]
		}
	}
	if m.Data, rest, err = elements(rest); err != nil {
		return m, err
	}
	if rest == "" {
		return m, nil
	}
	text, ok := strings.CutPrefix(rest, " ")
	if !ok {
		return m, errors.New("no blank behind the structured data")
	}
	text, marked := strings.CutPrefix(text, "\ufeff")
	for _, r := range text {
		switch {
		case r > '~' && !marked:
			return m, errors.New("the text is not ASCII and does not begin with a byte-order mark")
		case r < ' ':
			return m, fmt.Errorf("the text has the control character %q", r)
		}
	}
	m.Text = text
	return m, nil
}

// elements reads structured data from the beginning of s.
func elements(s string) (list []Element, rest string, err error) {
	if after, ok := strings.CutPrefix(s, "-"); ok {
		return nil, after, nil
	}
	for strings.HasPrefix(s, "[") {
		end := strings.IndexAny(s, " ]")
		if end < 0 || !sdName.MatchString(s[1:end]) {
			return nil, "", errors.New("an element without a name")
		}
		e := Element{ID: s[1:end]}
		if slices.ContainsFunc(list, func(o Element) bool { return o.ID == e.ID }) {
			return nil, "", fmt.Errorf("the element %s is there twice", e.ID)
		}
		s = s[end:]
		for strings.HasPrefix(s, " ") {
			name, after, ok := strings.Cut(s[1:], `="`)
			if !ok || !sdName.MatchString(name) {
				return nil, "", fmt.Errorf("a parameter of %s has no name", e.ID)
			}
			p := Param{Name: name}
			if p.Value, s, err = value(after); err != nil {
				return nil, "", fmt.Errorf("parameter %s: %w", name, err)
			}
			e.Params = append(e.Params, p)
		}
		after, ok := strings.CutPrefix(s, "]")
		if !ok {
			return nil, "", fmt.Errorf("the element %s does not end", e.ID)
		}
		list, s = append(list, e), after
	}
	if len(list) == 0 {
		return nil, "", errors.New("no structured data, and no nil value")
	}
	return list, s, nil
}

// value reads a parameter's value up to its closing quote.
func value(s string) (v, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if !utf8.ValidString(b.String()) {
				return "", "", errors.New("not UTF-8")
			}
			return b.String(), s[i+1:], nil
		case c == ']':
			return "", "", errors.New("] is not escaped")
		case c < ' ' || c == 0x7f:
			return "", "", fmt.Errorf("the control character %q", c) // section 6.3.3 advises against them
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`"\]`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("it does not end")
}

// errFraming is in the error of a frame that no length begins.
var errFraming = errors.New("no octet-counted message")

// frame reads one message that is framed by its length (RFC 6587, section
// 3.4.1). At the end it returns io.EOF.
func frame(r io.ByteReader, most int) (string, error) {
	n, digits := 0, 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits > 0:
			return "", errors.Join(errors.New("the end in the middle of a length"), err)
		case err != nil:
			return "", err
		case c == ' ' && digits > 0:
			b := make([]byte, n)
			for i := range b {
				if b[i], err = r.ReadByte(); err != nil {
					return "", fmt.Errorf("%d of %d octets: %w", i, n, err)
				}
			}
			return string(b), nil
		case c < '0' || c > '9' || digits == 0 && c == '0':
			return "", fmt.Errorf("%w: %q in its length", errFraming, c)
		}
		n, digits = n*10+int(c-'0'), digits+1
		if n > most {
			return "", fmt.Errorf("%w: of more than %d octets", errFraming, most)
		}
	}
}
