package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const channel = "C01EPM"

// TestContract runs the contract over both ways of delivery.
func TestContract(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			adaptertest.Run(t, func(t *testing.T, h adapters.Handler, wait time.Duration) adaptertest.Harness {
				return begin(t, mode, h, func(_ *slacktest.Config, c *slack.Config) { c.AnswerTime = wait })
			})
		})
	}
}

// world is a chat that runs against a fake Slack.
type world struct {
	t    *testing.T
	fake *slacktest.Server
	chat *slack.Chat
	log  *adaptertest.Journal
	bot  string // address of the bot's endpoints, in HTTP mode

	stop  context.CancelFunc
	ended chan error
	over  chan struct{} // closed when it has ended
}

// prepare makes the fake and the chat without running it.
func prepare(t *testing.T, mode string, h adapters.Handler, change func(*slacktest.Config, *slack.Config)) *world {
	t.Helper()
	fakeConfig := slacktest.Config{AckWait: hang, TriggerLife: hang}
	w := &world{t: t, log: &adaptertest.Journal{}, ended: make(chan error, 1), over: make(chan struct{})}
	config := slack.Config{
		BotToken: slacktest.BotToken,
		Pace:     slack.Pace{PostsPerSecond: 1000, PostBurst: 1000, EditsPerMinute: 60000, EditBurst: 1000},
		// Patience for a machine that does much else; tests of our deadlines
		// set Slack's own.
		AnswerTime: adaptertest.Patience,
		Log:        slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Card:       func() wording.Card { return wording.Card{Moves: adaptertest.Moves, Console: adaptertest.Console} },
	}
	if mode == "socket" {
		config.AppToken = slacktest.AppToken
	} else {
		config.SigningSecrets = []string{slacktest.SigningSecret}
	}
	if change != nil {
		change(&fakeConfig, &config)
	}
	fake, err := slacktest.New(fakeConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w.fake = fake
	members := []string{slacktest.BotUserID}
	for i := range adaptertest.People {
		u := fake.AddUser(slacktest.User{ID: userOf(i), Name: fmt.Sprintf("person%d", i), Email: fmt.Sprintf("person%d@example.com", i)})
		members = append(members, u.ID)
	}
	fake.AddChannel(slacktest.Channel{ID: channel, Name: "epm", Members: members})
	config.APIURL = fake.URL()
	if w.chat, err = slack.New(config); err != nil {
		t.Fatal(err)
	}
	if mode == "http" {
		mux := http.NewServeMux()
		for path, handler := range w.chat.Endpoints(h) {
			mux.Handle(path, handler)
		}
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		w.bot = server.URL
		fake.SetURLs(slacktest.URLs{
			Interactions: server.URL + "/slack/interactions", Commands: server.URL + "/slack/commands", Events: server.URL + "/slack/events",
		})
	}
	t.Cleanup(func() {
		for _, v := range fake.Violations() {
			t.Errorf("violation: %s", v)
		}
		for _, secret := range []string{slacktest.BotToken, slacktest.AppToken, slacktest.SigningSecret, "link?ticket", "/response/"} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("%q is in the log:\n%s", secret, w.log)
			}
		}
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

// run runs the chat until the test ends.
func (w *world) run(h adapters.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() {
		w.ended <- w.chat.Run(ctx, h)
		close(w.over)
	}()
	w.t.Cleanup(func() {
		cancel()
		select {
		case <-w.ended:
		case <-time.After(hang):
			w.t.Error("Run does not end")
		}
	})
}

// begin is prepare, run and the wait until the chat is ready.
func begin(t *testing.T, mode string, h adapters.Handler, change func(*slacktest.Config, *slack.Config)) *world {
	t.Helper()
	w := prepare(t, mode, h, change)
	w.run(h)
	poll(t, "ready", func() bool { return w.chat.Ready() == nil })
	return w
}

const hang = adaptertest.Hang

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(hang)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, hang)
		}
		<-tick.C
	}
}

func userOf(i int) string { return fmt.Sprintf("U%02dPERSON", i) }

