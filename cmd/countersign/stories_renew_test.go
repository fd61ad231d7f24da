package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/redis/redistest"
)

// filed has the program read its environment as it does in production, each
// secret from a file.
func filed(s *story) {
	s.Helper()
	dir, vars := s.TempDir(), map[string]string{}
	for f := range fields() {
		name := f.Tag.Get("envconfig")
		value := reflect.ValueOf(&s.env).Elem().FieldByIndex(f.Index).String()
		if f.Type == reflect.TypeFor[secret]() {
			value = secretOf(&s.env, name).Reveal()
			vars[name+"_FILE"] = filepath.Join(dir, name)
			if err := os.WriteFile(vars[name+"_FILE"], []byte(value+"\n"), 0o600); err != nil {
				s.Fatal(err)
			}
		} else if value != "" {
			vars[name] = value
		}
	}
	setenv(s, vars)
	s.read, s.renew = readEnvironment, 20*time.Millisecond
}

// writes replaces the file of a secret in one step, as Kubernetes does.
func (s *story) writes(name, value string) {
	s.Helper()
	path := os.Getenv(envPrefix + "_" + name + "_FILE")
	err := os.WriteFile(path+".new", []byte(value+"\n"), 0o600)
	if err := errors.Join(err, os.Rename(path+".new", path)); err != nil {
		s.Fatal(err)
	}
}

// traffic is requests and decisions without a pause, in both chats.
type traffic struct {
	*story
	replicas int
	stop     chan struct{}
	works    sync.WaitGroup
	pause    map[string]*sync.RWMutex // held for writing while a platform itself lets nobody through
	done     map[string]*atomic.Int64
	failed   []error
	mu       sync.Mutex
}

func (s *story) underTraffic() *traffic {
	f := &traffic{story: s, stop: make(chan struct{}), pause: map[string]*sync.RWMutex{}, done: map[string]*atomic.Int64{}}
	for chat, decide := range map[string]func(ctx context.Context, tool string) error{"slack": f.slackDecides, "discord": f.discordDecides} {
		f.pause[chat], f.done[chat] = &sync.RWMutex{}, &atomic.Int64{}
		f.works.Go(func() {
			for {
				select {
				case <-f.stop:
					return
				default:
				}
				if err := f.once(chat, decide); err != nil {
					f.mu.Lock()
					f.failed = append(f.failed, fmt.Errorf("%s: %w", chat, err))
					f.mu.Unlock()
				}
				f.done[chat].Add(1)
			}
		})
	}
	return f
}

// renews gives the program a secret, and waits until it is used everywhere.
func (f *traffic) renews(name, value string) {
	f.Helper()
	group := strings.TrimSuffix(name, "_PREVIOUS")
	line := `msg="a secret has changed" variable=` + envPrefix + "_" + group + "\n"
	before := strings.Count(f.logs.String(), line)
	f.writes(name, value)
	f.eventually(name+" is in use", func() bool { return strings.Count(f.logs.String(), line) >= before+f.replicas })
}

// declines gives the program a secret that is wrong, and waits until it has
// said so.
func (f *traffic) declines(name, value, why string) {
	f.Helper()
	told := func() (n int) {
		for line := range strings.Lines(f.logs.String()) {
			if strings.Contains(line, "is not used") && strings.Contains(line, "variable="+envPrefix+"_"+name+" ") && strings.Contains(line, why) {
				n++
			}
		}
		return n
	}
	before := told()
	f.writes(name, value)
	f.eventually(fmt.Sprintf("%s is refused: %s", name, why), func() bool { return told() >= before+f.replicas })
}

// once is one request, decided in one chat, until EPM has the decision.
func (f *traffic) once(chat string, decide func(ctx context.Context, tool string) error) error {
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	tool := "Tool-" + rand.Text()
	r, err := f.epm.RequestApp(epmtest.App{Product: tool})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	f.pause[chat].RLock()
	err = decide(ctx, tool)
	f.pause[chat].RUnlock()
	if err != nil {
		return err
	}
	return until(ctx, "EPM has the decision", func() bool { return f.epm.TimesInEffect(r.ID) == 1 })
}

