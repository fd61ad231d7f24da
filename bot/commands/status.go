package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

func (h *Handler) status(ctx context.Context, _ adapters.Command, _ []string) string {
	now := h.Now()
	stats, err := h.Store.Stats(ctx, now)
	return h.Health(ctx, stats, err, now)
}

// Health says how everything is, stats and err being what the store told at
// now.
func (h *Handler) Health(ctx context.Context, stats store.Stats, err error, now time.Time) string {
	if err != nil {
		h.Log.Error("cannot read stats", "err", err)
		return wording.MsgStoreAway
	}
	var s strings.Builder
	fmt.Fprintf(&s, "Waiting for a decision: %d. On their way to EPM: %d. Accepted by EPM and not confirmed: %d. Final: %d.",
		stats.Progress[tickets.Pending], stats.Progress[tickets.Submitting], stats.Progress[tickets.Submitted], stats.Progress[tickets.Final])
	lines, fine := h.backlog(stats, now)
	for _, line := range lines {
		s.WriteString("\n" + line)
	}
	compared, works := h.sayComparisons()
	fine = fine && works
	s.WriteString("\n" + compared)
	problems := h.Ready(ctx)
	for name, err := range problems {
		fmt.Fprintf(&s, "\nNot ready: %s: %v", name, err)
	}
	out := h.Outbox.Outages()
	for _, o := range out {
		s.WriteString("\n" + sayOut(o))
	}
	fine = fine && len(problems)+len(out) == 0
	if denied := h.EPM.Denial(); denied != "" {
		fine = false
		s.WriteString("\n" + denied)
	}
	for _, p := range slices.Sorted(maps.Keys(h.Chats)) {
		for _, say := range h.Chats[p].Warnings() {
			fine = false
			s.WriteString("\n" + wording.PlatformName(p) + ": " + say + ".")
		}
	}
	if fine {
		s.WriteString("\nEvery connection works.")
	}
	if len(h.Settings.Current().Approvers) == 0 {
		s.WriteString("\n" + wording.MsgNoApprovers)
	}
	for _, line := range h.sayGone(ctx) {
		s.WriteString("\n" + line)
	}
	if say := h.Settings.Current().FirstInactive(); say != "" {
		s.WriteString("\n" + say + ".")
	}
	if _, err := h.Store.Settings(ctx); errors.Is(err, store.ErrCorrupt) {
		s.WriteString("\n" + wording.MsgDamagedSettings)
	}
	for _, key := range slices.Sorted(maps.Keys(h.Settings.Invalid())) {
		fmt.Fprintf(&s, "\nThe setting %s cannot be used: %s.", key, h.Settings.Invalid()[key])
	}
	return s.String()
}

// backlog says what waits, for EPM and for each chat, and why if that is known.
// It reports false if a connection is not known to work.
func (h *Handler) backlog(stats store.Stats, now time.Time) (lines []string, fine bool) {
	fine = true
	add := func(name string, say ...string) {
		if say = slices.DeleteFunc(say, func(s string) bool { return s == "" }); len(say) > 0 {
			lines = append(lines, name+": "+strings.Join(say, ". ")+".")
		}
	}
	waiting := func(l tickets.Lane, one, many string) string { return sayWaiting(stats.Due[l], one, many, now) }
	var late string
	if n := stats.Owed[tickets.LaneEPM] - stats.Due[tickets.LaneEPM].Count; n > 0 {
		late, fine = fmt.Sprintf("Not sent at the last try, and tried again within minutes: %d", n), false
	} else if stats.Due[tickets.LaneEPM].Count > 0 && h.EPM.Away() {
		late, fine = "EPM did not answer the last one, and Countersign is trying again", false
	}
	add("EPM",
		waiting(tickets.LaneEPM, "decision waits to be sent", "decisions wait to be sent"), late,
		waiting(tickets.LanePoll, "decision waits to be looked up", "decisions wait to be looked up"))
	for _, p := range slices.Sorted(maps.Keys(h.Chats)) {
		posts := waiting(tickets.PostLane(p), "request waits to be shown", "requests wait to be shown")
		edits := waiting(tickets.EditLane(p), "message waits to be updated", "messages wait to be updated")
		why, works := h.sayWhy(p, now)
		fine = fine && works
		if why == "" && posts != "" {
			why = h.Chats[p].RateNote()
		}
		add(wording.PlatformName(p), posts, edits, why)
	}
	receivers, take := h.sayReceivers(stats, now)
	return append(lines, receivers...), fine && take
}

// sayWaiting says how many wait and for how long, or "".
func sayWaiting(l store.Backlog, one, many string, now time.Time) string {
	if l.Count == 0 {
		return ""
	}
	what := many
	if l.Count == 1 {
		what = one
	}
	s := fmt.Sprintf("%d %s", l.Count, what)
	if age := now.Sub(l.Oldest).Round(time.Second); age > 0 {
		if l.Count > 1 {
			s += ", the oldest"
		}
		s += " for " + age.String()
	}
	return s
}

// sayWhy says why p is left alone at present, or "", and reports false if the
// connection did not work when it was last used.
func (h *Handler) sayWhy(p tickets.Platform, now time.Time) (say string, works bool) {
	until, class := h.Outbox.Cooldown(p, now)
	name := wording.PlatformName(p)
	switch {
	case class == "":
		return "", true
	case class == tickets.RateLimited:
		return fmt.Sprintf("%s has asked Countersign to wait for another %s", name, until.Sub(now).Round(time.Second)), true
	case !until.After(now):
		return name + " did not take the last one, and Countersign is trying again", false
	}
	return fmt.Sprintf("%s did not take the last one, and Countersign tries again in %s", name, until.Sub(now).Round(time.Second)), false
}

// sayOut says that a place is out of use.
func sayOut(o outbox.Outage) string {
	var not []string
	for _, kind := range o.Steps {
		switch kind {
		case tickets.StepPost:
			not = append(not, "new requests are not shown")
		case tickets.StepEdit:
			not = append(not, "messages are not updated")
		case tickets.StepReply:
			not = append(not, "threads are not continued")
		}
	}
	return fmt.Sprintf("Out of use since %s: %s (%s): %s. Requests waiting for it: %d.",
		wording.FormatTime(o.Since), wording.PlaceName(o.Place), strings.Join(not, ", "), o.Why, o.Waiting)
}

// sayReceivers says what receivers are owed, now or later, and why if that is
// known. It reports false if one did not take something.
func (h *Handler) sayReceivers(stats store.Stats, now time.Time) (lines []string, take bool) {
	take = true
	for _, name := range slices.Sorted(maps.Keys(stats.Owed)) {
		to, ok := strings.CutPrefix(string(name), string(tickets.DeliverLane("")))
		owed := store.Backlog{Count: stats.Owed[name], Oldest: now}
		if due, is := stats.Due[name]; is {
			owed.Oldest = due.Oldest
		}
		waiting := sayWaiting(owed, "ticket has events to deliver", "tickets have events to deliver", now)
		if !ok || waiting == "" {
			continue
		}
		line := "Events for " + to + ": " + waiting + "."
		if l := h.Outbox.Lane(name); l == nil {
			line += fmt.Sprintf(" No such receiver is configured: configure it again, or run countersign events drop-sink %s.", to)
		} else if until, class, failing := l.Resting(); until.After(now) {
			take = false
			line += fmt.Sprintf(" It did not take the last one (%s), and Countersign tries again in %s.", class, until.Sub(now).Round(time.Second))
		} else if failing {
			take = false
			line += fmt.Sprintf(" It did not take the last one (%s), and Countersign is trying again.", class)
		} else if later := owed.Count - stats.Due[name].Count; later > 0 {
			take = false
			line += fmt.Sprintf(" Not taken, and tried again within minutes: %d. The log says why.", later)
		}
		lines = append(lines, line)
	}
	return lines, take
}

// sayComparisons says how the store compares with EPM, and reports false if the
// last try failed.
func (h *Handler) sayComparisons() (say string, fine bool) {
	list, elsewhere := h.Reconciler.Comparisons()
	if elsewhere {
		return "Compared with EPM by another replica, which tells of it in its log and metrics.", true
	}
	if h.Reconciler.Every < 0 {
		return "Not compared with EPM.", true
	}
	fine = true
	lines := make([]string, 0, len(list))
	for _, c := range list {
		name := c.Kind.Plural()
		s := "Compared with EPM's list of " + name + ": not yet."
		if !c.At.IsZero() {
			s = fmt.Sprintf("Compared with EPM's list of %s %s: %s missed, %s closed by it since the start.", name, wording.FormatTime(c.At), count(c.Missed), count(c.Closed))
		}
		if c.Unknown > 0 {
			s += fmt.Sprintf(" Not understood and left out: %d.", c.Unknown)
		}
		if !c.At.IsZero() && !c.Whole {
			s += " The list is long: only its ends were read."
		}
		if c.Why != "" {
			fine = false
			s += fmt.Sprintf(" The last try, %s, failed: %s.", wording.FormatTime(c.Tried), c.Why)
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n"), fine
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
