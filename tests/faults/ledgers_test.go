package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// check waits until all is quiet, stops the processes and compares the five
// ledgers.
func (w *world) check() {
	w.Helper()
	w.clearFaults()
	held := w.settle()
	if held == nil {
		return
	}
	byID := map[tickets.RequestID]*tickets.Ticket{}
	for _, t := range held {
		if other := byID[t.ID]; other != nil {
			w.Errorf("%s has two tickets, %s and %s", t.ID, other.Number, t.Number)
		}
		byID[t.ID] = t
	}
	w.checkEvents(held)
	shown := w.board()
	accepted, inEffect, again := 0, 0, 0
	for _, a := range w.asked {
		accepted += len(a.kept)
		t := byID[tickets.RequestID(a.request.ID)]
		if t == nil {
			if len(a.kept) > 0 {
				w.Errorf("%s: the webhook was accepted %d times and the store has no ticket", a.request.ID, len(a.kept))
			}
			continue
		}
		delete(byID, t.ID)
		if !a.done {
			w.Errorf("%s did not get to its end: %s, last: %s", t.Number, t.Progress(), a.last)
			continue
		}
		if a.number != string(t.Number) {
			w.Errorf("%s was %s when its webhook was accepted", t.Number, a.number)
		}
		inEffect += w.epm.TimesInEffect(a.request.ID)
		again += w.checkEPM(a, t)
		w.checkCards("Slack", t, shown.slack[a.number])
		w.checkCards("Discord", t, shown.discord[a.number])
		delete(shown.slack, a.number)
		delete(shown.discord, a.number)
	}
	for _, t := range byID {
		w.Errorf("%s, of %s, is a ticket that nobody asked for", t.Number, t.ID)
	}
	for n := range shown.slack {
		w.Errorf("Slack shows %q, which is no ticket", n)
	}
	for n := range shown.discord {
		w.Errorf("Discord shows %q, which is no ticket", n)
	}
	inSlack, inDiscord := w.duplicates(held)
	if inSlack+inDiscord > 0 {
		w.Errorf("duplicate messages: %d in Slack, %d in Discord", inSlack, inDiscord)
	}
	for platform, list := range map[string][]string{"Slack": w.slack.Violations(), "Discord": w.discord.Violations(), "EPM": w.epm.Violations()} {
		for _, v := range list {
			w.Errorf("%s's rules: %s", platform, v)
		}
	}
	w.Logf("%d kills, %d requests, %d webhooks accepted, %d decisions in effect, %d sent again, duplicates: slack %d, discord %d; %s",
		w.kills, len(w.asked), accepted, inEffect, again, inSlack, inDiscord, time.Since(w.started).Round(100*time.Millisecond))
	if len(w.asked) == 0 {
		w.Error("nothing was asked")
	}
}

// settle waits until nothing is owed any more, and returns what the store
// holds then. It leaves the processes stopped.
func (w *world) settle() []*tickets.Ticket {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		for untrue := w.untrue(); untrue != ""; untrue = w.untrue() {
			if time.Now().After(deadline) {
				w.Errorf("not true in the end: %s", untrue)
				break
			}
			time.Sleep(50 * time.Millisecond) // of a poll
		}
		for _, b := range w.bots {
			b.stop()
		}
		held, owed := w.read()
		if len(owed) == 0 {
			return held
		}
		if time.Now().After(deadline) {
			w.Errorf("%d tickets still owe something, for example %s", len(owed), owed[0])
			return held
		}
		for _, b := range w.bots {
			b.start()
		}
		w.serving()
		// What is owed is replies, which untrue does not see.
		time.Sleep(time.Second)
	}
}

// How a card begins to tell an outcome.
const (
	confirmed = "Confirmed by EPM: "
	inConsole = "Decided in EPM by "
)

