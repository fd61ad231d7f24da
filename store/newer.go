package store

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/countersign/countersign/tickets"
)

// While replicas are upgraded one after the other, an old version changes
// tickets that a new one has written. What it does not know it must write
// back. Each value that has an identity of its own (a decision, a message, an
// event) carries what is unknown of itself, so that it goes where the value
// goes and ends with it: what a newer version noted of one decision must never
// be found on another.

// hasNewer reports whether anything of t holds what this version does not
// know.
func hasNewer(t *tickets.Ticket) bool {
	decision := func(d *tickets.Decision) bool { return d != nil && d.UnknownFields != "" }
	outcome := func(o *tickets.Outcome) bool { return o != nil && o.UnknownFields != "" }
	return t.UnknownFields != "" || t.Sending.UnknownFields != "" || decision(t.Decision) || outcome(t.Outcome) ||
		t.Refusal != nil && (t.Refusal.UnknownFields != "" || decision(&t.Refusal.Decision)) ||
		t.Request != nil && (t.Request.UnknownFields != "" || slices.ContainsFunc(t.Request.Fields, func(f tickets.Field) bool { return f.UnknownFields != "" })) ||
		slices.ContainsFunc(t.Messages, func(m tickets.Message) bool { return m.UnknownFields != "" }) ||
		slices.ContainsFunc(t.Deliveries, func(d tickets.Delivery) bool { return d.UnknownFields != "" }) ||
		slices.ContainsFunc(t.Events, func(e tickets.Event) bool { return e.UnknownFields != "" || decision(e.Decision) || outcome(e.Outcome) })
}

// keepNewer fills in every Newer of t from its stored form.
func keepNewer(b []byte, t *tickets.Ticket) error {
	_, err := collect(b, reflect.ValueOf(t))
	return err
}

// restore puts every Newer of t back into its stored form b.
func restore(b []byte, t *tickets.Ticket) ([]byte, error) {
	return merge(b, reflect.ValueOf(t))
}

const newerField = "UnknownFields"

// collect finds in raw, the form of v, what v's type does not know, and puts
// it into v's Newer. A type that has none, as a place, returns it for the
// value around it.
func collect(raw json.RawMessage, v reflect.Value) (rest object, err error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch {
	case isText(v):
	case v.Kind() == reflect.Slice && first(raw) == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, err
		}
		for i, item := range items[:min(len(items), v.Len())] {
			if _, err := collect(item, v.Index(i)); err != nil {
				return nil, err
			}
		}
	case v.Kind() == reflect.Struct && first(raw) == '{':
		all, err := membersOf(raw)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			name, field := fieldOf(v, m.name)
			switch {
			case (name == formName || name == sealName) && v.Type() == ticketType:
			case name == "":
				rest = append(rest, m)
			default:
				inner, err := collect(m.value, field)
				if err != nil {
					return nil, err
				}
				if len(inner) > 0 {
					rest = append(rest, member{name, inner.bytes()})
				}
			}
		}
		if newer := v.FieldByName(newerField); newer.IsValid() && len(rest) > 0 {
			var b bytes.Buffer
			if err := json.Compact(&b, rest.bytes()); err != nil {
				return nil, err
			}
			newer.SetString(b.String())
			rest = nil
		}
	}
	return rest, nil
}

// merge puts what collect found back into raw, the form of v as this version
// writes it.
func merge(raw json.RawMessage, v reflect.Value) (json.RawMessage, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return raw, nil
		}
		v = v.Elem()
	}
	switch {
	case isText(v):
	case v.Kind() == reflect.Slice && first(raw) == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, err
		}
		var b bytes.Buffer
		for i, item := range items {
			item, err := merge(item, v.Index(i))
			if err != nil {
				return nil, err
			}
			b.WriteByte("[,"[min(i, 1)])
			b.Write(item)
		}
		if len(items) > 0 {
			b.WriteByte(']')
			return b.Bytes(), nil
		}
	case v.Kind() == reflect.Struct && first(raw) == '{':
		all, err := membersOf(raw)
		if err != nil {
			return nil, err
		}
		for i, m := range all {
			name, field := fieldOf(v, m.name)
			if name == "" || !field.IsValid() {
				continue
			}
			if all[i].value, err = merge(m.value, field); err != nil {
				return nil, err
			}
		}
		if newer := v.FieldByName(newerField); newer.IsValid() && newer.Len() > 0 {
			rest, err := membersOf(json.RawMessage(newer.String()))
			if err != nil {
				return nil, err
			}
			if all, err = all.with(rest); err != nil {
				return nil, err
			}
		}
		return all.bytes(), nil
	}
	return raw, nil
}

// The members of a ticket's form that hold its version and its seal.
const (
	formName = "v"
	sealName = "seal"
)

var (
	ticketType      = reflect.TypeFor[tickets.Ticket]()
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText reports whether v reads its form itself: a time, a duration.
func isText(v reflect.Value) bool {
	p := reflect.PointerTo(v.Type())
	return p.Implements(unmarshaler) || p.Implements(textUnmarshaler)
}

// fieldOf is the field of v for a member, as encoding/json finds it, and its
// proper name; empty if there is none.
func fieldOf(v reflect.Value, member string) (name string, field reflect.Value) {
	if v.Type() == ticketType {
		for _, name := range []string{formName, sealName} {
			if strings.EqualFold(member, name) {
				return name, reflect.Value{}
			}
		}
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "-" && strings.EqualFold(name, member) {
			return name, v.Field(i)
		}
	}
	return "", reflect.Value{}
}

// object is a JSON object: its members in their order.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

func membersOf(raw json.RawMessage) (object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var o object
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{}
		var ok bool
		if m.name, ok = name.(string); !ok {
			return nil, errors.New("a member has no name")
		}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		o = append(o, m)
	}
	return o, nil
}

func (o object) bytes() json.RawMessage {
	var b bytes.Buffer
	for i, m := range o {
		b.WriteByte("{,"[min(i, 1)])
		name, _ := json.Marshal(m.name) // a string can always be written
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.value)
	}
	if len(o) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes()
}

// with is o and the members of more that it has not, at any depth of objects.
// Nothing that o says is changed.
func (o object) with(more object) (object, error) {
	known := len(o)
	for _, m := range more {
		i := slices.IndexFunc(o[:known], func(has member) bool { return has.name == m.name })
		switch {
		case i < 0:
			o = append(o, m)
		case first(o[i].value) == '{' && first(m.value) == '{':
			has, err := membersOf(o[i].value)
			if err != nil {
				return nil, err
			}
			add, err := membersOf(m.value)
			if err != nil {
				return nil, err
			}
			if has, err = has.with(add); err != nil {
				return nil, err
			}
			o[i].value = has.bytes()
		}
	}
	return o, nil
}

// first is the first byte of a value.
func first(raw json.RawMessage) byte {
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) > 0 {
		return raw[0]
	}
	return 0
}
