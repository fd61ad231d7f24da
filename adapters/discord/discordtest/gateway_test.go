package discordtest_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/gorilla/websocket"
)

func TestGateway(t *testing.T) {
	s := newFake(t, discordtest.Config{Heartbeat: 50 * time.Millisecond})
	b := newBot(t, s, nil)
	hello := b.wait("HELLO", op(10))
	var d struct {
		Interval int `json:"heartbeat_interval"`
	}
	if err := json.Unmarshal(hello.D, &d); err != nil || d.Interval != 50 {
		t.Errorf("HELLO = %s", hello.D)
	}
	ready := b.wait("READY", event("READY"))
	var r struct {
		V           int
		User        struct{ ID string }
		Guilds      []struct{ ID string }
		SessionID   string `json:"session_id"`
		Resume      string `json:"resume_gateway_url"`
		Application struct{ ID string }
	}
	if err := json.Unmarshal(ready.D, &r); err != nil || r.V != 10 || r.User.ID != discordtest.BotUserID || r.SessionID == "" || r.Resume == "" ||
		r.Application.ID != discordtest.ApplicationID || len(r.Guilds) != 1 {
		t.Errorf("READY = %s", ready.D)
	}
	b.send(1, nil)
	b.wait("ACK", op(11))
	before := s.Heartbeats()
	s.RequestHeartbeats()
	eventually(t, "the bot answers op 1", func() bool { return s.Heartbeats() > before })
	if s.Connections() != 1 || s.Identifies() != 1 {
		t.Errorf("%d connections, %d identifies", s.Connections(), s.Identifies())
	}
	s.AckHeartbeats(false)
	acks := func() int {
		n := 0
		b.got(func(p packet) bool {
			if p.Op == 11 {
				n++
			}
			return false
		})
		return n
	}
	n, beats := acks(), s.Heartbeats()
	b.send(1, nil)
	b.send(1, nil)
	eventually(t, "heartbeats came", func() bool { return s.Heartbeats() == beats+2 })
	s.Reconnect()
	b.wait("op 7", op(7)) // it comes after any ack
	if acks() != n {
		t.Error("heartbeats were acknowledged all the same")
	}
	b.ws.Close()
	eventually(t, "the connection is gone", func() bool { return s.Connections() == 0 })
	noViolations(t, s)
}

func TestIdentifyIsChecked(t *testing.T) {
	identify := func(change func(d map[string]any)) map[string]any {
		d := map[string]any{"token": "Bot " + discordtest.BotToken, "intents": 0, "properties": map[string]any{}}
		change(d)
		return d
	}
	for name, c := range map[string]struct {
		op   int
		d    any
		want int
		bad  bool
	}{
		"wrong token":     {2, identify(func(d map[string]any) { d["token"] = "x" }), 4004, false},
		"no intents":      {2, identify(func(d map[string]any) { delete(d, "intents") }), 4013, false},
		"unknown intents": {2, identify(func(d map[string]any) { d["intents"] = 1 << 40 }), 4013, false},
		"privileged":      {2, identify(func(d map[string]any) { d["intents"] = 1 << 15 }), 4014, true},
		"shard":           {2, identify(func(d map[string]any) { d["shard"] = []int{1, 2} }), 4010, false},
		"not identified":  {3, map[string]any{}, 4003, false},
		"unknown opcode":  {77, nil, 4001, true},
		"not an object":   {2, "x", 4002, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake(t, discordtest.Config{})
			b := dial(t, s)
			b.run()
			b.wait("HELLO", op(10))
			b.send(c.op, c.d)
			if got := b.closed(); got != c.want {
				t.Errorf("closed with %d, want %d", got, c.want)
			}
			if got := len(s.Violations()) > 0; got != c.bad {
				t.Errorf("violations = %q", s.Violations())
			}
		})
	}
	s := newFake(t, discordtest.Config{IdentifyEvery: time.Hour})
	b := newBot(t, s, nil)
	b.identify(0)
	if got := b.closed(); got != 4005 {
		t.Errorf("second IDENTIFY: %d", got)
	}
	b = dial(t, s)
	b.run()
	b.identify(0)
	b.wait("op 9", op(9))
	oneViolation(t, s, "IDENTIFY twice")
}

