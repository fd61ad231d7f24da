package discord_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	channel = "500000000000000001"
	// interactionToken is how the tokens of interactions begin.
	interactionToken = "aW50ZXJhY3Rpb24"
)

// TestMain lets the tests wait side by side: most of them wait for others, and
// a session of the library takes a second to end.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestContract runs the contract over both ways of delivery.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, func(t *testing.T, h adapters.Handler, wait time.Duration) adaptertest.Harness {
				return begin(t, mode, h, func(_ *discordtest.Config, c *discord.Config) { c.AnswerTime = wait })
			})
		})
	}
}

// world is a chat that runs against a fake Discord.
type world struct {
	t    testing.TB
	fake *discordtest.Server
	chat *discord.Chat
	log  *adaptertest.Journal
	bot  string // address of the bot's endpoint, in HTTP mode
	cfg  discord.Config

	stop  context.CancelFunc
	ended chan error
	over  chan struct{} // closed when it has ended

	mu      sync.Mutex
	details map[int]string // by person: the details they look at
}

// prepare makes the fake and the chat without running it.
func prepare(t testing.TB, mode string, h adapters.Handler, change func(*discordtest.Config, *discord.Config)) *world {
	t.Helper()
	check, err := spec.New()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, log: &adaptertest.Journal{}, ended: make(chan error, 1), over: make(chan struct{}), details: map[int]string{}}
	fakeConfig := discordtest.Config{AckWait: hang, Check: func(x discordtest.Exchange) []string {
		return check.Exchange(x.Method, x.Path, x.Header, x.Body, x.Status, x.AnswerHeader, x.Answer)
	}}
	config := discord.Config{
		BotToken: discordtest.BotToken, ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID,
		HTTP: mode == "http",
		// Patience for a machine that does much else; tests of our deadlines set
		// Discord's own.
		AnswerTime: adaptertest.Patience,
		Pace:       discord.Pace{CallsPerSecond: 10000, OldEdits: 1000},
		Gateway:    discord.Gateway{First: 10 * time.Millisecond, Last: 100 * time.Millisecond, Start: time.Millisecond},
		Card:       func() wording.Card { return wording.Card{Moves: adaptertest.Moves, Console: adaptertest.Console} },
		Log:        slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&fakeConfig, &config)
	}
	fake, err := discordtest.New(fakeConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w.fake = fake
	for i := range adaptertest.People {
		fake.AddUser(discordtest.User{ID: userOf(i), Username: fmt.Sprintf("person%d", i)})
	}
	fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm"})
	config.APIURL, config.PublicKey = fake.URL(), fake.PublicKey()
	w.cfg = config
	if w.chat, err = discord.New(config); err != nil {
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
		if err := fake.SetInteractionsURL(t.Context(), server.URL+"/discord/interactions"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, v := range fake.Violations() {
			t.Errorf("violation: %s", v)
		}
		for _, secret := range []string{discordtest.BotToken, interactionToken, "/callback?", "/webhooks/" + discordtest.ApplicationID} {
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

// begin is prepare, run and the wait until the chat is ready and the slash
// command registered.
func begin(t testing.TB, mode string, h adapters.Handler, change func(*discordtest.Config, *discord.Config)) *world {
	t.Helper()
	w := prepare(t, mode, h, change)
	w.run(h)
	w.poll("ready", func() bool { return w.chat.Ready() == nil })
	w.poll("the slash command", func() bool { return strings.Contains(string(w.fake.Commands()), "test-connection") })
	return w
}

const hang = adaptertest.Hang

func (w *world) poll(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(hang)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %v\n%s", what, hang, w.log)
		}
		<-tick.C
	}
}

func userOf(i int) string { return fmt.Sprintf("3000000000000000%02d", i) }

func (w *world) Chat() adapters.Chat { return w.chat }

func (w *world) Many(name string, n int) tickets.Principal {
	id := fmt.Sprintf("41000000000000%04d", len(name))
	w.fake.AddRole(discordtest.Role{ID: id, Name: name})
	for i := range n {
		w.fake.AddUser(discordtest.User{ID: userOf(i), Username: fmt.Sprintf("person%d", i), Roles: []string{id}})
	}
	return tickets.Principal{Platform: discord.Platform, Kind: tickets.Role, ID: id}
}

func (w *world) Missing(tickets.Principal) string { return "499999999999999999" }
func (w *world) Place() tickets.Place {
	return tickets.Place{Platform: discord.Platform, Channel: channel}
}
func (w *world) Actor(i int) tickets.Actor {
	return tickets.Actor{Platform: discord.Platform, ID: userOf(i), Name: fmt.Sprintf("person%d", i)}
}

func (w *world) Cards() []adaptertest.Card {
	var out []adaptertest.Card
	for _, m := range w.fake.Messages(channel) {
		c := cardOf(m.ID, m.Components)
		c.Pings = m.Pings
		out = append(out, c)
	}
	return out
}

// cardOf reads components as Discord's client would show them.
func cardOf(id string, components json.RawMessage) adaptertest.Card {
	c := adaptertest.Card{ID: id}
	var all any
	if len(components) > 0 {
		if err := json.Unmarshal(components, &all); err != nil {
			panic(err) // the fake has checked it
		}
	}
	var lines []string
	walk(all, func(o map[string]any) {
		for _, key := range []string{"content", "label", "description", "title"} {
			if s, ok := o[key].(string); ok {
				lines = append(lines, unmark(s))
			}
		}
		if o["type"] == float64(10) && c.Speech == "" {
			c.Speech = lines[len(lines)-1]
		}
		if o["type"] == float64(3) && o["placeholder"] != nil {
			c.Menu = append(c.Menu, o["placeholder"].(string))
			for _, one := range o["options"].([]any) {
				c.Menu = append(c.Menu, one.(map[string]any)["label"].(string))
			}
		}
		if id, ok := o["custom_id"].(string); ok && o["type"] == float64(2) {
			action, _, _ := strings.Cut(id, ":")
			c.Buttons = append(c.Buttons, adapters.Action(action))
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
		for _, k := range []string{"components", "component", "accessory", "options"} {
			walk(v[k], visit)
		}
	}
}

var (
	marks = regexp.MustCompile(`\\([[:punct:]])`)
	bold  = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// unmark is a text without the formatting that we use.
func unmark(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "```") {
		if i%2 == 0 {
			part = bold.ReplaceAllString(part, "$1")
			part = marks.ReplaceAllString(part, "$1")
		}
		b.WriteString(part)
	}
	return b.String()
}

func (w *world) Replies(id string) []string {
	var out []string
	for _, m := range w.fake.Messages(id) {
		out = append(out, cardOf(m.ID, m.Components).Text)
	}
	return out
}

func (w *world) Notes(i int) []string {
	var out []string
	for _, e := range w.fake.Person(userOf(i)).Ephemerals() {
		out = append(out, cardOf(e.ID, e.Components).Text)
	}
	return out
}

func (w *world) Pictures(i int) (alts []string, shows bool) {
	for _, e := range w.fake.Person(userOf(i)).Ephemerals() {
		for _, f := range e.Files {
			if _, err := png.Decode(bytes.NewReader(f.Content)); err != nil || f.ContentType != "image/png" {
				w.t.Errorf("%s is of type %s: %v", f.Name, f.ContentType, err)
			}
			alts = append(alts, f.Description)
		}
	}
	return alts, true
}

func (w *world) Delete(id string) { w.fake.Delete(channel, id) }

func (w *world) Fail(op adaptertest.Op, how adaptertest.Trouble) {
	f := discordtest.Fault{Method: http.MethodPost, Route: "/channels/{channel}/messages", Kind: discordtest.DropConnection}
	switch op {
	case adaptertest.OpEdit:
		f.Method, f.Route = http.MethodPatch, "/channels/{channel}/messages/{message}"
	case adaptertest.OpReply:
		f.Skip = 1 // the first finds out that there is no thread yet
	case adaptertest.OpAnswer:
		f.Method, f.Route = http.MethodPatch, "/webhooks/{application}/{token}/messages/{message}"
	case adaptertest.OpIdentify:
		f.Method, f.Route, f.Kind = http.MethodGet, routeMember, discordtest.ServerError // a read that is dropped is made again by net/http
	}
	switch how {
	case adaptertest.LostAnswer:
		f.Did = true
	case adaptertest.Limited:
		f.Kind, f.RetryAfter = discordtest.Limited, 30*time.Second
	}
	w.fake.Fail(f)
}

func (w *world) Click(ctx context.Context, i int, id string, action adapters.Action) error {
	p := w.fake.Person(userOf(i))
	custom := ""
	for _, m := range w.fake.Messages(channel) {
		if m.ID == id {
			custom = customID(m.Components, action)
		}
	}
	if custom == "" {
		return discordtest.ErrNoSuchButton
	}
	before := len(p.Ephemerals())
	if err := p.Click(ctx, channel, id, custom); err != nil {
		if errors.Is(err, discordtest.ErrNoSuchButton) {
			return nil // the card changed meanwhile, as a person would see
		}
		return err
	}
	if action == adapters.ActionDetails {
		w.poll("the details", func() bool { return len(p.Ephemerals()) > before })
		var text []string
		for _, e := range p.Ephemerals()[before:] {
			text = append(text, cardOf(e.ID, e.Components).Text)
		}
		w.mu.Lock()
		w.details[i] = strings.Join(text, "\n")
		w.mu.Unlock()
	}
	return nil
}

func (w *world) Choose(ctx context.Context, i int, id string, state tickets.State) error {
	custom := ""
	for _, m := range w.fake.Messages(channel) {
		if m.ID == id {
			custom = customID(m.Components, adapters.ActionState)
		}
	}
	return w.fake.Person(userOf(i)).Select(ctx, channel, id, custom, string(state))
}

func customID(components json.RawMessage, action adapters.Action) string {
	found := ""
	var all any
	if json.Unmarshal(components, &all) != nil {
		return ""
	}
	walk(all, func(o map[string]any) {
		if id, _ := o["custom_id"].(string); strings.HasPrefix(id, string(action)+":") {
			found = id
		}
	})
	return found
}

func (w *world) Screen(i int) string {
	if m, open := w.fake.Person(userOf(i)).Modal(); open {
		return m.Title + "\n" + cardOf("", modalComponents(m.Raw)).Text
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.details[i]
}

func modalComponents(raw json.RawMessage) json.RawMessage {
	var m struct {
		Components json.RawMessage `json:"components"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m.Components
}

// again is the message that says what was wrong with a form, with its button.
func (w *world) again(i int) (id, custom, text string) {
	all := w.fake.Person(userOf(i)).Ephemerals()
	if len(all) == 0 {
		return "", "", ""
	}
	last := all[len(all)-1]
	for _, a := range []adapters.Action{adapters.ActionApprove, adapters.ActionDeny} {
		if c := customID(last.Components, a); c != "" {
			return last.ID, c, cardOf(last.ID, last.Components).Text
		}
	}
	return "", "", ""
}

func (w *world) Submit(ctx context.Context, i int, values map[tickets.FormField]string) ([]string, error) {
	p := w.fake.Person(userOf(i))
	if _, open := p.Modal(); !open {
		id, custom, _ := w.again(i)
		if id == "" {
			return nil, errors.New("no form is open")
		}
		if err := p.ClickEphemeral(ctx, id, custom); err != nil {
			return nil, err
		}
	}
	in := map[string]string{}
	for k, v := range values {
		in[string(k)] = v
	}
	if err := p.Submit(ctx, in); err != nil {
		return nil, err
	}
	if _, _, text := w.again(i); text != "" {
		return []string{text}, nil
	}
	return nil, nil
}

func (w *world) Command(ctx context.Context, i int, text string) (string, error) {
	sub, _, _ := strings.Cut(text, " ")
	e, err := w.fake.Person(userOf(i)).Command(ctx, channel, sub, nil)
	if err != nil || e == nil {
		return "", err
	}
	return cardOf(e.ID, e.Components).Text, nil
}

func (w *world) Waits(i int) bool {
	for _, e := range w.fake.Person(userOf(i)).Ephemerals() {
		if e.Flags&discordtest.FlagLoading != 0 {
			return true
		}
	}
	return false
}

func (w *world) Stop() <-chan struct{} {
	w.stop()
	return w.over
}

func (w *world) Turn(ctx context.Context, i int, action adapters.Action) error {
	p := w.fake.Person(userOf(i))
	all := p.Ephemerals()
	last := all[len(all)-1]
	custom := customID(last.Components, action)
	if custom == "" {
		return discordtest.ErrNoSuchButton
	}
	return p.ClickEphemeral(ctx, last.ID, custom)
}

// Discord has no page of one's own.
func (w *world) OpenHome(context.Context, int) error { return errors.ErrUnsupported }
func (w *world) Home(int) adaptertest.Card           { return adaptertest.Card{} }
func (w *world) ClickHome(context.Context, int, tickets.Number, adapters.Action) error {
	return errors.ErrUnsupported
}

func (w *world) Configure(context.Context, int, map[string]string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

func (w *world) Complete(ctx context.Context, i int, word, arg, typed string, given map[string]string) ([]string, error) {
	list, err := w.fake.Person(userOf(i)).Autocomplete(ctx, channel, "epm "+word, arg, typed, given)
	var values []string
	for _, c := range list {
		values = append(values, c.Value)
	}
	return values, err
}
