package bot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// What the bot acts on is held against what the tickets themselves say: their
// seals and histories, and the indexes that lead to them. What can still be
// decided or is on its way to EPM is looked at when the bot starts, before any
// decision is sent; everything is, by one process and slowly, once a day.
const (
	inspectEvery = 24 * time.Hour
	inspectPage  = 64
	// inspectPause is between two pages: a million tickets take half an hour.
	inspectPause = 100 * time.Millisecond
	// inspectHeld is for how long a process that inspects keeps the others
	// from it, and inspectRetry how often they ask.
	inspectHeld  = 5 * time.Minute
	inspectRetry = time.Minute
)

const inspectLease = "inspect"

// Damage is a kind of thing that is found to be not as Countersign wrote it.
type Damage string

// The kinds of damage.
const (
	DamagedRecord    Damage = "record"     // a ticket, which can be read
	DamagedIndex     Damage = "index"      // what leads to a ticket; it is mended
	UnreadableRecord Damage = "unreadable" // a ticket, which cannot be read
)

// Damages lists every kind of damage.
func Damages() []Damage { return []Damage{DamagedRecord, DamagedIndex, UnreadableRecord} }

// runInspect inspects until ctx ends.
func (b *Bot) runInspect(ctx context.Context) {
	select {
	case <-b.loaded:
	case <-ctx.Done():
		return
	}
	for i, p := range []tickets.Progress{tickets.Submitting, tickets.Submitted, tickets.Pending} {
		for !b.inspectOpen(ctx, p) {
			if !sleep(ctx, outbox.FirstRetry) {
				return
			}
		}
		if i == 0 {
			close(b.inspected) // what is decided from now on is looked at then
		}
	}
	if !b.awaitReady(ctx) {
		return
	}
	holder := rand.Text()
	defer b.drop(ctx, inspectLease, holder)
	for next := b.Now(); ; {
		if b.holdsLease(ctx, inspectLease, holder, inspectHeld) && !b.Now().Before(next) && b.inspectAll(ctx, holder) {
			next = b.Now().Add(inspectEvery)
		}
		if !sleep(ctx, inspectRetry) {
			return
		}
	}
}

// holdsLease reports whether this process has the lease called name, or is the
// only one.
func (b *Bot) holdsLease(ctx context.Context, name, holder string, d time.Duration) bool {
	if b.Shared == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	mine, err := b.Shared.AcquireLease(ctx, name, holder, d)
	if err != nil && ctx.Err() == nil {
		b.Log.Warn("cannot agree on who does what only one replica does", "lease", name, "err", err)
	}
	return mine && err == nil
}

// drop ends a lease of this process.
func (b *Bot) drop(ctx context.Context, name, holder string) {
	if b.Shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := b.Shared.ReleaseLease(ctx, name, holder); err != nil {
		b.Log.Warn("cannot leave to another replica what only one does", "lease", name, "err", err)
	}
}

// inspectOpen inspects the tickets that have come as far as p, as far as the
// index leads to them. It reports false if the store could not say which there
// are.
func (b *Bot) inspectOpen(ctx context.Context, p tickets.Progress) bool {
	all := true
	whole, problem := b.eachOf(ctx, p, func(t *tickets.Ticket) {
		seq, _ := t.Number.Seq()
		read, cancel := context.WithTimeout(ctx, recordTimeout)
		defer cancel()
		page, err := b.Store.FormsAfter(read, seq-1, 1)
		if err != nil {
			b.Log.Warn("cannot compare a ticket with its history", "ticket", t.Number, "err", err)
		}
		all = b.inspect(ctx, page) && err == nil && all
	})
	if problem != nil && ctx.Err() == nil {
		b.Log.Warn("cannot compare all open tickets with their histories", "progress", p, "err", problem)
	}
	return whole && all
}

