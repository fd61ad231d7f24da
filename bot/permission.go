package bot

import (
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// onEPM stands where a place's platform does in what admins are told, and in
// what waits, when EPM is the neighbour that lets us do nothing.
const onEPM tickets.Platform = "epm"

// denial is that EPM lets us decide nothing: our account lacks a right, or
// its credentials are not taken. It is memory only, as places are: the
// tickets say what waits, and after a restart the first that is sent tells
// again. The zero value knows of none.
type denial struct {
	mu      sync.Mutex
	why     string // for people; empty if EPM lets us
	since   time.Time
	waiting map[tickets.Number]struct{}
}

// sendEnded notes how the sending of t's decision ended, of which t tells.
// Each ticket is sent again by itself: what EPM says of one may hold for its
// kind alone. But once it takes one, all are sent.
func (b *Bot) sendEnded(t *tickets.Ticket, failure error) {
	d, n := &b.denial, t.Number
	if failure == nil {
		if t.Sending.Done.IsZero() {
			return // EPM had an outcome already: that says nothing of our rights
		}
		d.mu.Lock()
		why := d.why
		delete(d.waiting, n)
		d.why = ""
		d.mu.Unlock()
		if why != "" {
			b.Log.Info("EPM takes decisions again")
			b.tellOfEPM(note{text: adapters.SayEPMAllows()}, why)
			b.sendDenied()
		}
		return
	}
	f := tickets.FailureOf(failure)
	if f.Class != tickets.Denied {
		return
	}
	why := f.Say
	if why == "" {
		why = f.Error()
	}
	d.mu.Lock()
	before := d.why
	if before == "" {
		d.since = b.Now()
	}
	if d.waiting == nil {
		d.waiting = map[tickets.Number]struct{}{}
	}
	d.why, d.waiting[n] = why, struct{}{}
	d.mu.Unlock()
	if before != why {
		b.Log.Error("EPM takes no decisions", "err", why)
		b.tellOfEPM(note{lost: true, text: adapters.SayEPMDenies(why)}, why)
	}
}

// tellOfEPM has n told to the admins. Of several replicas one tells of why.
func (b *Bot) tellOfEPM(n note, why string) {
	n.place, n.at = tickets.Place{Platform: onEPM, Channel: why}, b.Now()
	b.places.mu.Lock()
	defer b.places.mu.Unlock()
	b.note(n)
}

// sendDenied has the decisions that EPM denied sent now.
func (b *Bot) sendDenied() {
	d := &b.denial
	d.mu.Lock()
	var list []recall
	for n := range d.waiting {
		list = append(list, recall{n, tickets.Place{Platform: onEPM}})
	}
	clear(d.waiting)
	d.mu.Unlock()
	b.places.mu.Lock()
	b.places.recalls = append(b.places.recalls, list...)
	b.places.mu.Unlock()
	signal(b.recalled)
}

// sayDenial says since when and why EPM takes no decisions, or "".
func (b *Bot) sayDenial() string {
	d := &b.denial
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == "" {
		return ""
	}
	return fmt.Sprintf("EPM takes no decisions since %s: %s. They are kept and sent again every 10 minutes.",
		adapters.Moment(d.since), d.why)
}
