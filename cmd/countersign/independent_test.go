//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

// The independent Slack: npm's local-slack (MIT, github.com/parvalabs/local-slack),
// a program without Node in a package for Linux on amd64.
const (
	independentPackage = "local-slack-linux-x64"
	independentVersion = "0.1.8"

	// installTime is for 95 MB from a slow registry, once for each machine.
	installTime = 5 * time.Minute
	// independentTime bounds both stories; one takes a few seconds.
	independentTime = 5 * time.Minute
)

// independentBinaries, set in the environment, makes this test the one in the
// namespace: the paths of our program and of the independent Slack.
const independentBinaries = "INDEPENDENT_BINARIES"

// TestIndependentSlack runs the program between the fake EPM and a Slack that
// nobody of us wrote, which can do less than the fake but is nobody's echo of
// our own understanding. It listens on all interfaces: the stories, and all
// their processes, are in a namespace that has no network but loopback.
func TestIndependentSlack(t *testing.T) {
	if binaries := os.Getenv(independentBinaries); binaries != "" {
		if err := raiseLoopback(); err != nil {
			t.Fatal(err)
		}
		paths := filepath.SplitList(binaries)
		for i, transport := range []string{"Socket", "HTTP"} {
			t.Run(transport, func(t *testing.T) {
				t.Parallel()
				independentStory(newIndependent(t, paths[0], paths[1], i))
			})
		}
		return
	}
	if os.Getenv("COUNTERSIGN_TEST_NODE") != "1" {
		t.Skip("COUNTERSIGN_TEST_NODE=1 runs the program against an independent Slack (needs npm and its registry)")
	}
	if runtime.GOARCH != "amd64" || os.Geteuid() != 0 {
		t.Skip("the independent Slack needs Linux on amd64, and root for a network namespace: it listens on all interfaces")
	}
	slack := installIndependent(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.Join([]string{build(t), slack}, string(filepath.ListSeparator))

	ctx, cancel := context.WithTimeout(t.Context(), independentTime)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestIndependentSlack$", "-test.v", "-test.count=1", "-test.timeout="+(independentTime-5*time.Second).String())
	cmd.Env = append(os.Environ(), independentBinaries+"="+paths)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 2 * time.Second // of whoever still holds the pipes
	// In a process namespace nothing outlives its first process, whatever ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skipf("this root may not make namespaces (CAP_SYS_ADMIN), which the independent Slack needs: %v", err)
	} else if err != nil {
		t.Fatalf("start in a namespace: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("in the namespace: %v\n%s", err, &out)
	}
	for _, transport := range []string{"Socket", "HTTP"} {
		if !bytes.Contains(out.Bytes(), []byte("--- PASS: TestIndependentSlack/"+transport)) {
			t.Errorf("%s did not run", transport)
		}
	}
	t.Logf("in the namespace:\n%s", &out)
}

// installIndependent is the path of the independent Slack, which is installed
// once into the user's cache.
func installIndependent(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "countersign-test", independentPackage+"-"+independentVersion)
	binary := filepath.Join(dir, "node_modules", independentPackage, "bin", "local-slack")
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return binary
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", dir, independentPackage+"@"+independentVersion)
	cmd.Dir = dir
	cmd.WaitDelay = 2 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s@%s: %v\n%s", independentPackage, independentVersion, err, out)
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return binary
}

// raiseLoopback switches on the one interface of a new namespace.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	return nil
}