// inspectAll inspects every ticket, and reports whether it came to the end.
func (b *Bot) inspectAll(ctx context.Context, holder string) bool {
	all := true
	for seq := int64(0); ; {
		read, cancel := context.WithTimeout(ctx, recordTimeout)
		page, err := b.Store.FormsAfter(read, seq, inspectPage)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				b.Log.Warn("cannot compare all tickets with their histories", "err", err)
			}
			return false
		}
		if len(page) == 0 {
			return all
		}
		all = b.inspect(ctx, page) && all
		seq = page[len(page)-1].Seq
		if !sleep(ctx, inspectPause) || !b.holdsLease(ctx, inspectLease, holder, inspectHeld) {
			return false
		}
	}
}

// inspect holds tickets against their histories, and the indexes against the
// tickets. A damaged ticket is marked so that nobody decides it; an index is
// mended. It reports whether it could look at all, and write what it found.
func (b *Bot) inspect(ctx context.Context, page []store.Form) (all bool) {
	defer func() {
		if p := recover(); p != nil {
			all = false
			b.Log.Error("the comparison of tickets with their histories panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	all = true
	var filed []store.Entries
	numbers := map[int64]tickets.Number{}
	for _, f := range page {
		r := f.Record()
		if r.Err == nil {
			if seq, ok := r.Ticket.Number.Seq(); !ok || seq != f.Seq {
				r.Err = fmt.Errorf("%w: it says that it is %s", store.ErrUnreadable, r.Ticket.Number)
			}
		}
		switch {
		case errors.Is(r.Err, store.ErrNewerForm):
			continue
		case r.Err != nil:
			b.found(UnreadableRecord)
			b.Log.Error("a ticket cannot be read; audit verify tells more, and a backup has what was there", "seq", f.Seq, "err", r.Err)
			continue
		}
		if why := damageOf(f); len(why) > 0 || r.Ticket.Broken {
			t, err := b.damage(ctx, r.Ticket.Number, why)
			if err != nil {
				all = false
				continue
			}
			r.Ticket = t
		}
		numbers[f.Seq] = r.Ticket.Number
		filed = append(filed, store.EntriesOf(r.Ticket))
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	wrong, err := b.Store.Misfiled(ctx, filed)
	if err != nil {
		all = false
		b.Log.Warn("cannot compare the indexes with the tickets", "err", err)
	}
	for _, m := range wrong {
		b.found(DamagedIndex)
		n := numbers[m.Seq]
		b.Log.Error("an index of the store was changed by something else than countersign, or is damaged; it is mended", "ticket", n, "what", m.What)
		if err := b.Store.Refile(ctx, n); err != nil {
			b.Log.Error("cannot mend an index of the store", "ticket", n, "err", err)
			continue
		}
		if t, err := b.Store.Get(ctx, n); err == nil {
			b.outbox.Wake(t)
		}
	}
	return all
}

// damageOf is how the record of f differs from its seal and its history, but
// for what the history itself tells.
func damageOf(f store.Form) []string {
	var why []string
	for _, found := range store.VerifyForm(f.Seq, f.Doc) {
		switch {
		case found.Fault == store.FaultSeal && found.Event > 0:
		case found.Event > 0:
			why = append(why, fmt.Sprintf("event %d: %s", found.Event, found.Text))
		default:
			why = append(why, found.Text)
		}
	}
	return why
}

// damage marks the record of n as damaged, in the ways that why tells, for
// people. It returns the ticket as it is then.
func (b *Bot) damage(ctx context.Context, n tickets.Number, why []string) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	t, err := b.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		if !t.MarkDamaged(why, b.Now()) {
			return errNothing
		}
		return nil
	})
	switch {
	case errors.Is(err, errNothing):
		return t, nil
	case err != nil:
		b.Log.Error("cannot write down that a record is damaged", "ticket", n, "err", err)
		return nil, err
	}
	b.found(DamagedRecord)
	b.Log.Error("a record was changed by something else than countersign; nobody decides it until an admin has accepted that", "ticket", n, "what", why)
	b.outbox.Wake(t)
	return t, nil
}

// whole is t, once it was held against its history: nobody decides, and nothing
// is sent to EPM, by a record that says something else. It is an error if that
// cannot be found out, or not be written down.
func (b *Bot) whole(ctx context.Context, t *tickets.Ticket) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	seq, _ := t.Number.Seq()
	page, err := b.Store.FormsAfter(ctx, seq-1, 1)
	switch {
	case err != nil:
		return nil, err
	case len(page) == 0 || page[0].Seq != seq:
		return nil, store.ErrNotFound
	case page[0].Err != nil:
		return nil, page[0].Err
	}
	if why := damageOf(page[0]); len(why) > 0 || t.Broken {
		return b.damage(ctx, t.Number, why)
	}
	return t, nil
}

