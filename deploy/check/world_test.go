package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/internal/certtest"
)

// patience is how long things may take that must happen in the end.
const patience = time.Minute

// root is where the repository is.
var root = filepath.Join("..", "..")

// need leaves a test out if command is not on this machine, or fails it where
// nothing may be left out.
func need(t testing.TB, command string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		leaveOut(t, command+" is not installed")
	}
	return path
}

func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("COUNTERSIGN_TEST_ALL") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the examples in deploy/ name.
const (
	slackChannel   = "C0123ABC"
	slackGroup     = "S0123ABC"
	slackPerson    = "U0123ABC"
	discordChannel = "1200000000000000001"
	discordRole    = "1200000000000000002"
)

// secrets are the values of the program's secrets, by variable.
var secrets = map[string]string{
	"WEBHOOK_PASSWORD":     "webhook-secret-1",
	"EPM_CLIENT_SECRET":    "epm-secret-1",
	"SLACK_BOT_TOKEN":      slacktest.BotToken,
	"SLACK_APP_TOKEN":      slacktest.AppToken,
	"SLACK_SIGNING_SECRET": slacktest.SigningSecret,
	"DISCORD_BOT_TOKEN":    discordtest.BotToken,
}

// world is EPM and the chats, as they are in the examples.
type world struct {
	testing.TB
	slack   *slacktest.Server
	discord *discordtest.Server
	epm     *epmtest.Server

	// bare has the program run in this machine's file tree and as this user,
	// where it finds its own /proc.
	bare bool
	more map[string]string // variables besides those of the example
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t}
	var err error
	if w.slack, err = slacktest.New(slacktest.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.slack.Close)
	w.slack.AddUser(slacktest.User{ID: slackPerson, Name: "ann", RealName: "Ann Example", Email: "ann@example.com"})
	w.slack.AddGroup(slacktest.Group{ID: slackGroup, Handle: "helpdesk", Users: []string{slackPerson}})
	w.slack.AddChannel(slacktest.Channel{ID: slackChannel, Name: "epm", Members: []string{slacktest.BotUserID, slackPerson}})
	if w.discord, err = discordtest.New(discordtest.Config{AckWait: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.discord.Close)
	w.discord.AddRole(discordtest.Role{ID: discordRole, Name: "helpdesk"})
	w.discord.AddUser(discordtest.User{ID: "1300000000000000001", Username: "grace", Roles: []string{discordRole}})
	w.discord.AddChannel(discordtest.Channel{ID: discordChannel, Name: "epm"})
	if w.epm, err = epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: secrets["EPM_CLIENT_SECRET"]}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.epm.Close)
	return w
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

// bot is the program, run in the tree of the image.
type bot struct {
	*world
	image *image
	dir   string            // its tree
	env   map[string]string // all of its environment
	cmd   *exec.Cmd
	base  string // its address for others
	ops   string // its address for operators, or ""
	log   syncBuffer
}

// runs starts the program of the image with the environment that something in
// deploy/ gives it, and waits until it is ready. Only what a loopback
// interface has instead of a name is replaced. files, by path, are what is
// mounted into the container.
func (w *world) runs(img *image, env map[string]string, files map[string]string) *bot {
	w.Helper()
	if os.Getuid() != 0 && !w.bare {
		leaveOut(w, "only root can run a program in another file tree and as another user")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	b := &bot{world: w, image: img, dir: img.tree(w), env: maps.Clone(img.env)}
	maps.Copy(b.env, env)
	maps.Copy(b.env, w.more)
	addr := listener.Addr().String()
	b.base = "http://" + addr
	if b.env["COUNTERSIGN_TLS_CERT"] != "" {
		b.base = "https://" + addr
	}
	maps.Copy(b.env, map[string]string{
		"COUNTERSIGN_LISTEN": addr, "COUNTERSIGN_PUBLIC_URL": b.base, "COUNTERSIGN_EPM_HOST": w.epm.URL(),
		"COUNTERSIGN_SLACK_API_URL": w.slack.URL(), "COUNTERSIGN_DISCORD_API_URL": w.discord.URL(),
	})
	closing := []net.Listener{listener}
	if b.env["COUNTERSIGN_OPS_LISTEN"] != "" {
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.Fatal(err)
		}
		closing = append(closing, other)
		b.env["COUNTERSIGN_OPS_LISTEN"], b.ops = other.Addr().String(), "http://"+other.Addr().String()
	}
	for path, content := range files {
		inside := filepath.Join(b.dir, path)
		if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
			w.Fatal(err)
		}
		// As Kubernetes mounts them: for the group alone.
		if err := os.WriteFile(inside, []byte(content), 0o440); err != nil {
			w.Fatal(err)
		}
		if w.bare {
			continue
		}
		if err := os.Chown(inside, 0, int(img.user.Gid)); err != nil {
			w.Fatal(err)
		}
	}
	before := b.files()

	for _, l := range closing {
		if err := l.Close(); err != nil {
			w.Fatal(err)
		}
	}
	b.cmd = b.command(slices.Concat(img.entrypoint, img.cmd))
	b.cmd.Stdout, b.cmd.Stderr = &b.log, &b.log
	if err := b.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.cmd.Wait() }()
	w.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM) // perhaps it has ended by itself
		if err := <-ended; err != nil {
			w.Errorf("it ended with %v", err)
		}
		for _, path := range b.files() {
			if !slices.Contains(before, path) && !strings.HasPrefix(path, img.workdir+"/") {
				w.Errorf("it wrote %s, which is outside of %s", path, img.workdir)
			}
		}
		for name, value := range secrets {
			if strings.Contains(b.log.String(), value) {
				w.Errorf("the log holds %s", name)
			}
		}
		if w.Failed() {
			w.Logf("log:\n%s", b.log.String())
		}
	})
	if b.env["COUNTERSIGN_SLACK_APP_TOKEN"]+b.env["COUNTERSIGN_SLACK_APP_TOKEN_FILE"] == "" {
		w.slack.SetURLs(slacktest.URLs{Interactions: b.base + "/slack/interactions", Commands: b.base + "/slack/commands", Events: b.base + "/slack/events"})
	}
	w.epm.SetWebhook(b.base+"/webhooks/epm", env["COUNTERSIGN_WEBHOOK_USER"], secrets["WEBHOOK_PASSWORD"])
	w.eventually("ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			w.Fatal("it ended by itself")
		default:
		}
		return b.says("/readyz") == http.StatusOK
	})
	return b
}