// independentStory is an approval from the webhook to the confirmation.
func independentStory(w *independent) {
	r, err := w.epm.RequestApp(epmtest.App{})
	if err != nil {
		w.Fatal(err)
	}
	card := w.shows("waiting for a decision")
	if w.button(card, "approve") == nil {
		w.Fatalf("no approve button on a pending card: %s", card.Blocks)
	}

	w.command("U01ANN", "/epm", "help")
	w.told("U01ANN", "/epm help")

	w.clicks("U09SAM", card, "approve")
	w.told("U09SAM", wording.MsgNotApprover)
	if w.called("chat.postEphemeral") > 0 {
		w.Error("response_url did not do")
	}
	if v := w.view(); v != nil {
		w.Errorf("a form opened for somebody who may not decide: %s", v.Blocks)
	}

	w.chooses("U09SAM", card, "Closed")
	w.told("U09SAM", wording.MsgNotAdmin)
	w.chooses("U01ANN", card, "Closed")
	if card := w.shows("no decision can be made in state Closed"); w.button(card, "approve") != nil {
		w.Error("an approve button on an inactive card")
	}
	w.chooses("U01ANN", w.shows("no decision"), "New")
	card = w.shows("waiting for a decision")

	w.clicks("U01ANN", card, "details")
	w.opened("details", func(v *independentView) bool { return bytes.Contains(v.Blocks, []byte("URM_Native_Ticket_Created")) })
	w.says("view_close", "U01ANN", nil)
	w.eventually("the details are closed", func() bool { return w.view() == nil })

	w.clicks("U01ANN", card, "approve")
	w.opened("the form", func(v *independentView) bool { return v.CallbackID == "approve" && !v.has("amount") })
	if n := w.called("views.open"); n != 2 {
		w.Errorf("views.open was called %d times, want for the details and the form", n)
	}

	if problems := w.submits("U01ANN", "   ", "once", ""); problems["reason"] != tickets.MsgReason {
		w.Errorf("a reason of spaces: problems = %v, want %q at reason", problems, tickets.MsgReason)
	}
	// This Slack does not tell the bot which unit was chosen: it learns it
	// from the submission, which lacks a field, and answers with another form.
	w.submits("U01ANN", "ok for the patch window", "hours", "2")
	form := w.opened("the field for the amount", func(v *independentView) bool { return v.has("amount") })
	for _, kept := range []string{`"initial_value":"ok for the patch window"`, `"initial_option":{"text":{"type":"plain_text","text":"Hours`} {
		if !bytes.Contains(form.Blocks, []byte(kept)) {
			w.Errorf("the new form lacks %s: %s", kept, form.Blocks)
		}
	}
	if problems := w.submits("U01ANN", "ok for the patch window", "hours", "25"); problems["amount"] != tickets.MsgHours {
		w.Errorf("25 hours: problems = %v, want %q at amount", problems, tickets.MsgHours)
	}
	if n := len(w.epm.Decisions(r.ID)); n != 0 {
		w.Errorf("%d decisions reached EPM before one was submitted", n)
	}
	if problems := w.submits("U01ANN", "ok for the patch window", "hours", "2"); len(problems) > 0 {
		w.Fatalf("2 hours: problems = %v", problems)
	}
	w.eventually("the form is closed", func() bool { return w.view() == nil })

	w.eventually("EPM has the decision", func() bool {
		d, ok := w.epm.Effective(r.ID)
		return ok && d.Status == epmtest.Approved && d.Duration == "7200"
	})
	if card := w.shows("submitted to EPM"); w.button(card, "approve") != nil {
		w.Error("an approve button on a decided card")
	}
	if err := w.epm.SendUpdate(r.ID); err != nil {
		w.Fatal(err)
	}
	end := w.shows("Confirmed by EPM: approved for 2 hours")
	if end.TS != card.TS {
		w.Errorf("confirmed in message %s, want the first one, %s", end.TS, card.TS)
	}
	if w.button(end, "approve") != nil || w.button(end, "deny") != nil {
		w.Errorf("buttons on a confirmed card: %s", end.Blocks)
	}
	w.eventually("the thread tells the steps", func() bool {
		told := w.replies(card)
		return strings.Contains(told, "Approved by") && strings.Contains(told, "EPM accepted") && strings.Contains(told, "Confirmed by EPM")
	})
	if all, effect := len(w.epm.Decisions(r.ID)), w.epm.TimesInEffect(r.ID); all != 1 || effect != 1 {
		w.Errorf("EPM got %d decisions, %d took effect, want one", all, effect)
	}
	if n := len(w.cards()); n != 1 {
		w.Errorf("%d messages, want 1", n)
	}
}

// independent is the program and the Slack of others, each a process, with a
// fake EPM in this one.
type independent struct {
	*testing.T
	epm        *epmtest.Server
	slack, bot string // base addresses
	client     *http.Client
	logs       *syncBuffer
	ui         *websocket.Conn

	mu       sync.Mutex
	stack    []*independentView // what the person sees
	problems map[string]string  // the latest under the fields
	views    int                // changes of stack and problems
}

type independentView struct {
	CallbackID string          `json:"callback_id"`
	Blocks     json.RawMessage `json:"blocks"`
}

// has reports whether v has the field.
func (v *independentView) has(field string) bool {
	return bytes.Contains(v.Blocks, []byte(`"action_id":"`+field+`"`))
}

type independentMessage struct {
	TS          string          `json:"ts"`
	ThreadTS    string          `json:"thread_ts"`
	Text        string          `json:"text"`
	Blocks      json.RawMessage `json:"blocks"`
	EphemeralTo string          `json:"ephemeral_to"`
}

