package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

const (
	slackChannel   = "C01EPM"
	discordChannel = "1200000000000000001"
	webhookUser    = "pmc_webhook_user"
	webhookPass    = "webhook-secret-1"
	epmSecret      = "epm-secret-1"
)

// patience is how long things may take that must happen in the end.
const patience = 3 * time.Minute

// world is processes of the program between neighbours that outlive them.
type world struct {
	testing.TB
	slack   *slacktest.Server
	discord *discordtest.Server
	epm     *epmtest.Server
	door    *httptest.Server

	// What may be changed in plan, before the first process starts.

	store     string // COUNTERSIGN_STORE; default a new SQLite file
	tmp       string // the processes' folder for temporary files, of all on this machine
	events    string // COUNTERSIGN_EVENTS_FILE of all processes
	processes int    // how many serve; default 1
	workers   int    // requests under way at once, each with its own approver in either chat; default 16
	// Where the processes find their neighbours; default the fakes
	// themselves. A proxy goes here.
	slackURL, discordURL, epmURL string
	// Discord's answer names its gateway, so that a proxy before the API does
	// not see it.
	// Of a step; default 3 s and 2 s. Several processes on one store need a
	// lease that is longer than a step with its two records of 5 s.
	lease, timeout time.Duration
	env            []string       // further variables for all processes
	calm           bool           // the fakes do not fail by themselves; default false
	overrides      map[string]any // more of COUNTERSIGN_FAULTS, for all processes

	bots []*process

	mu      sync.Mutex
	asked   []*asked // the sender's ledger
	drawn   board
	drawnAt time.Time
	kills   int
	started time.Time
}

// newWorld starts the neighbours and the processes; both end with the test.
func newWorld(t testing.TB, plan func(*world)) *world {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, store: "sqlite:" + filepath.Join(t.TempDir(), "a.db"), events: filepath.Join(t.TempDir(), "events.jsonl"), tmp: t.TempDir(), processes: 1, workers: 16, lease: 3 * time.Second, timeout: 2 * time.Second, started: time.Now()}
	// The limits of the platforms are tested elsewhere; here they would only
	// slow down.
	if w.slack, err = slacktest.New(slacktest.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.slack.Close)
	if w.discord, err = discordtest.New(discordtest.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.discord.Close)
	if w.epm, err = epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: epmSecret, RateLimit: -1, Retry: epmtest.Retry{Off: true}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.epm.Close)
	w.slackURL, w.discordURL, w.epmURL = w.slack.URL(), w.discord.URL(), w.epm.URL()
	if plan != nil {
		plan(w)
	}
	var members []string
	for i := range w.people() {
		u := w.slack.AddUser(slacktest.User{ID: slackPerson(i), Name: fmt.Sprintf("slack%d", i), Email: fmt.Sprintf("approver%d@example.com", i)})
		members = append(members, u.ID)
		w.discord.AddUser(discordtest.User{ID: discordPerson(i), Username: fmt.Sprintf("discord%d", i)})
	}
	w.slack.AddChannel(slacktest.Channel{ID: slackChannel, Name: "epm", Members: append(members, slacktest.BotUserID)})
	w.discord.AddChannel(discordtest.Channel{ID: discordChannel, Name: "epm"})

	w.door = httptest.NewServer(door{func() []*process { return w.bots }}.handler())
	t.Cleanup(w.door.Close)
	for i := range w.processes {
		w.bots = append(w.bots, w.process(t, binary, i))
	}
	base := w.door.URL
	w.slack.SetURLs(slacktest.URLs{Interactions: base + "/slack/interactions", Commands: base + "/slack/commands", Events: base + "/slack/events"})
	w.epm.SetWebhook(base+"/webhooks/epm", webhookUser, webhookPass)
	t.Cleanup(func() {
		for _, b := range w.bots {
			b.kill()
		}
		w.checkLogs()
	})
	for _, b := range w.bots {
		b.start()
	}
	w.serving()
	return w
}

// people is how many approvers there are in each chat: one for each worker,
// and one more whom no worker uses.
func (w *world) people() int { return w.workers + 1 }

func slackPerson(i int) string   { return fmt.Sprintf("U01PERSON%d", i) }
func discordPerson(i int) string { return fmt.Sprintf("13000000000000000%02d", i) }

