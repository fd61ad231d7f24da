package slacktest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/adapters/slack/slacktest"
)

// TestOfficialSDKs drives the fake with Slack's own SDKs for Node: what nobody
// of us wrote must find it to be Slack. The packages are installed once into
// the user's cache folder.
func TestOfficialSDKs(t *testing.T) {
	if os.Getenv("COUNTERSIGN_TEST_NODE") != "1" {
		t.Skip("set COUNTERSIGN_TEST_NODE=1 to drive the fake with Slack's own SDKs (needs node 20, npm and a package registry)")
	}
	dir := installSDKs(t)
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) { driveSDKs(t, dir, mode) })
	}
}

func installSDKs(t *testing.T) string {
	t.Helper()
	pkg, err := os.ReadFile("independent/package.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("countersign-slacktest-%.6x", sha256.Sum256(pkg)))
	if _, err := os.Stat(filepath.Join(dir, "installed")); err == nil {
		return dir
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
	return dir
}

func driveSDKs(t *testing.T, dir, mode string) {
	s, _ := newFake(t, slacktest.Config{AllowArgs: []string{"team_id"}})
	script, err := filepath.Abs("independent/app.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Node looks for packages beside the script, which is elsewhere.
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"), "MODE="+mode, "API_URL="+s.URL(), "CHANNEL="+channel,
		"BOT_TOKEN="+slacktest.BotToken, "APP_TOKEN="+slacktest.AppToken, "SIGNING_SECRET="+slacktest.SigningSecret)
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
	var mu sync.Mutex
	var lines []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			mu.Lock()
			lines = append(lines, sc.Text())
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		cancel()
		<-ended
		_ = cmd.Wait() // ended by us
		if t.Failed() {
			t.Logf("output:\n%s", strings.Join(lines, "\n"))
		}
	})
	said := func(prefix string) string {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				return rest + " "
			}
		}
		return ""
	}
	wait := func(prefix string) {
		t.Helper()
		eventually(t, prefix, func() bool { return said(prefix) != "" || said("ERROR") != "" })
		if e := said("ERROR"); e != "" {
			t.Fatal(e)
		}
	}
	wait("READY ")
	if mode == "http" {
		u := "http://127.0.0.1:" + strings.TrimSpace(said("READY ")) + "/slack/events"
		s.SetURLs(slacktest.URLs{Interactions: u, Commands: u, Events: u})
		if err := s.VerifyURL(ctx); err != nil {
			t.Error(err)
		}
	} else {
		eventually(t, "socket", func() bool { return s.Sockets() == 1 })
	}
	p := s.Person(ann)
	if err := p.Click(ctx, channel, s.Messages(channel)[0].TS, "approve"); err != nil {
		t.Fatal(err)
	}
	wait("OK click")
	fields, err := p.Submit(ctx, map[string]string{"reason": "fine", "amount": "3"})
	if err != nil || fields["amount"] != "Enter a number between 5 and 1440" {
		t.Fatalf("Submit = %v, %v", fields, err)
	}
	if fields, err = p.Submit(ctx, map[string]string{"amount": ""}); err != nil || fields != nil {
		t.Fatalf("Submit = %v, %v", fields, err)
	}
	if a, err := p.Command(ctx, "/epm", "status"); err != nil || a.Text != "you said status" {
		t.Errorf("Command = %+v, %v", a, err)
	}
	if e := p.Ephemerals(); len(e) != 2 || e[0].Text != "form opened" {
		t.Errorf("ephemerals = %+v", e)
	}
	if err := p.Choose(ctx, channel, s.Messages(channel)[0].TS, "state", "JIT-1042 On Hold"); err != nil {
		t.Error(err)
	}
	wait("OK menu")
	if err := p.OpenHome(ctx); err != nil {
		t.Error(err)
	}
	wait("OK home")
	if err := p.ActHome(ctx, "deny", "JIT-1043"); err != nil {
		t.Error(err)
	}
	wait("OK home click")
	if v, open := p.View(); !open || v.CallbackID != "approve" {
		t.Errorf("the form from the home tab is %+v", v)
	}
	for _, name := range []string{"post", "update", "history", "errors of the API", "click", "errors", "submit", "command", "home"} {
		wait("OK " + name)
	}
	if v, ok := p.Home(); !ok || !strings.Contains(string(v.Blocks), "decided") {
		t.Errorf("the home tab is %+v", v)
	}
	noViolations(t, s)
}
