package bot

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// objection is why somebody may not do what they want. The zero one says that
// they may.
type objection struct {
	say   string // what they read
	why   string // for the log and the history, without anything of the request
	again bool   // it could not be found out: the same may be tried again
}

// authorize denies a to decide r, unless a is an approver and r is not their
// own request. What cannot be found out is denied.
func (b *Bot) authorize(ctx context.Context, a tickets.Actor, r *tickets.Request) objection {
	if no := b.mayApprove(ctx, a); no != "" {
		return objection{say: no, why: no, again: inDoubt(no)}
	}
	return b.selfRequestCheck(ctx, a)(r)
}

// mayApprove returns "" if a is an approver, else the sentence that says why
// not.
func (b *Bot) mayApprove(ctx context.Context, a tickets.Actor) string {
	if len(b.Current().Approvers) == 0 {
		return adapters.SayNoApprovers
	}
	switch ok, err := b.holds(ctx, a, b.Current().Approvers); {
	case ok:
		return ""
	case err != nil:
		b.Log.Error("cannot check approver", "actor", a.String(), "err", err)
		return adapters.SayCannotCheck
	}
	return adapters.SayNotApprover
}

// selfRequestCheck is the part of mayDecide about an approver's own requests: it finds out
// who a is, and returns what says it of each. It is the same for both
// verdicts: to deny it is to decide it too, and whoever reads the history
// shall find that somebody else did.
func (b *Bot) selfRequestCheck(ctx context.Context, a tickets.Actor) func(*tickets.Request) objection {
	if b.Current().SelfApproval {
		return func(*tickets.Request) objection { return objection{} }
	}
	who, err := b.chats[a.Platform].Identify(ctx, a)
	if err != nil {
		b.Log.Error("cannot tell whose request it is", "actor", a.String(), "err", err)
		no := cmp.Or(tickets.FailureOf(err).UserMessage, adapters.SayCannotTell)
		return func(*tickets.Request) objection { return objection{say: no, why: no, again: true} }
	}
	return func(r *tickets.Request) objection {
		m := r.CompareRequester(who)
		no := adapters.SayOwn(m)
		if no == "" {
			return objection{}
		}
		return objection{say: no, why: "it is " + string(m.SelfMatch) + " their own request", again: inDoubt(no)}
	}
}

// mayAdmin returns "" if a is an admin, else the sentence that says why not.
func (b *Bot) mayAdmin(ctx context.Context, a tickets.Actor) string {
	switch ok, err := b.holds(ctx, a, b.Current().Admins); {
	case ok:
		return ""
	case err != nil:
		b.Log.Error("cannot check admin", "actor", a.String(), "err", err)
		return adapters.SayCannotCheck
	}
	return adapters.SayNotAdmin
}

// mayRead returns "" if a, who acts in the place in, may read requests by the
// slash command, else the sentence that says why not: approvers and admins may
// anywhere, others if they see a channel in which requests are shown.
func (b *Bot) mayRead(ctx context.Context, a tickets.Actor, in tickets.Place) string {
	s := b.Current()
	ok, err := b.holds(ctx, a, slices.Concat(s.Approvers, s.Admins))
	if ok {
		return ""
	}
	errs := []error{err}
	if chat := b.chats[a.Platform]; chat != nil && a.ID != "" {
		for _, p := range s.Rules.Places {
			if p.Platform != a.Platform {
				continue
			}
			sees, err := chat.Sees(ctx, a, in, p)
			if sees && err == nil {
				return ""
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		b.Log.Error("cannot check reader", "actor", a.String(), "err", err)
		return adapters.SayCannotCheckReader
	}
	return adapters.SayNotReader
}

// inDoubt reports whether no, of mayApprove, mayAdmin or mayBoth, is because it could not
// be found out: then the same may be tried again.
func inDoubt(no string) bool {
	return no == adapters.SayCannotCheck || no == adapters.SayCannotTell
}

// holds reports whether a is one of ps or belongs to one. The error is not
// nil if some of ps could not be asked; it does not matter if another one
// said yes.
func (b *Bot) holds(ctx context.Context, a tickets.Actor, ps []tickets.Principal) (bool, error) {
	chat := b.chats[a.Platform]
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
