package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

//go:embed demo
var demoFiles embed.FS

const (
	// demoPolicy lets the page load its own files and talk to its own
	// address. Trusted types forbid it to make HTML out of text.
	demoPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

	demoBody     = 256 << 10             // bytes of a request's body
	demoCoalesce = 30 * time.Millisecond // changes within this time are one event
	demoBeat     = 15 * time.Second      // an event stream that is silent is kept open by a comment

	// The page shows the newest of each, so that a demo can run for days.
	demoMessages   = 300
	demoEphemerals = 30
	demoRequests   = 60
	demoTraffic    = 14
)

// demoTypes are the content types of the page's files, by extension.
var demoTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

// demoPage serves the page and what it can do.
type demoPage struct {
	*demoWorld
	host   string // that --listen named
	people []demoPerson
}

func newDemoPage(w *demoWorld, address string) *demoPage {
	host, _, _ := net.SplitHostPort(address) // was checked when it was taken
	return &demoPage{demoWorld: w, host: host, people: demoPeople()}
}

func (d *demoPage) handler() http.Handler {
	mux := http.NewServeMux()
	files, _ := demoFiles.ReadDir("demo") // the folder is in the program
	for _, file := range files {
		pattern, contentType := "GET /"+file.Name(), demoTypes[path.Ext(file.Name())]
		if file.Name() == "index.html" {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			body, err := demoFiles.ReadFile("demo/" + file.Name())
			if err != nil {
				http.Error(w, "this file is missing in the program", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body) // the browser has gone
		})
	}
	mux.HandleFunc("GET /api/events", d.events)
	mux.HandleFunc("POST /api/slack/click", post(d, d.slackClick))
	mux.HandleFunc("POST /api/slack/home", post(d, d.slackHome))
	mux.HandleFunc("POST /api/slack/act", post(d, d.slackAct))
	mux.HandleFunc("POST /api/slack/type", post(d, d.slackType))
	mux.HandleFunc("POST /api/slack/submit", post(d, d.slackSubmit))
	mux.HandleFunc("POST /api/slack/close", post(d, d.slackClose))
	mux.HandleFunc("POST /api/slack/command", post(d, d.slackCommand))
	mux.HandleFunc("POST /api/discord/click", post(d, d.discordClick))
	mux.HandleFunc("POST /api/discord/dismiss", post(d, d.discordDismiss))
	mux.HandleFunc("POST /api/discord/type", post(d, d.discordType))
	mux.HandleFunc("POST /api/discord/submit", post(d, d.discordSubmit))
	mux.HandleFunc("POST /api/discord/close", post(d, d.discordClose))
	mux.HandleFunc("POST /api/discord/command", post(d, d.discordCommand))
	mux.HandleFunc("GET /api/discord/file/{id}", d.discordFile)
	mux.HandleFunc("POST /api/epm/request", post(d, d.request))
	mux.HandleFunc("POST /api/epm/decide", post(d, d.decide))
	mux.HandleFunc("POST /api/epm/mode", post(d, d.mode))
	return d.guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard keeps other web sites away from the demo: a browser on this machine
// can be made to call it, under a name that points here too.
func (d *demoPage) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", demoPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !d.knows(r.Host) {
			http.Error(w, "this is not the address of the demo", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows reports whether host is us. An IP address cannot be pointed elsewhere;
// a name can, so only the usual one and the one from --listen are ours.
func (d *demoPage) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "localhost" || (host == d.host && host != "")
}

// post reads a JSON body into a T, which a page of another origin cannot send
// without being asked, and answers what do answers. A body that is not what
// it should be is 400; what a fake refuses is 422 with its words.
func post[T any](d *demoPage, do func(context.Context, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			answer(w, http.StatusUnsupportedMediaType, map[string]any{"error": "send JSON"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, demoBody))
		if err != nil {
			answer(w, http.StatusRequestEntityTooLarge, map[string]any{"error": "that is too long"})
			return
		}
		var in T
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"error": "that is not what was expected here"})
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, map[string]any{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"ok": true, "result": out})
	}
}

// person is one of the people whom the page may play.
func (d *demoPage) person(id string) (demoPerson, error) {
	i := slices.IndexFunc(d.people, func(p demoPerson) bool { return p.ID == id })
	if i < 0 {
		return demoPerson{}, errors.New("there is no such person")
	}
	return d.people[i], nil
}