func TestGatewayFaults(t *testing.T) {
	t.Run("NoHello", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.NoHello})
		b := dial(t, s)
		b.run()
		b.identify(0)
		newBot(t, s, nil) // the next one goes well
		if _, any := b.got(func(packet) bool { return true }); any || s.Connections() != 1 {
			t.Errorf("%d connections, packets %v", s.Connections(), b.seen)
		}
	})
	t.Run("NoReady", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.NoReady})
		b := dial(t, s)
		b.run()
		b.identify(0)
		b.send(1, nil)
		b.wait("ACK", op(11))
		if s.Connections() != 0 {
			t.Error("READY")
		}
	})
	t.Run("Op7First", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.Op7First, Skip: 1, Times: 2})
		newBot(t, s, nil)
		for range 2 {
			b := dial(t, s)
			b.run()
			b.identify(0)
			b.wait("op 7", op(7))
		}
		newBot(t, s, nil)
		if s.Connections() != 2 {
			t.Errorf("%d connections", s.Connections())
		}
	})
	t.Run("Op9First", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.Op9First})
		b := dial(t, s)
		b.run()
		b.identify(0)
		if p := b.wait("op 9", op(9)); string(p.D) != "false" {
			t.Errorf("d = %s", p.D)
		}
		b.identify(0)
		b.wait("READY", event("READY"))
	})
	t.Run("NoAck", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.NoAck})
		b := newBot(t, s, nil)
		b.send(1, nil)
		eventually(t, "the heartbeat came", func() bool { return s.Heartbeats() == 1 })
		s.Reconnect()
		b.wait("op 7", op(7))
		if _, acked := b.got(op(11)); acked {
			t.Error("acknowledged")
		}
	})
	t.Run("CloseWith", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.CloseWith, Code: 4014})
		b := dial(t, s)
		b.run()
		b.identify(0)
		if got := b.closed(); got != 4014 {
			t.Errorf("closed with %d", got)
		}
		b = newBot(t, s, nil)
		s.CloseConnections(4000)
		if got := b.closed(); got != 4000 {
			t.Errorf("closed with %d", got)
		}
		b = newBot(t, s, nil)
		s.RevokeToken()
		if got := b.closed(); got != 4004 {
			t.Errorf("closed with %d", got)
		}
	})
	t.Run("RefuseUpgrade", func(t *testing.T) {
		s := newFake(t, discordtest.Config{})
		s.FailGateway(discordtest.GatewayFault{Kind: discordtest.RefuseUpgrade, Status: 502})
		_, resp, err := websocket.DefaultDialer.Dial("ws"+s.URL()[4:], nil)
		if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != 502 {
			t.Errorf("%v, %v", resp, err)
		}
		newBot(t, s, nil)
		s.GatewayDown(true)
		eventually(t, "cut", func() bool { return s.Connections() == 0 })
		_, resp, err = websocket.DefaultDialer.Dial("ws"+s.URL()[4:], nil)
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%v, %v", resp, err)
		}
		want(t, "REST works", rest(s, "GET", "/gateway/bot", ""), 200, 0)
		s.GatewayDown(false)
		newBot(t, s, nil)
	})
}