// until waits for ok, and says what never came.
func until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("never: " + what)
		}
	}
	return nil
}

func (f *traffic) slackDecides(ctx context.Context, tool string) error {
	var card slacktest.Message
	err := until(ctx, "a card in Slack", func() bool {
		return slices.ContainsFunc(f.cards(), func(m slacktest.Message) bool {
			card = m
			return strings.Contains(m.Text, tool)
		})
	})
	if err != nil {
		return err
	}
	p := f.slack.Person("U01ANN")
	if err := p.Click(ctx, channel, card.TS, "approve"); err != nil {
		return fmt.Errorf("click: %w", err)
	}
	problems, err := p.Submit(ctx, map[string]string{"reason": "fine", "unit": "once"})
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("told %v", problems)
	}
	return err
}

func (f *traffic) discordDecides(ctx context.Context, tool string) error {
	var card discordCard
	err := until(ctx, "a card in Discord", func() bool {
		return slices.ContainsFunc(f.discordCards(), func(c discordCard) bool {
			card = c
			return strings.Contains(c.text, tool)
		})
	})
	if err != nil {
		return err
	}
	p := f.discord.Person(discordGrace)
	if err := p.Click(ctx, discordChannel, card.id, card.custom["deny"]); err != nil {
		return fmt.Errorf("click: %w", err)
	}
	return p.Submit(ctx, map[string]string{"reason": "no"})
}

// goesOn waits until more was decided in each chat.
func (f *traffic) goesOn() {
	f.Helper()
	before := map[string]int64{}
	for chat, done := range f.done {
		before[chat] = done.Load()
	}
	f.eventually("decisions in each chat", func() bool {
		for chat, done := range f.done {
			if done.Load() < before[chat]+2 {
				return false
			}
		}
		return true
	})
}

// ends ends it, and fails the test for each webhook and each click that failed.
func (f *traffic) ends() {
	f.Helper()
	close(f.stop)
	f.works.Wait()
	for _, err := range f.failed {
		f.Error(err)
	}
	f.Logf("decided in Slack: %d, in Discord: %d; failed: %d", f.done["slack"].Load(), f.done["discord"].Load(), len(f.failed))
}

// TestStoryEverySecretIsRenewed changes every secret of a program that is
// running, while requests are made and decided: not one webhook and not one
// click fails. What is wrong is refused by name before, and changes nothing.
// To see it fail, let renewer.renew not store what was tried.
func TestStoryEverySecretIsRenewed(t *testing.T) {
	quick := func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 10_000, PostBurst: 10_000, EditsPerMinute: 600_000, EditBurst: 10_000}
		s.unpaced()
	}
	t.Run("HTTP", func(t *testing.T) {
		s := tell(t, discordByHTTP, quick, filed)
		s.renewsAll(1, map[string]func(*traffic){
			"SLACK_SIGNING_SECRET":          (*traffic).renewsSigningSecret,
			"SLACK_SIGNING_SECRET_PREVIOUS": nil, // with it
		})
	})
	t.Run("Connected", func(t *testing.T) {
		srv := startRedis(t)
		s := tell(t, bySocket, withDiscord, quick, withRedis(srv), func(s *story) { s.gateway.Lease = 2 * time.Second }, filed)
		_, stop := s.join(0)
		defer stop()
		s.renewsAll(2, map[string]func(*traffic){
			"STORE":           func(f *traffic) { f.renewsRedis(srv) },
			"SLACK_APP_TOKEN": (*traffic).renewsAppToken,
		})
	})
}