func (w *world) process(t testing.TB, binary string, i int) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{TB: t, binary: binary, clock: filepath.Join(dir, "clock")}
	var approvers []string
	for i := range w.people() {
		approvers = append(approvers, "slack:"+slackPerson(i), "discord:"+discordPerson(i))
	}
	overrides := map[string]any{
		"ClockFile":      p.clock,
		"SlackPace":      map[string]any{"PostsPerSecond": 1e4, "PostBurst": 10_000, "EditsPerMinute": 6e5, "EditBurst": 10_000},
		"DiscordPace":    map[string]any{"CallsPerSecond": 1e4, "OldEdits": 10_000},
		"DiscordGateway": map[string]any{"First": 10 * time.Millisecond, "Last": 200 * time.Millisecond},
		"EPMRate":        1e4,
		"Lease":          w.lease,
		"Timeout":        w.timeout,
	}
	maps.Copy(overrides, w.overrides)
	faults, err := json.Marshal(overrides)
	if err != nil {
		t.Fatal(err)
	}
	p.env = append([]string{
		"COUNTERSIGN_FAULTS=" + string(faults), "COUNTERSIGN_LISTEN=127.0.0.1:0", "COUNTERSIGN_STORE=" + w.store, "COUNTERSIGN_EVENTS_FILE=" + w.events,
		"COUNTERSIGN_WEBHOOK_USER=" + webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD=" + webhookPass,
		"COUNTERSIGN_EPM_HOST=" + w.epmURL, "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=" + epmSecret,
		"COUNTERSIGN_SLACK_BOT_TOKEN=" + slacktest.BotToken, "COUNTERSIGN_SLACK_SIGNING_SECRET=" + slacktest.SigningSecret,
		"COUNTERSIGN_SLACK_CHANNEL=" + slackChannel, "COUNTERSIGN_SLACK_API_URL=" + w.slackURL,
		"COUNTERSIGN_DISCORD_BOT_TOKEN=" + discordtest.BotToken, "COUNTERSIGN_DISCORD_APPLICATION_ID=" + discordtest.ApplicationID,
		"COUNTERSIGN_DISCORD_GUILD=" + discordtest.GuildID, "COUNTERSIGN_DISCORD_CHANNEL=" + discordChannel,
		"COUNTERSIGN_DISCORD_API_URL=" + w.discordURL, "COUNTERSIGN_APPROVERS=" + strings.Join(approvers, ","),
		"HOME=" + dir, "TMPDIR=" + w.tmp, "PATH=" + os.Getenv("PATH"),
	}, w.env...)
	return p
}

// kill ends any one process and starts it again.
func (w *world) kill() {
	p := w.bots[rand.N(len(w.bots))]
	p.kill()
	p.start()
	w.mu.Lock()
	w.kills++
	w.mu.Unlock()
}

// serving waits until all processes listen.
func (w *world) serving() {
	w.Helper()
	w.eventually("all processes serve", func() bool {
		for _, b := range w.bots {
			if b.addr() == "" {
				return false
			}
		}
		return true
	})
}

// checkLogs holds what must be true of every log.
func (w *world) checkLogs() {
	for i, b := range w.bots {
		log := b.log.String()
		for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
			if at := strings.Index(log, bad); at >= 0 {
				w.Errorf("process %d: %s", i, log[at:min(len(log), at+4000)])
			}
		}
		for _, secret := range []string{webhookPass, epmSecret, slacktest.BotToken, slacktest.SigningSecret, discordtest.BotToken} {
			if strings.Contains(log, secret) {
				w.Errorf("the log of process %d holds the secret %s…", i, secret[:4])
			}
		}
		if w.Failed() {

			w.Logf("process %d, the end of its log:\n%s", i, b.log.end(60))
		}
	}
}

// eventually waits until ok.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

// card is a message about a ticket.
type card struct {
	id      string
	text    string
	raw     string // all of it, as JSON says it
	buttons bool
	custom  map[string]string // Discord's ids of its buttons, by their action
}

// customIDs are the ids of Discord's buttons about a ticket: the action, the
// digest of the request, and the number.
var customIDs = regexp.MustCompile(`"((approve|deny|details):[0-9a-f]+:JIT-[0-9]+)"`)

func customOf(components string) map[string]string {
	ids := map[string]string{}
	for _, m := range customIDs.FindAllStringSubmatch(components, -1) {
		ids[m[2]] = m[1]
	}
	return ids
}

// board is what people see in the channels, by ticket number.
type board struct{ slack, discord map[string][]card }

var (
	numberForm = regexp.MustCompile(`JIT-[0-9]+`)
	escaped    = regexp.MustCompile(`\\+([[:punct:]])`)
)

// plain is JSON without escapes of < and >.
func plain(b json.RawMessage) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(b))
}

// board looks at the channels; what it returns may be 50 ms old.
func (w *world) board() board {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.drawnAt) < 50*time.Millisecond {
		return w.drawn
	}
	b := board{map[string][]card{}, map[string][]card{}}
	for _, m := range w.slack.Messages(slackChannel) {
		if m.ThreadTS != "" && m.ThreadTS != m.TS {
			continue
		}
		n := numberForm.FindString(m.Text)
		b.slack[n] = append(b.slack[n], card{m.TS, m.Text, plain(m.Blocks), strings.Contains(string(m.Blocks), `"approve"`), nil})
	}
	for _, m := range w.discord.Messages(discordChannel) {
		// The JSON as it is: what is looked for in it stands in one piece.
		text := string(m.Components)
		n := numberForm.FindString(text)
		custom := customOf(text)
		b.discord[n] = append(b.discord[n], card{m.ID, text, plain(m.Components), custom["approve"] != "", custom})
	}
	w.drawn, w.drawnAt = b, time.Now()
	return b
}
