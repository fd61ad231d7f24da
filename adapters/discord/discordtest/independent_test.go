package discordtest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
)

// independentFake is a fake of which every exchange is held against Discord's
// own document, with one person and one channel.
func independentFake(t *testing.T) (s *discordtest.Server, person *discordtest.Person, channel string) {
	t.Helper()
	checker, err := spec.New()
	if err != nil {
		t.Fatal(err)
	}
	s, err = discordtest.New(discordtest.Config{Heartbeat: 2 * time.Second, Check: func(e discordtest.Exchange) []string {
		return checker.Exchange(e.Method, e.Path, e.Header, e.Body, e.Status, e.AnswerHeader, e.Answer)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	admin := s.AddRole(discordtest.Role{Name: "admin", Permissions: discordtest.Administrator})
	ann := s.AddUser(discordtest.User{Username: "ann", GlobalName: "Ann Approver", Roles: []string{admin.ID}})
	return s, s.Person(ann.ID), s.AddChannel(discordtest.Channel{Name: "epm"}).ID
}

// node is a program of the folder independent while it runs.
type node struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

// startNode runs a script with the packages of package.json, which are
// installed once into the user's cache folder.
func startNode(t *testing.T, script string, env ...string) *node {
	t.Helper()
	if os.Getenv("COUNTERSIGN_TEST_NODE") != "1" {
		t.Skip("set COUNTERSIGN_TEST_NODE=1 to drive the fake with discord.js and discord-interactions (needs node 20, npm and a package registry)")
	}
	modules := installNode(t)
	script, err := filepath.Abs(filepath.Join("independent", script))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// Node looks for packages beside the script, which is elsewhere.
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Env = append(append(os.Environ(), "NODE_PATH="+modules), env...)
	cmd.WaitDelay = 5 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			n.mu.Lock()
			n.lines = append(n.lines, sc.Text())
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		cancel()
		<-ended
		_ = cmd.Wait() // ended by us
		if t.Failed() {
			t.Logf("output:\n%s", strings.Join(n.lines, "\n"))
		}
	})
	return n
}

func installNode(t *testing.T) (modules string) {
	t.Helper()
	pkg, err := os.ReadFile("independent/package.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("countersign-discordtest-%.6x", sha256.Sum256(pkg)))
	modules = filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(dir, "installed")); err == nil {
		return modules
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), pkg, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "installed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return modules
}

// said returns the n-th line that begins with prefix, without it.
func (n *node) said(prefix string, nth int) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			if nth--; nth == 0 {
				return rest, true
			}
		}
	}
	return "", false
}

// wait waits for the first line that begins with prefix.
func (n *node) wait(prefix string) string { n.t.Helper(); return n.waitNth(prefix, 1) }

