package epm

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/tickets"
)

// Seen is which of the four webhooks a body is, and what it brought.
type Seen struct {
	Event   string       // as EPM's webhook settings call it
	Kind    tickets.Kind // that it is about
	Created bool         // else an update
	Filled  []string     // names of the vendor's template that have a value
	Present []string     // names that are there at all
}

// Look says which of our webhooks a kept body is; false if it is none.
func Look(raw []byte) (Seen, bool) {
	b, err := read(raw)
	if err != nil {
		return Seen{}, false
	}
	var e *event
	for i := range b.values {
		if v := &b.values[i]; v.key == kEventType && v.in == "" {
			e = events[squeeze(given(v))]
			break
		}
	}
	if e == nil {
		return Seen{}, false
	}
	s := Seen{Kind: e.kind, Created: e.created}
	for _, w := range Webhooks() {
		if w.Kind == e.kind && w.Created == e.created {
			s.Event = w.Event
			for _, name := range w.Names {
				there, filled := false, false
				for i := range b.values {
					if v := &b.values[i]; strings.EqualFold(v.name, name) {
						there, filled = true, filled || given(v) != ""
					}
				}
				if there {
					s.Present = append(s.Present, name)
				}
				if filled {
					s.Filled = append(s.Filled, name)
				}
			}
		}
	}
	return s, true
}

// Webhook is one of the four that EPM has to send.
type Webhook struct {
	Event   string // as EPM's webhook settings call it
	Kind    tickets.Kind
	Created bool     // else an update
	Names   []string // what the vendor's template brings, each once
}

// Webhooks lists the four, in the order of [Templates].
func Webhooks() []Webhook {
	var list []Webhook
	for _, t := range Templates() {
		e := events[squeeze(t.Event)]
		w := Webhook{Event: t.Event, Kind: e.kind, Created: e.created}
		values, err := scan(t.Body)
		if err != nil {
			panic("epm: a template is not JSON") // learn has read it
		}
		for _, v := range values {
			if v.form != formObject && !slices.Contains(w.Names, v.name) {
				w.Names = append(w.Names, v.name)
			}
		}
		list = append(list, w)
	}
	return list
}