func (b *Bot) found(d Damage) {
	if b.Meter != nil {
		b.Meter.Damaged(d)
	}
}

// acceptDamage lets others than the admin who says so decide a ticket whose
// record is damaged, or lets the decision that it has be sent.
func (b *Bot) acceptDamage(ctx context.Context, c adapters.Command, n tickets.Number, args []string) string {
	if no := b.mayAdmin(ctx, c.Actor); no != "" {
		b.deny(c.Actor, "", c.Place, n, no)
		return no
	}
	t, err := b.Store.Get(ctx, n)
	if err != nil {
		return b.readFailed(n, err).Text
	}
	switch {
	case !t.Damaged():
		return fmt.Sprintf(sayNotDamaged, n)
	case len(args) != 1 || !strings.EqualFold(args[0], yes):
		return fmt.Sprintf(sayAcceptHow, n, n)
	}
	decided := t.Decision
	if decided != nil {
		switch alike, err := b.alike(ctx, c.Actor, decided.By); {
		case err != nil:
			return adapters.SayCannotTell
		case alike:
			b.deny(c.Actor, "", c.Place, n, "the decision in the damaged record is perhaps their own")
			return sayDecidedByYou
		}
	}
	t, err = b.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		switch {
		case !sameDecision(t.Decision, decided):
			return errChanged
		case !t.AcceptDamage(c.Actor, b.rulesOf(t), b.Now()):
			return errNothing
		}
		return nil
	})
	switch {
	case errors.Is(err, errChanged):
		return fmt.Sprintf(sayChangedMeanwhile, n)
	case errors.Is(err, errNothing):
		return fmt.Sprintf(sayNotDamaged, n)
	case err != nil:
		return b.writeUnknown(n, err).Text
	}
	b.Log.Warn("a damaged record may be decided", "ticket", n, "actor", c.Actor.String())
	b.outbox.Wake(t)
	return fmt.Sprintf(sayAccepted, n)
}

// errChanged means that a ticket has another decision than the one that was
// looked at.
var errChanged = errors.New("the decision changed meanwhile")

func sameDecision(a, b *tickets.Decision) bool {
	return a == nil && b == nil || a != nil && b != nil && a.By == b.By && a.At.Equal(b.At) && a.Verdict == b.Verdict
}

// mayBoth returns "" if a is not whoever accepted that t's record is damaged,
// else the sentence that says why a may not decide it.
func (b *Bot) mayBoth(ctx context.Context, a tickets.Actor, t *tickets.Ticket) string {
	by := t.AcceptedBy()
	if by.ID == "" {
		return ""
	}
	switch alike, err := b.alike(ctx, a, by); {
	case err != nil:
		b.Log.Error("cannot tell whether two accounts are one person's", "actor", a.String(), "err", err)
		return adapters.SayCannotTell
	case alike && a.Platform == by.Platform && a.ID == by.ID:
		return adapters.SayAcceptedByYou
	case alike:
		return adapters.SayPerhapsAccepted
	}
	return ""
}

// alike reports whether a and other are, or may be, one person: by what the
// chats know of them, as for people's own requests. People have second accounts,
// also in one chat.
func (b *Bot) alike(ctx context.Context, a, other tickets.Actor) (bool, error) {
	if a.Platform == other.Platform && a.ID == other.ID {
		return true, nil
	}
	theirs := b.chats[other.Platform]
	if theirs == nil {
		return true, nil // who that was cannot be asked any more
	}
	who, err := b.chats[a.Platform].Identify(ctx, a)
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
		return r.CompareRequester(who).SelfMatch != tickets.SelfMatchNo
	}), nil
}