func (w *world) Chat() adapters.Chat { return w.chat }

func (w *world) Many(name string, n int) tickets.Principal {
	var users []string
	for i := range n {
		users = append(users, userOf(i))
	}
	g := w.fake.AddGroup(slacktest.Group{ID: "S0" + strings.ToUpper(name), Handle: name, Users: users})
	return tickets.Principal{Platform: slack.Platform, Kind: tickets.Group, ID: g.ID}
}

func (w *world) Missing(p tickets.Principal) string { return p.ID[:1] + "0MISSING" }
func (w *world) Place() tickets.Place {
	return tickets.Place{Platform: slack.Platform, Channel: channel}
}
func (w *world) Actor(i int) tickets.Actor {
	return tickets.Actor{Platform: slack.Platform, ID: userOf(i), Name: fmt.Sprintf("person%d", i)}
}

func (w *world) Cards() []adaptertest.Card {
	var out []adaptertest.Card
	for _, m := range w.fake.Messages(channel) {
		if m.ThreadTS != "" && m.ThreadTS != m.TS {
			continue
		}
		out = append(out, cardOf(m.TS, m.Text, m.Blocks))
	}
	return out
}

// cardOf reads a message as Slack's client would show it.
func cardOf(id, text string, blocks json.RawMessage) adaptertest.Card {
	c := adaptertest.Card{ID: id, Speech: unescape(text), Pings: pings(text)}
	var all any
	if len(blocks) > 0 {
		if err := json.Unmarshal(blocks, &all); err != nil {
			panic(err) // the fake has checked it
		}
	}
	var lines []string
	walk(all, func(o map[string]any) {
		s, _ := o["text"].(string)
		switch o["type"] {
		case "plain_text", "text":
			lines = append(lines, s)
		case "mrkdwn":
			lines = append(lines, unescape(s))
			c.Pings = append(c.Pings, pings(s)...)
		case "user":
			lines = append(lines, "@"+o["user_id"].(string))
			c.Pings = append(c.Pings, o["user_id"].(string))
		case "broadcast", "usergroup":
			c.Pings = append(c.Pings, o["type"].(string))
		case "static_select":
			if o["action_id"] != string(adapters.ActionState) {
				return
			}
			c.Menu = append(c.Menu, o["placeholder"].(map[string]any)["text"].(string))
			for _, one := range o["options"].([]any) {
				c.Menu = append(c.Menu, one.(map[string]any)["text"].(map[string]any)["text"].(string))
			}
		case "button":
			c.Buttons = append(c.Buttons, adapters.Action(o["action_id"].(string)))
		}
	})
	c.Text = strings.Join(lines, "\n")
	return c
}

// walk visits every object, outer ones first and lists in order.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			walk(x, visit)
		}
	case map[string]any:
		visit(v)
		for _, k := range []string{"title", "text", "fields", "label", "elements", "element", "options", "hint", "blocks"} {
			walk(v[k], visit)
		}
	}
}

var pinging = regexp.MustCompile(`<[@!#][^>]*>`)

func pings(mrkdwn string) []string {
	var out []string
	for _, p := range pinging.FindAllString(mrkdwn, -1) {
		if !strings.HasPrefix(p, "<!date^") {
			out = append(out, p)
		}
	}
	return out
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

func (w *world) Replies(id string) []string {
	var out []string
	for _, m := range w.fake.Messages(channel) {
		if m.ThreadTS == id && m.TS != id {
			out = append(out, unescape(m.Text))
		}
	}
	return out
}

func (w *world) Notes(i int) []string {
	var out []string
	for _, e := range w.fake.Person(userOf(i)).Ephemerals() {
		c := cardOf(e.TS, e.Text, e.Blocks)
		if len(c.Pings) > 0 {
			w.t.Errorf("a note notifies %v", c.Pings)
		}
		out = append(out, c.Text)
	}
	return out
}

func (w *world) Pictures(int) ([]string, bool) { return nil, false }

func (w *world) Delete(id string) { w.fake.Delete(channel, id) }

func (w *world) Fail(op adaptertest.Op, how adaptertest.Trouble) {
	f := slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.DropConnection}
	switch op {
	case adaptertest.OpEdit:
		f.Method = "chat.update"
	case adaptertest.OpIdentify:
		f.Method = "users.info"
	case adaptertest.OpHome:
		f.Method = "views.publish"
	case adaptertest.OpAnswer:
		f.Method = "response_url"
	}
	switch how {
	case adaptertest.LostAnswer:
		f.Did = true
	case adaptertest.Limited:
		f.Kind, f.RetryAfter = slacktest.Limited, 30*time.Second
	}
	w.fake.Fail(f)
}

