package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store"
)

// withReplicas has n processes on one Redis, which neither fail nor meet
// neighbours that do, and one of which notices within seconds that the holder
// of the gateway is silent.
func withReplicas(t testing.TB, w *world, n int) {
	t.Helper()
	withRedis(t, w)
	w.processes, w.calm = n, true
	w.overrides = map[string]any{"DiscordGateway": discordGateway(gatewayLease)}
}

// gatewayLease is how long the holder of the gateway may be silent.
const gatewayLease = 3 * time.Second

func discordGateway(lease time.Duration) map[string]any {
	return map[string]any{"First": 10 * time.Millisecond, "Last": 200 * time.Millisecond, "Lease": lease}
}

// # Decided at most once

// choice is a verdict and who gave it.
type choice struct{ by, verdict string }

// act is what somebody did, or what was seen, about a ticket.
type act struct {
	number string
	sends  choice // the form that was sent; zero for a look
}

// result is what came of an act: that it was accepted, whose decision was
// shown instead, or, with neither, that nobody knows.
type result struct {
	accepted bool
	shown    choice
}

// decidedOnce is a ticket as a register that is written at most once: who is
// accepted finds it open, or holding what they say; everybody else is shown
// the first decision.
var decidedOnce = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byTicket := map[string][]porcupine.Operation{}
		for _, op := range history {
			n := op.Input.(act).number
			byTicket[n] = append(byTicket[n], op)
		}
		var all [][]porcupine.Operation
		for _, ops := range byTicket {
			all = append(all, ops)
		}
		return all
	},
	Init: func() any { return choice{} },
	Step: func(state, input, output any) (bool, any) {
		first, a, r := state.(choice), input.(act), output.(result)
		switch {
		case r.shown != choice{}:
			return first == r.shown, first
		case first == choice{}:
			return true, a.sends
		}
		return !r.accepted || first == a.sends, first
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// history is what everybody did and saw.
type history struct {
	mu        sync.Mutex
	begun     time.Time
	ops       []porcupine.Operation
	reasons   map[string]choice // by reason
	contested map[string]int    // by ticket: forms that were sent
}

func (h *history) now() int64 { return int64(time.Since(h.begun)) }

// did records an act that began at call and has ended. One that nobody knows
// the end of may still happen, whenever.
func (h *history) did(a act, r result, call int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := h.now()
	if r == (result{}) {
		end = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{Input: a, Output: r, Call: call, Return: end})
	if a.sends != (choice{}) {
		h.contested[a.number]++
	}
}

// saw records that c was shown as decided.
func (h *history) saw(number string, c choice) { h.did(act{number: number}, result{shown: c}, h.now()) }

// check sees that h can be put in an order in which each ticket is decided at
// most once.
func (h *history) check(t testing.TB) {
	t.Helper()
	for _, ops := range decidedOnce.Partition(h.ops) {
		if porcupine.CheckOperationsTimeout(decidedOnce, ops, time.Minute) == porcupine.Ok {
			continue
		}
		var text strings.Builder
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range ops {
			fmt.Fprintf(&text, "\n  %12d to %19d ns %s", op.Call, op.Return, decidedOnce.DescribeOperation(op.Input, op.Output))
		}
		t.Errorf("no order explains what happened to one ticket:%s", &text)
	}
}

// TestManyDecideAtOnce has four people decide each ticket at the same
// instant, two in Slack through any replica and two in Discord through
// whichever holds the gateway, and asks whether there is an order of all they
// did and saw in which each ticket was decided once. What EPM has in effect in
// the end belongs to what was seen.
//
// In the long form replicas are killed meanwhile.
//
// The guard is the comparison of versions in the write (store/redis): without
// it two people are told that they decided, and EPM receives two different
// decisions.
func TestManyDecideAtOnce(t *testing.T) {
	needRedis(t)
	replicas, n := []int{3}, 50
	if long {
		replicas, n = []int{2, 3, 5}, 1000
	}
	for _, r := range replicas {
		t.Run(fmt.Sprintf("%dReplicas", r), func(t *testing.T) {
			w := newWorld(t, func(w *world) { withReplicas(t, w, r) })
			h := &history{begun: time.Now(), reasons: map[string]choice{}, contested: map[string]int{}}
			ctx, cancel := context.WithTimeout(w.Context(), 10*patience)
			defer cancel()
			var left atomic.Int64
			left.Store(int64(n))
			var groups, killer sync.WaitGroup
			for g := range w.workers / 2 {
				groups.Go(func() {
					for left.Add(-1) >= 0 && ctx.Err() == nil {
						w.contest(ctx, h, 2*g)
					}
				})
			}
			over, end := context.WithCancel(ctx)
			if long {
				killer.Go(func() {
					for pause(over); over.Err() == nil; pause(over) {
						if rand.N(40) == 0 {
							w.kill()
						}
					}
				})
			}
			groups.Wait()
			end()
			killer.Wait()
			w.check()
			for _, a := range w.asked {
				d, ok := w.epm.Effective(a.request.ID)
				if !ok {
					continue // check has said so
				}
				for reason, c := range h.reasons {
					if strings.Contains(d.Message, reason) {
						if past(&d) != c.verdict {
							t.Errorf("%s: EPM has %s of what was %s", a.number, d.Status, c.verdict)
						}
						h.saw(a.number, c)
					}
				}
			}
			h.check(t)
			contested := 0
			for _, sent := range h.contested {
				if sent > 1 {
					contested++
				}
			}
			t.Logf("%d tickets, %d of them with more than one form sent, %d acts and looks", n, contested, len(h.ops))
			if contested < n/2 {
				t.Errorf("only %d of %d tickets were contested", contested, n)
			}
		})
	}
}

// contest is one request that four people, from the i-th on, want to decide.
func (w *world) contest(ctx context.Context, h *history, i int) {
	a := &asked{request: w.epm.RequestAppQuietly(epmtest.App{Product: "Notepad++", Reason: "to edit a file"}), last: "decide"}
	w.mu.Lock()
	w.asked = append(w.asked, a)
	w.mu.Unlock()
	w.delivers(ctx, a, w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{}))
	for ; ctx.Err() == nil; pause(ctx) {
		if b := w.board(); len(b.slack[a.number]) > 0 && len(b.discord[a.number]) > 0 {
			break
		}
	}
	for ; ctx.Err() == nil && !w.decided(a); pause(ctx) {
		var people, ready sync.WaitGroup
		ready.Add(4)
		for _, p := range []int{i, i + 1} {
			people.Go(func() { w.competesInSlack(ctx, h, a, p, &ready) })
			people.Go(func() { w.competesInDiscord(ctx, h, a, p, &ready) })
		}
		people.Wait()
		// What was sent is on its way to EPM; if nothing was, all try again.
		for until := time.Now().Add(3 * time.Second); time.Now().Before(until) && !w.decided(a); {
			pause(ctx)
		}
	}
	w.updates(ctx, a)
	w.mu.Lock()
	a.done = ctx.Err() == nil
	w.mu.Unlock()
}