var (
	errButtonGone = errors.New("this button has just gone: the message has changed")
	errFormGone   = errors.New("this form is no longer open")
)

// formIn is about the form in front of a person. Values are what its fields
// hold, by block id or custom id.
type formIn struct {
	Person string            `json:"person"`
	Form   string            `json:"form"`
	Values map[string]string `json:"values"`
	Action string            `json:"action_id"` // act only
	Value  string            `json:"value"`     // act only
}

// only drops the values of fields that the form no longer has.
func (in formIn) only(typed map[string]string) {
	maps.DeleteFunc(in.Values, func(field, _ string) bool { _, has := typed[field]; return !has })
}

type slackClickIn struct {
	Person  string `json:"person"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Action  string `json:"action_id"`
	Value   string `json:"value"` // of a menu; empty for a button
}

func (d *demoPage) slackClick(ctx context.Context, in slackClickIn) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	if in.Value != "" {
		return nil, slackGone(person.Choose(ctx, in.Channel, in.TS, in.Action, in.Value))
	}
	return nil, slackGone(person.Click(ctx, in.Channel, in.TS, in.Action))
}

// slackGone says of what has just gone that it has.
func slackGone(err error) error {
	if errors.Is(err, slacktest.ErrNoSuchButton) || errors.Is(err, slacktest.ErrNoSuchOption) || errors.Is(err, slacktest.ErrNoSuchField) || errors.Is(err, slacktest.ErrNoSuchMessage) {
		return errButtonGone
	}
	return err
}

// slackHome opens the home tab, or presses a button on it.
func (d *demoPage) slackHome(ctx context.Context, in struct {
	Person string `json:"person"`
	Action string `json:"action_id"`
	Value  string `json:"value"`
}) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	if in.Action != "" {
		return nil, slackGone(person.ActHome(ctx, in.Action, in.Value))
	}
	return nil, person.OpenHome(ctx)
}

// inView is the person whose form the page shows. Another one may have come
// meanwhile; or the bot has taken fields out of it.
func (d *demoPage) inView(in formIn) (*slacktest.Person, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	v, ok := person.View()
	if !ok || v.ID != in.Form {
		return nil, errFormGone
	}
	in.only(v.Typed)
	return person, nil
}

func (d *demoPage) slackType(_ context.Context, in formIn) (any, error) {
	_, err := d.slackFill(in)
	return nil, err
}

func (d *demoPage) slackFill(in formIn) (*slacktest.Person, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	for field, value := range in.Values {
		if err := person.Type(field, value); err != nil {
			return nil, err
		}
	}
	return person, nil
}

func (d *demoPage) slackAct(ctx context.Context, in formIn) (any, error) {
	person, err := d.slackFill(in)
	if err != nil {
		return nil, err
	}
	return nil, person.Act(ctx, in.Action, in.Value)
}

func (d *demoPage) slackSubmit(ctx context.Context, in formIn) (any, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	problems, err := person.Submit(ctx, in.Values)
	var blocked *slacktest.BlockedError
	if errors.As(err, &blocked) {
		problems, err = blocked.Fields, nil
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"errors": problems}, nil
}

func (d *demoPage) slackClose(ctx context.Context, in formIn) (any, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	return nil, person.CloseView(ctx)
}

func (d *demoPage) slackCommand(ctx context.Context, in struct {
	Person string `json:"person"`
	Text   string `json:"text"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	_, err = d.slack.Person(person.Slack).CommandIn(ctx, demoChannel, "/epm", in.Text)
	return nil, err
}

type discordClickIn struct {
	Person   string `json:"person"`
	Channel  string `json:"channel"`
	Message  string `json:"message"`
	CustomID string `json:"custom_id"`
	Value    string `json:"value"` // of a menu; empty for a button
}

func (d *demoPage) discordClick(ctx context.Context, in discordClickIn) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.discord.Person(who.Discord)
	if in.Value != "" {
		return nil, interactionFailed(person.Select(ctx, in.Channel, in.Message, in.CustomID, in.Value))
	}
	return nil, interactionFailed(person.Click(ctx, in.Channel, in.Message, in.CustomID))
}

// interactionFailed says of what has just gone that it has, and leaves of a bot
// that does not answer what Discord's client shows: nothing of why.
func interactionFailed(err error) error {
	switch {
	case errors.Is(err, discordtest.ErrNoSuchButton), errors.Is(err, discordtest.ErrNoSuchOption), errors.Is(err, discordtest.ErrNoSuchMessage):
		return errButtonGone
	case errors.Is(err, discordtest.ErrNoAnswer):
		return discordtest.ErrNoAnswer
	}
	return err
}

