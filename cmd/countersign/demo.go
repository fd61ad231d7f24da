package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

const (
	demoListen = "127.0.0.1:8080"

	// EPM's answers are held back so that a person sees each step of a
	// decision on the card.
	demoDecisionDelay = 800 * time.Millisecond
	demoConfirmDelay  = 2 * time.Second
	demoSlowBy        = 4 * time.Second

	// demoEnd is how long open requests of the page may take once the demo ends.
	demoEnd = time.Second

	// demoReady is how long the page waits for the bot to be in Discord. After
	// it the page is there all the same, and shows what works.
	demoReady = 10 * time.Second
)

// demo runs the real bot on this machine against the fakes of Slack, Discord
// and EPM, behind a page on which a person plays everybody: who asks, who
// approves, and EPM. The page can do what the fakes can do and nothing else.
func demo(ctx context.Context, p Env, args []string) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(p.Stderr)
	address := flags.String("listen", demoListen, "`address` of the page")
	noOpen := flags.Bool("no-open", false, "do not open a browser")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("demo does not know %q: it takes --listen ADDR and --no-open", flags.Arg(0))
	}
	listener, err := demoListener(ctx, *address, p.Stderr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // again, if the page's server has not done it

	dir, err := os.MkdirTemp("", "countersign-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	w, err := newDemoWorld()
	if err != nil {
		return err
	}
	defer w.close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	listening := make(chan string, 1)
	go func() { ended <- w.runBot(ctx, p, dir, func(addr string) { listening <- addr }) }()
	select {
	case addr := <-listening:
		w.connect("http://" + addr)
		w.await(ctx)
	case err := <-ended:
		return err
	}

	server := &http.Server{
		Handler:           newDemoPage(w, *address).handler(),
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return ctx }, // event streams end with the demo
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	url := "http://" + listener.Addr().String() + "/"
	if _, err := fmt.Fprintf(p.Stdout, "Countersign demo: %s\nEverything runs on this machine and is gone when you stop it with Ctrl+C.\n", url); err == nil && !*noOpen {
		openBrowser(url)
	}
	if p.Listening != nil {
		p.Listening(listener.Addr().String())
	}

	select {
	case <-ctx.Done():
		err = <-ended
	case err = <-ended:
		cancel()
	case err = <-served:
		cancel()
		return errors.Join(err, <-ended)
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), demoEnd)
	defer stop()
	if server.Shutdown(end) != nil {
		_ = server.Close() // what is still open belongs to a page of the past
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// demoListener takes the page's address. Without a host it would be open to
// the whole network, which nobody should get by leaving something out.
func demoListener(ctx context.Context, address string, warnings io.Writer) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--listen %s: write an address and a port, for example %s", address, demoListen)
	case host == "":
		return nil, fmt.Errorf("--listen %s would open the demo to your whole network: write 127.0.0.1:%s, or 0.0.0.0:%s if that is what you want", address, port, port)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		if _, err := fmt.Fprintf(warnings, "Careful: anyone who can reach %s can use this demo; it has no login. Its requests and people are invented.\n", address); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another program: choose another port with --listen, for example --listen 127.0.0.1:8081, or --listen 127.0.0.1:0 for any free one", address)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s, choose another address with --listen: %w", address, err)
	}
	return listener, nil
}

