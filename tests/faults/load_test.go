package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// asked is a request as the sender of webhooks knows it.
type asked struct {
	request *epmtest.Request
	number  string   // of its ticket, as the first 2xx named it
	kept    []string // ids of webhooks that were answered with a 2xx
	console bool     // decided in EPM's console, before its webhook came
	last    string   // what was begun last, for whoever looks why it does not end
	done    bool     // EPM has a decision and its webhook was accepted
}

// load has requests made, delivered and decided until enough ends, and
// returns when everything that was begun is done, or ctx ends.
func (w *world) load(ctx, enough context.Context) {
	var troubled, working sync.WaitGroup
	inTrouble, calm := context.WithCancel(ctx)
	defer troubled.Wait()
	defer calm()
	if !w.calm {
		troubled.Go(func() { w.trouble(inTrouble) })
	}
	for i := range w.workers {
		working.Go(func() {
			for enough.Err() == nil {
				w.life(ctx, i)
			}
		})
	}
	working.Wait()
}

// life is one request from the wish to the confirmation, with the people of
// worker i.
func (w *world) life(ctx context.Context, i int) {
	a := w.asks(ctx)
	if !a.console {
		w.decides(ctx, a, i)
	}
	w.mu.Lock()
	a.done = ctx.Err() == nil
	w.mu.Unlock()
}

// asks makes a request and delivers its webhook. Now and then it is decided in
// EPM's console before, and the update overtakes it.
func (w *world) asks(ctx context.Context) *asked {
	a := &asked{console: rand.N(8) == 0}
	if rand.N(3) == 0 {
		a.request = w.epm.RequestAdminQuietly(epmtest.Admin{})
	} else {
		a.request = w.epm.RequestAppQuietly(epmtest.App{Product: "Notepad++", Reason: "to edit a file"})
	}
	w.mu.Lock()
	w.asked = append(w.asked, a)
	w.mu.Unlock()
	if a.console {
		if err := w.epm.DecideInConsole(a.request.ID, epmtest.Denied, "", "carol"); err != nil {
			w.Error(err)
		}
		w.updates(ctx, a)
	}
	created := w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{})
	w.delivers(ctx, a, created)
	if rand.N(5) == 0 { // EPM sends duplicates
		w.delivers(ctx, a, created)
	}
	return a
}

// decides has the people of worker i decide a, each as they see fit, and
// delivers what EPM then tells.
func (w *world) decides(ctx context.Context, a *asked, i int) {
	a.last = "decide"
	var people sync.WaitGroup
	people.Go(func() { w.decidesInSlack(ctx, a, i) })
	people.Go(func() { w.decidesInDiscord(ctx, a, i) })
	people.Wait()
	a.last = "update"
	w.updates(ctx, a)
}

func (w *world) updates(ctx context.Context, a *asked) {
	if r, ok := w.epm.Request(a.request.ID); ok && ctx.Err() == nil {
		w.delivers(ctx, a, w.epm.Body(r.Kind.UpdatedEvent(), r, epmtest.BodyOptions{}))
	}
}

