package faults

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/countersign/countersign/epm/epmtest"
)

// proxy stands between the processes and a neighbour.
type proxy struct {
	testing.TB
	*toxiproxy.Proxy
	neighbour string
}

// newProxy returns a proxy before address, and the address of the proxy.
func newProxy(t testing.TB, neighbour, address string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t, toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), neighbour, "127.0.0.1:0", u.Host), neighbour}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	u.Host = p.Listen
	return p, u.String()
}

// A toxic is what happens between the program and a neighbour: what of
// toxiproxy's is put on the connections, or that they are cut.
type toxic struct {
	name string
	on   []string
	cut  bool
}

// toxics are all of them. "No questions" and "no answers" are half-open
// connections: what is sent goes nowhere, before the neighbour did it and
// after.
var toxics = []toxic{
	{name: "latency", on: []string{
		`{"type":"latency","stream":"downstream","attributes":{"latency":400,"jitter":300}}`,
		`{"type":"latency","stream":"upstream","attributes":{"latency":100,"jitter":100}}`}},
	{name: "cut", on: []string{`{"type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`}, cut: true},
	{name: "no questions", on: []string{`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`}},
	{name: "no answers", on: []string{`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`}},
	{name: "slow close", on: []string{
		`{"type":"slow_close","stream":"downstream","attributes":{"delay":2500}}`,
		`{"type":"slow_close","stream":"upstream","attributes":{"delay":2500}}`}},
	{name: "1 KB a second", on: []string{
		`{"type":"bandwidth","stream":"downstream","attributes":{"rate":1}}`,
		`{"type":"bandwidth","stream":"upstream","attributes":{"rate":1}}`}},
	{name: "slices", on: []string{
		`{"type":"slicer","stream":"downstream","attributes":{"average_size":40,"size_variation":20,"delay":2000}}`,
		`{"type":"slicer","stream":"upstream","attributes":{"average_size":40,"size_variation":20,"delay":2000}}`}},
}

func toxicsNamed(names ...string) (list []toxic) {
	for _, n := range names {
		for _, x := range toxics {
			if x.name == n {
				list = append(list, x)
			}
		}
	}
	return list
}

// puts x on p while happens runs.
func (p *proxy) puts(x toxic, happens func()) {
	p.Helper()
	for _, j := range x.on {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(j)); err != nil {
			p.Fatalf("%s: %v", j, err)
		}
	}
	if x.cut {
		time.Sleep(500 * time.Millisecond) // connections are reset
		p.Stop()                           // and from here on refused
	}
	happens()
	p.Toxics.ResetToxics(context.Background())
	if !x.cut {
		return
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := p.Start()
		if err == nil {
			return
		}
		if time.Now().After(deadline) { // somebody else listens there
			p.Fatalf("%s: %v", p.neighbour, err)
		}
	}
}

const (
	slackName, discordName, epmName, redisName = "Slack", "Discord", "EPM", "Redis"

	// goesOn is how soon something must happen that has nothing to do with
	// what is broken. What is broken costs at least one timeout, of a step or
	// a client, and is away longer.
	goesOn = 45 * time.Second
)

// withProxies puts a proxy before each neighbour of w.
func withProxies(t testing.TB, w *world) map[string]*proxy {
	t.Helper()
	withRedis(t, w)
	all := map[string]*proxy{}
	for name, address := range map[string]*string{slackName: &w.slackURL, discordName: &w.discordURL, epmName: &w.epmURL, redisName: &w.store} {
		all[name], *address = newProxy(t, name, *address)
	}
	w.discord.SetGateway(all[discordName].Listen)
	return all
}

// TestNeighboursBehindBadLines puts every toxic on the line to every
// neighbour, under load. While one neighbour is broken, what needs only the
// others goes on: webhooks are accepted and new cards appear. In the end the
// ledgers agree.
//
// The guards, and how it failed without them:
//
//   - an unclear post is looked for before it is repeated (bot/outbox/worker.go,
//     show: UndoAttempt after a clear failure only): "no answers" from Slack
//     leaves cards twice
//   - each chat has its lane (tickets.PostLane): with one for both, no card
//     appears in Discord while Slack is silent
func TestNeighboursBehindBadLines(t *testing.T) {
	needRedis(t)
	if long {
		for _, name := range []string{slackName, discordName, epmName, redisName} {
			t.Run(name, func(t *testing.T) {
				badLines(t, 8*time.Second, map[string][]toxic{name: toxics})
			})
		}
		return
	}
	badLines(t, time.Second, map[string][]toxic{
		slackName:   toxicsNamed("no answers", "latency"),
		discordName: toxicsNamed("cut", "1 KB a second"),
		epmName:     toxicsNamed("no answers", "slices"),
		redisName:   toxicsNamed("no questions", "cut"),
	})
}

// badLines puts toxics on lines, each for at least d.
func badLines(t *testing.T, d time.Duration, lines map[string][]toxic) {
	var proxies map[string]*proxy
	w := newWorld(t, func(w *world) {
		proxies = withProxies(t, w)
		w.workers = 6
		w.calm = true // what fails, fails on the lines
	})
	w.during(func(ctx context.Context) {
		w.probe(ctx, "", func(done func()) { done() })
		for name, list := range lines {
			for _, x := range list {
				begun := time.Now()
				w.probe(ctx, name, func(done func()) {
					proxies[name].puts(x, func() {
						done()
						time.Sleep(d - time.Since(begun)) // of what the test inflicts
					})
				})
				w.Logf("%s, %s: %s", name, x.name, time.Since(begun).Round(100*time.Millisecond))
			}
		}
	})
	w.check()
}

// probe makes a request of its own while happens runs, and has it decided
// afterwards. The function that happens gets returns when all was seen that
// must go on while broken is broken.
func (w *world) probe(ctx context.Context, broken string, happens func(done func())) {
	w.Helper()
	a := &asked{console: true, last: "probe"}
	happens(func() {
		a.request = w.epm.RequestAppQuietly(epmtest.App{Product: "Notepad++", Reason: "to see what goes on"})
		w.mu.Lock()
		w.asked = append(w.asked, a)
		w.mu.Unlock()
		body := w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{})
		soon, cancel := context.WithTimeout(ctx, goesOn)
		defer cancel()
		if broken == redisName {
			// Nothing can be kept, and whoever asks is told so in time.
			for range 3 {
				if d, err := w.epm.Deliver(soon, body); err == nil {
					if d.OK() { // slow is not broken
						w.delivers(soon, a, body)
					}
					return
				}
			}
			w.Errorf("Redis is broken, and webhooks get no answer")
			return
		}
		w.delivers(soon, a, body)
		for soon.Err() == nil {
			b := w.board()
			if (broken == slackName || len(b.slack[a.number]) > 0) && (broken == discordName || len(b.discord[a.number]) > 0) {
				return
			}
			pause(soon)
		}
		w.Errorf("%s is broken, and after %s the ticket of another request (%q) is not where it can be", broken, goesOn, a.number)
	})
	if err := w.epm.DecideInConsole(a.request.ID, oneOf([]epmtest.Status{epmtest.Approved, epmtest.Denied}), "Once", "carol"); err != nil {
		w.Error(err)
	}
	w.delivers(ctx, a, w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{}))
	w.updates(ctx, a)
	w.mu.Lock()
	a.done = ctx.Err() == nil
	w.mu.Unlock()
	pause(ctx)
}