// demoPerson is somebody who is in both chats.
type demoPerson struct {
	ID      string `json:"id"`
	Slack   string `json:"slack"`
	Discord string `json:"discord"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	roles   []string
}

const (
	demoChannel = "C01EPM"
	demoGroup   = "S01HELP"

	demoDiscordChannel = "1100000000000000101"
	demoDiscordRole    = "1100000000000000102"
)

func demoPeople() []demoPerson {
	return []demoPerson{
		{"ann", "U01ANN", "1100000000000000201", "Ann Approver", "Approver by name, and admin", nil},
		{"grace", "U02GRACE", "1100000000000000202", "Grace Approver", "Approver as one of @helpdesk", []string{demoDiscordRole}},
		{"sam", "U03SAM", "1100000000000000203", "Sam Stranger", "Not an approver", nil},
	}
}

// demoWorld is everything around the bot.
type demoWorld struct {
	slack                      *slacktest.Server
	discord                    *discordtest.Server
	epm                        *epmtest.Server
	signing                    string
	clientSecret, hookPassword string
}

func newDemoWorld() (*demoWorld, error) {
	w := &demoWorld{signing: rand.Text(), clientSecret: rand.Text(), hookPassword: rand.Text()}
	var err error
	w.slack, err = slacktest.New(slacktest.Config{SigningSecret: w.signing})
	if err != nil {
		return nil, fmt.Errorf("start the simulated Slack: %w", err)
	}
	w.discord, err = discordtest.New(discordtest.Config{BotName: "Countersign"})
	if err != nil {
		w.slack.Close()
		return nil, fmt.Errorf("start the simulated Discord: %w", err)
	}
	w.epm, err = epmtest.New(epmtest.Config{
		ClientID: "countersign-demo", ClientSecret: w.clientSecret,
		AutoConfirm: true, ConfirmAfter: demoConfirmDelay, SlowBy: demoSlowBy,
	})
	if err != nil {
		w.discord.Close()
		w.slack.Close()
		return nil, fmt.Errorf("start the simulated EPM: %w", err)
	}
	members := []string{slacktest.BotUserID}
	w.discord.AddRole(discordtest.Role{ID: demoDiscordRole, Name: "helpdesk"})
	for _, person := range demoPeople() {
		w.slack.AddUser(slacktest.User{ID: person.Slack, Name: person.ID, RealName: person.Name, Email: person.ID + "@acme.example"})
		w.discord.AddUser(discordtest.User{ID: person.Discord, Username: person.ID, GlobalName: person.Name, Roles: person.roles})
		members = append(members, person.Slack)
	}
	w.slack.AddChannel(slacktest.Channel{ID: demoChannel, Name: "epm-requests", Members: members})
	w.slack.AddGroup(slacktest.Group{ID: demoGroup, Handle: "helpdesk", Name: "Help desk", Users: []string{demoPeople()[1].Slack}})
	w.discord.AddChannel(discordtest.Channel{ID: demoDiscordChannel, Name: "epm-requests"})
	w.setMode(epmtest.Normal)
	return w, nil
}

func (w *demoWorld) close() {
	w.epm.Close()
	w.discord.Close()
	w.slack.Close()
}

// setMode changes how EPM behaves. Decisions take a moment in each mode that
// answers them.
func (w *demoWorld) setMode(m epmtest.Mode) {
	w.epm.ClearFaults()
	w.epm.SetMode(m)
	if m == epmtest.Normal || m == epmtest.Refusing {
		w.epm.Fail(epmtest.Fault{On: epmtest.Decide, Kind: epmtest.Late, Delay: demoDecisionDelay})
	}
}

// connect tells the fakes where the bot listens. Discord is not told: the bot
// connects to its gateway.
func (w *demoWorld) connect(bot string) {
	w.slack.SetURLs(slacktest.URLs{
		Interactions: bot + "/slack/interactions", Commands: bot + "/slack/commands", Events: bot + "/slack/events",
	})
	w.epm.SetWebhook(bot+"/webhooks/epm", "epm", w.hookPassword)
}

// await returns when the bot is in Discord and has its command there, or when
// that takes too long.
func (w *demoWorld) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, demoReady)
	defer cancel()
	changed := w.discord.Changes(ctx)
	for w.discord.Connections() == 0 || w.discord.CommandWrites() == 0 {
		if _, open := <-changed; !open {
			return
		}
	}
}

// runBot is serve with the configuration of this world, until ctx ends.
func (w *demoWorld) runBot(ctx context.Context, p Env, dir string, listening func(addr string)) error {
	ann := demoPeople()[0]
	cfg, err := environment{
		Listen: "127.0.0.1:0", Store: secret("sqlite:" + filepath.Join(dir, "countersign.db")),
		WebhookUser: "epm", WebhookPassword: secret(w.hookPassword),
		EPMHost: w.epm.URL(), EPMClientID: "countersign-demo", EPMClientSecret: secret(w.clientSecret), EPMTenantID: w.epm.TenantID(),
		SlackBotToken: slacktest.BotToken, SlackSigningSecret: secret(w.signing), SlackChannel: demoChannel, SlackAPIURL: w.slack.URL(),
		DiscordBotToken: discordtest.BotToken, DiscordApplicationID: discordtest.ApplicationID, DiscordGuild: discordtest.GuildID,
		DiscordChannel: demoDiscordChannel, DiscordAPIURL: w.discord.URL(), DiscordMode: "gateway",
		Approvers:                "slack:" + ann.Slack + ", slack:group:" + demoGroup + ", discord:" + ann.Discord + ", discord:role:" + demoDiscordRole,
		Admins:                   "slack:" + ann.Slack + ", discord:" + ann.Discord,
		SettingsShortDescription: "EPM JIT Access Request", SettingsAutoClose: "false",
		LogLevel: "warn", LogFormat: "text",
	}.check(nil)
	if err != nil {
		return err
	}
	p.Listening = listening
	p.Environment = func() (environment, []finding) { return cfg.environment, nil } // this world's, for good
	return runBot(ctx, cfg, p, newLog(cfg, p.Stderr))
}

// openBrowser shows url if there is somebody to look at it. The address has
// been printed, so that it does not work is no error.
func openBrowser(url string) {
	if os.Getenv("CI") != "" {
		return
	}
	var name string
	var args []string
	switch runtime.GOOS {
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler"}
	case "darwin":
		name = "open"
	default:
		if cmp.Or(os.Getenv("DISPLAY"), os.Getenv("WAYLAND_DISPLAY")) == "" {
			return
		}
		name = "xdg-open"
	}
	//nolint:gosec // fixed programs, and an address of our own
	cmd := exec.Command(name, append(args, strings.Replace(url, "://0.0.0.0:", "://127.0.0.1:", 1))...)
	if cmd.Start() == nil {
		_ = cmd.Process.Release() // the browser outlives the demo
	}
}
