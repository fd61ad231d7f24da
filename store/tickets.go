package store

import (
	"context"
	"errors"

	"github.com/countersign/countersign/tickets"
)

// eachPage is how many tickets are read together.
const eachPage = 200

// Each visits every ticket that has come as far as p, newest first. Its problem is
// about those that cannot be read; without whole the store could not say which
// there are.
func Each(ctx context.Context, s interface {
	List(ctx context.Context, q Query) ([]*tickets.Ticket, error)
}, p tickets.Progress, visit func(*tickets.Ticket)) (whole bool, problem error) {
	q := Query{Progress: p, Limit: eachPage}
	for {
		list, err := s.List(ctx, q)
		problem = errors.Join(problem, err)
		for _, t := range list {
			visit(t)
		}
		if len(list) == 0 || len(list) < q.Limit && err == nil {
			return err == nil || errors.Is(err, ErrUnreadable) || errors.Is(err, ErrNewerForm), problem
		}
		q.Before = list[len(list)-1].Number
	}
}

// Change is [Tickets.Update] of a ticket that may need no change: it writes nothing if
// change reports false, and reports whether it wrote. The ticket is as it then stands.
func Change(ctx context.Context, s interface {
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
}, n tickets.Number, change func(*tickets.Ticket) bool) (t *tickets.Ticket, changed bool, err error) {
	t, err = s.Update(ctx, n, func(t *tickets.Ticket) error {
		if !change(t) {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return t, false, nil
	}
	return t, err == nil, err
}

var errUnchanged = errors.New("nothing to change")
