package store

import "time"

// Retention says which webhooks a store may forget. It never forgets one
// that made or changed a ticket which is not final yet.
type Retention struct {
	Failed  time.Time // forget those that failed and arrived before this; zero: none
	Applied time.Time // forget those that did not fail and arrived before this; zero: none
	// Most is how many to keep at most; 0: any number. Of the others those
	// that did not fail go first: what they said is in their tickets.
	Most  int
	Limit int // how many to forget in one call at most; 0: 50
}

// forever is later than everything that is kept.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// PurgeBatches carries r out for a store, and returns how many webhooks it forgot.
// count says how many the store holds. sweep forgets up to most of those that
// failed, or of those that did not, and that r lets it forget: the oldest
// first, if they arrived before the given time.
func PurgeBatches(r Retention, count func() (int, error), sweep func(failed bool, before time.Time, most int) (int, error)) (int, error) {
	left := r.Limit
	if left <= 0 {
		left = 50
	}
	gone := 0
	forget := func(failed bool, before time.Time, most int) (int, error) {
		if before.IsZero() || min(most, left) <= 0 {
			return 0, nil
		}
		n, err := sweep(failed, before, min(most, left))
		gone, left = gone+n, left-n
		return n, err
	}
	if _, err := forget(false, r.Applied, left); err != nil {
		return gone, err
	}
	if _, err := forget(true, r.Failed, left); err != nil || r.Most <= 0 || left == 0 {
		return gone, err
	}
	total, err := count()
	if err != nil {
		return gone, err
	}
	n, err := forget(false, forever, total-r.Most)
	if err == nil {
		_, err = forget(true, forever, total-r.Most-n)
	}
	return gone, err
}