var alreadyForm = regexp.MustCompile(`((?:slack|discord)[0-9]+) has already (approved|denied) this request`)

// told is what a text says of a decision.
func told(text string) result {
	if m := alreadyForm.FindStringSubmatch(text); m != nil {
		return result{shown: choice{m[1], m[2]}}
	}
	return result{}
}

// form is what somebody is about to send, with a reason of its own.
func (h *history) form(number, by, verdict string) (act, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, r := act{number, choice{by, map[string]string{"approve": "approved", "deny": "denied"}[verdict]}}, reason()
	h.reasons[r] = a.sends
	return a, r
}

func (w *world) competesInSlack(ctx context.Context, h *history, a *asked, i int, ready *sync.WaitGroup) {
	p, verdict := w.slack.Person(slackPerson(i)), verdict()
	defer closeView(ctx, p)
	open := false
	for range 3 {
		if cards := w.board().slack[a.number]; len(cards) > 0 && cards[0].buttons && p.Click(ctx, slackChannel, cards[0].id, verdict) == nil {
			_, open = p.View()
		}
		if open {
			break
		}
		pause(ctx)
	}
	ready.Done()
	ready.Wait()
	if !open {
		return
	}
	does, reason := h.form(a.number, fmt.Sprintf("slack%d", i), verdict)
	call := h.now()
	problems, err := p.Submit(ctx, map[string]string{"reason": reason})
	v, still := p.View()
	switch {
	case err != nil || len(problems) > 0:
		h.did(does, result{}, call)
	case !still:
		h.did(does, result{accepted: true}, call)
	default:
		r := told(string(v.Blocks))
		for range 100 { // "One moment…"
			if r != (result{}) {
				break
			}
			pause(ctx)
			if v, still = p.View(); still {
				r = told(string(v.Blocks))
			}
		}
		h.did(does, r, call)
	}
}

