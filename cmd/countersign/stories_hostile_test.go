//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/internal/certtest"
)

const (
	hostileConnections = 4000
	// hostilePause is between two pieces of what never ends.
	hostilePause = 300 * time.Millisecond
	// hostileTime bounds a hang.
	hostileTime = 4 * time.Minute
)

// attack is what a stranger sends over a connection: at once, and then piece
// by piece for as long as it is let.
type attack struct{ first, piece string }

// attacks are the ways to hold a server up without being known to it.
func attacks() []attack {
	post := func(path string, headers ...string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: bot\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	}
	now := fmt.Sprint(time.Now().Unix())
	slack := []string{"Content-Type: application/x-www-form-urlencoded", "X-Slack-Request-Timestamp: " + now, "X-Slack-Signature: v0=" + strings.Repeat("a", 64)}
	discord := []string{"Content-Type: application/json", "X-Signature-Timestamp: " + now, "X-Signature-Ed25519: " + strings.Repeat("a", 128)}
	without := []string{"Content-Length: 1048576"}
	length := []string{"Content-Length: 262144"}
	chunked := []string{"Transfer-Encoding: chunked"}
	some := strings.Repeat("x", 200<<10)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(some), some)
	big := "GET /healthz HTTP/1.1\r\nHost: bot\r\nX-Big: " + strings.Repeat("x", 15<<10)
	return []attack{
		{"", ""}, // nothing at all
		{"GET /healthz HTTP/1.1\r\n", "X-A: b\r\n"},
		{big, "x"},
		{post("/slack/interactions", without...), "x"},
		{post("/slack/commands", append(slack, length...)...) + some, "x"},
		{post("/slack/events", append(slack, chunked...)...) + chunk, "1\r\nx\r\n"},
		{post("/discord/interactions", append(discord, length...)...) + some, "x"},
		{post("/discord/interactions", append(discord, chunked...)...) + chunk, "1\r\nx\r\n"},
		{post("/webhooks/epm", append([]string{"Content-Type: application/json", "Authorization: Basic eDp5"}, without...)...), "x"},
		{post("/webhooks/epm", chunked...) + chunk, "1\r\nx\r\n"},
		{strings.Replace(post("/healthz", without...), "POST", "GET", 1), "x"},
		{post("/nowhere", chunked...) + chunk, "1\r\nx\r\n"},
		{strings.Repeat("GET /tickets/JIT-1 HTTP/1.1\r\nHost: bot\r\n\r\n", 20), "GET /metrics HTTP/1.1\r\nHost: bot\r\n\r\n"},
	}
}

// TestStoryHostileConnections holds the real program to little memory, and to
// its answers, while strangers hold connections to it in every way they can.
func TestStoryHostileConnections(t *testing.T) {
	binary := build(t)
	certs, err := certtest.New(certtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		most float64 // MiB
		tls  *tls.Config
		more []string
	}{
		{"Plain", 128, nil, nil},
		{"TLS", 256, &tls.Config{RootCAs: certs.Pool, ServerName: "127.0.0.1"}, []string{"COUNTERSIGN_TLS_CERT=" + certs.Cert, "COUNTERSIGN_TLS_KEY=" + certs.Key}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bot := startHostile(t, binary, tt.tls, tt.more...)
			t.Logf("at first: %.0f MiB", bot.memory("VmHWM"))
			ctx, stop := context.WithTimeout(t.Context(), hostileTime)
			var strangers sync.WaitGroup
			var opened, sent atomic.Int64
			kinds := attacks()
			for i := range hostileConnections {
				strangers.Go(func() {
					for first := true; ctx.Err() == nil; first = false {
						if kinds[i%len(kinds)].hold(ctx, bot.addr, tt.tls, i, &sent) && first {
							opened.Add(1)
						}
						if tt.tls != nil {
							return // handshakes without end would be about the processor, not memory
						}
						sleep(ctx, time.Duration(1+i%5)*time.Second)
					}
				})
			}
			hostileUntil(ctx, t, "all have connected", func() bool { return opened.Load() >= hostileConnections*9/10 })
			var took []time.Duration
			for n := range 20 {
				start := time.Now()
				if status := bot.get(ctx, t, "/healthz"); status != http.StatusOK {
					t.Errorf("healthz = %d", status)
				}
				took = append(took, time.Since(start))
				start = time.Now()
				if status := bot.webhook(ctx, t, n); status != http.StatusOK {
					t.Errorf("a webhook = %d", status)
				}
				took = append(took, time.Since(start))
				sleep(ctx, hostilePause)
			}
			stop()
			strangers.Wait()
			slices.Sort(took)
			peak := bot.memory("VmHWM")
			t.Logf("%d connections were held, %d pieces taken; answers took %v (median) to %v; at most %.0f MiB", opened.Load(), sent.Load(), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), peak)
			if peak > tt.most || peak == 0 {
				t.Errorf("the program took %.0f MiB, want at most %.0f", peak, tt.most)
			}
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func hostileUntil(ctx context.Context, t *testing.T, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("never: %s", what)
		}
		sleep(ctx, 20*time.Millisecond)
	}
}

