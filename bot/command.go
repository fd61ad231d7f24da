package bot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// words is what each of [adapters.Commands] does. It is a function because help
// lists them all.
func words() map[string]func(*Bot, context.Context, adapters.Command, []string) adapters.Answer {
	return map[string]func(*Bot, context.Context, adapters.Command, []string) adapters.Answer{
		"help":            says((*Bot).help),
		"status":          says((*Bot).status),
		"tickets":         (*Bot).list,
		"ticket":          says((*Bot).ticket),
		"state":           says((*Bot).state),
		"config":          (*Bot).config,
		"incoming":        says((*Bot).incoming),
		"report":          (*Bot).report,
		"test-connection": says((*Bot).testConnection),
		"roles":           says((*Bot).roles),
	}
}

// says is a word that is answered in words.
func says(word func(*Bot, context.Context, adapters.Command, []string) string) func(*Bot, context.Context, adapters.Command, []string) adapters.Answer {
	return func(b *Bot, ctx context.Context, c adapters.Command, args []string) adapters.Answer {
		return adapters.Note{Text: word(b, ctx, c, args)}
	}
}

// turns are the words whose answers have pages: no button carries another.
var turns = []string{"tickets"}

// Command implements [adapters.Handler]: the words after /epm.
func (b *Bot) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	fields := strings.Fields(c.Text)
	if len(fields) == 0 {
		fields = []string{"help"}
	}
	for _, w := range adapters.Commands() {
		if !strings.EqualFold(w.Name, fields[0]) {
			continue
		}
		if c.Turned && !slices.Contains(turns, w.Name) {
			b.Log.Warn("a button with a word that has no pages", "actor", c.Actor.String(), "word", w.Name)
			return adapters.Note{Text: sayOldButton}
		}
		// Damaged settings are mended with config, by the admins of the start.
		if err := b.ensure(ctx); err != nil && w.Name != "help" && w.Name != "status" && (w.Name != "config" || !errors.Is(err, store.ErrCorrupt)) {
			b.Log.Error("cannot read the settings", "err", err)
			return adapters.Note{Text: sayUnread(err)}
		}
		if w.Admin {
			if no := b.mayAdmin(ctx, c.Actor); no != "" {
				b.refused(c.Actor, "", no)
				return adapters.Note{Text: no}
			}
		} else if !w.Open {
			if no := b.mayRead(ctx, c.Actor, c.Place); no != "" {
				b.refused(c.Actor, "", no)
				return adapters.Note{Text: no}
			}
		}
		if !reads(w.Name, fields[1:]) {
			if no := b.once(ctx, c.Actor, c.Delivery); no != nil {
				return *no
			}
		}
		return words()[w.Name](b, ctx, c, fields[1:])
	}
	say := fmt.Sprintf("I do not know “%s”.", adapters.Line(fields[0]))
	if near := nearest(fields[0], slices.Sorted(maps.Keys(words()))); near != "" {
		say += fmt.Sprintf(" Did you mean /%s %s?", adapters.CommandName, near)
	}
	return adapters.Note{Text: say + "\n" + b.help(ctx, c, nil)}
}

func (b *Bot) help(context.Context, adapters.Command, []string) string {
	var s strings.Builder
	s.WriteString("What I understand:")
	for _, w := range adapters.Commands() {
		s.WriteString("\n/" + adapters.CommandName + " " + w.Usage() + " – " + w.Help)
		if w.Admin {
			s.WriteString(" (admins)")
		}
	}
	return s.String()
}

func (b *Bot) status(ctx context.Context, _ adapters.Command, _ []string) string {
	now := b.Now()
	stats, err := b.Store.Stats(ctx, now)
	return b.health(ctx, stats, err, now)
}

// health says how everything is, stats and err being what the store told at
// now.
func (b *Bot) health(ctx context.Context, stats store.Stats, err error, now time.Time) string {
	if err != nil {
		b.Log.Error("cannot read stats", "err", err)
		return sayStoreAway
	}
	var s strings.Builder
	fmt.Fprintf(&s, "Waiting for a decision: %d. On their way to EPM: %d. Accepted by EPM and not confirmed: %d. Final: %d.",
		stats.Progress[tickets.Pending], stats.Progress[tickets.Submitting], stats.Progress[tickets.Submitted], stats.Progress[tickets.Final])
	lines, fine := b.backlog(stats, now)
	for _, line := range lines {
		s.WriteString("\n" + line)
	}
	compared, works := b.sayComparisons()
	fine = fine && works
	s.WriteString("\n" + compared)
	problems := b.Ready(ctx)
	for name, err := range problems {
		fmt.Fprintf(&s, "\nNot ready: %s: %v", name, err)
	}
	out := b.ChannelOutages()
	for _, o := range out {
		s.WriteString("\n" + sayOut(o))
	}
	fine = fine && len(problems)+len(out) == 0
	if denied := b.sayDenial(); denied != "" {
		fine = false
		s.WriteString("\n" + denied)
	}
	for _, p := range slices.Sorted(maps.Keys(b.chats)) {
		for _, say := range b.chats[p].Warnings() {
			fine = false
			s.WriteString("\n" + adapters.PlatformName(p) + ": " + say + ".")
		}
	}
	if fine {
		s.WriteString("\nEvery connection works.")
	}
	if len(b.Current().Approvers) == 0 {
		s.WriteString("\n" + adapters.SayNoApprovers)
	}
	for _, line := range b.sayGone(ctx) {
		s.WriteString("\n" + line)
	}
	if say := b.Current().SayFirstInactive(); say != "" {
		s.WriteString("\n" + say + ".")
	}
	if _, err := b.Store.Settings(ctx); errors.Is(err, store.ErrCorrupt) {
		s.WriteString("\n" + sayDamaged)
	}
	for _, key := range slices.Sorted(maps.Keys(b.InvalidSettings())) {
		fmt.Fprintf(&s, "\nThe setting %s cannot be used: %s.", key, b.InvalidSettings()[key])
	}
	return s.String()
}

