package bot

import (
	"github.com/countersign/countersign/tickets"
)

// cardGivenUp tells the admins if a step gave up the card of an open request:
// nobody would see it there any more. was and t are the ticket before the step
// and after it. What is given up in one place at about the same time is told
// together.
func (b *Bot) cardGivenUp(was, t *tickets.Ticket, place tickets.Place) {
	before, m := was.Message(place), t.Message(place)
	if m == nil || !m.Dead || before != nil && before.Dead || t.Progress() == tickets.Final {
		return
	}
	b.Log.Error("the card of an open request is given up", "ticket", t.Number, "platform", place.Platform, "channel", place.Channel, "err", m.Problem)
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.notes {
		if n.place == place && n.cards != nil && n.tries == 0 {
			n.cards = append(n.cards, t.Number)
			return
		}
	}
	p.notes = append(p.notes, &note{place: place, cards: []tickets.Number{t.Number}, left: b.Current().Admins, at: b.Now().Add(firstTell)})
	signal(b.noted)
}