const (
	independentBotToken = "xoxb-independent-bot"
	independentAppToken = "xapp-independent-app"
	independentSigning  = "independent-signing-secret"
)

// newIndependent starts the i-th world; the first uses Socket Mode. The ports
// are fixed: in the namespace nobody else has any, and these are below those
// that the kernel gives away.
func newIndependent(t *testing.T, bot, slack string, i int) *independent {
	t.Helper()
	slackAddr, botAddr := fmt.Sprintf("127.0.0.1:%d", 3900+i), fmt.Sprintf("127.0.0.1:%d", 8080+i)
	w := &independent{T: t, slack: "http://" + slackAddr, bot: "http://" + botAddr, client: &http.Client{Timeout: patience}, logs: &syncBuffer{}}
	t.Cleanup(w.client.CloseIdleConnections)
	var err error
	if w.epm, err = epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.epm.Close)
	w.epm.SetWebhook(w.bot+"/webhooks/epm", webhookUser, webhookPass)

	mode, requestURL := "socket", w.slack
	secrets := []string{"COUNTERSIGN_SLACK_APP_TOKEN=" + independentAppToken}
	if i > 0 {
		mode, requestURL = "events", w.router()
		secrets = []string{"COUNTERSIGN_SLACK_SIGNING_SECRET=" + independentSigning}
	}
	config := filepath.Join(t.TempDir(), "workspace.json")
	type object = map[string]any
	written, err := json.Marshal(object{
		"workspace": object{"name": "Test", "domain": "test", "teamId": "T01TEST"},
		"app": object{
			"appId": "A01APP", "botUserId": "U0BOT", "botName": "countersign", "botToken": independentBotToken,
			"appToken": independentAppToken, "signingSecret": independentSigning, "mode": mode, "requestUrl": requestURL,
		},
		"users": []object{
			{"id": "U01ANN", "name": "ann", "real_name": "Ann Example", "email": "ann@example.com"},
			{"id": "U09SAM", "name": "sam", "real_name": "Sam Example", "email": "sam@example.com"},
		},
		"channels": []object{{"id": channel, "name": "epm", "members": []string{"U01ANN", "U09SAM", "U0BOT"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, written, 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	base := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	_, port, _ := strings.Cut(slackAddr, ":")
	_, slackLogs := w.runs(base, slack, "--config", config, "--port", port, "--base-host", "127.0.0.1", "--files-dir", filepath.Join(home, "files"))
	w.eventually("the independent Slack answers", func() bool { return w.gets(w.slack+"/_control/state", nil) })
	w.watch()

	ended, botLogs := w.runs(append(append(base,
		"COUNTERSIGN_LISTEN="+botAddr, "COUNTERSIGN_STORE=sqlite:"+filepath.Join(home, "a.db"),
		"COUNTERSIGN_WEBHOOK_USER="+webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD="+webhookPass,
		"COUNTERSIGN_EPM_HOST="+w.epm.URL(), "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=epm-secret-1",
		"COUNTERSIGN_SLACK_BOT_TOKEN="+independentBotToken, "COUNTERSIGN_SLACK_CHANNEL="+channel, "COUNTERSIGN_SLACK_API_URL="+w.slack+"/api/",
		"COUNTERSIGN_APPROVERS=slack:U01ANN", "COUNTERSIGN_ADMINS=slack:U01ANN", "COUNTERSIGN_LOG_LEVEL=debug",
	), secrets...), bot, "serve")
	t.Cleanup(func() { // before the processes end
		w.verify()
		if err := ended(); err != nil {
			t.Errorf("the program ended with %v", err)
		}
		for _, s := range []string{webhookPass, "epm-secret-1", independentBotToken, independentAppToken, independentSigning, "/_hooks/"} {
			if strings.Contains(botLogs.String(), s) {
				t.Errorf("the log holds the secret %s…", s[:4])
			}
		}
		if strings.Contains(botLogs.String(), `"level":"ERROR"`) {
			t.Error("the program logged an error")
		}
		if t.Failed() {
			t.Logf("log of the program:\n%s\nlog of the independent Slack:\n%s", botLogs, slackLogs)
		}
	})
	w.eventually("the program is ready", func() bool { return w.gets(w.bot+"/readyz", nil) })
	return w
}

// runs starts a process that is told to end after the test, or by ended,
// which returns how it ended.
func (w *independent) runs(env []string, name string, args ...string) (ended func() error, logs *syncBuffer) {
	w.Helper()
	// Not the test's context: that ends before the cleanups, in which the
	// independent Slack has to outlive the program.
	ctx, cancel := context.WithTimeout(context.Background(), independentTime)
	logs = &syncBuffer{}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, logs, logs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience // then it is killed
	if err := cmd.Start(); err != nil {
		cancel()
		w.Fatal(err)
	}
	ended = sync.OnceValue(func() error {
		cancel()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	w.Cleanup(func() { _ = ended() }) // whoever cares has asked before
	return ended, logs
}

// router is the one address for everything that this Slack has in events
// mode, in front of our three: it passes on headers and bodies as they are,
// because they are signed.
func (w *independent) router() string {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		path := "/slack/events"
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
			path = "/slack/commands"
			if v, err := url.ParseQuery(string(body)); err == nil && v.Has("payload") {
				path = "/slack/interactions"
			}
		}
		on, err := http.NewRequestWithContext(r.Context(), r.Method, w.bot+path, bytes.NewReader(body))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		on.Header = r.Header.Clone()
		res, err := w.client.Do(on)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			rw.Header()[k] = v
		}
		rw.WriteHeader(res.StatusCode)
		_, _ = io.Copy(rw, res.Body) // the sender sees that it is cut short
	}))
	w.Cleanup(s.Close)
	return s.URL
}

// watch follows what the person sees over the socket of the web page.
func (w *independent) watch() {
	w.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	conn, res, err := dialer.DialContext(w.Context(), "ws"+strings.TrimPrefix(w.slack, "http")+"/ui", nil)
	if err != nil {
		w.Fatal(err)
	}
	res.Body.Close()
	w.ui = conn
	done := make(chan struct{})
	w.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			var e struct {
				T      string             `json:"t"`
				Stack  []*independentView `json:"stack"`
				Errors map[string]string  `json:"errors"`
			}
			if conn.ReadJSON(&e) != nil {
				return
			}
			w.mu.Lock()
			switch e.T {
			case "view":
				w.stack, w.problems = e.Stack, nil
				w.views++
			case "view_errors":
				w.problems = e.Errors
				w.views++
			}
			w.mu.Unlock()
		}
	}()
}