func (w *world) Click(ctx context.Context, i int, id string, action adapters.Action) error {
	return w.fake.Person(userOf(i)).Click(ctx, channel, id, string(action))
}

func (w *world) Choose(ctx context.Context, i int, id string, state tickets.State) error {
	var values []string
	for _, m := range w.fake.Messages(channel) {
		if m.TS == id {
			values = regexp.MustCompile(`"value":"([A-Z]+-[0-9]+ ` + string(state) + `)"`).FindStringSubmatch(string(m.Blocks))
		}
	}
	if values == nil {
		return slacktest.ErrNoSuchOption
	}
	return w.fake.Person(userOf(i)).Choose(ctx, channel, id, "state", values[1])
}

func (w *world) Screen(i int) string {
	v, ok := w.fake.Person(userOf(i)).View()
	if !ok {
		return ""
	}
	return cardOf("", v.Title, v.Raw).Text
}

func (w *world) Submit(ctx context.Context, i int, values map[tickets.FormField]string) ([]string, error) {
	p := w.fake.Person(userOf(i))
	if unit := values[tickets.FieldUnit]; unit != "" {
		if err := p.Act(ctx, "unit", unit); err != nil {
			return nil, err
		}
	}
	in := map[string]string{}
	for k, v := range values {
		in[string(k)] = v
	}
	errs, err := p.Submit(ctx, in)
	var out []string
	for _, say := range errs {
		out = append(out, say)
	}
	return out, err
}

func (w *world) Command(ctx context.Context, i int, text string) (string, error) {
	a, err := w.fake.Person(userOf(i)).Command(ctx, "/epm", text)
	return cardOf("", a.Text, a.Blocks).Text, err
}

func (w *world) Waits(i int) bool {
	for _, e := range w.fake.Person(userOf(i)).Ephemerals() {
		if e.Text == wording.MsgMoment {
			return true
		}
	}
	return false
}

func (w *world) Stop() <-chan struct{} {
	w.stop()
	return w.over
}

func (w *world) OpenHome(ctx context.Context, i int) error {
	return w.fake.Person(userOf(i)).OpenHome(ctx)
}

func (w *world) Home(i int) adaptertest.Card {
	v, ok := w.fake.Person(userOf(i)).Home()
	if !ok {
		return adaptertest.Card{}
	}
	return cardOf(v.ID, "", v.Blocks)
}

func (w *world) ClickHome(ctx context.Context, i int, n tickets.Number, action adapters.Action) error {
	return w.fake.Person(userOf(i)).ActHome(ctx, string(action), string(n))
}

func (w *world) Turn(ctx context.Context, i int, action adapters.Action) error {
	p := w.fake.Person(userOf(i))
	all := p.Ephemerals()
	return p.Click(ctx, channel, all[len(all)-1].TS, string(action))
}

func (w *world) Configure(ctx context.Context, i int, values map[string]string) ([]string, error) {
	p := w.fake.Person(userOf(i))
	v, _ := p.View()
	in := map[string]string{}
	for id := range v.Typed {
		if value, ok := values[strings.Split(id, "@")[0]]; ok {
			in[id] = value
		}
	}
	errs, err := p.Submit(ctx, in)
	return slices.Collect(maps.Values(errs)), err
}

func (w *world) Complete(context.Context, int, string, string, string, map[string]string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