func (w *world) competesInDiscord(ctx context.Context, h *history, a *asked, i int, ready *sync.WaitGroup) {
	p, verdict := w.discord.Person(discordPerson(i)), verdict()
	whispers := func() (text string) {
		for _, e := range p.Ephemerals() {
			text += e.Content + string(e.Components)
			p.Dismiss(e.ID)
		}
		return escaped.ReplaceAllString(text, "$1")
	}
	defer whispers()
	defer p.CloseModal()
	var f discordtest.Modal
	open := false
	for range 3 {
		call := h.now()
		if cards := w.board().discord[a.number]; len(cards) > 0 && cards[0].buttons && p.Click(ctx, discordChannel, cards[0].id, cards[0].custom[verdict]) == nil {
			f, open = p.Modal()
			if r := told(whispers()); r != (result{}) {
				h.did(act{number: a.number}, r, call)
			}
		}
		if open {
			break
		}
		pause(ctx)
	}
	ready.Done()
	ready.Wait()
	if !open {
		return
	}
	does, reason := h.form(a.number, fmt.Sprintf("discord%d", i), verdict)
	values := map[string]string{"reason": reason}
	if _, has := f.Typed["unit"]; has {
		values["unit"], values["amount"] = "once", ""
	}
	call := h.now()
	err := p.Submit(ctx, values)
	text := whispers()
	r := told(text)
	if r == (result{}) && err == nil && text == "" {
		r.accepted = true
	}
	h.did(does, r, call)
}

// # Replicas come and go

// holdsGateway is the process that is connected to Discord's gateway, as far
// as its log tells, or nil.
func (w *world) holdsGateway() *process {
	for _, b := range w.bots {
		log := b.log.String()
		if at := strings.LastIndex(log, "the gateway is connected"); at >= 0 && at > strings.LastIndex(log, "standing by") && at > strings.LastIndex(log, "another replica has taken the gateway") {
			return b
		}
	}
	return nil
}

// signal sends sig without waiting.
func (p *process) signal(sig os.Signal) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		p.Fatal("the process does not run")
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err)
	}
}

// onlooker clicks in both chats, on what changes nothing, and notes how long
// nobody was answered.
type onlooker struct {
	w          *world
	slack      *slacktest.Person
	discord    *discordtest.Person
	gapSlack   time.Duration
	gapDiscord time.Duration
}

func (w *world) onlooker() *onlooker {
	w.slack.AddUser(slacktest.User{ID: "U01LOOKS", Name: "looks", Email: "looks@example.com"})
	w.slack.Invite(slackChannel, "U01LOOKS")
	w.discord.AddUser(discordtest.User{ID: "1300000000000000900", Username: "looks"})
	return &onlooker{w: w, slack: w.slack.Person("U01LOOKS"), discord: w.discord.Person("1300000000000000900")}
}

func (o *onlooker) clicksInDiscord(ctx context.Context) bool {
	for _, cards := range o.w.board().discord {
		err := o.discord.Click(ctx, discordChannel, cards[0].id, cards[0].custom["details"])
		for _, e := range o.discord.Ephemerals() {
			o.discord.Dismiss(e.ID)
		}
		return err == nil
	}
	return false
}

func (o *onlooker) clicksInSlack(ctx context.Context) bool {
	for _, cards := range o.w.board().slack {
		err := o.slack.Click(ctx, slackChannel, cards[0].id, "details")
		_, open := o.slack.View()
		closeView(ctx, o.slack)
		return err == nil && open
	}
	return false
}