// command runs what a container would, in its tree and as its user.
func (b *bot) command(argv []string) *exec.Cmd {
	top, attributes := "", &syscall.SysProcAttr{Chroot: b.dir, Credential: b.image.user, Pdeathsig: syscall.SIGKILL}
	if b.bare {
		top, attributes = b.dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	cmd := exec.CommandContext(context.Background(), top+argv[0], argv[1:]...)
	cmd.Err = nil // the path is one of the tree
	cmd.Dir = top + b.image.workdir
	for name, value := range b.env {
		if strings.HasSuffix(name, "_FILE") {
			value = top + value
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = attributes
	return cmd
}

// files lists everything in the tree.
func (b *bot) files() []string {
	var list []string
	err := filepath.WalkDir(b.dir, func(path string, _ os.DirEntry, err error) error {
		list = append(list, strings.TrimPrefix(path, b.dir))
		return err
	})
	if err != nil {
		b.Error(err)
	}
	return list
}

// get returns what a path answers where everybody may ask.
func (b *bot) get(path string) (int, []byte) {
	b.Helper()
	return b.getAt(b.base + path)
}

// opsGet returns what it answers where operators ask.
func (b *bot) opsGet(path string) (int, []byte) {
	b.Helper()
	return b.getAt(b.ops + path)
}

func (b *bot) getAt(url string) (int, []byte) {
	b.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return res.StatusCode, body
}

func (b *bot) says(path string) int {
	b.Helper()
	code, _ := b.get(path)
	return code
}

func (b *bot) opsSays(path string) int {
	b.Helper()
	code, _ := b.opsGet(path)
	return code
}

// healthy runs the health check as a container engine does.
func (b *bot) healthy(argv []string) {
	b.Helper()
	out, err := b.command(argv).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is alive") {
		b.Errorf("%v = %v, %s", argv, err, out)
	}
}

// decides has somebody ask for access and somebody approve it in Slack, until
// EPM has the decision.
func (b *bot) decides() {
	b.Helper()
	r, err := b.epm.RequestApp(epmtest.App{})
	if err != nil {
		b.Fatal(err)
	}
	var card slacktest.Message
	b.eventually("a card in Slack", func() bool {
		for _, m := range b.slack.Messages(slackChannel) {
			if strings.Contains(m.Text, "waiting for a decision") {
				card = m
			}
		}
		return card.TS != ""
	})
	ann := b.slack.Person(slackPerson)
	if err := ann.Click(b.Context(), slackChannel, card.TS, "approve"); err != nil {
		b.Fatal(err)
	}
	b.eventually("a form", func() bool { _, open := ann.View(); return open })
	if err := ann.Act(b.Context(), "unit", "once"); err != nil {
		b.Fatal(err)
	}
	if problems, err := ann.Submit(b.Context(), map[string]string{"reason": "ok", "unit": "once"}); err != nil || len(problems) > 0 {
		b.Fatalf("submit: %v, %v", problems, err)
	}
	b.eventually("EPM has the decision", func() bool { _, ok := b.epm.Effective(r.ID); return ok })
}

// syncBuffer collects what a process prints.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// warned returns the messages of the log that are warnings or errors.
func (b *bot) warned() []string {
	var list []string
	for line := range strings.Lines(b.log.String()) {
		var said struct{ Level, Msg, Err string }
		if json.Unmarshal([]byte(line), &said) != nil {
			list = append(list, line)
		} else if said.Level == "WARN" || said.Level == "ERROR" {
			list = append(list, fmt.Sprintf("%s: %s", said.Msg, said.Err))
		}
	}
	return list
}

// tlsCert and tlsKey are those of every bot that speaks TLS; whoever calls it
// from this process trusts them.
var tlsCert, tlsKey []byte

// certify makes them, in dir.
func certify(dir string) error {
	certs, err := certtest.New(certtest.Config{Dir: dir})
	if err != nil {
		return err
	}
	if tlsCert, err = os.ReadFile(certs.Cert); err != nil {
		return err
	}
	if tlsKey, err = os.ReadFile(certs.Key); err != nil {
		return err
	}
	return os.Setenv("SSL_CERT_FILE", certs.CA)
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "countersign-check-")
		if err == nil {
			defer func() { _ = os.RemoveAll(dir) }()
			err = certify(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		work = dir
		return m.Run()
	}())
}

// work is a folder for what several tests share.
var work string
