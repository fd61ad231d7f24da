package discordtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// problems collects what is wrong with a body.
type problems struct {
	list   []string // "components.0.custom_id: This field is required"
	tree   map[string]any
	silent []string // what a bot must not do although no answer would tell it
}

// bad notes an error at a path such as "components.0.custom_id".
func (p *problems) bad(path, code, message string) {
	p.list = append(p.list, path+": "+message)
	if p.tree == nil {
		p.tree = map[string]any{}
	}
	at := p.tree
	for _, part := range strings.Split(path, ".") {
		next, _ := at[part].(map[string]any)
		if next == nil {
			next = map[string]any{}
			at[part] = next
		}
		at = next
	}
	old, _ := at["_errors"].([]any)
	at["_errors"] = append(old, map[string]any{"code": code, "message": message})
}

func (p *problems) mute(format string, args ...any) {
	p.silent = append(p.silent, fmt.Sprintf(format, args...))
}

// err is the answer to a body with problems, or nil.
func (p *problems) err() *apiError {
	if len(p.list) == 0 {
		return nil
	}
	return &apiError{status: http.StatusBadRequest, code: 50035, errors: p.tree}
}

func text(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

// number reads a whole number.
func number(v any) (int, bool) {
	n, isNumber := v.(json.Number)
	if !isNumber {
		return 0, false
	}
	i, err := strconv.Atoi(n.String())
	return i, err == nil
}

func num(m map[string]any, key string) int {
	n, _ := number(m[key])
	return n
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (p *problems) required(path string) {
	p.bad(path, "BASE_TYPE_REQUIRED", "This field is required")
}

// keys notes unknown keys and misses required ones, which end in "!".
func (p *problems) keys(path string, m map[string]any, known ...string) {
	for _, k := range sortedKeys(m) {
		if !contains(known, k) && !contains(known, k+"!") {
			p.mute("%s: unknown key %q", path, k)
		}
	}
	for _, k := range known {
		if name, required := strings.CutSuffix(k, "!"); required && m[name] == nil {
			p.required(join(path, name))
		}
	}
}

// str checks a text of low to high runes; a value that is not there is "".
func (p *problems) str(path string, v any, low, high int) string {
	if v == nil {
		if low > 0 {
			p.required(path)
		}
		return ""
	}
	t, isText := v.(string)
	if !isText {
		p.bad(path, "STRING_TYPE_CONVERT", fmt.Sprintf("Could not interpret %q as string.", fmt.Sprint(v)))
		return ""
	}
	switch n := utf8.RuneCountInString(t); {
	case n == 0 && low > 0:
		p.required(path)
	case n > high && low > 0:
		p.bad(path, "BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %d and %d in length.", low, high))
	case n > high:
		p.bad(path, "BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", high))
	}
	return t
}

// opt is str for a value that may be missing; when it is there it has at least low runes.
func (p *problems) opt(path string, v any, low, high int) string {
	if v == nil {
		return ""
	}
	return p.str(path, v, low, high)
}

// int checks a whole number in a range, if it is there.
func (p *problems) int(path string, v any, low, high int) (int, bool) {
	if v == nil {
		return 0, false
	}
	n, isNumber := number(v)
	switch {
	case !isNumber:
		p.bad(path, "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", fmt.Sprint(v)))
	case n < low:
		p.bad(path, "NUMBER_TYPE_MIN", fmt.Sprintf("int value should be greater than or equal to %d.", low))
	case n > high:
		p.bad(path, "NUMBER_TYPE_MAX", fmt.Sprintf("int value should be less than or equal to %d.", high))
	default:
		return n, true
	}
	return n, false
}

func (p *problems) bool(path string, v any) bool {
	b, isBool := v.(bool)
	if v != nil && !isBool {
		p.bad(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
	}
	return b
}

func (p *problems) array(path string, v any, low, high int) []any {
	if v == nil {
		if low > 0 {
			p.required(path)
		}
		return nil
	}
	l, isList := v.([]any)
	if !isList {
		p.bad(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
		return nil
	}
	if len(l) < low || len(l) > high {
		if low > 0 {
			p.bad(path, "BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %d and %d in length.", low, high))
		} else {
			p.bad(path, "BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", high))
		}
	}
	return l
}

// object takes a JSON object and drops its nulls, which say nothing.
func (p *problems) object(path string, v any) map[string]any {
	m, isObject := v.(map[string]any)
	if !isObject {
		p.bad(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
		return nil
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func (p *problems) link(path string, v any, high int, schemes ...string) {
	t := p.str(path, v, 1, high)
	if t == "" {
		return
	}
	u, err := url.Parse(t)
	if err != nil || u.Host == "" || !contains(schemes, u.Scheme) {
		p.bad(path, "URL_TYPE_INVALID_SCHEME", fmt.Sprintf("Scheme %q is not supported or the URL is not well formed. Scheme must be one of (%s).",
			schemeOf(t), quoted(schemes)))
	}
}

func schemeOf(link string) string {
	scheme, _, found := strings.Cut(link, ":")
	if !found {
		return ""
	}
	return scheme
}

func quoted(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, "'"+w+"'")
	}
	return strings.Join(out, ", ")
}

func choices(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return "Value must be one of (" + strings.Join(out, ", ") + ")."
}