// watch clicks until ctx has ended and somebody answered after that.
func (o *onlooker) watch(ctx context.Context) {
	var both sync.WaitGroup
	defer both.Wait()
	gap := func(longest *time.Duration, click func(context.Context) bool) {
		last, ok := time.Now(), false
		for ctx.Err() == nil || !ok && time.Since(last) < patience {
			pause(ctx)
			over := ctx.Err() != nil
			ok = click(context.WithoutCancel(ctx))
			*longest = max(*longest, time.Since(last))
			if ok {
				last = time.Now()
			}
			ok = ok && over
		}
	}
	both.Go(func() { gap(&o.gapSlack, o.clicksInSlack) })
	both.Go(func() { gap(&o.gapDiscord, o.clicksInDiscord) })
}

// shown waits until there is a card in both chats.
func (w *world) shown() {
	w.Helper()
	w.eventually("cards", func() bool { b := w.board(); return len(b.slack) > 0 && len(b.discord) > 0 })
}

// TestReplicaHangs stops the replica that holds Discord's gateway in the
// middle of its steps, as a machine does that is out of memory, and wakes it
// when the others have done all that was owed.
//
// The guards, and how it failed without them:
//
//   - the lease of the gateway (adapters/discord/leadership.go, acquire): with a
//     holder that never loses it, no click in Discord is answered again
//   - the lease of a step (store/redis: Claim): with an hour's, what the hung
//     replica had begun is never done
func TestReplicaHangs(t *testing.T) {
	needRedis(t)
	w := newWorld(t, func(w *world) {
		withReplicas(t, w, 3)
		w.workers = 6
	})
	o := w.onlooker()
	var hung *process
	w.during(func(ctx context.Context) {
		w.shown()
		w.eventually("somebody holds the gateway", func() bool { hung = w.holdsGateway(); return hung != nil })
		hung.aside.Store(true) // the load balancer asks for /readyz
		hung.signal(syscall.SIGSTOP)
		begun := time.Now()
		w.eventually("a click in Discord is answered again", func() bool { return o.clicksInDiscord(ctx) })
		took := time.Since(begun)
		t.Logf("the gateway was taken over after %s", took.Round(100*time.Millisecond))
		if took > gatewayLease+20*time.Second { // the limit of a slow machine; without a takeover it is for ever
			t.Errorf("the gateway was taken over after %s, its lease is %s", took, gatewayLease)
		}
	})
	w.eventually("all is true without the hung replica", func() bool { return w.untrue() == "" })
	hung.signal(syscall.SIGCONT)
	hung.aside.Store(false)
	w.eventually("the replica that woke leaves the gateway", func() bool {
		return w.discord.Connections() == 1 && w.holdsGateway() != hung
	})
	w.during(func(ctx context.Context) { pause(ctx) })
	w.check()
}

// TestRollingRestart restarts all replicas one after the other, under load.
// What the load balancer sends meanwhile is answered, and no click in Discord
// waits for the gateway's lease.
//
// The guard is that who ends hands the gateway over (adapters/discord/leadership.go,
// release, and the end of the lease in lead): without both, clicks in Discord
// go unanswered for the lease, 15 s.
func TestRollingRestart(t *testing.T) {
	needRedis(t)
	w := newWorld(t, func(w *world) {
		withReplicas(t, w, 3)
		w.overrides["DiscordGateway"] = discordGateway(15 * time.Second)
		w.workers = 6
	})
	rounds := 1
	if long {
		rounds = 5
	}
	w.eventually("all serve", func() bool {
		return !slices.ContainsFunc(w.bots, func(b *process) bool { return b.addr() == "" || !ready(b.addr()) })
	})
	o := w.onlooker()
	w.during(func(ctx context.Context) {
		w.shown()
		w.eventually("both chats answer", func() bool { return o.clicksInDiscord(ctx) && o.clicksInSlack(ctx) })
		looking, enough := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { o.watch(looking) })
		for range rounds {
			for _, b := range w.bots {
				b.aside.Store(true)
				time.Sleep(200 * time.Millisecond) // as a load balancer needs to hear of it
				b.stop()
				b.start()
				b.aside.Store(false)
				w.eventually("it serves again", func() bool { return b.addr() != "" && ready(b.addr()) })
			}
		}
		enough()
		watching.Wait()
	})
	t.Logf("longest without an answer: Slack %s, Discord %s", o.gapSlack.Round(time.Millisecond), o.gapDiscord.Round(time.Millisecond))
	const most = 10 * time.Second // of a slow machine; Discord itself gives 3 s
	if o.gapSlack > most || o.gapDiscord > most {
		t.Errorf("a person got no answer for %s in Slack, %s in Discord", o.gapSlack, o.gapDiscord)
	}
	for _, d := range w.slack.Deliveries() {
		if d.Status == http.StatusBadGateway {
			t.Errorf("what a person did in Slack met nobody: %s", d.Kind)
		}
	}
	for _, d := range w.epm.Deliveries() {
		if d.Status == http.StatusBadGateway {
			t.Errorf("a webhook met nobody: %s", d)
		}
	}
	w.check()
}

