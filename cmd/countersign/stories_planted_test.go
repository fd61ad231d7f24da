package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/redis/redistest"
)

// odd makes the forms of a secret differ: escaped in a URL, in JSON, in HTML.
const odd = `pl4nted/+=%&"<\`

// forms are a secret as it could be printed.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	list := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret), quoted[1 : len(quoted)-1],
		hex.EncodeToString([]byte(secret)), fmt.Sprintf("%v", []byte(secret)),
	}
	if b, err := json.Marshal(secret); err == nil {
		list = append(list, string(b[1:len(b)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // wherever it stands in what was encoded
			whole := encoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
			list = append(list, whole[(shift*8+5)/6:len(whole)-1])
		}
	}
	return list
}

// secretPart is what of a secret variable is a secret: of an address a part.
func secretPart(env *environment, name string) string {
	value := secretOf(env, name).Reveal()
	switch u, err := url.Parse(value); {
	case err == nil && name == "STORE":
		value, _ = u.User.Password()
	case err == nil && (name == "EVENTS_WEBHOOK" || name == "AUDIT_CHECKPOINTS"):
		value = strings.TrimPrefix(u.Path, "/")
	}
	return value
}

// leaks finds the secrets of env in what was said.
func leaks(env *environment, said map[string]string) []string {
	var found []string
	for _, name := range secretNames() {
		value := secretPart(env, name)
		if value == "" {
			continue
		}
		for where, text := range said {
			if i := slices.IndexFunc(forms(value), func(form string) bool { return strings.Contains(text, form) }); i >= 0 {
				found = append(found, fmt.Sprintf("%s holds %s, in form %d", where, name, i))
			}
		}
	}
	return found
}

// echoing is a platform that answers, while it is told to, with all that it
// was sent, in one place after the other.
type echoing struct {
	*httptest.Server
	on       atomic.Bool
	calls    atomic.Int64
	statuses atomic.Pointer[[]int] // of its answers, one after the other
}

// echoes begins to answer with these statuses.
func (e *echoing) echoes(statuses ...int) {
	e.statuses.Store(&statuses)
	e.on.Store(true)
}

func newEchoing(t testing.TB, platform string) *echoing {
	t.Helper()
	target, err := url.Parse(platform)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	e := &echoing{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.on.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		_, password, _ := r.BasicAuth()
		all := string(dump) + password
		n, statuses := int(e.calls.Add(1)), *e.statuses.Load()
		for _, name := range []string{"Location", "Retry-After", "X-RateLimit-Scope", "WWW-Authenticate"} {
			w.Header().Set(name, url.QueryEscape(all))
		}
		if n/len(statuses)%2 == 1 {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(statuses[n%len(statuses)])
			_, _ = fmt.Fprintf(w, "<html><title>%s</title>%s</html>", all, all)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(statuses[n%len(statuses)])
		_ = json.NewEncoder(w).Encode(map[string]any{
			"ok": false, "error": all, "error_description": all, "needed": all, "message": all, "code": 50035, "warning": all,
			"errors": map[string]any{all: map[string]any{"_errors": []any{map[string]any{"code": all, "message": all}}}}, "retry_after": all,
			"response_metadata": map[string]any{"messages": []any{all}}, "access_token": map[string]any{"x": all}, "id": all, "url": all,
		})
	}))
	t.Cleanup(e.Close)
	return e
}

// plant fills every variable that holds a secret: those that a platform gave
// out with what its imitation accepts, all others, and those that are new,
// with a text of their own. It returns the platforms, which can echo.
func plant(srv *redistest.Server) (option, func() []*echoing) {
	var echoes []*echoing
	return func(s *story) {
		s.Helper()
		s.slack.AddToken("xoxb-"+odd, slacktest.DefaultScopes()...)
		s.slack.AddAppToken("xapp-" + odd)
		c := srv.Client()
		defer c.Close()
		if err := c.Do(s.Context(), "ACL", "SETUSER", "default", ">redis-"+odd).Err(); err != nil {
			s.Fatal(err)
		}
		s.env.SlackBotToken, s.env.SlackAppToken = "xoxb-"+odd, "xapp-"+odd
		s.env.EPMClientSecret, s.env.DiscordBotToken = secret(s.epm.RotateSecret()), secret(s.discord.ResetToken())
		s.env.Store = secret(strings.Replace(srv.URL("story"), url.PathEscape(redistest.Password), url.PathEscape("redis-"+odd), 1))
		s.env.EventsWebhookSecret = secret("whsec_" + base64.StdEncoding.EncodeToString([]byte("EVENTS_WEBHOOK_SECRET-"+odd)))
		s.env.EventsWebhookSecretPrevious = secret("whsec_" + base64.StdEncoding.EncodeToString([]byte("EVENTS_WEBHOOK_SECRET_PREVIOUS-"+odd)))
		takes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		s.Cleanup(takes.Close)
		siem, checkpoints := newEchoing(s, takes.URL), newEchoing(s, takes.URL)
		s.env.EventsWebhook = secret(siem.URL + "/" + url.PathEscape("EVENTS_WEBHOOK-"+odd))
		s.env.AuditCheckpoints = secret(checkpoints.URL + "/" + url.PathEscape("AUDIT_CHECKPOINTS-"+odd))
		checkpoints.echoes(400, 302, 200) // from the start: nothing else waits for them
		for _, name := range secretNames() {
			if v := secretOf(&s.env, name); *v == "" || name == "SLACK_SIGNING_SECRET" {
				*v = secret(name + "-" + odd)
			}
		}
		s.slack.SetSigningSecret(s.env.SlackSigningSecret.Reveal())
		for _, address := range []*string{&s.env.SlackAPIURL, &s.env.DiscordAPIURL, &s.env.EPMHost} {
			e := newEchoing(s, *address)
			if u, err := url.Parse(*address); err == nil {
				*address = e.URL + u.Path
			}
			echoes = append(echoes, e)
		}
		echoes = append(echoes, siem)
	}, func() []*echoing { return echoes }
}

// plantedCalls are the commands of the program, as they are called while
// secrets are planted. A command without a call fails the story.
var plantedCalls = map[string][]string{
	"serve": {"now"}, "demo": {"--port 1"}, "doctor": {""}, "healthcheck": {"", "--ready"}, "templates": {""}, "slack-manifest": {"--mode http --url https://example.com"},
	"incoming": {"", "--failed --json", "show ID", "replay ID"},
	"tickets":  {"list", "list --json", "show JIT-1001", "show JIT-1001 --json", "show JIT-1001 --evidence", "export", "export --format csv"},
	"audit":    {"verify", "verify --json", "export", "export --format csv", "export --format cef"},
	"report":   {"", "--json"},
	"store":    {"copy STORE sqlite:DIR/copy.db", "copy STORE STORE", "copy sqlite:DIR/none.db STORE", "copy STORE redis://:WRONG@127.0.0.1:1/", "backup DIR/backup.db", "restore DIR/none.db"},
	"events":   {"", "drop-sink syslog", "drop-sink none"},
	"settings": {"export --history", "import DIR/settings.json", "reset", "reset category", "reset yes"},
	"version":  {""},
}

// TestStoryPlantedSecrets runs everything that the program has, with a secret
// in every variable that can hold one, and platforms that give back what they
// are sent; then looks for each secret, in every form, in all that anybody
// could read: the log, answers, metrics, cards, messages, findings, exports
// and the store. To see it fail, print a vendor's answer anywhere.
func TestStoryPlantedSecrets(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	planting, echoes := plant(srv)
	s := tell(t, withDiscord, planting, func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 1000, PostBurst: 1000, EditsPerMinute: 60_000, EditBurst: 1000}
	})
	said := map[string]string{}
	r, _ := s.requested()
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM")
	for path, login := range map[string][2]string{
		"wrong user": {"somebody", webhookPass}, "wrong password": {webhookUser, s.env.WebhookPasswordPrevious.Reveal() + "x"}, "not JSON": {webhookUser, webhookPass},
	} {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/webhooks/epm", strings.NewReader("{"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(login[0], login[1])
		said["webhook, "+path] = s.reads(req)
	}
	s.saysAll(said, "")
	// EPM alone, so that a decision is to be sent again and again, each time
	// with a new token: those last an hour.
	s.skew.Add(int64(2 * time.Hour))
	// What else asks EPM takes its turn among the answers, so each is waited
	// for, and at first none of them ends a decision.
	all := echoes()
	waits := []string{`token: unreadable answer"`, `a web page with status 200"`}
	for _, status := range []int{500, 429, 503} {
		told := fmt.Sprintf("token: %d %s", status, http.StatusText(status))
		waits = append(waits, told+`"`, fmt.Sprintf(`%s: a web page with status %d"`, told, status))
	}
	all[2].echoes(200, 500, 429, 503)
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	if err := (&traffic{story: s}).slackDecides(t.Context(), "JIT-1002"); err != nil {
		t.Fatal(err)
	}
	for _, told := range waits {
		s.logsWhile("ticket=JIT-1002 step=send .*"+told, func() { s.skew.Add(int64(time.Minute)) })
	}
	// Then it takes our credentials no more: they may be changing, until they
	// have been for too long.
	all[2].echoes(400, 401)
	for _, class := range []string{"unavailable", "unauthorized"} {
		s.logsWhile("ticket=JIT-1002 step=send .*class="+class+" .*token: 40[01] ", func() { s.skew.Add(int64(time.Minute)) })
	}
	for _, e := range all {
		e.echoes(400, 401, 200, 500, 429, 503, 403, 404, 302)
	}
	asked := 2
	ask := func() {
		if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
			t.Fatal(err)
		}
		asked++
	}
	ask()
	s.saysAll(said, " while all platforms echo")
	for _, platform := range []string{"slack", "discord"} {
		// A post that is answered 200 is taken for done: another may fail.
		s.logsWhile(`step=post platform=`+platform+`.*class=`, func() {
			if strings.Contains(s.logs.String(), fmt.Sprintf(`msg="step done" ticket=JIT-%d step=post platform=%s`, 1000+asked, platform)) {
				ask()
			}
		})
	}
	for _, status := range []int{302, 400} {
		s.logsWhile(fmt.Sprintf("checkpoints of histories cannot be written.*the receiver answers %d", status), func() {})
	}
	// The doctor asks each of them; how often others did is not known.
	few := func(e *echoing) bool { return e.calls.Load() < 8 }
	for i := 0; i < 4 || i < 12 && slices.ContainsFunc(all, few); i++ {
		said[fmt.Sprint("doctor, time ", i)] = s.calls("doctor", "")
	}
	for _, e := range all {
		if n := e.calls.Load(); n < 8 {
			t.Errorf("a platform has echoed %d times, want 8", n)
		}
	}
	said["the log"] = s.logs.String()
	for name, text := range s.misconfigured() {
		said["the error about "+name] = text
	}
	c := srv.Client()
	defer c.Close()
	said["Redis"] = dumpRedis(t, c)
	for _, leak := range leaks(&s.env, said) {
		t.Error(leak)
	}
	for where, want := range map[string]string{
		"the log": "level=DEBUG", "/metrics": "countersign_tickets", "countersign doctor": "ok   the configuration is complete", "Redis": "ok for the patch window",
		"countersign tickets export": "JIT-1001", "countersign store copy STORE sqlite:DIR/copy.db": "Copied", "Slack": "Confirmed by EPM",
		"countersign doctor while all platforms echo": "fix  ", "the error about STORE": "COUNTERSIGN_STORE",
		"countersign healthcheck --ready": "is ready", "countersign healthcheck --ready while all platforms echo": "is not ready",
	} {
		if !strings.Contains(said[where], want) {
			t.Errorf("%s does not hold %q: the search looks in the wrong place\n%s", where, want, said[where])
		}
	}
	// The search finds each secret in each form, alone and among other text.
	for _, name := range secretNames() {
		value := secretPart(&s.env, name)
		for _, text := range append(forms(value), base64.StdEncoding.EncodeToString([]byte("user:"+value+"\n")), fmt.Sprintf("%q", "x"+value)) {
			if len(leaks(&s.env, map[string]string{"a text": "<" + text + ">"})) == 0 {
				t.Errorf("the search does not find %s", name)
			}
		}
	}
}

// logsWhile waits until the log has line, and does something meanwhile.
func (s *story) logsWhile(line string, do func()) {
	s.Helper()
	has := regexp.MustCompile(line)
	s.eventually("the log tells of "+line, func() bool {
		if has.MatchString(s.logs.String()) {
			return true
		}
		do()
		return false
	})
}

// reads is everything of an answer.
func (s *story) reads(req *http.Request) string {
	s.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := httputil.DumpResponse(res, true)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// saysAll collects what there is to read: every address, every word of the
// command, every command line, and everything that stands in the chats.
func (s *story) saysAll(said map[string]string, when string) {
	s.Helper()
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/tickets/JIT-1001"} {
		_, said[path+when] = s.get(path)
	}
	for _, w := range wording.Commands() {
		for _, row := range wordRows[w.Name] {
			a, err := s.slack.Person("U01ANN").CommandIn(s.Context(), channel, "/epm", strings.TrimSpace(w.Name+" "+row.text))
			said["/epm "+w.Name+" in Slack"+when] += fmt.Sprint(a, err)
			// An answer that an echo replaced never comes.
			ctx, cancel := context.WithTimeout(s.Context(), hang)
			if when != "" {
				ctx, cancel = context.WithTimeout(s.Context(), 300*time.Millisecond)
			}
			m, err := s.discord.Person(discordAnn).Command(ctx, discordChannel, w.Name, row.options)
			cancel()
			said["/epm "+w.Name+" in Discord"+when] += fmt.Sprint(m, err)
		}
	}
	for _, c := range commands() {
		if len(plantedCalls[c.name]) == 0 {
			s.Errorf("countersign %s is not called: add it to plantedCalls", c.name)
		}
		for _, args := range plantedCalls[c.name] {
			if when != "" && c.name != "doctor" && c.name != "healthcheck" {
				continue // it calls nobody, and asks nobody who does
			}
			said["countersign "+strings.TrimSpace(c.name+" "+args)+when] = s.calls(c.name, args)
		}
	}
	for _, m := range append(s.slack.Messages(channel), s.slack.Messages(s.slack.DM("U01ANN"))...) {
		said["Slack"+when] += fmt.Sprint(m.Text, string(m.Blocks), string(m.Metadata))
	}
	for _, m := range append(s.discord.Messages(discordChannel), s.discord.Messages(s.discord.DM(discordAnn))...) {
		said["Discord"+when] += string(m.Components)
	}
}

// calls runs a command with the environment of the story, and returns all
// that it says.
func (s *story) calls(name, args string) string {
	s.Helper()
	dir := s.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(`{"countersign_settings":1,"settings":{"category":"Software","odd":"x"}}`), 0o600); err != nil {
		s.Fatal(err)
	}
	list, err := s.command(s.alone(), "incoming", "--json")
	if err != nil {
		s.Fatal(err)
	}
	var line []string
	for _, arg := range strings.Fields(args) {
		switch arg {
		case "STORE":
			arg = s.env.Store.Reveal()
		case "ID":
			arg = incomingID.FindString(list)
		}
		line = append(line, strings.NewReplacer("DIR", dir, "WRONG", url.PathEscape("redis-"+odd)).Replace(arg))
	}
	env := s.env
	env.Listen, env.PublicURL = s.addr, "http://"+s.addr
	text, err := s.command(env, append([]string{name}, line...)...)
	return fmt.Sprintf("%s\n%v %+v", text, err, err)
}

var incomingID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// misconfigured is what is said about each variable that is wrong: it holds
// nothing, a secret that belongs elsewhere, or one that is broken.
func (s *story) misconfigured() map[string]string {
	said := map[string]string{}
	for f := range fields() {
		name := f.Tag.Get("envconfig")
		for _, wrong := range []string{"", s.env.EPMClientSecret.Reveal(), s.env.SlackBotToken.Reveal(), "redis://:" + url.PathEscape("redis-"+odd) + "@:x", "redis://h:" + "redis-" + odd + "@h"} {
			env := s.env
			reflect.ValueOf(&env).Elem().FieldByIndex(f.Index).SetString(wrong)
			_, err := env.check(nil)
			said[name] += fmt.Sprintln(err)
		}
	}
	return said
}