// TestStoryRollingRestart gives two replicas their secrets anew in the
// environment: one is replaced after the other, and each is asked for nothing
// before it is ready and after it was taken away. Discord's token is left out:
// while a replica has one that was ended its cards wait.
func TestStoryRollingRestart(t *testing.T) {
	srv := startRedis(t)
	s := tell(t, discordByHTTP, withRedis(srv), func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 10_000, PostBurst: 10_000, EditsPerMinute: 600_000, EditBurst: 10_000}
		s.unpaced()
	})
	second, stopSecond := s.join(0)
	password := webhookPass
	leadTo := func(addr string) {
		t.Helper()
		s.addr = addr
		s.slackCalls(addr)
		s.epm.SetWebhook("http://"+addr+"/webhooks/epm", webhookUser, password)
		if err := s.discord.SetInteractionsURL(t.Context(), "http://"+addr+"/discord/interactions"); err != nil {
			t.Fatal(err)
		}
	}
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	f := s.underTraffic()
	defer f.ends()
	f.goesOn()

	leadTo(second)
	f.goesOn()
	s.stop()
	c := srv.Client()
	defer c.Close()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "default", ">redis-secret-2").Err(); err != nil {
		t.Fatal(err)
	}
	s.slack.AddToken("xoxb-2", slacktest.DefaultScopes()...)
	s.env.Store = secret(strings.Replace(s.env.Store.Reveal(), url.PathEscape(redistest.Password), "redis-secret-2", 1))
	s.env.WebhookPassword, s.env.WebhookPasswordPrevious = "webhook-secret-2", webhookPass
	s.env.SlackSigningSecret, s.env.SlackSigningSecretPrevious = "signing-secret-2", slacktest.SigningSecret
	s.env.SlackBotToken = "xoxb-2"
	s.env.EPMClientSecret = secret(s.epm.RotateSecret())
	first, stopFirst := s.join(0)
	stops = append(stops, stopFirst)
	leadTo(first)
	f.goesOn()
	stopSecond()
	f.goesOn()

	password = "webhook-secret-2"
	s.slack.SetSigningSecret("signing-secret-2")
	s.slack.FailToken(slacktest.BotToken, "token_revoked")
	leadTo(first)
	f.goesOn()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "default", "<"+redistest.Password).Err(); err != nil {
		t.Fatal(err)
	}
	s.env.WebhookPasswordPrevious, s.env.SlackSigningSecretPrevious = "", ""
	third, stopThird := s.join(0)
	stops = append(stops, stopThird)
	leadTo(third)
	f.goesOn()
}

// renewsAll renews every secret that the program has: those that each has, and
// more.
func (s *story) renewsAll(replicas int, more map[string]func(*traffic)) {
	f := s.underTraffic()
	f.replicas = replicas
	defer f.ends()
	f.goesOn()
	all := map[string]func(*traffic){
		"WEBHOOK_PASSWORD":          (*traffic).renewsWebhookPassword,
		"WEBHOOK_PASSWORD_PREVIOUS": nil, // with it
		"EPM_CLIENT_SECRET":         (*traffic).renewsClientSecret,
		"SLACK_BOT_TOKEN":           (*traffic).renewsBotToken,
		"DISCORD_BOT_TOKEN":         (*traffic).renewsDiscordToken,
	}
	maps.Copy(all, more)
	for _, name := range secretNames() {
		renew, known := all[name]
		if value := secretOf(&s.env, name).Reveal(); !known && value != "" && !strings.HasPrefix(value, "sqlite:") {
			s.Errorf("nobody renews %s", name)
		}
		if renew != nil {
			renew(f)
			f.goesOn()
		}
	}
	for _, planted := range []string{wrong, "webhook-secret-", "xoxb-2", "xoxb-of-", "xapp-2", "signing-secret-", "redis-secret-"} {
		if strings.Contains(s.logs.String(), planted) {
			s.Errorf("the log holds a secret, %.8s…", planted)
		}
	}
}

// wrong is a value that nobody accepts.
const wrong = "never-to-be-printed"

func (f *traffic) renewsWebhookPassword() {
	f.declines("WEBHOOK_PASSWORD", "", "takes effect when the program is started again")
	f.writes("WEBHOOK_PASSWORD", webhookPass)
	f.renews("WEBHOOK_PASSWORD_PREVIOUS", webhookPass)
	f.renews("WEBHOOK_PASSWORD", "webhook-secret-2")
	f.goesOn() // EPM has the old one still
	f.epm.SetWebhook("http://"+f.addr+"/webhooks/epm", webhookUser, "webhook-secret-2")
	f.goesOn()
	f.renews("WEBHOOK_PASSWORD_PREVIOUS", "")
	if a := f.delivers([]byte("{}")); a.code != http.StatusUnauthorized {
		f.Errorf("the old password gets %d, want 401", a.code)
	}
}