func TestResume(t *testing.T) {
	s := newFake(t, discordtest.Config{AckWait: hang})
	answer := func(in interaction) { want(t, "answer", in.callback(`{"type":6}`), 204, 0) }
	b := newBot(t, s, answer)
	id := post(t, s, card)
	if err := s.Person(ann).Click(t.Context(), epm, id, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	var ready struct {
		SessionID string `json:"session_id"`
	}
	_ = json.Unmarshal(b.wait("READY", event("READY")).D, &ready)
	seq := b.wait("click", event("INTERACTION_CREATE")).S
	s.Drop()
	b.closed()

	clicked := make(chan error, 1)
	go func() { clicked <- s.Person(ann).Click(t.Context(), epm, id, "deny:JIT-1042") }()
	eventually(t, "the click is on its way", func() bool { return len(s.Deliveries()) == 2 })
	resume := func(on func(interaction), session string, seq int) *bot {
		b := dial(t, s)
		b.on = on
		b.run()
		b.send(6, map[string]any{"token": discordtest.BotToken, "session_id": session, "seq": seq})
		return b
	}
	b = resume(answer, ready.SessionID, seq)
	b.wait("RESUMED", event("RESUMED"))
	if err := <-clicked; err != nil {
		t.Errorf("a click during a short cut: %v", err)
	}
	n := 0
	b.got(func(p packet) bool {
		if p.T == "INTERACTION_CREATE" {
			n++
		}
		return false
	})
	if n != 1 || s.Connections() != 1 || s.Resumes() != 1 || s.Identifies() != 1 {
		t.Errorf("%d replayed, %d connections, %d resumes, %d identifies", n, s.Connections(), s.Resumes(), s.Identifies())
	}
	if p := resume(nil, "unknown", 1).wait("op 9", op(9)); string(p.D) != "false" {
		t.Errorf("d = %s", p.D)
	}
	if got := resume(nil, ready.SessionID, 999).closed(); got != 4007 {
		t.Errorf("seq from the future: %d", got)
	}
	s.Invalidate()
	b = newBot(t, s, nil)
	s.Invalidate()
	b.wait("op 9", op(9))
	if s.Connections() != 0 {
		t.Errorf("%d connections", s.Connections())
	}
	noViolations(t, s)
}

func TestEvents(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	b := dial(t, s)
	b.run()
	b.identify(1)
	b.wait("GUILD_CREATE", event("GUILD_CREATE"))
	deaf := newBot(t, s, nil)
	s.RemoveChannel(epm)
	b.wait("CHANNEL_DELETE", event("CHANNEL_DELETE"))
	s.RemoveBot()
	b.wait("GUILD_DELETE", event("GUILD_DELETE"))
	if n := s.Dispatch("SOMETHING_NEW", json.RawMessage(`{"x":1}`)); n != 2 {
		t.Errorf("Dispatch = %d", n)
	}
	deaf.wait("SOMETHING_NEW", event("SOMETHING_NEW"))
	if _, got := deaf.got(event("CHANNEL_DELETE")); got {
		t.Error("an event without its intent")
	}
}

// TestDiscordgo connects with a client that nobody of us wrote.
func TestDiscordgo(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	d, err := discordgo.New("Bot " + discordtest.BotToken)
	if err != nil {
		t.Fatal(err)
	}
	d.Client = &http.Client{Timeout: hang, Transport: rewrite(s.URL()[len("http://"):])}
	d.Identify.Intents = 0
	d.AddHandler(func(d *discordgo.Session, in *discordgo.InteractionCreate) {
		if in.Type != discordgo.InteractionMessageComponent || in.Member.User.ID != ann || in.MessageComponentData().CustomID != "approve:JIT-1042" {
			t.Errorf("interaction = %+v", in.Interaction)
		}
		err := d.InteractionRespond(in.Interaction, &discordgo.InteractionResponse{Type: discordgo.InteractionResponseChannelMessageWithSource,
			Data: &discordgo.InteractionResponseData{Content: "note", Flags: discordgo.MessageFlagsEphemeral,
				AllowedMentions: &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}}}})
		if err != nil {
			t.Errorf("respond: %v", err)
		}
	})
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := d.ChannelMessageSendComplex(epm, &discordgo.MessageSend{
		Flags: discordgo.MessageFlagsIsComponentsV2, AllowedMentions: &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}},
		Components: []discordgo.MessageComponent{discordgo.Container{Components: []discordgo.MessageComponent{discordgo.TextDisplay{Content: "hello"},
			discordgo.ActionsRow{Components: []discordgo.MessageComponent{discordgo.Button{Label: "Approve", CustomID: "approve:JIT-1042", Style: discordgo.SuccessButton}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Person(ann).Click(t.Context(), epm, m.ID, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	if e := s.Person(ann).Ephemerals(); len(e) != 1 || e[0].Content != "note" {
		t.Errorf("ephemerals = %+v", e)
	}
	noViolations(t, s)
}

// rewrite sends every request to one host.
type rewrite string

func (host rewrite) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", string(host)
	return http.DefaultTransport.RoundTrip(r)
}
