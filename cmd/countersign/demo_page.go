package main

import (
	"bytes"
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
