package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// How long webhooks are kept. One that made or changed a ticket is kept until
// the ticket is final, however long that takes. docs/operating.md tells
// admins of these.
const (
	// KeepFailed is for webhooks that failed: they can be replayed.
	KeepFailed = 90 * 24 * time.Hour
	// KeepApplied is for all others.
	KeepApplied = 30 * 24 * time.Hour
	// KeepMost is how many are kept at most, whatever their age. Those that
	// failed are the last to go.
	KeepMost = 100_000
)

// Retention is how long what is kept.
type Retention struct {
	Tickets time.Duration // that are final, since anything happened to them; default forever
	Applied time.Duration // webhooks; default KeepApplied
	Failed  time.Duration // those that failed; default KeepFailed
}

const (
	firstPurge = time.Minute            // after the start
	purgeBatch = 100                    // webhooks or tickets forgotten together
	purgePause = 100 * time.Millisecond // after each batch, for all else that wants the store
)

// runPurge forgets webhooks and tickets now and then, until ctx ends. Several
// replicas may do it at once.
func (b *Bot) runPurge(ctx context.Context) {
	for wait := min(firstPurge, b.Purge); sleep(ctx, wait); wait = b.Purge {
		n, err := b.purge(ctx)
		if err != nil && ctx.Err() == nil {
			b.Log.Error("cannot forget old webhooks", "err", err)
		}
		if n > 0 {
			b.Log.Info("old webhooks forgotten", "count", n)
		}
		n, err = b.retire(ctx)
		if err != nil && ctx.Err() == nil {
			b.Log.Error("cannot retire old tickets", "err", err)
		}
		if n > 0 {
			b.Log.Info("old tickets retired", "count", n)
		}
	}
}

func (b *Bot) purge(ctx context.Context) (int, error) {
	now := b.Now()
	total := 0
	for {
		n, err := b.Store.Purge(ctx, store.Retention{
			Failed: now.Add(-b.Retention.Failed), Applied: now.Add(-b.Retention.Applied), Most: KeepMost, Limit: purgeBatch,
		})
		total += n
		if err != nil || n < purgeBatch || !sleep(ctx, purgePause) {
			return total, err
		}
	}
}

// retire forgets the tickets that are old enough, if any ever are.
func (b *Bot) retire(ctx context.Context) (int, error) {
	if b.Retention.Tickets <= 0 {
		return 0, nil
	}
	now := b.Now()
	total := 0
	for {
		e, err := b.Store.Retire(ctx, now.Add(-b.Retention.Tickets), now, purgeBatch)
		total += len(e.Tickets)
		if err != nil || len(e.Tickets) == 0 || !sleep(ctx, purgePause) {
			return total, err
		}
	}
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Advice is an error that is a sentence for whoever asked.
type Advice string

func (a Advice) Error() string { return string(a) }

// What is wrong with the ID of a webhook.
const (
	sayIDShape    = Advice("The ID of a webhook has letters, digits and hyphens. Write at least its first 8 characters.")
	sayIDUnknown  = Advice("No webhook has this ID, or it is kept no longer.")
	sayIDSeveral  = Advice("Several webhooks have an ID that begins like this. Write more of it.")
	sayCannotRead = Advice("Webhooks cannot be replayed from here.")
)

// shortID is how much of an ID must be written at least.
const shortID = 8

// FindIncoming returns the kept webhook whose ID is id or, if that is of 8
// characters or more, alone begins with it. If there is none the error is an
// Advice.
func FindIncoming(ctx context.Context, s store.Store, id string) (store.StoredIncoming, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return store.StoredIncoming{}, sayIDShape
	}
	k, err := s.Incoming(ctx, id)
	switch {
	case !errors.Is(err, store.ErrNotFound):
		return k, err
	case len(id) < shortID:
		return store.StoredIncoming{}, sayIDShape
	}
	list, err := s.Incomings(ctx, store.IncomingQuery{Prefix: id, Limit: 2})
	switch {
	case err != nil:
		return store.StoredIncoming{}, err
	case len(list) > 1:
		return store.StoredIncoming{}, sayIDSeveral
	case len(list) == 1:
		if k, err = s.Incoming(ctx, list[0].ID); !errors.Is(err, store.ErrNotFound) {
			return k, err
		}
	}
	return store.StoredIncoming{}, sayIDUnknown
}

// Replayer applies kept webhooks once more.
type Replayer struct {
	Store store.Store
	Read  func(tickets.Incoming) tickets.Incoming // fills in what a raw body says
	Rules func(*tickets.Ticket) tickets.Rules     // for a ticket, or for a new one; see [RulesOf]
	Now   func() time.Time
}

// RulesOf are the rules of a bot that was started with start, once it has read
// set from its store.
func RulesOf(start map[string]string, set tickets.Settings, w Registry) func(*tickets.Ticket) tickets.Rules {
	s, _ := Effective(start, set, w)
	return func(t *tickets.Ticket) tickets.Rules { return s.rulesOf(t, w) }
}

// Replayed is what came of it.
type Replayed struct {
	Receipt tickets.Receipt
	Error   string          // why the webhook fails still; empty if it does not
	Ticket  *tickets.Ticket // as it was written, nil if it was not
	Before  bool            // it had been applied before, and nothing was changed
}