// backlog says what waits, for EPM and for each chat, and why if that is known.
// It reports false if a connection is not known to work.
func (b *Bot) backlog(stats store.Stats, now time.Time) (lines []string, fine bool) {
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
	} else if stats.Due[tickets.LaneEPM].Count > 0 && b.epmAway() {
		late, fine = "EPM did not answer the last one, and Countersign is trying again", false
	}
	add("EPM",
		waiting(tickets.LaneEPM, "decision waits to be sent", "decisions wait to be sent"), late,
		waiting(tickets.LanePoll, "decision waits to be looked up", "decisions wait to be looked up"))
	for _, p := range slices.Sorted(maps.Keys(b.chats)) {
		posts := waiting(tickets.PostLane(p), "request waits to be shown", "requests wait to be shown")
		edits := waiting(tickets.EditLane(p), "message waits to be updated", "messages wait to be updated")
		why, works := b.sayWhy(p, now)
		fine = fine && works
		if why == "" && posts != "" {
			why = b.chats[p].RateNote()
		}
		add(adapters.PlatformName(p), posts, edits, why)
	}
	receivers, take := b.sayReceivers(stats, now)
	return append(lines, receivers...), fine && take
}

func (b *Bot) ticket(ctx context.Context, c adapters.Command, args []string) string {
	if len(args) > 1 && strings.EqualFold(args[1], "accept-damaged") {
		return b.acceptDamage(ctx, c, number(args[0]), args[2:])
	}
	if len(args) != 1 {
		return "Say which: /epm ticket JIT-1042"
	}
	t, err := b.Store.Get(ctx, number(args[0]))
	if err != nil {
		return b.readFailed(number(args[0]), err).Text
	}
	lines := []string{adapters.PlainText(t, c.Actor.Platform), "State: " + string(t.State)}
	for i, e := range t.Events {
		if e.Kind != tickets.EventReceived && !e.Kind.InThread() {
			continue // for auditors
		}
		lines = append(lines, e.At.UTC().Format("2006-01-02 15:04:05 UTC")+" "+adapters.ThreadLine(t, i).On(c.Actor.Platform))
	}
	return strings.Join(lines, "\n")
}

func (b *Bot) state(ctx context.Context, c adapters.Command, args []string) string {
	if len(args) < 2 {
		return "Say which and where to: /epm state JIT-1042 On Hold"
	}
	t, err := b.Store.Get(ctx, number(args[0]))
	if err != nil {
		return b.readFailed(number(args[0]), err).Text
	}
	t, no := b.move(ctx, c.Actor, t, strings.Join(args[1:], " "))
	switch {
	case no != nil:
		return no.Text
	case t.Active:
		return fmt.Sprintf("%s is now %s.", t.Number, t.State)
	}
	return fmt.Sprintf("%s is now %s, in which nobody can decide it.", t.Number, t.State)
}

// move puts t into the state of that name, for an admin. It returns the
// ticket, or what to say if it was not moved.
func (b *Bot) move(ctx context.Context, by tickets.Actor, t *tickets.Ticket, name string) (*tickets.Ticket, *adapters.Note) {
	n, id := t.Number, t.ID
	to, ok := b.rulesOf(t).Type.FindState(name)
	if !ok {
		return nil, &adapters.Note{Text: fmt.Sprintf("There is no such state. Choose one of: %s.", join(b.rulesOf(t).Type.States))}
	}
	ctx, end := b.span(ctx, Span{Name: "move", ID: t.ID, Platform: by.Platform})
	t, err := b.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		if t.ID != id {
			return tickets.ErrOtherRequest
		}
		t.Move(to, by, b.rulesOf(t), b.Now())
		return nil
	})
	if err != nil {
		end(n, "error")
		if errors.Is(err, tickets.ErrOtherRequest) {
			return nil, &adapters.Note{Text: adapters.SayOtherRequest}
		}
		return nil, b.writeUnknown(n, err)
	}
	end(n, "done")
	b.outbox.Wake(t)
	return t, nil
}

func (b *Bot) testConnection(ctx context.Context, _ adapters.Command, _ []string) string {
	b.sendDenied() // most likely an admin has mended something
	if b.Test == nil {
		return "The connection to EPM cannot be tested from here."
	}
	return b.Test(ctx)
}

func number(s string) tickets.Number { return tickets.Number(strings.ToUpper(s)) }

func join(states []tickets.State) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}
