package spec

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// uri is a format that the library leaves unchecked. Discord wants an address
// with a scheme (https, attachment and so on).
var uri = openapi3.WithStringFormatValidator("uri", openapi3.NewCallbackValidator(func(s string) error {
	u, err := url.Parse(s)
	if err == nil && u.Scheme == "" {
		err = errors.New("the address has no scheme")
	}
	return err
}))

// faults says where and how v violates s. Of several schemas that v might be
// meant for, it explains the one with v's type, or else the nearest: the
// library alone only says that none of them fits.
func faults(at string, s *openapi3.Schema, v any) []string {
	err := s.VisitJSON(v, openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails(), uri)
	if err == nil {
		return nil
	}
	var out []string
	for _, err := range flat(err) {
		e, ok := errors.AsType[*openapi3.SchemaError](err)
		if !ok {
			out = append(out, fmt.Sprintf("%s: %s", at, err))
			continue
		}
		place := at
		for _, key := range e.JSONPointer() {
			place += "." + key
		}
		switch e.SchemaField {
		case "oneOf", "anyOf":
			out = append(out, union(place, e.Schema, e.Value)...)
		case "allOf":
			for _, sub := range e.Schema.AllOf {
				out = append(out, faults(place, sub.Value, e.Value)...)
			}
		case "format":
			out = append(out, fmt.Sprintf("%s: not a valid %s", place, e.Schema.Format))
		default:
			out = append(out, fmt.Sprintf("%s: %s", place, e.Reason))
		}
	}
	return out
}

func flat(err error) []error {
	if list, ok := err.(openapi3.MultiError); ok {
		var out []error
		for _, err := range list {
			out = append(out, flat(err)...)
		}
		return out
	}
	return []error{err}
}

// union explains why v fits none of the schemas of s, or several.
func union(at string, s *openapi3.Schema, v any) []string {
	all := branches(s)
	meant := slices.DeleteFunc(slices.Clone(all), func(b *openapi3.Schema) bool { return !mayBe(b, v) })
	if len(meant) == 0 {
		var types []string
		for _, b := range all {
			for _, t := range typeEnum(b) {
				types = append(types, fmt.Sprint(t))
			}
		}
		if object, ok := v.(map[string]any); ok && len(types) > 0 {
			return []string{fmt.Sprintf("%s: type %v is not allowed here, only %s", at, object["type"], strings.Join(types, ", "))}
		}
		return []string{at + ": none of the allowed kinds of value"}
	}
	var values []string
	for _, b := range meant {
		for _, e := range b.Enum {
			values = append(values, fmt.Sprint(e))
		}
	}
	if len(values) > 0 {
		return []string{fmt.Sprintf("%s: the value is none of %s", at, strings.Join(values, ", "))}
	}
	var lists [][]string
	for _, b := range meant {
		lists = append(lists, faults(at, b, v))
	}
	nearest := slices.MinFunc(lists, func(a, b []string) int { return cmp.Compare(len(a), len(b)) })
	if len(nearest) == 0 {
		return []string{at + ": the value fits several schemas where it must fit one"}
	}
	return nearest
}

// branches are the schemas of which v must fit one, or s itself.
func branches(s *openapi3.Schema) []*openapi3.Schema {
	if len(s.OneOf)+len(s.AnyOf) == 0 {
		return []*openapi3.Schema{s}
	}
	var out []*openapi3.Schema
	for _, sub := range slices.Concat(s.OneOf, s.AnyOf) {
		out = append(out, branches(sub.Value)...)
	}
	return out
}

// mayBe tells whether v can be meant for s: it is of the right kind, and an
// object's type is the one of s.
func mayBe(s *openapi3.Schema, v any) bool {
	switch v := v.(type) {
	case nil:
		return s.Type.IncludesNull()
	case bool:
		return s.Type.Permits(openapi3.TypeBoolean)
	case float64:
		return s.Type.Permits(openapi3.TypeInteger) || s.Type.Permits(openapi3.TypeNumber)
	case string:
		return s.Type.Permits(openapi3.TypeString)
	case []any:
		return s.Type.Permits(openapi3.TypeArray)
	case map[string]any:
		if !s.Type.Permits(openapi3.TypeObject) {
			return false
		}
		t, has := v["type"]
		enum := typeEnum(s)
		return !has || enum == nil || slices.Contains(enum, t)
	}
	return false
}

// typeEnum are the values that the property type of s may have.
func typeEnum(s *openapi3.Schema) []any {
	if p := s.Properties["type"]; p != nil {
		return p.Value.Enum
	}
	return nil
}

// ignored are keys that Discord ignores where they are not in the document.
// Only these values: anything else would be meant, and lost. A null is ignored
// under every name, because discordgo sends one for each list it does not use.
var ignored = []struct {
	key   string
	value any
	why   string
}{
	{"tts", false, "discordgo sends it with every answer to an interaction, forms and updates too"},
	{"content", "", "the same"},
	{"autocomplete", false, "discordgo sends it with every option of a command, subcommands too"},
}

// unnamed says which keys of v are in none of the schemas ss that v may be
// meant for. The document allows keys that it does not name; Discord drops
// them, so that one which is misspelt does nothing.
func unnamed(at string, ss []*openapi3.Schema, v any) []string {
	var meant []*openapi3.Schema
	for _, s := range ss {
		for _, b := range branches(s) {
			if mayBe(b, v) {
				meant = append(meant, b)
				for _, sub := range b.AllOf {
					meant = append(meant, branches(sub.Value)...)
				}
			}
		}
	}
	var out []string
	switch v := v.(type) {
	case []any:
		var items []*openapi3.Schema
		for _, s := range meant {
			if s.Items != nil {
				items = append(items, s.Items.Value)
			}
		}
		for i, e := range v {
			out = append(out, unnamed(fmt.Sprintf("%s.%d", at, i), items, e)...)
		}
	case map[string]any:
		open := true // nothing is said about the keys
		for _, s := range meant {
			open = open && len(s.Properties) == 0
		}
		if open {
			return nil
		}
		for _, key := range sortedKeys(v) {
			var values []*openapi3.Schema
			for _, s := range meant {
				if p := s.Properties[key]; p != nil {
					values = append(values, p.Value)
				}
			}
			switch {
			case len(values) > 0:
				out = append(out, unnamed(at+"."+key, values, v[key])...)
			case !isIgnored(key, v[key]):
				out = append(out, fmt.Sprintf("%s.%s: the document has no such key here", at, key))
			}
		}
	}
	return out
}

func isIgnored(key string, value any) bool {
	if value == nil {
		return true
	}
	for _, i := range ignored {
		if i.key == key && i.value == value {
			return true
		}
	}
	return false
}

func sortedKeys[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }
