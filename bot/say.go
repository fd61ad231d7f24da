package bot

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// What the bot alone can say to the person who acted. The other words are in
// adapters, those of the rules in tickets.
const (
	sayOldButton  = "I do not know this button any more. Please use the buttons of the newest message about the request."
	sayStoreAway  = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
	sayDamaged    = "The settings in my store are damaged and cannot be read. An admin makes the default settings again with /epm config reset yes, or whoever runs me with countersign settings reset yes."
	sayUnreadable = "The record of this request in my store is damaged and cannot be read, so nobody can decide it here. Decide it in the EPM console, and tell whoever runs me: countersign audit verify names what is damaged, and a backup has what was there."

	sayNotDamaged       = "The record of %s is not damaged, or was accepted already: nothing was changed."
	sayAcceptHow        = "The record of %s was changed by something else than Countersign, so what it says may be false. Compare it with the EPM console. To let other people decide this request, and no other, send: /epm ticket %s accept-damaged yes"
	sayAccepted         = "Other people can now decide %s although its record is damaged. If it already holds a decision, that is now sent to EPM. The history records that you accepted this."
	sayChangedMeanwhile = "%s changed meanwhile. Look at it again, then repeat the command."
	sayDecidedByYou     = "The decision in this record is yours, or may be: another admin has to look at it, because two people look at a request whose record is damaged."
	// sayUnrecorded is for a write whose end nobody knows.
	sayUnrecorded = "My store did not answer in time, and I do not know whether this was recorded. Please look at the request's message in a minute: if it does not show it, try again."
)

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
func (b *Bot) sayWhy(p tickets.Platform, now time.Time) (say string, works bool) {
	until, class := b.outbox.Cooldown(p, now)
	name := adapters.PlatformName(p)
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
		adapters.FormatTime(o.Since), adapters.PlaceName(o.Place), strings.Join(not, ", "), o.Why, o.Waiting)
}

// sayReceivers says what receivers are owed, now or later, and why if that is
// known. It reports false if one did not take something.
func (b *Bot) sayReceivers(stats store.Stats, now time.Time) (lines []string, take bool) {
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
		if l := b.outbox.Lane(name); l == nil {
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