// verify holds what must be true after every story.
func (w *independent) verify() {
	for _, v := range w.epm.Violations() {
		w.Errorf("EPM's rules: %s", v)
	}
	for _, e := range w.log() {
		// Internal is what it refused, did not know or could not deliver.
		if status, ok := strings.CutPrefix(e.Summary, "HTTP "); e.Direction == "internal" || ok && status != "200" {
			w.Errorf("the independent Slack noted: %s %s %s", e.Direction, e.Kind, e.Summary)
		}
	}
}

type independentNote struct{ Direction, Kind, Summary string }

// log is everything that went to and from the program.
func (w *independent) log() []independentNote {
	var l struct{ Log []independentNote }
	if !w.gets(w.slack+"/_control/log", &l) {
		w.Error("the independent Slack does not answer")
	}
	return l.Log
}

// called counts the calls of a method.
func (w *independent) called(method string) int {
	n := 0
	for _, e := range w.log() {
		if e.Kind == "web_api" && e.Summary == method {
			n++
		}
	}
	return n
}

func (w *independent) eventually(what string, ok func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s\nmessages: %+v\nlog: %+v", what, w.messages(), w.log())
		}
		<-tick.C
	}
}

// gets reports whether address answers with 200, and into with JSON.
func (w *independent) gets(address string, into any) bool {
	res, err := w.client.Get(address)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && (into == nil || json.NewDecoder(res.Body).Decode(into) == nil)
}

// does lets the independent Slack do what a person does. It answers when the
// program has answered.
func (w *independent) does(what string, body map[string]any) {
	w.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	res, err := w.client.Post(w.slack+"/_control/"+what, "application/json", bytes.NewReader(raw))
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	if out, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		w.Fatalf("%s: %s %s %v", what, res.Status, out, err)
	}
}

func (w *independent) command(person, command, text string) {
	w.Helper()
	w.does("command", map[string]any{"channel": channel, "user": person, "command": command, "text": text})
}

// clicks presses the button of m as it stands in m.
func (w *independent) clicks(person string, m independentMessage, id string) {
	w.Helper()
	action := w.button(m, id)
	if action == nil {
		w.Fatalf("there is no button %s in %s", id, m.Blocks)
	}
	w.does("interact", map[string]any{"channel": channel, "messageTs": m.TS, "user": person, "action": action})
}

