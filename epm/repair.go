package epm

import (
	"strings"
	"unicode"
)

// repair reads a body that is not JSON because its values were not escaped.
// s has no white space around it.
func repair(s string) (body, bool) {
	// One thing that escaping would not have left proves that the sender
	// escapes nothing: then no backslash of the body begins an escape, or
	// C:\Users\new would become C:\Users, a line break, ew.
	raw := isUnescaped(s)
	if !raw {
		values, err := scan(escape(s, false))
		values = unwrap(values)
		identify(values)
		if err == nil && !misread(values) {
			return body{values: values, repaired: true}, true
		}
	}
	if values, err := scan(escape(s, true)); err == nil {
		values = unwrap(values)
		identify(values)
		return body{values: values, repaired: true}, true
	}
	return parseByLine(s)
}

// escape writes the control characters in s's strings as JSON wants them,
// and every backslash twice if none of them is meant as an escape.
func escape(s string, unescaped bool) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	inside := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && unescaped:
			b.WriteString(`\\`)
		case c == '\\' && inside && i+1 < len(s):
			b.WriteByte(c)
			i++
			b.WriteByte(s[i])
		case c == '"':
			inside = !inside
			b.WriteByte(c)
		case c < ' ' && inside:
			const hex = "0123456789abcdef"
			b.WriteString(`\u00`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isUnescaped reports whether s shows that its sender escapes nothing: by a
// backslash that begins no escape, or by a control character in a string
// together with what would be escapes of control characters. (A sender that
// escapes backslashes and quotes, and forgets line breaks, is thinkable.)
func isUnescaped(s string) bool {
	inside, control, escapes := false, false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			inside = !inside
		case c < ' ':
			control = control || inside
		case c == '\\':
			n := escapeLen(s[i:])
			if n == 0 {
				return true
			}
			escapes = escapes || !strings.ContainsRune(`"\/`, rune(s[i+1]))
			i += n - 1
		}
	}
	return control && escapes
}

// parseByLine reads a filled template by its shape: one "name": "value" on each
// line, so that the first ": " and the last quote bound the value, whatever
// stands in between. A line that begins neither with a name nor with a brace
// continues the value above it: somebody wrote a line break.
func parseByLine(s string) (body, bool) {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	b := body{repaired: true}
	var in []string // the objects around the line, innermost last

	// The value that is being gathered: its name, where it stands in s, and
	// whether it ends as a value does. (Long values come in many lines: what
	// is known of one is not computed again with each of them.)
	var name string
	var from, to int
	open, closed := false, false
	finish := func() bool {
		if !open {
			return true
		}
		open = false
		if len(b.values) == maxValues {
			return false
		}
		v := value{in: strings.Join(in, "."), name: name}
		rest := withoutComma(s[from:to])
		if !closed {
			// A line break in a value, and then a line like the template's
			// own. It is taken as one, and told.
			b.strange = true
			rest += `"`
		}
		text, ok := unquote(rest)
		switch {
		case ok:
			v.text = text
			b.strange = b.strange || holdsField(text)
		case rest == "null" || rest == "" || isPlaceholder(rest):
			v.form = formNull
		case rest == "true" || rest == "false" || rest != "" && numberLen(rest) == len(rest):
			v.form, v.text = formBare, rest
		default:
			return false
		}
		b.values = append(b.values, v)
		return true
	}

	begun, ended := false, false
	for start := 0; start <= len(s); {
		end := len(s)
		if i := strings.IndexByte(s[start:], '\n'); i >= 0 {
			end = start + i
		}
		line := strings.TrimRightFunc(s[start:end], isBlank)
		lineEnd := start + len(line)
		line = strings.TrimFunc(line, isBlank)
		start = end + 1
		if ended {
			return body{}, false // s ends with its last brace
		}
		if !begun {
			if line, begun = strings.CutPrefix(line, "{"); !begun {
				return body{}, false
			}
			line = strings.TrimSpace(line)
		}
		if line == "" {
			continue
		}
		newName, rest, isName := splitName(line)
		isBrace := line == "}" || line == "},"
		if open {
			if !isName && (!isBrace || !closed) {
				to, closed = lineEnd, strings.HasSuffix(withoutComma(line), `"`)
				continue
			}
			if !finish() {
				return body{}, false
			}
		}
		switch {
		case isBrace && len(in) > 0:
			in = in[:len(in)-1]
		case isBrace:
			ended = true
		case isName && rest == "{":
			if len(in) == maxDepth || len(b.values) == maxValues {
				return body{}, false
			}
			b.values = append(b.values, value{in: strings.Join(in, "."), name: newName, form: formObject})
			in = append(in, strings.ToLower(newName))
		case isName:
			name, open = newName, true
			from, to = lineEnd-len(rest), lineEnd
			whole := withoutComma(rest)
			_, closed = unquote(whole)
			closed = closed || !strings.HasPrefix(whole, `"`)
		default:
			return body{}, false
		}
	}
	if !ended {
		return body{}, false
	}
	identify(b.values)
	b.unescape()
	return b, true
}

// withoutComma takes the comma off that ends a line, and blanks.
func withoutComma(s string) string {
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), ","))
}

// holdsField reports whether s ends a value and begins another field, as
// somebody would who wants to be read as the template.
func holdsField(s string) bool {
	for {
		var ok bool
		if _, s, ok = strings.Cut(s, `"`); !ok {
			return false
		}
		next, ok := strings.CutPrefix(trimLeft(s), ",")
		if !ok {
			continue
		}
		if next, ok = strings.CutPrefix(trimLeft(next), `"`); !ok {
			continue
		}
		if _, next, ok = strings.Cut(next, `"`); ok && strings.HasPrefix(trimLeft(next), ":") {
			return true
		}
	}
}

func trimLeft(s string) string { return strings.TrimLeft(s, " \t\r\n") }

// unescape reads the escapes of all values, unless one of them shows that the
// sender does not write any.
func (b *body) unescape() {
	read := make([]value, len(b.values))
	for i, v := range b.values {
		if v.form == formText {
			text, ok := unescape(v.text)
			if !ok || hasStrayQuote(v.text) || isUnescaped(`"`+v.text+`"`) {
				return
			}
			v.text = text
		}
		read[i] = v
	}
	if !misread(read) {
		b.values = read
	}
}

// hasStrayQuote reports whether s holds a quote without a backslash.
func hasStrayQuote(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return true
		}
	}
	return false
}

// unquote takes the outer quotes off a value.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// splitName splits "name": rest. A name is what a template's author would
// write, so that few lines of prose look like one.
func splitName(line string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(line, `"`)
	if !ok {
		return "", "", false
	}
	name, after, ok = strings.Cut(after, `"`)
	if !ok || name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}) {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(strings.TrimSpace(after), ":")
	return name, strings.TrimSpace(rest), ok
}
