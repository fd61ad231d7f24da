package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// TestKill runs the program as a process of its own and kills it at random
// moments, while requests come in and people decide. In the end every
// request whose webhook was accepted has exactly one message, which shows
// what EPM has, and no decision took effect twice.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills real processes; not in -short")
	}
	binary := build(t)
	k := newVictim(t, binary)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	const requests, kills = 8, 6
	done := make(chan struct{})
	go func() { // the reaper
		defer close(done)
		for range kills {
			select {
			case <-ctx.Done():
				return
			case <-time.After(50*time.Millisecond + rand.N(600*time.Millisecond)):
				k.kill()
				k.start()
			}
		}
	}()
	var asked []*epmtest.Request
	for i := range requests {
		r, err := k.epm.RequestApp(epmtest.App{User: fmt.Sprintf(`CORP\user%d`, i)})
		if r == nil {
			t.Fatal(err)
		}
		asked = append(asked, r)
		k.tries(ctx, "the webhook of "+r.Number, func() bool { return k.accepted(r) })
	}
	for _, r := range asked {
		k.tries(ctx, "a decision on "+r.Number, func() bool { return k.approves(ctx, r) })
	}
	<-done
	for _, r := range asked {
		k.tries(ctx, "EPM's confirmation of "+r.Number, func() bool { return k.epm.SendUpdate(r.ID) == nil && k.shows(r, "Confirmed by EPM", "EPM recorded") })
		if n := k.epm.TimesInEffect(r.ID); n != 1 {
			t.Errorf("%s was decided %d times at EPM, want once", r.Number, n)
		}
		if n := len(k.cards(r)); n != 1 {
			t.Errorf("%s has %d messages, want 1", r.Number, n)
		}
	}
	for _, v := range append(k.slack.Violations(), k.epm.Violations()...) {
		t.Error(v)
	}
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "countersign")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// victim is a process between a Slack and an EPM that outlive it.
type victim struct {
	*testing.T
	binary, addr string
	env          []string
	slack        *slacktest.Server
	epm          *epmtest.Server
	process      *exec.Cmd
}

func newVictim(t *testing.T, binary string) *victim {
	t.Helper()
	// Pace is Slack's business in other tests; here it would only slow down.
	sl, err := slacktest.New(slacktest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sl.Close)
	sl.AddUser(slacktest.User{ID: "U01ANN", Name: "ann", RealName: "Ann Example"})
	sl.AddChannel(slacktest.Channel{ID: channel, Name: "epm", Members: []string{slacktest.BotUserID, "U01ANN"}})
	ep, err := epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1", Retry: epmtest.Retry{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ep.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	base := "http://" + addr
	sl.SetURLs(slacktest.URLs{Interactions: base + "/slack/interactions", Commands: base + "/slack/commands", Events: base + "/slack/events"})
	ep.SetWebhook(base+"/webhooks/epm", webhookUser, webhookPass)
	k := &victim{T: t, binary: binary, addr: addr, slack: sl, epm: ep, env: []string{
		"COUNTERSIGN_LISTEN=" + addr, "COUNTERSIGN_STORE=sqlite:" + filepath.Join(t.TempDir(), "a.db"),
		"COUNTERSIGN_WEBHOOK_USER=" + webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD=" + webhookPass,
		"COUNTERSIGN_EPM_HOST=" + ep.URL(), "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=epm-secret-1",
		"COUNTERSIGN_SLACK_BOT_TOKEN=" + slacktest.BotToken, "COUNTERSIGN_SLACK_SIGNING_SECRET=" + slacktest.SigningSecret,
		"COUNTERSIGN_SLACK_CHANNEL=" + channel, "COUNTERSIGN_SLACK_API_URL=" + sl.URL(), "COUNTERSIGN_APPROVERS=slack:U01ANN",
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
	}}
	k.start()
	t.Cleanup(k.kill)
	return k
}

func (k *victim) start() {
	k.process = exec.Command(k.binary, "serve")
	k.process.Env = k.env
	if err := k.process.Start(); err != nil {
		k.Error(err)
	}
}

func (k *victim) kill() {
	if err := k.process.Process.Signal(syscall.SIGKILL); err == nil {
		_ = k.process.Wait() // killed: that is its error
	}
}

// tries repeats what somebody outside does until it worked.
func (k *victim) tries(ctx context.Context, what string, act func() bool) {
	k.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !act() {
		select {
		case <-ctx.Done():
			k.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// accepted sends the webhook of r until it was answered with a 2xx.
func (k *victim) accepted(r *epmtest.Request) bool {
	d, err := k.epm.Deliver(k.Context(), k.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{}))
	return err == nil && d.Status == http.StatusOK
}

// cards are the messages about r.
func (k *victim) cards(r *epmtest.Request) []slacktest.Message {
	var list []slacktest.Message
	for _, m := range k.slack.Messages(channel) {
		if (m.ThreadTS == "" || m.ThreadTS == m.TS) && strings.Contains(m.Text, r.User+" ") {
			list = append(list, m)
		}
	}
	return list
}

func (k *victim) shows(r *epmtest.Request, words ...string) bool {
	for _, m := range k.cards(r) {
		for _, w := range words {
			if strings.Contains(m.Text, w) {
				return true
			}
		}
	}
	return false
}

// approves clicks and submits as a person does: again, until the card says
// that it is decided.
func (k *victim) approves(ctx context.Context, r *epmtest.Request) bool {
	if k.shows(r, "submitted to EPM", "Confirmed", "EPM recorded") {
		return true
	}
	cards := k.cards(r)
	if len(cards) == 0 || !buttons(cards[0]) {
		return false
	}
	p := k.slack.Person("U01ANN")
	if p.Click(ctx, channel, cards[0].TS, "approve") != nil {
		return false
	}
	if _, open := p.View(); open {
		_, _ = p.Submit(ctx, map[string]string{"reason": "ok"}) // not answered: seen by the card
		_ = p.CloseView(ctx)
	}
	return false
}