func (d *demoPage) discordDismiss(_ context.Context, in struct {
	Person  string `json:"person"`
	Message string `json:"message"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	d.discord.Person(person.Discord).Dismiss(in.Message)
	return nil, nil
}

// inModal is the person whose form the page shows.
func (d *demoPage) inModal(in formIn) (*discordtest.Person, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.discord.Person(who.Discord)
	m, ok := person.Modal()
	if !ok || m.CustomID != in.Form {
		return nil, errFormGone
	}
	in.only(m.Typed)
	return person, nil
}

func (d *demoPage) discordType(_ context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	for field, value := range in.Values {
		if err := person.Type(field, value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (d *demoPage) discordSubmit(ctx context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	err = person.Submit(ctx, in.Values)
	var blocked *discordtest.BlockedError
	if errors.As(err, &blocked) {
		return map[string]any{"errors": blocked.Fields}, nil
	}
	return map[string]any{"errors": nil}, interactionFailed(err)
}

func (d *demoPage) discordClose(_ context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	person.CloseModal()
	return nil, nil
}

func (d *demoPage) discordCommand(ctx context.Context, in struct {
	Person  string            `json:"person"`
	Command string            `json:"command"` // with its subcommand
	Options map[string]string `json:"options"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	_, err = d.discord.Person(person.Discord).Slash(ctx, demoDiscordChannel, in.Command, in.Options)
	return nil, interactionFailed(err)
}

// discordFile is a picture that somebody was shown.
func (d *demoPage) discordFile(w http.ResponseWriter, r *http.Request) {
	for _, p := range d.people {
		for _, e := range d.discord.Person(p.Discord).Ephemerals() {
			for _, f := range e.Files {
				if f.ID == r.PathValue("id") && f.ContentType == "image/png" {
					w.Header().Set("Content-Type", f.ContentType)
					_, _ = w.Write(f.Content) // the browser has gone
					return
				}
			}
		}
	}
	http.NotFound(w, r)
}

func (d *demoPage) request(_ context.Context, in demoRequest) (any, error) {
	number, err := d.raise(in)
	if err != nil {
		return nil, err
	}
	return map[string]any{"number": number}, nil
}

type decideIn struct {
	ID       string         `json:"id"`
	Verdict  epmtest.Status `json:"verdict"`
	Duration string         `json:"duration"` // "Once" or seconds
}

func (d *demoPage) decide(_ context.Context, in decideIn) (any, error) {
	return nil, d.epm.DecideInConsole(in.ID, in.Verdict, in.Duration, "console.admin@acme.example")
}

func (d *demoPage) mode(_ context.Context, in struct {
	Mode epmtest.Mode `json:"mode"`
}) (any, error) {
	if !slices.Contains(epmtest.Modes(), in.Mode) {
		return nil, errors.New("there is no such mode")
	}
	d.setMode(in.Mode)
	return nil, nil
}

// events streams the whole state after each change.
func (d *demoPage) events(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	slackChanged, discordChanged := d.slack.Changes(ctx), d.discord.Changes(ctx)
	epmChanged, unsubscribe := d.epm.Subscribe()
	defer unsubscribe()
	w.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(w)
	beat := time.NewTicker(demoBeat)
	defer beat.Stop()
	var last []byte
	for {
		state, err := json.Marshal(d.state())
		if err != nil {
			return
		}
		line := ":\n\n"
		if !bytes.Equal(state, last) {
			last = state
			line = fmt.Sprintf("data: {\"now\":%d,\"state\":%s}\n\n", time.Now().UnixMilli(), state)
		}
		if _, err := io.WriteString(w, line); err != nil || stream.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case _, open := <-slackChanged:
			if !open {
				return
			}
		case _, open := <-discordChanged:
			if !open {
				return
			}
		case <-epmChanged:
		case <-beat.C:
			continue
		}
		// More is usually on its way.
		rest := time.NewTimer(demoCoalesce)
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

// demoState is all that the page shows.
type demoState struct {
	People   []demoPerson  `json:"people"`
	Askers   []demoAsker   `json:"askers"`
	Programs []demoProgram `json:"programs"`
	Slack    slackState    `json:"slack"`
	Discord  discordState  `json:"discord"`
	EPM      epmState      `json:"epm"`
}

type slackState struct {
	Bot        string                     `json:"bot"` // the bot's user id
	Channel    string                     `json:"channel"`
	Names      map[string]string          `json:"names"`      // of users, groups and channels, by id
	Messages   []slackMessage             `json:"messages"`   // oldest first, with replies
	Ephemerals map[string][]slackMessage  `json:"ephemerals"` // by person
	Views      map[string]slackView       `json:"views"`      // by person
	Homes      map[string]json.RawMessage `json:"homes"`      // the blocks of home tabs, by person
}

type slackMessage struct {
	TS       string          `json:"ts"`
	ThreadTS string          `json:"thread_ts,omitempty"`
	User     string          `json:"user,omitempty"`
	Text     string          `json:"text"`
	Blocks   json.RawMessage `json:"blocks,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Edits    int             `json:"edits"`
}

type slackView struct {
	ID     string            `json:"id"`
	Hash   string            `json:"hash"`
	View   json.RawMessage   `json:"view"`
	Typed  map[string]string `json:"typed"`
	Errors map[string]string `json:"errors"`
}

type discordState struct {
	Bot        string                      `json:"bot"`        // the bot's user id
	Names      map[string]string           `json:"names"`      // of users, roles and channels, by id
	Commands   json.RawMessage             `json:"commands"`   // as the bot has registered them
	Messages   []discordMessage            `json:"messages"`   // oldest first
	Ephemerals map[string][]discordMessage `json:"ephemerals"` // by person
	Modals     map[string]discordModal     `json:"modals"`     // by person
}

type discordMessage struct {
	ID         string          `json:"id"`
	Channel    string          `json:"channel"`
	Author     string          `json:"author,omitempty"`
	Content    string          `json:"content,omitempty"`
	Flags      int             `json:"flags"`
	Components json.RawMessage `json:"components,omitempty"`
	Mentions   json.RawMessage `json:"mentions,omitempty"` // allowed_mentions
	Pings      []string        `json:"pings,omitempty"`    // whom it notified, by id
	Edits      int             `json:"edits"`
	At         int64           `json:"at"` // ms since 1970
	Thread     *discordThread  `json:"thread,omitempty"`
}

type discordThread struct {
	Name     string           `json:"name"`
	Messages []discordMessage `json:"messages"` // oldest first
}

type discordModal struct {
	ID    string            `json:"id"`
	Modal json.RawMessage   `json:"modal"`
	Typed map[string]string `json:"typed"`
}

type epmState struct {
	Mode     epmtest.Mode   `json:"mode"`
	Requests []requestState `json:"requests"` // newest first
	Traffic  []trafficState `json:"traffic"`  // newest first
}

type requestState struct {
	ID        string         `json:"id"`
	Kind      epmtest.Kind   `json:"kind"`
	Number    string         `json:"number"`
	User      string         `json:"user"`
	Host      string         `json:"host"`
	Program   string         `json:"program"`
	Status    epmtest.Status `json:"status"`
	Asked     string         `json:"asked"`
	Duration  string         `json:"duration"`
	DecidedBy string         `json:"decided_by"`
	Message   string         `json:"message"`
	InConsole bool           `json:"in_console"`
	Created   int64          `json:"created"` // ms since 1970
	Until     int64          `json:"until"`   // ms since 1970, 0 for none
}

// trafficState is one call that EPM got or one webhook that it sent.
type trafficState struct {
	at     time.Time
	At     int64  `json:"at"` // ms since 1970
	Out    bool   `json:"out"`
	What   string `json:"what"`
	Status int    `json:"status"` // 0 for no answer
}

func (d *demoPage) state() demoState {
	return demoState{
		People: d.people, Askers: demoAskers(), Programs: demoPrograms(),
		Slack: d.slackState(), Discord: d.discordState(), EPM: d.epmState(),
	}
}

func (d *demoPage) slackState() slackState {
	s := slackState{
		Bot: slacktest.BotUserID, Channel: demoChannel, Names: map[string]string{demoGroup: "helpdesk"},
		Messages: []slackMessage{}, Ephemerals: map[string][]slackMessage{}, Views: map[string]slackView{}, Homes: map[string]json.RawMessage{},
	}
	for _, u := range d.slack.Users() {
		name := u.RealName
		if u.Bot {
			name = "Countersign"
		}
		s.Names[u.ID] = name
	}
	for _, c := range d.slack.Channels() {
		s.Names[c.ID] = c.Name
	}
	for _, m := range newest(d.slack.Messages(demoChannel), demoMessages) {
		s.Messages = append(s.Messages, slackMessage{m.TS, m.ThreadTS, m.User, m.Text, m.Blocks, m.Metadata, m.Edits})
	}
	for _, p := range d.people {
		person := d.slack.Person(p.Slack)
		for _, e := range newest(person.Ephemerals(), demoEphemerals) {
			s.Ephemerals[p.ID] = append(s.Ephemerals[p.ID], slackMessage{TS: e.TS, Text: e.Text, Blocks: e.Blocks})
		}
		if v, ok := person.View(); ok {
			s.Views[p.ID] = slackView{v.ID, v.Hash, v.Raw, v.Typed, v.Errors}
		}
		if v, ok := person.Home(); ok {
			s.Homes[p.ID] = v.Blocks
		}
	}
	return s
}

func (d *demoPage) discordState() discordState {
	s := discordState{
		Bot: discordtest.BotUserID, Names: map[string]string{}, Commands: d.discord.Commands(),
		Ephemerals: map[string][]discordMessage{}, Modals: map[string]discordModal{},
	}
	for _, r := range d.discord.Roles() {
		s.Names[r.ID] = r.Name
	}
	for _, u := range d.discord.Users() {
		s.Names[u.ID] = cmp.Or(u.Nick, u.GlobalName, u.Username)
	}
	for _, c := range d.discord.Channels() {
		s.Names[c.ID] = c.Name
	}
	s.Messages = d.discordMessages(demoDiscordChannel)
	for i, m := range s.Messages {
		// A thread has the id of the message that it was started from.
		if name, ok := s.Names[m.ID]; ok {
			s.Messages[i].Thread = &discordThread{name, d.discordMessages(m.ID)}
		}
	}
	for _, p := range d.people {
		person := d.discord.Person(p.Discord)
		for _, e := range newest(person.Ephemerals(), demoEphemerals) {
			s.Ephemerals[p.ID] = append(s.Ephemerals[p.ID], discordMessage{
				ID: e.ID, Channel: e.Channel, Content: e.Content, Flags: e.Flags, Components: e.Components, Edits: e.Edits, At: e.Created.UnixMilli(),
			})
		}
		if m, ok := person.Modal(); ok {
			s.Modals[p.ID] = discordModal{m.CustomID, m.Raw, m.Typed}
		}
	}
	return s
}

func (d *demoPage) discordMessages(channel string) []discordMessage {
	list := []discordMessage{}
	for _, m := range newest(d.discord.Messages(channel), demoMessages) {
		list = append(list, discordMessage{
			ID: m.ID, Channel: m.Channel, Author: m.Author, Content: m.Content, Flags: m.Flags, Components: m.Components,
			Mentions: m.AllowedMentions, Pings: m.Pings, Edits: m.Edits, At: m.Created.UnixMilli(),
		})
	}
	return list
}

func (d *demoPage) epmState() epmState {
	s := epmState{Mode: d.epm.Mode(), Requests: []requestState{}, Traffic: d.traffic()}
	requests := d.epm.Requests()
	for _, r := range requests[:min(len(requests), demoRequests)] {
		q := requestState{
			ID: r.ID, Kind: r.Kind, Number: r.Number, User: r.User, Host: r.Host, Program: r.Program, Status: r.Status,
			Asked: r.Asked, Duration: r.Duration, DecidedBy: r.DecidedBy, Message: r.Message, InConsole: r.InConsole, Created: r.Created.UnixMilli(),
		}
		if !r.Until.IsZero() {
			q.Until = r.Until.UnixMilli()
		}
		s.Requests = append(s.Requests, q)
	}
	return s
}

// traffic is what went between EPM and the bot lately.
func (d *demoPage) traffic() []trafficState {
	list := []trafficState{}
	for _, c := range newest(d.epm.Calls(), demoTraffic) {
		list = append(list, trafficState{c.Wall, c.Wall.UnixMilli(), false, c.Method + " " + c.Path, c.Status})
	}
	for _, x := range newest(d.epm.Deliveries(), demoTraffic) {
		list = append(list, trafficState{x.At, x.At.UnixMilli(), true, "webhook " + string(x.Event), x.Status})
	}
	slices.SortStableFunc(list, func(a, b trafficState) int { return b.at.Compare(a.at) })
	return list[:min(len(list), demoTraffic)]
}

// newest is the last n of list.
func newest[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }
