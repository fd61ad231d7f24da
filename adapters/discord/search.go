package discord

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/ttl"
	"github.com/countersign/countersign/tickets"
)

// foundMessage is a message as far as looking for our own needs it.
type foundMessage struct {
	ID     jsonx.LooseString `json:"id"`
	Author struct {
		ID jsonx.LooseString `json:"id"`
	} `json:"author"`
	Components json.RawMessage `json:"components"`
}

// card is what m shows as a card; its rev is -1 if m does not tell, as in its
// plain form.
func (m *foundMessage) card() card {
	shown := card{string(m.ID), -1}
	eachComponent(m.Components, func(c *component) {
		if c.Type == typeContainer && c.ID >= firstMark {
			shown.rev = c.ID - firstMark
		}
	})
	return shown
}

// isReply reports whether m is the reply about that event.
func (m *foundMessage) isReply(event int) bool {
	found := false
	eachComponent(m.Components, func(c *component) { found = found || (c.Type == typeText && c.ID == mark(event)) })
	return found
}

// How a message is looked for.
const (
	// lookMargin is how far before the first attempt it is looked for: our
	// clock and Discord's may differ.
	lookMargin = 15 * time.Minute
	lookPage   = 100 // messages, Discord's maximum
	lookPages  = 20
)

// findCard looks for the card of n that was sent at or after since. Each
// message of a channel is read once for all who look: after an outage many
// cards are looked for in a channel that has many messages.
func (c *Chat) findCard(ctx context.Context, channel string, n tickets.Number, since time.Time) (card, error) {
	return c.cards.find(channel, n, since, func(after string, found func(*foundMessage)) (string, error) {
		after, all, err := c.look(ctx, channel, after, func(m *foundMessage) bool { found(m); return false })
		if err == nil && !all {
			err = &tickets.Failure{Class: tickets.RateLimited, RetryAfter: time.Second, Err: errors.New("discord: still looking for an earlier message")}
		}
		return after, err
	})
}

// find looks for a message of ours that was sent at or after since, and is
// what is asked for. It returns "" if there is none.
func (c *Chat) find(ctx context.Context, channel string, since time.Time, is func(*foundMessage) bool) (id string, err error) {
	_, all, err := c.look(ctx, channel, idAt(since.Add(-lookMargin)), func(m *foundMessage) bool {
		if is(m) {
			id = string(m.ID)
		}
		return id != ""
	})
	if !all {
		c.log.Warn("too many messages to look for an earlier one, sending another", "channel", channel)
	}
	return id, err
}

// look goes through our own messages that are newer than after until enough
// says so, and returns how far it came and whether that was all. Where looking is not allowed there is
// nothing to be seen: a second message is the smaller harm then, since the
// buttons of both work.
func (c *Chat) look(ctx context.Context, channel, after string, enough func(*foundMessage) bool) (far string, all bool, err error) {
	self, err := c.identity(ctx)
	if err != nil {
		return after, true, err
	}
	for range lookPages {
		var page []foundMessage
		err := c.call(ctx, request{
			method: http.MethodGet, route: routeMessages, channel: channel,
			path: "/channels/" + channel + "/messages?" + url.Values{"after": {after}, "limit": {strconv.Itoa(lookPage)}}.Encode(),
		}, &page)
		if err != nil {
			if f := tickets.FailureOf(err); f.Class == tickets.Rejected {
				c.log.Warn("cannot look for an earlier message, sending another", "channel", channel, "err", err)
				return after, true, nil
			}
			return after, true, err
		}
		stop := false
		for i := range page {
			m := &page[i]
			if string(m.Author.ID) == self && enough(m) {
				stop = true
			}
			if newer(string(m.ID), after) {
				after = string(m.ID)
			}
		}
		if stop || len(page) < lookPage {
			return after, true, nil
		}
	}
	return after, false, nil
}

// card is a card in a channel, and the revision that it shows.
type card struct {
	id  string
	rev int
}

// cards knows the cards in the channels in which some were looked for.
type cards struct{ channels *ttl.Map[string, *cardsIn] }

func newCards(now func() time.Time) *cards {
	return &cards{ttl.NewMap[string, *cardsIn](keepCards, now)}
}

// cardsIn is what was read of one channel.
type cardsIn struct {
	mu    sync.Mutex // held while it is read, so that it is read once
	from  time.Time  // since when messages were read
	after string     // the newest that was read
	cards map[tickets.Number]card
}

// keepCards is how long what was read is built on: then it begins anew, so
// that it does not grow for ever.
const keepCards = time.Hour

// find returns the card of n sent at or after since, or nothing. read reads
// on from a message and returns how far it came, also beside an error.
func (c *cards) find(channel string, n tickets.Number, since time.Time, read func(after string, found func(*foundMessage)) (string, error)) (card, error) {
	in := c.channels.PutNew(channel, &cardsIn{})
	in.mu.Lock()
	defer in.mu.Unlock()
	from := since.Add(-lookMargin)
	if in.cards == nil || from.Before(in.from) {
		in.from, in.after, in.cards = from, idAt(from), map[tickets.Number]card{}
	}
	after, err := read(in.after, func(m *foundMessage) {
		eachComponent(m.Components, func(c *component) {
			if _, _, of, ok := parseCustomID(string(c.CustomID)); ok {
				if _, known := in.cards[of]; !known {
					in.cards[of] = m.card()
				}
			}
		})
	})
	in.after = after
	if m, ok := in.cards[n]; ok {
		return m, nil
	}
	return card{}, err
}

// newer compares two identifiers.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