func (n *node) waitNth(prefix string, nth int) string {
	n.t.Helper()
	for deadline := time.Now().Add(hang); ; {
		if e, ok := n.said("ERROR ", 1); ok {
			n.t.Fatal(e)
		}
		if rest, ok := n.said(prefix, nth); ok {
			return rest
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the program never said %q", prefix)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// needless matches violations of keys that discord.js sends although they do
// nothing: enforce_nonce and tts, both false, with every message, and the type
// of a thread that is started from a message.
var needless = regexp.MustCompile(`unknown key "(enforce_nonce|tts)"$|request(\.data)?\.enforce_nonce: the document has no such key here$|/threads: (unknown key "type"|request\.type: the document has no such key here)$`)

// TestDiscordJS drives the fake with discord.js: a client that nobody of us
// wrote must find it to be Discord.
func TestDiscordJS(t *testing.T) {
	for _, intents := range []string{"none", "guilds"} {
		t.Run(intents, func(t *testing.T) { driveDiscordJS(t, intents) })
	}
}

func driveDiscordJS(t *testing.T, intents string) {
	s, p, channel := independentFake(t)
	ctx := t.Context()
	// discord.js waits and tries again by itself, if it is told how long.
	const messages = "/channels/{channel}/messages"
	for _, f := range []discordtest.Fault{
		{Method: "POST", Route: messages, Kind: discordtest.Limited},
		{Method: "POST", Route: messages, Kind: discordtest.ServerError, Did: true},
		{Method: "PATCH", Route: messages + "/{message}", Kind: discordtest.LimitedShared},
		{Method: "GET", Route: messages, Kind: discordtest.LimitedGlobal},
	} {
		f.RetryAfter = 100 * time.Millisecond
		s.Fail(f)
	}
	n := startNode(t, "bot.js", "INTENTS="+intents, "API_URL="+s.URL(), "BOT_TOKEN="+discordtest.BotToken, "BOT_USER="+discordtest.BotUserID,
		"GUILD="+discordtest.GuildID, "CHANNEL="+channel, "PERSON="+p.ID())
	n.wait("READY")
	for _, name := range []string{"register", "post", "edit", "thread", "member", "errors of the API"} {
		n.wait("OK " + name)
	}
	if calls := s.CallsTo("POST " + messages); len(calls) < 3 || calls[0].Status != http.StatusTooManyRequests || calls[1].Status != http.StatusBadGateway {
		t.Errorf("calls to post = %+v, want 429, 502 and then more", calls)
	}
	card := s.Messages(channel)[0]
	if m := s.Messages(card.ThreadID); len(m) != 1 || m[0].Content != "in the thread" {
		t.Errorf("messages in the thread = %+v", m)
	}
	if m := s.Messages(s.DM(p.ID())); len(m) != 1 || m[0].Content != "in private" {
		t.Errorf("direct messages = %+v", m)
	}
	if err := p.Click(ctx, channel, card.ID, "details:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	n.wait("OK details")
	if e := p.Ephemerals(); len(e) != 1 || e[0].Content != "the details" {
		t.Errorf("ephemerals after details = %+v", e)
	}
	if got := s.Messages(channel)[0]; !strings.Contains(string(got.Components), "edited by details") {
		t.Errorf("card after details = %s", got.Components)
	}

	if err := p.Select(ctx, channel, card.ID, "state:JIT-1042", "On Hold"); err != nil {
		t.Fatal(err)
	}
	n.wait("OK menu")
	if got := s.Messages(channel)[0]; !strings.Contains(string(got.Components), "on hold") {
		t.Errorf("card after the menu = %s", got.Components)
	}

	if err := p.Click(ctx, channel, card.ID, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	n.wait("OK click")
	form, open := p.Modal()
	if !open || form.Title != "Approve JIT-1042" {
		t.Fatalf("form = %+v, %t", form, open)
	}
	if err := p.Submit(ctx, map[string]string{"reason": "fine", "unit": "minutes"}); err != nil {
		t.Fatal(err)
	}
	n.wait("OK submit")
	var said []string
	for _, e := range p.Ephemerals() {
		said = append(said, e.Content)
	}
	if want := []string{"the details", "approved"}; !slices.Equal(said, want) {
		t.Errorf("ephemerals after the form = %q, want %q", said, want)
	}
	if m := s.Messages(channel); len(m) != 2 || m[1].Content != "for all to see" {
		t.Errorf("messages after the form = %+v", m)
	}

	if err := p.Click(ctx, channel, card.ID, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	n.waitNth("OK click", 2)
	if err := p.Submit(ctx, map[string]string{"reason": "fine"}); err != nil {
		t.Fatal(err)
	}
	n.wait("OK update")
	if got := s.Messages(channel)[0]; !strings.Contains(string(got.Components), "updated by a form") {
		t.Errorf("card after the second form = %s", got.Components)
	}

	if _, err := p.Command(ctx, channel, "status", nil); err != nil {
		t.Errorf("status: %v", err)
	}
	n.wait("OK status")
	choices, err := p.Autocomplete(ctx, channel, "epm ticket", "number", "JIT", nil)
	if err != nil || len(choices) != 1 || choices[0].Value != "JIT-1042" {
		t.Errorf("Autocomplete = %+v, %v", choices, err)
	}
	n.wait("OK autocomplete")
	if _, err := p.Command(ctx, channel, "ticket", map[string]string{"number": "JIT-1042"}); err != nil {
		t.Errorf("ticket: %v", err)
	}
	n.wait("OK ticket")
	if m := s.Messages(channel); len(m) != 3 || m[2].Content != "ticket JIT-1042" {
		t.Errorf("messages after the command = %+v", m)
	}

	eventually(t, "a heartbeat", func() bool { return s.Heartbeats() > 0 })
	if n := s.Resumes(); n > 0 {
		t.Errorf("%d resumes before anything was broken", n)
	}
	// Whatever happens to the connection, discord.js comes back and clicks work.
	for i, tt := range []struct {
		name string
		do   func()
		back string
		nth  int
	}{
		{"op 7", s.Reconnect, "OK resume", 1},
		{"cut", s.Drop, "OK resume", 2},
		{"silence", func() { s.AckHeartbeats(false) }, "OK resume", 3},
		{"op 9", s.Invalidate, "OK ready again", 1},
	} {
		tt.do()
		n.waitNth(tt.back, tt.nth)
		s.AckHeartbeats(true)
		if err := p.Click(ctx, channel, card.ID, "details:JIT-1042"); err != nil {
			t.Errorf("click after %s: %v", tt.name, err)
		}
		n.waitNth("OK details", i+2)
	}
	for _, v := range s.Violations() {
		if !needless.MatchString(v) {
			t.Errorf("violation: %s", v)
		}
	}
}

// TestSignatures lets Discord's own package for Node check what the fake signs.
func TestSignatures(t *testing.T) {
	s, p, channel := independentFake(t)
	ctx := t.Context()
	n := startNode(t, "endpoint.js", "PUBLIC_KEY="+s.PublicKey())
	url := "http://127.0.0.1:" + n.wait("READY ") + "/interactions"
	if err := s.SetInteractionsURL(ctx, url); err != nil {
		t.Fatalf("the URL was not accepted: %v", err)
	}
	// The reply is ephemeral and says "verified".
	if err := p.ClickRaw(ctx, channel, s.Say(channel, p.ID(), "hello").ID, "approve:JIT-1042"); err != nil {
		t.Errorf("ClickRaw: %v", err)
	}
	if e := p.Ephemerals(); len(e) != 1 || e[0].Content != "verified" {
		t.Errorf("ephemerals = %+v", e)
	}
	deliveries := s.Deliveries()
	if len(deliveries) != 1 || deliveries[0].Status != http.StatusOK {
		t.Fatalf("deliveries = %+v", deliveries)
	}
	last := deliveries[0]
	sign := last.Header.Get("X-Signature-Ed25519")
	for _, tt := range []struct {
		name string
		raw  discordtest.RawDelivery
		want int
	}{
		{"good", discordtest.RawDelivery{}, http.StatusOK},
		{"bodies in other letters", discordtest.RawDelivery{Body: string(p.ClickBody(channel, "1", "ü€😀"))}, http.StatusOK},
		{"replayed", discordtest.RawDelivery{Replay: &last}, http.StatusOK}, // the package looks at no clock
		{"other key", discordtest.RawDelivery{OtherKey: true}, http.StatusUnauthorized},
		{"signature of something else", discordtest.RawDelivery{Signature: sign}, http.StatusUnauthorized},
		{"short signature", discordtest.RawDelivery{Signature: sign[:64]}, http.StatusUnauthorized},
		{"unsigned", discordtest.RawDelivery{Unsigned: true}, http.StatusUnauthorized},
	} {
		if status, body, err := s.Deliver(ctx, tt.raw); err != nil || status != tt.want {
			t.Errorf("%s: Deliver = %d %q, %v, want %d", tt.name, status, body, err, tt.want)
		}
	}
	for _, v := range s.Violations() {
		t.Errorf("violation: %s", v)
	}
}
