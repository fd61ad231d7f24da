package discord

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// Post shows t in place. Within minutes Discord itself knows a message that
// was sent before by its nonce; later it is looked for by its buttons, which
// name the ticket.
func (c *Chat) Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	var shown card
	if c.mustLook(since) {
		var err error
		if shown, err = c.findCard(ctx, place.Channel, t.Number, since); err != nil {
			return "", err
		}
	}
	if shown.id == "" {
		made, err := c.create(ctx, place.Channel, nonce(t, place, 0), c.card(t))
		if err != nil {
			return "", err
		}
		shown = made.card()
	}
	if since.IsZero() || shown.rev == t.Rev {
		return shown.id, nil
	}
	// A message of an earlier attempt: make it show what the caller will
	// record.
	if err := c.Edit(ctx, tickets.Message{Place: place, ID: shown.id}, t); err != nil {
		return "", err
	}
	return shown.id, nil
}

// mustLook reports whether an attempt made at since may have left a message
// that its nonce no longer finds.
func (c *Chat) mustLook(since time.Time) bool {
	return !since.IsZero() && c.cfg.Now().Sub(since) >= c.cfg.NonceTrust
}

// nonce names one owed message: the card of t in place, or the reply about
// the event with that number. It has at most 25 characters
// (discord.com/developers/docs/resources/message#create-message).
func nonce(t *tickets.Ticket, place tickets.Place, event int) string {
	of := []string{string(t.Number), string(t.ID), strconv.FormatInt(t.Created.UnixNano(), 10), place.String(), strconv.Itoa(event)}
	if m := t.Message(place); m != nil && m.Reposted {
		of = append(of, "again") // by the first one's nonce, Discord would answer with that
	}
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:18]) // 24 characters
}

// createMessage is a new message.
type createMessage struct {
	message
	Nonce        string `json:"nonce"`
	EnforceNonce bool   `json:"enforce_nonce"`
}

// create sends a message, and returns the one that Discord has: the message
// exists, whatever else the answer holds. What is no identifier is not kept: it
// may be anything, our own token that comes back included.
func (c *Chat) create(ctx context.Context, channel, nonce string, m message) (foundMessage, error) {
	for {
		var made foundMessage
		err := c.call(ctx, request{
			method: http.MethodPost, route: routeMessages, path: "/channels/" + channel + "/messages", channel: channel, effect: true,
			body: createMessage{m, nonce, true},
		}, &made)
		if err == nil && !IsID(string(made.ID)) {
			return made, &tickets.Failure{Class: tickets.Ambiguous, Err: fmt.Errorf("discord %s: %w", routeMessages, errNoEcho)}
		}
		if err != nil && m.simple != nil && codeOf(err) == codeInvalid {
			c.log.Error("discord refuses a message, sending a plain one", "channel", channel, "err", err)
			m = *m.simple
			continue
		}
		return made, err
	}
}

// Edit makes m show t.
func (c *Chat) Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error {
	show := c.card(t)
	for {
		var edited struct {
			ID jsonx.LooseString `json:"id"`
		}
		err := c.call(ctx, request{
			method: http.MethodPatch, route: routeMessage, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID, channel: m.Place.Channel,
			effect: true, old: c.isOld(m.ID), body: show,
		}, &edited)
		if err == nil && string(edited.ID) != m.ID {
			return &tickets.Failure{Class: tickets.Ambiguous, Err: fmt.Errorf("discord %s: %w", routeMessage, errNoEcho)}
		}
		if err != nil && show.simple != nil && codeOf(err) == codeInvalid {
			c.log.Error("discord refuses an edit, sending a plain one", "ticket", string(t.Number), "channel", m.Place.Channel, "err", err)
			show = *show.simple
			continue
		}
		return err
	}
}

// Present reads m. Who may not read the history is told so, unlike in a list of
// messages, which would be empty.
func (c *Chat) Present(ctx context.Context, m tickets.Message) (bool, error) {
	self, err := c.identity(ctx)
	if err != nil {
		return false, err
	}
	var found foundMessage
	err = c.call(ctx, request{
		method: http.MethodGet, route: routeMessage, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID, channel: m.Place.Channel,
	}, &found)
	switch {
	case codeOf(err) == codeUnknownMessage:
		return false, nil
	case err != nil:
		return false, err
	case string(found.ID) != m.ID:
		return false, &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord %s: %w", routeMessage, errNoEcho)}
	}
	return string(found.Author.ID) == self, nil
}

// Reply tells an event of t in the thread that is started from m. A thread
// has the identifier of the message that it was started from.
func (c *Chat) Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error {
	if c.mustLook(since) {
		id, err := c.find(ctx, m.ID, since, func(m *foundMessage) bool { return m.isReply(event) })
		if codeOf(err) == codeUnknownChannel {
			err = nil // no thread, so nothing in it
		}
		if err != nil || id != "" {
			return aside(err)
		}
	}
	send := func() error {
		_, err := c.create(ctx, m.ID, nonce(t, m.Place, event+1), c.reply(t, event))
		return err
	}
	err := send()
	if codeOf(err) != codeUnknownChannel {
		return aside(err)
	}
	err = c.call(ctx, request{
		method: http.MethodPost, route: routeThreads, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID + "/threads", channel: m.Place.Channel, effect: true,
		body: map[string]any{"name": threadName(t), "auto_archive_duration": threadRests},
	}, nil)
	if err != nil && codeOf(err) != codeThreadExists {
		return aside(err)
	}
	return aside(send())
}

// threadRests is after how many minutes of silence Discord folds a thread
// away: a day. Sending opens it again.
const threadRests = 1440

// aside says what a failure in a thread or a direct message means. It speaks
// of no place: what an admin has forbidden there is let be, since the card
// tells all the same, and who is gone cannot be written to.
func aside(err error) error {
	var f *tickets.Failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.Class {
	case tickets.NotFound, tickets.Rejected:
		return &tickets.Failure{Class: tickets.Rejected, Err: f.Err}
	}
	return err
}

// oldAfter is when edits of a message become dearer; see ratelimit.go. A minute
// early, because clocks differ.
const oldAfter = 59 * time.Minute

func (c *Chat) isOld(id string) bool {
	at, ok := sentAt(id)
	return ok && c.cfg.Now().Sub(at) >= oldAfter
}

// DirectMessage writes text to p as a direct message. Discord does not tell a bot who
// has a role, so only users can be told.
func (c *Chat) DirectMessage(ctx context.Context, p tickets.Principal, text string) error {
	if p.Platform != Platform || p.Kind != tickets.User {
		return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("discord: %s cannot be written to: only a user can", p)}
	}
	var channel struct {
		ID jsonx.LooseString `json:"id"`
	}
	err := c.call(ctx, request{
		method: http.MethodPost, route: "/users/@me/channels", path: "/users/@me/channels", body: map[string]string{"recipient_id": p.ID},
	}, &channel)
	if err == nil && !IsID(string(channel.ID)) {
		err = &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord /users/@me/channels: %w", errNoEcho)}
	}
	if err != nil {
		return aside(err)
	}
	sum := sha256.Sum256([]byte(p.ID + "\x00" + text + "\x00" + c.cfg.Now().Truncate(time.Minute).String()))
	_, err = c.create(ctx, string(channel.ID), base64.RawURLEncoding.EncodeToString(sum[:18]), note(text))
	return aside(err)
}
