package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// afterTime is for what is said after the answer, by response_url.
const afterTime = 10 * time.Second

// response is the answer to one delivery.
type response struct {
	ack any // JSON to answer with; nil for an empty answer
	// fallbackAck stands in for a body that is too large for an acknowledgement.
	fallbackAck *response
	// after is done after the answer has gone out; nil for nothing.
	after func(context.Context)
	// slow is set if then waits for an answer.
	slow bool
	// known tells an answer that says nothing from one that is not known.
	known bool
}

// answerClick says something to the person who clicked, and to nobody else: in the
// form, over the home tab, or beside the message.
func (c *Chat) answerClick(ctx context.Context, in *interaction, say string) {
	if in.View.Type == homeTab {
		err := c.open(ctx, string(in.TriggerID), noteView(say))
		if err != nil { // it is too late for that
			err = errors.Join(err, c.tellUser(ctx, string(in.User.ID), say))
		}
		if err != nil {
			c.log.Warn("a person was told late, or not at all", "actor", string(in.User.ID), "err", err)
		}
		return
	}
	if in.View.ID != "" {
		if err := c.update(ctx, string(in.View.ID), "", noteView(say)); err != nil {
			c.log.Warn("send interaction response", "actor", string(in.User.ID), "err", err)
		}
		return
	}
	c.sendEphemeralText(ctx, string(in.ResponseURL), in.channel(), string(in.User.ID), say)
}

// sendEphemeralText says something to one person.
func (c *Chat) sendEphemeralText(ctx context.Context, responseURL, channel, user, say string) {
	text, blocks := note(say)
	c.sendEphemeral(ctx, responseURL, channel, user, text, blocks)
}

// sendEphemeral shows something to one person: by response_url, which works without
// membership, else by chat.postEphemeral.
func (c *Chat) sendEphemeral(ctx context.Context, responseURL, channel, user, text string, blocks []slack.Block) {
	var errs []error
	if responseURL != "" {
		err := c.respond(ctx, responseURL, &slack.WebhookMessage{
			ResponseType: slack.ResponseTypeEphemeral,
			Text:         text,
			Blocks:       &slack.Blocks{BlockSet: blocks},
		})
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	if channel != "" && user != "" {
		err := c.call(ctx, "chat.postEphemeral", channel, true, func() error {
			_, err := c.api().PostEphemeralContext(ctx, channel, user, slack.MsgOptionText(text, false), slack.MsgOptionBlocks(blocks...))
			return err
		})
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	c.log.Warn("send interaction response", "actor", user, "channel", channel, "err", errors.Join(errs...))
}

// maxResponses is how often one answer is sent: a response_url works 5 times
// (docs.slack.dev/interactivity/handling-user-interaction).
const maxResponses = 3

// respond sends m to a response_url. An answer whose fate is unclear is sent
// again: that a person reads it twice is the smaller harm.
func (c *Chat) respond(ctx context.Context, to string, m *slack.WebhookMessage) error {
	if !c.responds(to) {
		return errors.New("the response_url is not of Slack")
	}
	for attempt := 1; ; attempt++ {
		err := slack.PostWebhookCustomHTTPContext(ctx, to, c.http, m)
		if err == nil {
			return nil
		}
		f := failure("response_url", true, err)
		var status slack.StatusCodeError
		refused := errors.As(err, &status) && status.Code/100 == 4 && f.Class != tickets.RateLimited
		if attempt == maxResponses || refused || !chatkit.Sleep(ctx, max(f.RetryAfter, time.Duration(attempt)*againAfter)) {
			return f
		}
		c.log.Warn("an answer is sent again", "err", f)
	}
}

// againAfter is the wait before the second attempt; before the third it is
// twice as long.
const againAfter = 250 * time.Millisecond

// responds reports whether u is a response_url of Slack: whoever could name
// another would make us send people's text there.
func (c *Chat) responds(u string) bool {
	p, err := url.Parse(u)
	if err != nil || p.User != nil {
		return false
	}
	if p.Scheme == "https" && (p.Host == "hooks.slack.com" || p.Host == "hooks."+c.base.Host) {
		return true
	}
	return p.Scheme == c.base.Scheme && p.Host == c.base.Host
}

func (c *Chat) sendLate(ctx context.Context, responseURL, channel, user string, a adapters.Answer) {
	text, blocks := note("Done")
	switch a := a.(type) {
	case adapters.Note:
		text, blocks = note(a.Text)
	case adapters.Page:
		text, blocks = pages(a)
	case adapters.Settings:
		text, blocks = note(a.Text)
	case adapters.Form, adapters.Details:
		text, blocks = note(wording.MsgAgain)
	}
	c.sendEphemeral(ctx, responseURL, channel, user, text, blocks)
}

// follow does what comes after an answer.
func (c *Chat) follow(ctx context.Context, s response) {
	patience := afterTime
	if s.slow {
		patience += adapters.CommandTime
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic after an answer", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	s.after(ctx)
}
