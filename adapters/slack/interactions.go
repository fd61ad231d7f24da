package slack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// once gives a delivery that was seen before the answer it got then, or unknown
// if that is not known, or not yet.
func (c *Chat) once(ctx context.Context, key string, unknown response, do func() response) response {
	s, again := c.seen.Once(ctx, key, func() response {
		s := do()
		s.known = true
		return s
	})
	switch {
	case again && !s.known:
		return unknown
	case again:
		return response{ack: s.ack, fallbackAck: s.fallbackAck} // what followed has been done
	}
	return s
}

// ask makes one call of the Handler within its time.
func (c *Chat) ask(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) adapters.Answer {
	return chatkit.CallHandler(ctx, received.Add(c.within.Think), c.log, call)
}

// interact answers the delivery of an interaction.
func (c *Chat) interact(ctx context.Context, received time.Time, payload []byte, h adapters.Handler) response {
	var in interaction
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(payload, &in)); err != nil {
		c.log.Warn("an interaction is not JSON, acknowledged", "err", describe(err))
		return response{}
	}
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	stop := c.strangerCheck(ctx, sender{
		app: string(in.AppID), team: string(in.Team.ID), enterprise: string(cmp.Or(in.Enterprise.ID, in.Team.Enterprise)),
		user: string(in.User.ID), userTeam: string(in.User.TeamID),
	})
	switch in.Type {
	case "block_actions":
		if len(in.Actions) == 0 {
			c.log.Warn("a click without an action, acknowledged")
			return response{}
		}
		switch {
		case stop != "" && in.inForm():
			return response{} // the form stays as it is, and says it when it is sent
		case stop != "":
			return response{after: func(ctx context.Context) { c.answerClick(ctx, &in, stop) }}
		}
		a := in.Actions[0]
		key := strings.Join([]string{"click", in.channel(), string(in.Container.MessageTS), string(in.View.ID), string(a.ActionID), string(a.ActionTS), string(in.User.ID)}, "\x00")
		return c.once(ctx, key, response{}, func() response { return c.click(ctx, received, &in, deliveryOf(key), h) })
	case "view_submission":
		if stop != "" {
			return in.View.keeping(stop)
		}
		typed := sha256.Sum256(payload)
		key := strings.Join([]string{"form", string(in.View.ID), string(in.View.Hash), string(in.TriggerID), hex.EncodeToString(typed[:])}, "\x00")
		return c.once(ctx, key, in.View.keeping(wording.MsgSlow), func() response { return c.refreshing(c.submit(ctx, received, &in, deliveryOf(key), h), &in, h) })
	case "view_closed":
	default:
		c.log.Warn("an interaction of a kind that we do not offer, acknowledged", "type", word(string(in.Type)))
	}
	return response{}
}

// deliveryOf names what a person did by the key under which it is remembered.
func deliveryOf(key string) adapters.Delivery {
	sum := sha256.Sum256([]byte(key))
	return adapters.Delivery(hex.EncodeToString(sum[:]))
}

func (c *Chat) click(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	click := adapters.Click{
		Delivery: delivery,
		Actor:    in.actor(),
		Place:    in.place(),
		Number:   tickets.Number(in.Actions[0].Value),
		Digest:   digestIn(string(in.Actions[0].BlockID)),
		Private:  in.View.ID != "" || in.Container.Ephemeral,
	}
	inForm := in.inForm()
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Open))
	defer cancel()
	switch id := string(in.Actions[0].ActionID); {
	case !inForm && (id == string(adapters.ActionNewer) || id == string(adapters.ActionOlder)):
		return c.turnPage(ctx, received, in, delivery, h)
	case inForm && id == unitField:
		click.Action, click.Verdict, click.Form = adapters.ActionForm, tickets.Verdict(in.View.CallbackID), in.View.form()
		click.Number, click.Digest = in.View.about()
	case !inForm && (id == string(adapters.ActionApprove) || id == string(adapters.ActionDeny) || id == string(adapters.ActionDetails)):
		click.Action = adapters.Action(id)
	case !inForm && id == string(adapters.ActionState):
		click.Action = adapters.ActionState
		click.Number, click.State = parseMove(string(in.Actions[0].Selected.Value))
	default:
		c.log.Warn("a click on something that we do not offer", "action", word(id))
		return response{after: func(ctx context.Context) { c.answerClick(ctx, in, sayUnknownButton) }}
	}
	if _, ok := click.Number.Seq(); !ok {
		return response{after: func(ctx context.Context) { c.answerClick(ctx, in, wording.MsgNoTicket(click.Number)) }}
	}
	answer := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Click(ctx, click) })
	if inForm {
		if n, no := answer.(adapters.Note); no && n.Retryable {
			return response{} // it stays as it is, and says it when it is sent
		}
		if v, ok := viewOf(answer); ok {
			return c.changeForm(ctx, in, in.marked(v))
		}
		return response{}
	}
	switch a := answer.(type) {
	case adapters.Note:
		return c.refreshing(response{after: func(ctx context.Context) { c.answerClick(ctx, in, a.Text) }}, in, h)
	case adapters.Form, adapters.Details:
		v, _ := viewOf(a)
		if err := c.open(ctx, string(in.TriggerID), in.marked(v)); err != nil {
			c.log.Warn("a form did not open", "ticket", string(click.Number), "actor", click.Actor.ID, "after", time.Since(received).Round(time.Millisecond), "err", err)
			say := sayNotOpened
			if isLateTrigger(err) {
				say = wording.MsgAgain
			}
			return response{after: func(ctx context.Context) { c.answerClick(ctx, in, say) }}
		}
	}
	return response{}
}

// turnPage shows another page in place of the one that was clicked. The click is
// acknowledged at once.
func (c *Chat) turnPage(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	cmd := adapters.Command{Delivery: delivery, Actor: in.actor(), Place: in.place(), Text: string(in.Actions[0].Value), FromPager: true}
	asked := c.commands.Begin(context.WithoutCancel(ctx), received, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
	return response{slow: true, after: func(ctx context.Context) {
		a := <-asked
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
		defer cancel()
		p, ok := a.(adapters.Page)
		if !ok || !in.Container.Ephemeral {
			// What is shown stays, and what others see is none of this person's.
			c.sendLate(ctx, string(in.ResponseURL), in.channel(), string(in.User.ID), a)
			return
		}
		text, blocks := pages(p)
		err := c.respond(ctx, string(in.ResponseURL), &slack.WebhookMessage{
			ResponseType: slack.ResponseTypeEphemeral, ReplaceOriginal: true, Text: text, Blocks: &slack.Blocks{BlockSet: blocks},
		})
		if err != nil {
			c.log.Warn("a page was not turned", "actor", cmd.Actor.ID, "err", err)
			c.sendEphemeralText(ctx, "", in.channel(), string(in.User.ID), p.Text)
		}
	}}
}

const (
	sayUnknownButton = "This button belongs to another version of Countersign. Please use the newest message of the ticket"
	sayNotOpened     = "Slack did not open the form. If it does not appear, please click again"
)
