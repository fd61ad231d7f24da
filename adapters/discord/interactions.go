package discord

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/wording"
)

// strangerCheck says why the sender of in may not act here, or "". It knows nothing
// about roles: only whether this is our application, our server and a member
// of it.
func (c *Chat) strangerCheck(in *interaction) string {
	switch {
	case string(in.ApplicationID) != c.cfg.ApplicationID:
		c.log.Warn("an interaction for another application was refused")
		return wording.MsgStranger
	case string(in.GuildID) != c.cfg.Guild, !IsID(string(in.Member.User.ID)):
		c.log.Warn("somebody of another server was refused")
		return wording.MsgStranger
	}
	return ""
}

// ask makes one call of the Handler within its time.
func (c *Chat) ask(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) adapters.Answer {
	return chatkit.CallHandler(ctx, received.Add(c.within.Think), c.log, call)
}

// interact is the answer to in, which must be new: one that comes again, as
// with two connections or when somebody replays it, must have no effect.
func (c *Chat) interact(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	if stop := c.strangerCheck(in); stop != "" {
		return telling(in, stop)
	}
	roles := make([]string, len(in.Member.Roles))
	for i, r := range in.Member.Roles {
		roles[i] = string(r)
	}
	c.roles.Put(string(in.Member.User.ID), roles)
	if names := in.Member.names(); len(names) > 0 {
		c.names.Put(string(in.Member.User.ID), names)
	}
	switch in.Type {
	case typeCommand:
		return c.command(ctx, received, in, h)
	case typeClick:
		return c.click(ctx, received, in, h)
	case typeSubmit:
		return c.submit(ctx, received, in, h)
	case typeComplete:
		return c.suggest(ctx, received, in, h)
	}
	c.log.Warn("an interaction of a kind that we do not offer", "type", in.Type)
	return telling(in, sayUnknownButton)
}

const (
	sayUnknownButton = "This button belongs to another version of Countersign. Please use the newest message of the ticket"
	sayNotTaken      = "Discord did not take Countersign's answer. Please look at the request's message, and tell your admin if this happens again"
	saySent          = "Sent. The message of %s shows what comes of it"
)

func (c *Chat) click(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	if command, ok := parseTurn(in.customID()); ok {
		return c.run(ctx, received, in, adapters.Command{Text: command, FromPager: true}, h)
	}
	action, digest, number, ok := parseCustomID(in.customID())
	if !ok {
		c.log.Warn("a click on something that we do not offer")
		return telling(in, sayUnknownButton)
	}
	click := adapters.Click{Delivery: in.delivery(), Actor: in.actor(), Place: in.place(), Number: number, Digest: digest, Private: in.private(), Action: action}
	if action == adapters.ActionState {
		click.State = in.chosen()
	}
	verdict, form, again := in.typed()
	if again {
		click.Action, click.Verdict, click.Form = adapters.ActionForm, verdict, form
	}
	a := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Click(ctx, click) })
	if n, no := a.(adapters.Note); no && n.Retryable && again {
		return in.again(n.Text)
	}
	return c.say(in, a)
}

// deliver answers an interaction of the gateway, and does what follows the
// answer. It calls free before that: what is said late holds no place that a
// click needs.
func (c *Chat) deliver(ctx context.Context, received time.Time, in *interaction, h adapters.Handler, free func()) {
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	if !c.seen.New(string(in.ID)) || !c.claimInteraction(ctx, string(in.ID), received) {
		return // whoever took it first answers
	}
	s := c.interact(ctx, received, in, h)
	err := c.callback(ctx, in, s.ack)
	if codeOf(err) == codeInvalid {
		c.log.Error("discord refuses an answer, sending words instead", "err", err)
		s = telling(in, sayNotTaken)
		err = c.callback(ctx, in, s.ack)
	}
	if err != nil {
		c.log.Warn("send interaction response", "actor", string(in.Member.User.ID), "after", time.Since(received).Round(time.Millisecond), "err", err)
		if s.deferred == nil {
			return
		} // else it may have got through
	}
	free()
	c.follow(context.WithoutCancel(ctx), in, s)
}

// onInteraction takes an interaction of the gateway, which has been counted
// as being worked on. One of the time in which the session was cut is late: if
// Discord has told the person already that it failed, it has no effect.
func (c *Chat) onInteraction(ctx context.Context, raw []byte, late bool, h adapters.Handler, slots *slots) {
	received := time.Now()
	defer c.work.End()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in an interaction", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	in, err := decode(raw)
	if err != nil {
		c.log.Warn("an interaction is not JSON", "err", neterr.Describe(err))
		return
	}
	if at, ok := sentAt(string(in.ID)); late && ok && at.Before(received) {
		if received.Sub(at) > c.within.Ack {
			c.log.Info("an interaction came too late to be answered")
			return
		}
		received = at
	}
	done, ok := slots.take()
	if ok {
		free := sync.OnceFunc(done)
		defer free()
		c.deliver(ctx, received, in, h, free)
		return
	}
	if done, ok = slots.refuse(); !ok {
		c.log.Error("too many interactions at once, one is dropped")
		return
	}
	defer done()
	c.log.Warn("too many interactions at once, one is refused")
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	if err := c.callback(ctx, in, in.again(wording.MsgBusy).ack); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("send interaction response", "err", err)
	}
}

// slots bounds what is worked on at once.
type slots struct{ work, refusals chan struct{} }

func newSlots(n int) *slots {
	return &slots{work: make(chan struct{}, n), refusals: make(chan struct{}, n)}
}

func (s *slots) take() (done func(), ok bool)   { return takeFrom(s.work) }
func (s *slots) refuse() (done func(), ok bool) { return takeFrom(s.refusals) }

func takeFrom(c chan struct{}) (func(), bool) {
	select {
	case c <- struct{}{}:
		return func() { <-c }, true
	default:
		return nil, false
	}
}