// untrue names a message that does not show an outcome, or a request that has
// none, or "".
func (w *world) untrue() string {
	b := w.board()
	for where, shown := range map[string]map[string][]card{"Slack": b.slack, "Discord": b.discord} {
		for _, a := range w.asked {
			if len(shown[a.number]) == 0 {
				return fmt.Sprintf("%s does not show %s (%q)", where, a.request.ID, a.number)
			}
		}
		for n, cards := range shown {
			for _, c := range cards {
				if !strings.Contains(c.text, confirmed) && !strings.Contains(c.text, inConsole) {
					return fmt.Sprintf("%s shows %s as %.300s", where, n, c.text)
				}
			}
		}
	}
	return ""
}

// open opens the store for a look.
func (w *world) open() (s store.Store) {
	w.Helper()
	w.patiently("open the store", func() (err error) {
		if path, ok := strings.CutPrefix(w.store, "sqlite:"); ok {
			s, err = sqlite.Open(w.Context(), sqlite.Config{Path: path})
		} else {
			s, err = redis.Open(w.Context(), redis.Config{URL: w.store})
		}
		return err
	})
	return s
}

// patiently looks again while the store does not answer: a disk may stall for
// longer than anybody waits.
func (w *world) patiently(what string, look func() error) {
	w.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := look()
		switch {
		case err == nil:
			return
		case time.Now().After(deadline) || !chatkit.Sleep(w.Context(), 100*time.Millisecond):
			w.Fatalf("%s: %v", what, err)
		}
	}
}

// read returns all tickets, and what is owed. Each webhook that was accepted
// must be kept.
func (w *world) read() (all []*tickets.Ticket, owed []string) {
	w.Helper()
	s := w.open()
	defer func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	}()
	w.patiently("list the tickets", func() (err error) {
		all, err = s.List(w.Context(), store.Query{Limit: 1 << 20})
		return err
	})
	for _, t := range all {
		for _, step := range t.PendingSteps(time.Now().Add(24 * time.Hour)) {
			owed = append(owed, fmt.Sprintf("%s: %s %s", t.Number, step.Kind, step.Place))
		}
	}
	if len(owed) > 0 {
		return all, owed
	}
	for _, a := range w.asked {
		for _, id := range a.kept {
			var k store.StoredIncoming
			w.patiently("read a webhook", func() (err error) {
				if k, err = s.Incoming(w.Context(), id); errors.Is(err, store.ErrNotFound) {
					w.Errorf("%s: the accepted webhook %s is not kept", a.number, id)
					return nil
				}
				return err
			})
			if string(k.Receipt.Ticket) != a.number {
				w.Errorf("%s: the accepted webhook %s is kept as %+v", a.number, id, k.Receipt)
			}
		}
	}
	var findings []store.Finding
	w.patiently("verify the history", func() error {
		findings = nil
		_, err := store.Verify(w.Context(), s.(store.Archive), nil, func(f store.Finding) { findings = append(findings, f) })
		return err
	})
	for _, f := range findings {
		w.Errorf("the history: %s", f)
	}
	return all, nil
}

// checkEPM compares what EPM received about a with its ticket, and counts
// what was sent again.
func (w *world) checkEPM(a *asked, t *tickets.Ticket) (again int) {
	w.Helper()
	var first *epmtest.Decision
	for _, d := range w.epm.Decisions(a.request.ID) {
		switch {
		case first == nil:
			first = &d
		case d.Status != first.Status || d.By != first.By || d.Message != first.Message || d.Duration != first.Duration:
			w.Errorf("%s: EPM received two different decisions: %+v and %+v", t.Number, *first, d)
		default:
			again++
		}
		if d.Result != epmtest.InEffect && d.Result != epmtest.Repeated {
			w.Errorf("%s: EPM answered a decision with: %s %s", t.Number, d.Result, d.Problem)
		}
	}
	if n := w.epm.TimesInEffect(a.request.ID); n != 1 {
		w.Errorf("%s was decided %d times at EPM, want once", t.Number, n)
		return again
	}
	if t.Outcome == nil || t.Outcome.Verdict.Past() != past(first) {
		w.Errorf("%s: EPM has %s, the store %s, %+v", t.Number, first.Status, t.Progress(), t.Outcome)
	}
	switch d := t.Decision; {
	case a.console:
		if d != nil || again > 0 {
			w.Errorf("%s was decided in the console, and here: %+v", t.Number, d)
		}
	case d == nil || d.Verdict.Past() != past(first) || !strings.Contains(first.Message, d.Reason):
		w.Errorf("%s: EPM received %+v, the store has %+v", t.Number, *first, d)
	}
	return again
}