func ready(addr string) bool {
	res, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// TestReplicasKeepThePace has three replicas post a storm of requests: all
// together they call the platforms no faster than one may.
//
// The guard is the shared limiter (adapters/chatkit/ratelimit). With each replica counting
// for itself (cmd/countersign/serve.go: no Limiter, no Peers) three times as
// many calls reach the platforms.
func TestReplicasKeepThePace(t *testing.T) {
	needRedis(t)
	const perSecond, burst = 20, 3
	w := newWorld(t, func(w *world) {
		withReplicas(t, w, 3)
		w.workers = 20
		w.overrides["SlackPace"] = map[string]any{"PostsPerSecond": perSecond, "PostBurst": burst, "EditsPerMinute": 6e5, "EditBurst": 10_000}
		w.overrides["DiscordPace"] = map[string]any{"CallsPerSecond": perSecond, "OldEdits": 10_000}
	})
	w.during(func(ctx context.Context) {
		w.shown()
		select {
		case <-time.After(2 * time.Second): // of load
		case <-ctx.Done():
		}
	})
	w.check()
	var posts, calls []time.Time
	for _, c := range w.slack.CallsTo("chat.postMessage") {
		posts = append(posts, c.At)
	}
	for _, c := range w.discord.Calls() {
		if !strings.HasPrefix(c.Route, "/interactions") && !strings.HasPrefix(c.Route, "/webhooks") && !strings.HasPrefix(c.Route, "/gateway") && !strings.Contains(c.Route, "/commands") {
			calls = append(calls, c.At)
		}
	}
	// In any window. The slack of a second is for calls that a busy machine
	// holds up on their way, and then lets go at once.
	const window, slack = 3 * time.Second, time.Second
	for what, list := range map[string]struct {
		at    []time.Time
		burst int
	}{"posts to Slack": {posts, burst}, "calls to Discord": {calls, perSecond}} {
		most := mostWithin(list.at, window)
		limit := list.burst + int(perSecond*(window+slack).Seconds())
		t.Logf("%d %s, at most %d within %s; allowed %d", len(list.at), what, most, window, limit)
		if most > limit {
			t.Errorf("%d %s within %s, allowed are %d", most, what, window, limit)
		}
		if most < perSecond*int(window.Seconds())/4 {
			t.Errorf("only %d %s within %s: there was no storm", most, what, window)
		}
	}
}

// mostWithin is how many of the times, which are in order, lie within any d.
func mostWithin(at []time.Time, d time.Duration) (most int) {
	slices.SortFunc(at, time.Time.Compare)
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) > d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// # Two versions side by side

// laterSource is what a later version of the program has more than this one:
// a member of the ticket, one of its decision and one of each message, each
// named after what it was said of.
var laterSource = []struct{ file, old, new string }{
	{"tickets/ticket.go", "type Ticket struct {\n", "type Ticket struct {\n\tLater string `json:\"later,omitempty\"`\n"},
	{"tickets/ticket.go", "type Decision struct {\n", "type Decision struct {\n\tLater string `json:\"later,omitempty\"`\n"},
	{"tickets/ticket.go", "type Message struct {\n", "type Message struct {\n\tLater string `json:\"later,omitempty\"`\n"},
	{"tickets/lifecycle.go", "\tt.ID, t.Request = r.ID, &r\n", "\tt.ID, t.Request, t.Later = r.ID, &r, string(r.ID)\n"},
	{"tickets/lifecycle.go", "\tt.Decision, t.Sending, t.Refusal = &d, Sending{}, nil\n", "\td.Later = d.By.ID\n\tt.Decision, t.Sending, t.Refusal = &d, Sending{}, nil\n"},
	{"tickets/lifecycle.go", "\tm.ID, m.Shown, m.Told = id, shown.Rev, len(shown.Events)\n", "\tm.Later = id\n\tm.ID, m.Shown, m.Told = id, shown.Rev, len(shown.Events)\n"},
}

// buildLater makes the program as a later version, with fields that this one
// does not know.
func buildLater(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for _, change := range laterSource {
		path, err := filepath.Abs(filepath.Join("..", "..", change.file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(change.file))
		source, err := os.ReadFile(cmp.Or(replace[path], path))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(source), change.old) != 1 {
			t.Fatalf("%s no longer has one line %q", change.file, change.old)
		}
		if err := os.WriteFile(to, []byte(strings.Replace(string(source), change.old, change.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "later")
	args := []string{"build", "-tags", "faults", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/countersign")...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build a later version: %v\n%s", err, out)
	}
	return binary
}

// TestRollingUpgrade upgrades one of two replicas to a version that writes
// fields this one does not know. Both work on the same tickets under load;
// then this version alone does, as after a rollback. No ticket, decision or
// message loses a field that the later version gave it.
//
// The guard is tickets.UnknownFields (store/newer.go): without restore in
// store.Encode the older replica writes the tickets back without the fields.
func TestRollingUpgrade(t *testing.T) {
	needRedis(t)
	if raced && !long {
		t.Skip("it builds the program once more; without -race, and in the long form, it runs")
	}
	later := buildLater(t)
	w := newWorld(t, func(w *world) {
		withReplicas(t, w, 2)
		w.workers = 4
	})
	run := func(p *process, binary string) {
		p.aside.Store(true)
		p.stop()
		p.binary = binary
		p.start()
		p.aside.Store(false)
		w.eventually("it serves", func() bool { return p.addr() != "" })
	}
	this := w.bots[1].binary
	marked := map[string]bool{}
	look := func(when string) {
		now := w.laterMarks()
		for mark := range marked {
			if !now[mark] {
				t.Errorf("%s: the store has lost %s", when, mark)
			}
		}
		marked = now
	}
	w.during(func(ctx context.Context) {
		w.shown()
		run(w.bots[1], later)
		begun := len(w.board().slack)
		w.eventually("twenty more tickets", func() bool { return len(w.board().slack) > begun+20 })
		look("side by side")
		run(w.bots[1], this)
	})
	look("rolled back")
	w.check()
	look("in the end")
	kinds := map[string]int{}
	for mark := range marked {
		kinds[strings.Fields(mark)[0]]++
	}
	t.Logf("fields of the later version that lasted: %v", kinds)
	for _, kind := range []string{"ticket", "decision", "message"} {
		if kinds[kind] == 0 {
			t.Errorf("the later version wrote none to a %s: %v", kind, kinds)
		}
	}
}

// laterMarks lists what the later version wrote that the store holds. Each
// must be where it was put.
func (w *world) laterMarks() map[string]bool {
	w.Helper()
	s := w.open()
	defer func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	}()
	all, err := s.List(w.Context(), store.Query{Limit: 1 << 20})
	if err != nil {
		w.Fatal(err)
	}
	marks := map[string]bool{}
	note := func(kind, number, newer, of string) {
		if newer == "" {
			return
		}
		if want := fmt.Sprintf(`{"later":%q}`, of); newer != want {
			w.Errorf("the %s of %s holds %s, want %s", kind, number, newer, want)
		}
		marks[fmt.Sprintf("%s %s %s", kind, number, of)] = true
	}
	for _, t := range all {
		n := string(t.Number)
		note("ticket", n, string(t.UnknownFields), string(t.ID))
		if t.Decision != nil {
			note("decision", n, string(t.Decision.UnknownFields), t.Decision.By.ID)
		}
		for _, m := range t.Messages {
			note("message", n, string(m.UnknownFields), m.ID)
		}
	}
	return marks
}