// Replay reads the kept webhook that id finds (see [FindIncoming]) as if it
// arrived now, and puts the result into its record. One that did not fail is
// left as it is.
func (r Replayer) Replay(ctx context.Context, id string) (Replayed, error) {
	if r.Read == nil {
		return Replayed{}, sayCannotRead
	}
	k, err := FindIncoming(ctx, r.Store, id)
	if err != nil {
		return Replayed{}, err
	}
	if k.Receipt.Status != tickets.StatusFailed {
		return Replayed{Receipt: k.Receipt, Before: true}, nil
	}
	in := r.Read(k.Incoming)
	var apply store.Apply
	if in.Update != nil && in.Error == "" {
		now := r.Now()
		apply = func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			if outdated(in, t) {
				return nil, tickets.StatusDuplicate
			}
			return take(in, r.Rules(t), t, seq, now)
		}
	}
	receipt, t, err := r.Store.Replay(ctx, in, apply)
	if errors.Is(err, store.ErrNotFound) {
		err = sayIDUnknown // it was forgotten meanwhile
	}
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Receipt: receipt, Ticket: t}
	if receipt.Status == tickets.StatusFailed {
		out.Error = in.Error
	}
	return out, nil
}

// outdated reports whether t had its outcome after in arrived, and the times
// that EPM gives do not tell which of the two is the later one: then in, which
// waited to be replayed, is not.
func outdated(in tickets.Incoming, t *tickets.Ticket) bool {
	o := in.Update.Outcome
	if o == nil || t == nil || t.Outcome == nil || !o.At.IsZero() && !t.Outcome.At.IsZero() {
		return false
	}
	for _, e := range t.Events {
		if e.Kind == tickets.EventOutcome && e.At.After(in.At) {
			return true
		}
	}
	return false
}

// String is r as a sentence.
func (r Replayed) String() string {
	n := r.Receipt.Ticket
	about := ""
	if n != "" {
		about = " (" + string(n) + ")"
	}
	switch {
	case r.Before:
		return fmt.Sprintf("This webhook did not fail: it was applied before as %s%s. Nothing was changed.", r.Receipt.Status, about)
	case r.Receipt.Status == tickets.StatusCreated:
		return fmt.Sprintf("Replayed: the ticket %s was created.", n)
	case r.Receipt.Status == tickets.StatusUpdated:
		return fmt.Sprintf("Replayed: the ticket %s was updated.", n)
	case r.Receipt.Status == tickets.StatusFailed:
		return fmt.Sprintf("It fails still: %s. It stays kept.", strings.TrimRight(adapters.Line(r.Error), "."))
	}
	return fmt.Sprintf("Replayed: it says nothing new%s, and changed no ticket.", about)
}

// incomingShown is how many webhooks the word incoming lists.
const incomingShown = 10

func (b *Bot) incoming(ctx context.Context, c adapters.Command, args []string) string {
	const usage = "Say /epm incoming for the newest webhooks, /epm incoming failed for those that failed, or /epm incoming replay ID"
	var q store.IncomingQuery
	switch {
	case len(args) == 0:
	case len(args) == 1 && strings.EqualFold(args[0], "failed"):
		q.Status = tickets.StatusFailed
	case len(args) == 2 && strings.EqualFold(args[0], "replay"):
		return b.replay(ctx, c.Actor, args[1])
	case len(args) == 1 && strings.EqualFold(args[0], "replay"):
		return "Say which: /epm incoming replay ID. The IDs are in /epm incoming failed"
	default:
		return usage
	}
	q.Limit = incomingShown
	list, err := b.Store.Incomings(ctx, q)
	if err != nil {
		b.Log.Error("cannot list webhooks", "err", err)
		return sayStoreAway
	}
	if len(list) == 0 {
		return "There are none."
	}
	lines := make([]string, len(list))
	for i, k := range list {
		lines[i] = sayKept(k)
	}
	return strings.Join(lines, "\n")
}

// sayKept is a kept webhook on one line.
func sayKept(k store.StoredIncoming) string {
	s := k.At.UTC().Format("2006-01-02 15:04:05 UTC") + " · " + string(k.Receipt.Status) + " · " + k.ID
	if k.Receipt.Ticket != "" {
		s += " · " + string(k.Receipt.Ticket)
	}
	if k.Error != "" {
		s += " · " + adapters.Cut(adapters.Line(k.Error), 150)
	}
	return s
}

func (b *Bot) replay(ctx context.Context, by tickets.Actor, id string) string {
	start := b.Now()
	done, err := Replayer{Store: b.Store, Read: b.Read, Rules: b.rulesOf, Now: b.Now}.Replay(ctx, id)
	var advice Advice
	switch {
	case errors.As(err, &advice):
		return advice.Error()
	case err != nil:
		b.Log.Error("cannot replay webhook", "actor", by.String(), "err", err)
		return sayReplayUnclear
	}
	r := done.Receipt
	b.Log.Info("webhook replayed", "incoming", r.Incoming, "ticket", r.Ticket, "status", r.Status, "before", done.Before, "actor", by.String())
	if done.Ticket != nil {
		_, end := b.news(ctx, "replay", &tickets.Update{ID: done.Ticket.ID}, start)
		end(done.Ticket, r, nil)
		b.outbox.Wake(done.Ticket)
	}
	return done.String()
}

// sayReplayUnclear is not sayStoreAway: the write may have happened.
const sayReplayUnclear = "My store did not answer. Please try again in a minute: a webhook that was replayed is not replayed twice."
