// Package access says who may do what: who may decide a request, use the commands
// of admins, or read. A chat proves who somebody is; whether they may is asked
// here, of the settings, each time. What cannot be found out is denied.
package access

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// Denied says that somebody may not do what they want.
type Denied struct {
	Text      string // what they read
	Reason    string // for the log and the history, without anything of the request
	Retryable bool   // it could not be found out: the same may be tried again
	Err       error  // ErrNotApprover, or nil
}

// ErrNotApprover is that of a [Denied] because somebody is none of the approvers.
var ErrNotApprover = errors.New("not an approver")

// Error is for the log.
func (d *Denied) Error() string { return d.Reason }

// Unwrap returns the cause.
func (d *Denied) Unwrap() error { return d.Err }

// denied is a denial whose reason is what people read.
func denied(text string) *Denied { return &Denied{Text: text, Reason: text} }

// unknown is a denial because it could not be found out.
func unknown(text string) *Denied { return &Denied{Text: text, Reason: text, Retryable: true} }

// Access checks people against the settings. Its methods return nil if somebody
// may.
type Access struct {
	Settings *settings.Live
	Chats    map[tickets.Platform]adapters.Chat
	Log      *slog.Logger
}

// Decide denies a to decide r, unless a is an approver and r is not their own
// request.
func (c *Access) Decide(ctx context.Context, a tickets.Actor, r *tickets.Request) *Denied {
	if no := c.Approve(ctx, a); no != nil {
		return no
	}
	return c.OwnRequest(ctx, a)(r)
}

// Approve denies whoever is no approver.
func (c *Access) Approve(ctx context.Context, a tickets.Actor) *Denied {
	approvers := c.Settings.Current().Approvers
	if len(approvers) == 0 {
		return denied(wording.MsgNoApprovers)
	}
	switch ok, err := c.HasAny(ctx, a, approvers); {
	case ok:
		return nil
	case err != nil:
		c.Log.Error("cannot check approver", "actor", a.String(), "err", err)
		return unknown(wording.MsgCannotCheck)
	}
	return &Denied{Text: wording.MsgNotApprover, Reason: wording.MsgNotApprover, Err: ErrNotApprover}
}

// OwnRequest finds out who a is, and returns what denies them each request of
// their own. It is the same for both verdicts: to deny it is to decide it too, and
// whoever reads the history shall find that somebody else did.
func (c *Access) OwnRequest(ctx context.Context, a tickets.Actor) func(*tickets.Request) *Denied {
	if c.Settings.Current().SelfApproval {
		return func(*tickets.Request) *Denied { return nil }
	}
	who, err := c.Chats[a.Platform].Identify(ctx, a)
	if err != nil {
		c.Log.Error("cannot tell whose request it is", "actor", a.String(), "err", err)
		no := unknown(cmp.Or(tickets.FailureOf(err).UserMessage, wording.MsgCannotTell))
		return func(*tickets.Request) *Denied { return no }
	}
	return func(r *tickets.Request) *Denied {
		m := r.CompareRequester(who)
		text := wording.MsgOwn(m)
		if text == "" {
			return nil
		}
		return &Denied{Text: text, Reason: "it is " + string(m.SelfMatch) + " their own request", Retryable: m.Asked != "" && m.Known == ""}
	}
}

// Administer denies whoever is no admin.
func (c *Access) Administer(ctx context.Context, a tickets.Actor) *Denied {
	switch ok, err := c.HasAny(ctx, a, c.Settings.Current().Admins); {
	case ok:
		return nil
	case err != nil:
		c.Log.Error("cannot check admin", "actor", a.String(), "err", err)
		return unknown(wording.MsgCannotCheck)
	}
	return denied(wording.MsgNotAdmin)
}

// Read denies a, who acts in the place in, to read requests by the slash command:
// approvers and admins may anywhere, others if they see a channel in which
// requests are shown.
func (c *Access) Read(ctx context.Context, a tickets.Actor, in tickets.Place) *Denied {
	s := c.Settings.Current()
	ok, err := c.HasAny(ctx, a, slices.Concat(s.Approvers, s.Admins))
	if ok {
		return nil
	}
	errs := []error{err}
	if chat := c.Chats[a.Platform]; chat != nil && a.ID != "" {
		for _, p := range s.Rules.Places {
			if p.Platform != a.Platform {
				continue
			}
			sees, err := chat.Sees(ctx, a, in, p)
			if sees && err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		c.Log.Error("cannot check reader", "actor", a.String(), "err", err)
		return unknown(wording.MsgCannotCheckReader)
	}
	return denied(wording.MsgNotReader)
}

// DecideDamaged denies a to decide t if it was a who accepted that t's record is
// damaged: two people look at it.
func (c *Access) DecideDamaged(ctx context.Context, a tickets.Actor, t *tickets.Ticket) *Denied {
	by := t.AcceptedBy()
	if by.ID == "" {
		return nil
	}
	reason := tickets.ErrAccepted.Error()
	switch same, err := c.MaySame(ctx, a, by); {
	case err != nil:
		c.Log.Error("cannot tell whether two accounts are one person's", "actor", a.String(), "err", err)
		return &Denied{Text: wording.MsgCannotTell, Reason: reason, Retryable: true}
	case same && a.Platform == by.Platform && a.ID == by.ID:
		return &Denied{Text: wording.MsgAcceptedByYou, Reason: reason}
	case same:
		return &Denied{Text: wording.MsgPerhapsAccepted, Reason: reason}
	}
	return nil
}

// MaySame reports whether a and other are, or may be, one person: by what the
// chats know of them, as for people's own requests. People have second accounts,
// also in one chat.
func (c *Access) MaySame(ctx context.Context, a, other tickets.Actor) (bool, error) {
	if a.Platform == other.Platform && a.ID == other.ID {
		return true, nil
	}
	theirs := c.Chats[other.Platform]
	if theirs == nil {
		return true, nil // who that was cannot be asked any more
	}
	who, err := c.Chats[a.Platform].Identify(ctx, a)
	if err != nil {
		return true, err
	}
	whose, err := theirs.Identify(ctx, other)
	if err != nil {
		return true, err
	}
	known := slices.DeleteFunc(slices.Concat(whose.Emails, whose.Names), func(s string) bool { return strings.TrimSpace(s) == "" })
	return len(known) == 0 || slices.ContainsFunc(known, func(name string) bool {
		r := tickets.Request{User: name}
		return r.CompareRequester(who).SelfMatch != selfcheck.SelfMatchNo
	}), nil
}

// HasAny reports whether a is one of ps or belongs to one. The error is not
// nil if some of ps could not be asked; it does not matter if another one
// said yes.
func (c *Access) HasAny(ctx context.Context, a tickets.Actor, ps []tickets.Principal) (bool, error) {
	chat := c.Chats[a.Platform]
	if chat == nil || a.ID == "" {
		return false, nil
	}
	var errs []error
	// People named by id first: that needs no call.
	for _, byCall := range []bool{false, true} {
		for _, p := range ps {
			if p.Platform != a.Platform || (p.Kind != tickets.User) != byCall {
				continue
			}
			ok, err := chat.HasRole(ctx, p, a)
			if ok && err == nil {
				return true, nil
			}
			errs = append(errs, err)
		}
	}
	return false, errors.Join(errs...)
}