// checkEvents sees that the file of events has those of each ticket, in their
// order. Some may be there twice. To see it fail, note a delivery before it is
// made.
func (w *world) checkEvents(held []*tickets.Ticket) {
	w.Helper()
	b, err := os.ReadFile(w.events)
	if err != nil {
		w.Errorf("the file of events: %v", err)
		return
	}
	told := map[tickets.Number][]tickets.EventEnvelope{}
	seen := map[string]bool{}
	for line := range bytes.Lines(b) {
		var n tickets.EventEnvelope
		if json.Unmarshal(line, &n) != nil || seen[n.ID] {
			continue // of a process that was killed, or told again
		}
		seen[n.ID] = true
		told[n.Data.Ticket] = append(told[n.Data.Ticket], n)
	}
	for _, t := range held {
		next := 0
		for _, n := range told[t.Number] {
			// A store that was taken over may have lost what was told.
			if next < len(t.Events) && n.Data.Position == next+1 && n.Data.Event.Kind == t.Events[next].Kind && n.At.Equal(t.Events[next].At) {
				next++
			}
		}
		if next < len(t.Events) {
			w.Errorf("%s: event %d, %s, was not told, or before an earlier one", t.Number, next+1, t.Events[next].Kind)
		}
	}
}

// past is an EPM decision in our words.
func past(d *epmtest.Decision) string { return strings.ToLower(string(d.Status)) }

// checkCards sees that t is shown, and as EPM has it.
func (w *world) checkCards(where string, t *tickets.Ticket, cards []card) {
	w.Helper()
	if len(cards) == 0 {
		w.Errorf("%s does not show %s", where, t.Number)
	}
	if t.Outcome == nil {
		return // checkEPM has said so
	}
	says := confirmed
	if t.Decision == nil {
		says = inConsole
	}
	for _, c := range cards {
		text := escaped.ReplaceAllString(c.text, "$1")
		if !strings.Contains(text, says) || !strings.Contains(text, t.Outcome.Verdict.Past()) || c.buttons {
			w.Errorf("%s shows of %s, which EPM has as %s: %.600s", where, t.Number, t.Outcome.Verdict.Past(), text)
		}
	}
}

// duplicates counts the messages that tell a second time what another tells.
func (w *world) duplicates(held []*tickets.Ticket) (inSlack, inDiscord int) {
	w.Helper()
	seen := map[string]bool{}
	twice := func(key string) int {
		if seen[key] {
			w.Logf("twice: %s", key)
			return 1
		}
		seen[key] = true
		return 0
	}
	for _, m := range w.slack.Messages(slackChannel) {
		thread := m.ThreadTS
		if thread == m.TS {
			thread = ""
		}
		mark := string(m.Metadata) // names the ticket and, in a thread, the event
		if thread == "" {
			mark = numberForm.FindString(mark) // the card's Rev changes
		}
		inSlack += twice("Slack " + thread + mark)
	}
	for _, m := range w.discord.Messages(discordChannel) {
		inDiscord += twice("Discord " + numberForm.FindString(string(m.Components)))
		for _, reply := range w.discord.Messages(m.ID) {
			inDiscord += twice("Discord " + m.ID + string(reply.Components))
		}
	}
	return inSlack, inDiscord
}
