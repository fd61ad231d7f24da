package epm

import (
	"encoding/json"
	"strings"
	"unicode"
)

// repair reads a filled template whose values were not escaped. It relies on
// the shape of the vendor's templates: one "name": "value" on each line, so
// that the first ": " and the last quote bound the value, whatever stands in
// between. A line that begins neither with a name nor with a brace continues
// the value above it: somebody wrote a line break.
//
// If one backslash of the body is not a valid escape, the sender escapes
// nothing: then no backslash is one, or C:\Users\new would become C:\Users,
// a line break, ew. unescaped says that this is known already.
func repair(body []byte, unescaped bool) ([]pair, bool) {
	lines := strings.Split(strings.ReplaceAll(strings.ToValidUTF8(string(body), "\ufffd"), "\r\n", "\n"), "\n")
	var open []string // objects, innermost last
	var pairs []pair
	begun, ended := false, false
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		name, rest, isName := splitName(line)
		switch {
		case line == "" || ended:
			if line != "" {
				return nil, false // something after the end
			}
		case line == "{" && !begun:
			begun = true
		case !begun:
			return nil, false
		case isBrace(line):
			if len(open) == 0 {
				ended = true
				continue
			}
			open = open[:len(open)-1]
		case !isName:
			return nil, false // a continuation belongs to a name, which takes it
		case rest == "{":
			pairs = append(pairs, pair{in: strings.Join(open, "."), key: strings.ToLower(name)})
			open = append(open, strings.ToLower(name))
		default:
			for i+1 < len(lines) && !startsSomething(lines[i+1]) {
				i++
				rest += "\n" + lines[i]
			}
			value, ok := unquote(strings.TrimSpace(rest))
			if !ok || len(pairs) >= maxPairs || len(open) > 4 {
				return nil, false
			}
			pairs = append(pairs, pair{strings.Join(open, "."), strings.ToLower(name), name, value})
		}
	}
	if !begun || !ended {
		return nil, false
	}
	if !unescaped {
		unescaped = badEscape(string(body))
	}
	if !unescaped {
		read := make([]pair, len(pairs))
		for i, p := range pairs {
			p.value = unescape(p.value)
			read[i] = p
		}
		if !misread(read) {
			return read, true
		}
	}
	return pairs, true
}

// splitName splits "name": rest.
func splitName(line string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(line, `"`)
	if !ok {
		return "", "", false
	}
	name, after, ok = strings.Cut(after, `"`)
	if !ok || name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r > unicode.MaxASCII || (!unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_')
	}) {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(strings.TrimSpace(after), ":")
	return name, strings.TrimSpace(rest), ok
}

func isBrace(line string) bool { return line == "}" || line == "}," }

func startsSomething(line string) bool {
	line = strings.TrimSpace(line)
	_, _, isName := splitName(line)
	return isName || isBrace(line)
}

// unquote takes the comma and the outer quotes off a value. A value without
// quotes must be a number, true, false or null.
func unquote(rest string) (string, bool) {
	rest = strings.TrimSpace(strings.TrimSuffix(rest, ","))
	if inner, ok := strings.CutPrefix(rest, `"`); ok {
		return strings.CutSuffix(inner, `"`)
	}
	if rest == "null" {
		return "", true
	}
	var number json.Number
	if rest == "true" || rest == "false" || json.Unmarshal([]byte(rest), &number) == nil {
		return rest, true
	}
	return "", false
}

// badEscape reports whether s holds a backslash that begins no JSON escape.
func badEscape(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if i == len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
			return true
		}
		if s[i] == 'u' {
			if i+4 >= len(s) || strings.Trim(s[i+1:i+5], "0123456789abcdefABCDEF") != "" {
				return true
			}
		}
	}
	return false
}

// unescape reads the escapes in a value that may hold stray quotes and raw
// control characters.
func unescape(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var quoted strings.Builder
	quoted.WriteByte('"')
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && i+1 < len(v):
			quoted.WriteByte(c)
			i++
			quoted.WriteByte(v[i])
		case c == '"' || c == '\\':
			quoted.WriteByte('\\')
			quoted.WriteByte(c)
		case c < ' ':
			b, _ := json.Marshal(string(c)) // a control character always marshals
			quoted.Write(b[1 : len(b)-1])
		default:
			quoted.WriteByte(c)
		}
	}
	quoted.WriteByte('"')
	var s string
	if json.Unmarshal([]byte(quoted.String()), &s) != nil {
		return v
	}
	return s
}
