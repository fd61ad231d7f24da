package discord

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// afterTime is for what is said after the answer.
const afterTime = 10 * time.Second

// The types of answers.
const (
	answerPong     = 1
	answerMessage  = 4
	answerDeferred = 5
	answerNothing  = 6
	answerUpdate   = 7
	answerComplete = 8
	answerModal    = 9
)

// response is the answer to one interaction.
type response struct {
	ack       answer
	followUps []message // said after it, to the same person alone
	// deferred waits for what the body, a deferred answer, will show, and for what
	// is said after that; nil if the body shows it.
	deferred func() (message, []message)
}

type answer struct {
	Type int `json:"type"`
	Data any `json:"data,omitempty"`
}

// say is a in Discord's protocol.
func (c *Chat) say(in *interaction, a adapters.Answer) response {
	switch a := a.(type) {
	case adapters.Form:
		return response{ack: answer{answerModal, formModal(a)}}
	case adapters.Details:
		all := detailsMessages(a.Ticket)
		return response{ack: answer{answerMessage, all[0]}, followUps: all[1:]}
	case adapters.Note:
		s := telling(in, a.Text)
		s.followUps = pictureOf(a)
		return s
	case adapters.Settings:
		return telling(in, a.Text)
	case adapters.Page:
		return answering(in, pages(a))
	}
	if in.Type == typeCommand {
		return telling(in, "Done")
	}
	return response{ack: answer{Type: answerNothing}}
}

// telling says something to the person who acted, and to nobody else.
func telling(in *interaction, text string) response { return answering(in, note(text)) }

// answering shows m to the person who acted, in place of the message that
// only they saw, if it is that one on which they acted.
func answering(in *interaction, m message) response {
	if in.Type == typeComplete {
		return choices(nil) // which is all that can be said
	}
	if in.private() && (in.Type == typeClick || in.Type == typeSubmit) {
		return response{ack: answer{answerUpdate, m}}
	}
	m.Flags |= flagEphemeral
	return response{ack: answer{answerMessage, m}}
}

// lateMessage shows a after another answer, which no form may follow.
func lateMessage(a adapters.Answer) message {
	switch a := a.(type) {
	case adapters.Note:
		return note(a.Text)
	case adapters.Settings:
		return note(a.Text)
	case adapters.Page:
		return pages(a)
	case adapters.Form:
		return note(wording.MsgAgain)
	case adapters.Details:
		return note(wording.MsgAgain)
	}
	return note("Done")
}

// callback sends the answer to in. It counts towards no limit that others
// use. An answer whose fate is unclear is sent again: Discord takes one.
func (c *Chat) callback(ctx context.Context, in *interaction, body answer) error {
	r := request{method: http.MethodPost, route: routeCallback, path: "/interactions/" + string(in.ID) + "/" + string(in.Token) + "/callback", effect: true, body: body}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if err == nil || (attempt > 1 && codeOf(err) == codeAcknowledged) {
			return nil
		}
		f := tickets.FailureOf(err)
		if attempt == 3 || (f.Class != tickets.Ambiguous && f.Class != tickets.Unavailable) || !chatkit.Sleep(ctx, time.Duration(attempt)*50*time.Millisecond) {
			return err
		}
	}
}

// follow says the rest after an answer.
func (c *Chat) follow(ctx context.Context, in *interaction, s response) {
	var late message
	if s.deferred != nil {
		late, s.followUps = s.deferred()
	}
	ctx, cancel := context.WithTimeout(ctx, afterTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic after an answer", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	if s.deferred != nil {
		if err := c.complete(ctx, in, late); err != nil {
			c.log.Warn("send interaction response", "actor", string(in.Member.User.ID), "err", err)
		}
	}
	for _, m := range s.followUps {
		if err := c.followUp(ctx, in, m); err != nil {
			c.log.Warn("send follow-up response", "actor", string(in.Member.User.ID), "err", err)
			return
		}
	}
}

// followUp says one more thing. Until Discord has read an answer that went
// out over HTTP it knows of none to follow.
func (c *Chat) followUp(ctx context.Context, in *interaction, m message) error {
	r := request{method: http.MethodPost, route: routeFollowUp, path: "/webhooks/" + c.cfg.ApplicationID + "/" + string(in.Token), effect: true, body: m, picture: m.picture}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if codeOf(err) != codeUnknownWebhook || attempt == 5 || !chatkit.Sleep(ctx, time.Duration(attempt)*100*time.Millisecond) {
			return err
		}
	}
}

// complete puts m into the answer that was deferred, which may be repeated. A
// token is good for 15 minutes, far longer than a command lasts.
func (c *Chat) complete(ctx context.Context, in *interaction, m message) error {
	m.Flags &^= flagEphemeral // who sees it was said when it was deferred
	r := request{method: http.MethodPatch, route: routeOriginal, path: "/webhooks/" + c.cfg.ApplicationID + "/" + string(in.Token) + "/messages/@original", body: m}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if codeOf(err) == codeInvalid {
			c.log.Error("discord refuses an answer, sending words instead", "err", err)
			r.body = note(sayNotTaken)
			err = c.api.call(ctx, nil, r, nil)
		}
		f := tickets.FailureOf(err)
		again := codeOf(err) == codeUnknownWebhook || f.Class == tickets.Ambiguous || f.Class == tickets.Unavailable || f.Class == tickets.RateLimited
		if err == nil || !again || attempt == 5 || !chatkit.Sleep(ctx, max(f.RetryAfter, time.Duration(attempt)*200*time.Millisecond)) {
			return err
		}
		c.log.Warn("an answer is sent again", "err", err)
	}
}