// chooses chooses a state from the menu of m as it stands in m.
func (w *independent) chooses(person string, m independentMessage, state string) {
	w.Helper()
	menu := w.element(m, "state")
	options, _ := menu["options"].([]any)
	for _, o := range options {
		if o, _ := o.(map[string]any); strings.HasSuffix(fmt.Sprint(o["value"]), " "+state) {
			w.does("interact", map[string]any{"channel": channel, "messageTs": m.TS, "user": person, "action": map[string]any{
				"type": menu["type"], "action_id": "state", "block_id": menu["block_id"], "selected_option": o,
			}})
			return
		}
	}
	w.Fatalf("there is no state %s in %s", state, m.Blocks)
}

// button is the button of m as the person's client would send it, nil if
// there is none.
func (w *independent) button(m independentMessage, id string) map[string]any {
	w.Helper()
	e := w.element(m, id)
	if e == nil {
		return nil
	}
	return map[string]any{"type": e["type"], "action_id": id, "block_id": e["block_id"], "value": e["value"], "text": e["text"]}
}

// element is what in m has this action id, with its block's id; nil if nothing
// has.
func (w *independent) element(m independentMessage, id string) map[string]any {
	w.Helper()
	var blocks []struct {
		ID       string           `json:"block_id"`
		Elements []map[string]any `json:"elements"`
	}
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
		w.Fatalf("%v in %s", err, m.Blocks)
	}
	for _, b := range blocks {
		for _, e := range b.Elements {
			if e["action_id"] == id {
				e["block_id"] = b.ID
				return e
			}
		}
	}
	return nil
}

// says sends what the web page sends.
func (w *independent) says(kind, person string, values any) {
	w.Helper()
	_ = w.ui.SetWriteDeadline(time.Now().Add(patience))
	if err := w.ui.WriteJSON(map[string]any{"t": kind, "user": person, "values": values}); err != nil {
		w.Fatal(err)
	}
}

// submits sends the form and returns what is then said under the fields. An
// amount that the form does not ask for is not sent.
func (w *independent) submits(person, reason, unit, amount string) map[string]string {
	w.Helper()
	type field = map[string]any
	w.mu.Lock()
	before := w.views
	w.mu.Unlock()
	w.says("view_submit", person, map[string]field{
		"reason": {"reason": field{"type": "plain_text_input", "value": reason}},
		"unit":   {"unit": field{"type": "radio_buttons", "selected_option": field{"value": unit}}},
		"amount": {"amount": field{"type": "number_input", "value": amount}},
	})
	var problems map[string]string
	w.eventually("an answer to the form", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		problems = w.problems
		return w.views > before
	})
	return problems
}

// view is what the person sees over the messages, nil if nothing.
func (w *independent) view() *independentView {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.stack) == 0 {
		return nil
	}
	return w.stack[len(w.stack)-1]
}

// opened waits for the view that ok likes.
func (w *independent) opened(what string, ok func(*independentView) bool) *independentView {
	w.Helper()
	var v *independentView
	w.eventually(what, func() bool {
		v = w.view()
		return v != nil && ok(v)
	})
	return v
}

// messages are all that the channel holds: what one person alone sees, too.
func (w *independent) messages() []independentMessage {
	var l struct{ Messages []independentMessage }
	if !w.gets(w.slack+"/_control/messages/"+channel, &l) {
		w.Error("the independent Slack does not answer")
	}
	return l.Messages
}

// cards are the messages in the channel that are not replies.
func (w *independent) cards() []independentMessage {
	return slices.DeleteFunc(w.messages(), func(m independentMessage) bool {
		return m.EphemeralTo != "" || m.ThreadTS != "" && m.ThreadTS != m.TS
	})
}

func (w *independent) replies(card independentMessage) string {
	var told strings.Builder
	for _, m := range w.messages() {
		if m.ThreadTS == card.TS && m.TS != card.TS {
			told.WriteString(m.Text + "\n")
		}
	}
	return told.String()
}

// shows waits until the one card says words, and returns it.
func (w *independent) shows(words string) independentMessage {
	w.Helper()
	var card independentMessage
	w.eventually("a card with "+words, func() bool {
		cards := w.cards()
		if len(cards) != 1 {
			return false
		}
		card = cards[0]
		return strings.Contains(card.Text, words)
	})
	return card
}

func (w *independent) told(person, want string) {
	w.Helper()
	w.eventually(person+" is told "+want, func() bool {
		return slices.ContainsFunc(w.messages(), func(m independentMessage) bool {
			return m.EphemeralTo == person && strings.Contains(m.Text, want)
		})
	})
}
