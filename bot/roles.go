package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// mayDecide returns "" if a is an approver, else the sentence that says why
// not. What cannot be found out is a no.
func (b *Bot) mayDecide(ctx context.Context, a tickets.Actor) string {
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

// mayAdmin is mayDecide for the words of admins.
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
			ok, err := chat.Holds(ctx, p, a)
			if ok && err == nil {
				return true, nil
			}
			errs = append(errs, err)
		}
	}
	return false, errors.Join(errs...)
}