// hold opens a connection and goes on until it is closed. It reports whether it
// could be opened.
func (a attack) hold(ctx context.Context, addr string, secure *tls.Config, i int, sent *atomic.Int64) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if secure != nil {
		if i%3 == 0 { // a handshake that never ends: the head of a ClientHello
			a = attack{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "x"}
		} else {
			over := tls.Client(conn, secure)
			if over.HandshakeContext(ctx) != nil {
				return true
			}
			conn = over
		}
	}
	go func() { // what is answered is read, or not
		if i%2 == 0 {
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	if _, err := io.WriteString(conn, a.first); err != nil {
		return true
	}
	for ctx.Err() == nil {
		sleep(ctx, hostilePause)
		if a.piece == "" {
			continue
		}
		if _, err := io.WriteString(conn, a.piece); err != nil {
			return true
		}
		sent.Add(1)
	}
	return true
}

// hostileBot is the program as a process of its own.
type hostileBot struct {
	benchProcess
	base   string
	client *http.Client
	epm    *epmtest.Server
}

func startHostile(t *testing.T, binary string, secure *tls.Config, more ...string) *hostileBot {
	t.Helper()
	fakes := newBenchFakes(t)
	chat, err := discordtest.New(discordtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chat.Close)
	chat.AddChannel(discordtest.Channel{ID: discordChannel, Name: "epm"})
	b := &hostileBot{benchProcess: benchProcess{addr: freeAddr(t)}, epm: fakes.epm}
	b.base = "http://" + b.addr
	// Each request over a connection of its own, like those of somebody new.
	b.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure}, Timeout: time.Minute}
	if secure != nil {
		b.base = "https://" + b.addr
	}
	var log bytes.Buffer
	b.cmd = exec.Command(binary, "serve")
	b.cmd.Stdout, b.cmd.Stderr = &log, &log
	b.cmd.Env = append([]string{
		"COUNTERSIGN_LISTEN=" + b.addr, "COUNTERSIGN_STORE=sqlite:" + filepath.Join(t.TempDir(), "a.db"), "COUNTERSIGN_LOG_LEVEL=error",
		"COUNTERSIGN_WEBHOOK_USER=" + webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD=" + webhookPass,
		"COUNTERSIGN_EPM_HOST=" + fakes.epm.URL(), "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=epm-secret-1",
		"COUNTERSIGN_SLACK_BOT_TOKEN=" + slacktest.BotToken, "COUNTERSIGN_SLACK_SIGNING_SECRET=" + slacktest.SigningSecret,
		"COUNTERSIGN_SLACK_CHANNEL=" + channel, "COUNTERSIGN_SLACK_API_URL=" + fakes.slack.URL(), "COUNTERSIGN_APPROVERS=slack:U01ANN",
		"COUNTERSIGN_DISCORD_BOT_TOKEN=" + discordtest.BotToken, "COUNTERSIGN_DISCORD_APPLICATION_ID=" + discordtest.ApplicationID,
		"COUNTERSIGN_DISCORD_GUILD=" + discordtest.GuildID, "COUNTERSIGN_DISCORD_CHANNEL=" + discordChannel,
		"COUNTERSIGN_DISCORD_MODE=http", "COUNTERSIGN_DISCORD_PUBLIC_KEY=" + chat.PublicKey(), "COUNTERSIGN_DISCORD_API_URL=" + chat.URL(),
	}, more...)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("log:\n%s", log.String()[:min(log.Len(), 20_000)])
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	hostileUntil(ctx, t, "the program is ready", func() bool {
		res, err := b.client.Get(b.base + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return b
}

// do sends q until it is answered. On a busy machine a connection may be closed
// as the one that has waited longest before its request is read: who sends
// webhooks tries again then.
func (b *hostileBot) do(t *testing.T, q *http.Request) int {
	t.Helper()
	for try := 1; ; try++ {
		res, err := b.client.Do(q)
		if err == nil {
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
			return res.StatusCode
		}
		t.Logf("%s %s, try %d: %v", q.Method, q.URL.Path, try, err)
		if q.Context().Err() != nil {
			return 0
		}
		if q.GetBody != nil {
			if q.Body, err = q.GetBody(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (b *hostileBot) get(ctx context.Context, t *testing.T, path string) int {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.do(t, q)
}

func (b *hostileBot) webhook(ctx context.Context, t *testing.T, n int) int {
	t.Helper()
	r := b.epm.RequestAppQuietly(epmtest.App{Reason: fmt.Sprint("reason ", n)})
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, b.base+"/webhooks/epm", bytes.NewReader(b.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.SetBasicAuth(webhookUser, webhookPass)
	return b.do(t, q)
}