// renewsClientSecret: EPM has one secret at a time.
func (f *traffic) renewsClientSecret() {
	f.declines("EPM_CLIENT_SECRET", wrong, "invalid_client")
	f.renews("EPM_CLIENT_SECRET", f.epm.RotateSecret())
}

func (f *traffic) renewsBotToken() {
	f.declines("SLACK_BOT_TOKEN", wrong, "begin with xoxb-")
	f.declines("SLACK_BOT_TOKEN", "xoxb-"+wrong, "invalid_auth")
	f.slack.AddUser(slacktest.User{ID: "U0STRANGER", Name: "stranger"})
	f.slack.AddUserToken("xoxb-of-somebody", "U0STRANGER", slacktest.DefaultScopes()...)
	f.declines("SLACK_BOT_TOKEN", "xoxb-of-somebody", "not a token of the bot")
	f.slack.AddToken("xoxb-2", slacktest.DefaultScopes()...)
	f.renews("SLACK_BOT_TOKEN", "xoxb-2")
	f.slack.FailToken(slacktest.BotToken, "token_revoked")
	revoked := map[string]any{"type": "tokens_revoked", "tokens": map[string]any{"bot": []string{slacktest.BotUserID}}}
	if err := f.slack.SendEvent(f.Context(), revoked); err != nil {
		f.Error(err)
	}
}

func (f *traffic) renewsSigningSecret() {
	f.declines("SLACK_SIGNING_SECRET", "", "takes effect when the program is started again")
	f.writes("SLACK_SIGNING_SECRET", slacktest.SigningSecret)
	f.renews("SLACK_SIGNING_SECRET_PREVIOUS", slacktest.SigningSecret)
	f.renews("SLACK_SIGNING_SECRET", "signing-secret-2")
	f.goesOn()
	f.slack.SetSigningSecret("signing-secret-2")
	f.goesOn()
	f.renews("SLACK_SIGNING_SECRET_PREVIOUS", "")
}

func (f *traffic) renewsAppToken() {
	f.declines("SLACK_APP_TOKEN", wrong, "begin with xapp-")
	f.declines("SLACK_APP_TOKEN", "xapp-"+wrong, "invalid_auth")
	f.slack.AddAppToken("xapp-2")
	before := f.slack.Sockets()
	f.renews("SLACK_APP_TOKEN", "xapp-2")
	f.eventually("connections with the new token", func() bool { return f.slack.Sockets() == before+f.replicas })
	f.goesOn()
	f.slack.RevokeAppToken(slacktest.AppToken)
	if n := f.slack.Sockets(); n != f.replicas {
		f.Errorf("%d connections are left, want %d", n, f.replicas)
	}
}

// renewsDiscordToken: Discord has one token at a time. Whoever is connected
// loses the connection with it, so that nobody can click then; over HTTP
// people go on.
func (f *traffic) renewsDiscordToken() {
	f.declines("DISCORD_BOT_TOKEN", "Bot "+wrong, "without the word")
	f.declines("DISCORD_BOT_TOKEN", wrong, "401")
	if f.env.DiscordMode == "gateway" {
		f.pause["discord"].Lock()
		defer f.pause["discord"].Unlock()
	}
	f.renews("DISCORD_BOT_TOKEN", f.discord.ResetToken())
	if f.env.DiscordMode == "gateway" {
		f.eventually("the gateway again", func() bool { return f.discord.Connections() == 1 })
	}
}

func (f *traffic) renewsRedis(srv *redistest.Server) {
	with := func(password string) string {
		return strings.Replace(srv.URL("story"), url.PathEscape(redistest.Password), password, 1)
	}
	f.declines("STORE", "redis://127.0.0.1:1/0?tenant="+wrong, "restart it for the rest")
	f.declines("STORE", with(wrong), "refuses the user or the password")
	c := srv.Client()
	defer c.Close()
	allow := func(rule string) {
		f.Helper()
		if err := c.Do(f.Context(), "ACL", "SETUSER", "default", rule).Err(); err != nil {
			f.Fatal(err)
		}
	}
	allow(">redis-secret-2")
	f.renews("STORE", with("redis-secret-2"))
	allow("<" + redistest.Password)
	f.goesOn()
}