// delivers sends a webhook until it was accepted.
func (w *world) delivers(ctx context.Context, a *asked, body []byte) {
	for ; ctx.Err() == nil; pause(ctx) {
		d, err := w.epm.Deliver(ctx, body)
		if err != nil || !d.OK() {
			continue
		}
		var answer struct{ Incoming, Ticket string }
		if err := json.Unmarshal([]byte(d.Answer), &answer); err != nil || answer.Incoming == "" || answer.Ticket == "" {
			w.Errorf("a webhook was answered with %d %s", d.Status, d.Answer)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		a.kept = append(a.kept, answer.Incoming)
		if a.number != "" && a.number != answer.Ticket {
			w.Errorf("%s is %s and %s", a.request.ID, a.number, answer.Ticket)
		}
		a.number = answer.Ticket
		return
	}
}

// pause is how long somebody waits before they try again.
func pause(ctx context.Context) {
	select {
	case <-time.After(20*time.Millisecond + rand.N(30*time.Millisecond)):
	case <-ctx.Done():
	}
}

// decided reports whether EPM has a decision: only then does anybody leave.
func (w *world) decided(a *asked) bool {
	_, ok := w.epm.Effective(a.request.ID)
	return ok
}

// reason is different each time, so that no two decisions are the same by chance.
func reason() string { return fmt.Sprintf("because of %d", rand.Uint32()) }

// decidesInSlack clicks and submits, again and again, as somebody does who
// gets no answer.
func (w *world) decidesInSlack(ctx context.Context, a *asked, i int) {
	p := w.slack.Person(slackPerson(i))
	for ; ctx.Err() == nil && !w.decided(a); pause(ctx) {
		cards := w.board().slack[a.number]
		if len(cards) == 0 || !cards[0].buttons || p.Click(ctx, slackChannel, cards[0].id, verdict()) != nil {
			continue
		}
		if _, open := p.View(); open {
			think(ctx)
			_, _ = p.Submit(ctx, map[string]string{"reason": reason()}) // the card tells
		}
		closeView(ctx, p)
	}
	closeView(ctx, p)
}

func closeView(ctx context.Context, p *slacktest.Person) {
	for range 3 { // forms may lie upon each other
		if _, open := p.View(); open {
			_ = p.CloseView(ctx)
		}
	}
}

func (w *world) decidesInDiscord(ctx context.Context, a *asked, i int) {
	p := w.discord.Person(discordPerson(i))
	for ; ctx.Err() == nil && !w.decided(a); pause(ctx) {
		cards := w.board().discord[a.number]
		if len(cards) == 0 || !cards[0].buttons || p.Click(ctx, discordChannel, cards[0].id, cards[0].custom[verdict()]) != nil {
			continue
		}
		if f, open := p.Modal(); open {
			values := map[string]string{"reason": reason()}
			if _, has := f.Typed["unit"]; has {
				values["unit"], values["amount"] = "once", ""
			}
			think(ctx)
			_ = p.Submit(ctx, values)
		}
		p.CloseModal()
	}
	for _, e := range p.Ephemerals() {
		p.Dismiss(e.ID)
	}
}

// think is how long somebody looks at the form: long enough that the other
// one often has it open too.
func think(ctx context.Context) {
	select {
	case <-time.After(rand.N(150 * time.Millisecond)):
	case <-ctx.Done():
	}
}

func verdict() string { return []string{"approve", "deny"}[rand.N(2)] }

// trouble has the fakes fail now and then: half of the times they do what
// they were asked all the same. A fault that nobody meets is over soon: else
// they would pile up, and whoever asks seldom would always fail.
func (w *world) trouble(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100*time.Millisecond + rand.N(300*time.Millisecond)):
		}
		w.clearFaults()
		did := rand.N(2) == 0
		switch rand.N(3) {
		case 0:
			methods := []string{"chat.postMessage", "chat.update", "conversations.history", "conversations.replies", "views.open"}
			kinds := []slacktest.FaultKind{slacktest.DropConnection, slacktest.EmptyObject, slacktest.NoTS, slacktest.Limited, slacktest.Unavailable,
				slacktest.InternalError, slacktest.CaptivePortal, slacktest.Slow}
			w.slack.Fail(slacktest.Fault{Method: oneOf(methods), Kind: oneOf(kinds), Did: did, Delay: 200 * time.Millisecond})
		case 1:
			kinds := []discordtest.FaultKind{discordtest.DropConnection, discordtest.ServerError, discordtest.Limited, discordtest.Empty, discordtest.Slow}
			w.discord.Fail(discordtest.Fault{Method: oneOf([]string{"POST", "PATCH"}), Kind: oneOf(kinds), Did: did, HTML: rand.N(2) == 0, Delay: 200 * time.Millisecond})
			if rand.N(10) == 0 {
				w.discord.Drop() // the gateway's connections
			}
		case 2:
			kinds := []epmtest.FaultKind{epmtest.Drop, epmtest.Answer, epmtest.HTMLPage, epmtest.Garbage, epmtest.Late}
			kind := oneOf(kinds)
			did = did || kind == epmtest.Garbage // a 2xx is EPM's word that it has the decision, whatever follows
			w.epm.Fail(epmtest.Fault{On: oneOf([]epmtest.Endpoint{epmtest.Decide, epmtest.Decide, epmtest.Read, epmtest.Token}), Times: 1, Kind: kind, Did: did, Delay: 200 * time.Millisecond})
		}
	}
}

func (w *world) clearFaults() {
	w.slack.ClearFaults()
	w.discord.ClearFaults()
	w.epm.ClearFaults()
}

func oneOf[T any](list []T) T { return list[rand.N(len(list))] }
