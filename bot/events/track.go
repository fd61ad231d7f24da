package events

import "github.com/countersign/countersign/tickets"

// Track is a [store.Hooks].BeforeWrite: tickets owe sinks what happens to them, from the
// first event on that is written with it.
func Track(to ...tickets.EventSink) func(t *tickets.Ticket, observed int) {
	return func(t *tickets.Ticket, observed int) { t.TrackSink(to, observed) }
}
