package discord

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

// memoryNet is a network in memory, for tests whose time is not real.
type memoryNet struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryNet() *memoryNet {
	return &memoryNet{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *memoryNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *memoryNet) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *memoryNet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (n *memoryNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case n.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// simulated runs a chat that listens to a fake Discord, in time that is not
// real.
func simulated(t *testing.T, test func(c *Chat, fake *discordtest.Server)) {
	synctest.Test(t, func(t *testing.T) {
		over := newMemoryNet()
		fake, err := discordtest.New(discordtest.Config{Listener: over})
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DialContext: over.dial}
		var log bytes.Buffer
		c, err := New(Config{
			BotToken: discordtest.BotToken, ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID,
			APIURL: fake.URL(), Transport: transport, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.dial = over.dial
		c.auth.Identified() // who the bot is is asked elsewhere
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.listen(ctx, nil) }()
		test(c, fake)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("listen = %v", err)
		}
		transport.CloseIdleConnections()
		fake.Close()
		for _, v := range fake.Violations() {
			t.Errorf("Discord's rules: %v", v)
		}
		if t.Failed() {
			text := log.String()
			t.Logf("log:\n%s", text[max(0, len(text)-5000):])
		}
	})
}

// TestDayOfCuts lives a day in which the gateway is cut again and again.
func TestDayOfCuts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refused    bool // every RESUME is
		outage     int  // s that the gateway is away at most at each cut, at least 20; 0 for none
		between    int  // s between cuts at most, at least 20
		identifies int  // at most
		connected  float64
		slow       bool // it is said why
	}{
		"Resumed": {false, 0, 120, 20, 0.95, false},
		"Refused": {true, 0, 120, 499, 0.15, true},
		// Discord keeps no session for longer than minutes.
		"Outages": {false, 120, 2 * 60 * 60, 30, 0.95, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulated(t, func(c *Chat, fake *discordtest.Server) {
				fake.RefuseResumes(tt.refused)
				random := rand.New(rand.NewPCG(1, 2))
				const day = 24 * 60 * 60 // s
				next := func() int { return 20 + random.IntN(tt.between-19) }
				up, cuts, left := 0, 0, next()
				slowUp, slowAway := false, false
				for range day {
					time.Sleep(time.Second)
					synctest.Wait()
					if fake.Connections() != 1 {
						slowAway = slowAway || c.Ready() != nil && strings.Contains(c.Ready().Error(), "new ones until")
						continue
					}
					up++
					slowUp = slowUp || len(c.Warnings()) > 0
					if left--; left == 0 {
						fake.Drop()
						if tt.outage > 0 {
							fake.GatewayDown(true)
							time.AfterFunc(time.Duration(20+random.IntN(tt.outage-19))*time.Second, func() { fake.GatewayDown(false) })
						}
						cuts++
						left = next()
					}
				}
				share := float64(up) / day
				t.Logf("%d cuts, %d identifies, %d resumes, connected %.1f %%", cuts, fake.Identifies(), fake.Resumes(), 100*share)
				if n := fake.Identifies(); n > tt.identifies || n == 0 {
					t.Errorf("%d identifies, want at most %d", n, tt.identifies)
				}
				if share < tt.connected {
					t.Errorf("connected %.1f %% of the day, want %.1f", 100*share, 100*tt.connected)
				}
				if slowUp != tt.slow || slowAway != tt.slow {
					t.Errorf("it is said why it is slow: %v while connected, %v while not; want %v", slowUp, slowAway, tt.slow)
				}
			})
		})
	}
}
