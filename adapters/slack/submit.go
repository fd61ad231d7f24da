package slack

import (
	"context"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// submission is the answer to a submitted form
// (docs.slack.dev/surfaces/modals, "displaying errors", "updating views").
type submission struct {
	Action string                  `json:"response_action"`
	Errors map[string]string       `json:"errors,omitempty"`
	View   *slack.ModalViewRequest `json:"view,omitempty"`
}

// showing answers a submitted form with another view.
func showing(v slack.ModalViewRequest) response {
	return response{ack: submission{Action: "update", View: &v}}
}

// configure answers the form of the settings, later if that takes its time.
func (c *Chat) configure(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	version, values, ok := in.View.settings()
	if !ok {
		c.log.Warn("a form that we do not offer was submitted")
		return showing(noteView(sayUnknownButton))
	}
	sent := adapters.Configuration{Delivery: delivery, Actor: in.actor(), Place: in.place(), Version: version, Values: values}
	asked := c.commands.Begin(context.WithoutCancel(ctx), received, func(ctx context.Context) adapters.Answer { return h.SubmitSettings(ctx, sent) })
	a, inTime := chatkit.AwaitUntil(received.Add(c.within.Think), asked)
	if !inTime {
		wait := showing(noteView(wording.MsgMoment))
		wait.slow, wait.after = true, func(ctx context.Context) {
			a := <-asked
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
			defer cancel()
			v, ok := viewOf(a)
			if !ok {
				v = noteView("Done")
			}
			if n, no := a.(adapters.Note); no && n.Retryable {
				if form, ok := in.View.again(n.Text); ok {
					v = form
				}
			}
			if err := c.replace(ctx, in, v); err != nil {
				c.log.Warn("send interaction response", "actor", sent.Actor.ID, "err", err)
			}
		}
		return wait
	}
	switch a := a.(type) {
	case adapters.Settings:
		errs := map[string]string{}
		for _, f := range a.Fields {
			if _, shown := values[f.Key]; shown && f.Problem != "" {
				errs[settingID(f.Key, version)] = f.Problem
			}
		}
		if a.Version == version && a.Problem == "" && len(errs) > 0 {
			return response{ack: submission{Action: "errors", Errors: errs}} // keeps what was typed
		}
	case adapters.Note:
		if a.Retryable { // likewise
			return in.View.keeping(a.Text)
		}
	}
	v, ok := viewOf(a)
	if !ok {
		return response{}
	}
	c.lintView(v)
	out := showing(v)
	wait := showing(noteView("One moment…"))
	wait.after = func(ctx context.Context) {
		if err := c.replace(ctx, in, v); err != nil {
			c.log.Warn("a form was not changed", "actor", sent.Actor.ID, "err", err)
		}
	}
	out.fallbackAck = &wait
	return out
}

func (c *Chat) submit(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	if in.View.CallbackID == settingsForm {
		return c.configure(ctx, received, in, delivery, h)
	}
	s := adapters.Submission{
		Delivery: delivery,
		Actor:    in.actor(),
		Place:    in.place(),
		Verdict:  tickets.Verdict(in.View.CallbackID),
		Form:     in.View.form(),
	}
	s.Number, s.Digest = in.View.about()
	if _, ok := s.Number.Seq(); !ok || (s.Verdict != tickets.Approve && s.Verdict != tickets.Deny) {
		c.log.Warn("a form that we do not offer was submitted")
		return showing(noteView(sayUnknownButton))
	}
	if s.Verdict == tickets.Deny {
		s.Form.Unit, s.Form.Amount = tickets.UnitOnce, ""
	}
	answer := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Submit(ctx, s) })
	if f, ok := answer.(adapters.Form); ok && len(f.Problems) > 0 && f.Verdict == s.Verdict && f.Ticket.Request.Digest() == s.Digest {
		errs := map[string]string{}
		for field, say := range f.Problems {
			if in.View.shows(field) {
				errs[string(field)] = say
			}
		}
		// Slack takes errors for inputs that are in the view and for nothing
		// else. A problem with a field that is not there yet needs the view.
		if len(errs) == len(f.Problems) {
			return response{ack: submission{Action: "errors", Errors: errs}}
		}
	}
	if n, ok := answer.(adapters.Note); ok && n.Retryable {
		return in.View.keeping(n.Text)
	}
	v, ok := viewOf(answer)
	if !ok {
		return response{} // an empty answer closes the form
	}
	v = in.marked(v)
	c.lintView(v)
	out := showing(v)
	if in.View.ID != "" {
		wait := showing(noteView("One moment…"))
		wait.after = func(ctx context.Context) {
			if err := c.replace(ctx, in, v); err != nil {
				c.log.Warn("a form was not changed", "ticket", string(s.Number), "actor", s.Actor.ID, "err", err)
			}
		}
		out.fallbackAck = &wait
	}
	return out
}
