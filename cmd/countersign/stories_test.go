package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

// story is the program, run as run() runs it, between a Slack and an EPM
// that refuse what the real ones refuse.
type story struct {
	testing.TB
	slack *slacktest.Server
	epm   *epmtest.Server
	env   environment
	logs  *syncBuffer
	skew  atomic.Int64 // of the program's clock, ns
	pace  slack.Pace   // default Slack's own
	// answerTime is how long the program thinks that chats wait for an answer;
	// default patience. The fakes wait until hang.
	answerTime time.Duration

	discord     *discordtest.Server // nil without withDiscord
	discordPace discord.Pace
	gateway     discord.Gateway
	epmRate     rate.Limit
	traces      func() sdktrace.SpanExporter // of each process; nil for none

	read  func() (environment, []finding) // default env
	renew time.Duration                   // how often; default the program's own

	addr   string
	stop   func()
	absent bool // the store is not there when the program starts: ready is not waited for
}

const (
	channel     = "C01EPM"
	webhookUser = "pmc_webhook_user"
	webhookPass = "webhook-secret-1"
)

const (
	// hang bounds each wait: it ends what hangs, and is far above what a busy
	// machine needs.
	hang     = 2 * time.Minute
	patience = hang / 2
)

type option func(*story)

// inTime has the program answer within the time that chats really wait, where
// a story is about what happens then.
func inTime(s *story) { s.answerTime = chatkit.AnswerTime }

// bySocket lets Slack reach the bot by Socket Mode instead of signed HTTP.
func bySocket(s *story) {
	s.env.SlackAppToken, s.env.SlackSigningSecret = slacktest.AppToken, ""
}

func tell(t testing.TB, options ...option) *story {
	t.Helper()
	s := &story{TB: t, logs: &syncBuffer{}, answerTime: patience}
	var err error
	if s.slack, err = slacktest.New(slacktest.Config{AckWait: hang, TriggerLife: hang}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.slack.Close)
	for _, id := range []string{"U01ANN", "U02BOB", "U03GRACE", "U09SAM"} {
		s.addPerson(id)
	}
	s.slack.AddChannel(slacktest.Channel{ID: channel, Name: "epm-requests", Members: []string{slacktest.BotUserID, "U01ANN", "U02BOB", "U03GRACE", "U09SAM"}})
	s.slack.AddGroup(slacktest.Group{ID: "S01HELP", Handle: "helpdesk", Users: []string{"U03GRACE"}})
	if s.epm, err = epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.epm.Close)
	s.env = environment{
		Listen: "127.0.0.1:0", Store: secret("sqlite:" + filepath.Join(t.TempDir(), "a.db")),
		WebhookUser: webhookUser, WebhookPassword: webhookPass,
		EPMHost: s.epm.URL(), EPMClientID: "client", EPMClientSecret: "epm-secret-1",
		SlackBotToken: slacktest.BotToken, SlackSigningSecret: slacktest.SigningSecret, SlackChannel: channel, SlackAPIURL: s.slack.URL(),
		Approvers: "slack:U01ANN, slack:U02BOB, slack:group:S01HELP", Admins: "slack:U01ANN",
		SettingsShortDescription: "EPM JIT Access Request", SettingsAutoClose: "false", LogLevel: "debug", LogFormat: "text",
	}
	for _, o := range options {
		o(s)
	}
	s.start()
	t.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
		s.verify()
	})
	return s
}

// addPerson adds somebody to Slack, named by the end of their id.
func (s *story) addPerson(id string) {
	name := strings.ToLower(id[3:])
	s.slack.AddUser(slacktest.User{ID: id, Name: name, RealName: strings.ToUpper(name[:1]) + name[1:] + " Example", Email: name + "@example.com"})
	s.slack.Invite(channel, id)
}

// start runs the program until stop is called.
func (s *story) start() {
	s.Helper()
	s.addr, s.stop = s.launch(&s.skew)
	end := s.stop
	s.stop = func() {
		end()
		s.stop = nil
	}
	base := "http://" + s.addr
	s.slackCalls(s.addr)
	if s.env.DiscordMode == "http" {
		if err := s.discord.SetInteractionsURL(s.Context(), base+"/discord/interactions"); err != nil {
			s.Fatal(err)
		}
	}
	s.epm.SetWebhook(base+"/webhooks/epm", webhookUser, webhookPass)
	if s.absent {
		return
	}
	s.ready(s.addr)
}

// launch runs the program, its clock ahead by skew in ns, until stop is
// called.
func (s *story) launch(skew *atomic.Int64) (addr string, stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read := s.read
	if read == nil {
		env := s.env
		read = func() (environment, []finding) { return env, nil }
	}
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		var traces sdktrace.SpanExporter
		if s.traces != nil {
			traces = s.traces()
		}
		ended <- run(ctx, []string{"serve"}, Env{
			Environment: read, Renew: s.renew,
			Stdout: io.Discard, Stderr: s.logs,
			Now:       func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
			Listening: func(addr string) { listening <- addr },
			SlackPace: s.pace, DiscordPace: s.discordPace, DiscordGateway: s.gateway, EPMRate: s.epmRate, AnswerTime: s.answerTime, Traces: traces,
		})
	}()
	select {
	case addr = <-listening:
	case err := <-ended:
		cancel()
		s.Fatalf("the program ended: %v\n%s", err, s.logs)
	}
	return addr, func() {
		s.Helper()
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the program ended with %v", err)
		}
	}
}

// slackCalls has Slack send what people do to addr.
func (s *story) slackCalls(addr string) {
	if s.env.SlackAppToken == "" {
		base := "http://" + addr
		s.slack.SetURLs(slacktest.URLs{Interactions: base + "/slack/interactions", Commands: base + "/slack/commands", Events: base + "/slack/events"})
	}
}

func (s *story) ready(addr string) {
	s.Helper()
	s.eventually("ready", func() bool {
		res, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// verify holds what must be true after every story.
func (s *story) verify() {
	for _, v := range s.slack.Violations() {
		s.Errorf("Slack's rules: %s", v)
	}
	if s.discord != nil {
		for _, v := range s.discord.Violations() {
			s.Errorf("Discord's rules: %s", v)
		}
	}
	for _, v := range s.epm.Violations() {
		s.Errorf("EPM's rules: %s", v)
	}
	for _, v := range []string{webhookPass, discordtest.BotToken, "epm-secret-1", slacktest.BotToken, slacktest.SigningSecret, slacktest.AppToken, "hooks.slack.com"} {
		if strings.Contains(s.logs.String(), v) {
			s.Errorf("the log holds the secret %s…", v[:4])
		}
	}
	if s.Failed() {
		s.Logf("log:\n%s", s.logs)
	}
}

func (s *story) eventually(what string, ok func() bool) {
	s.Helper()
	deadline := time.Now().Add(hang)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("never: %s\nmessages: %+v", what, s.cards())
		}
	}
}

// quiet waits until nothing is owed at the moment and nothing is under way, but
// in the lanes that are left out.
func (s *story) quiet(but ...tickets.Lane) {
	s.Helper()
	s.eventually("nothing is owed", func() bool {
		_, metrics := s.get("/metrics")
		lanes := 0
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "countersign_due_tickets{") {
				lanes++
				if slices.ContainsFunc(but, func(l tickets.Lane) bool { return strings.Contains(line, `"`+string(l)+`"`) }) {
					continue
				}
				if !strings.HasSuffix(strings.TrimSpace(line), " 0") {
					return false
				}
			}
		}
		return lanes > 0
	})
}

// cards are the messages in the channel that are not replies.
func (s *story) cards() []slacktest.Message {
	var list []slacktest.Message
	for _, m := range s.slack.Messages(channel) {
		if m.ThreadTS == "" || m.ThreadTS == m.TS {
			list = append(list, m)
		}
	}
	return list
}

func (s *story) replies() string {
	var list []string
	for _, m := range s.slack.Messages(channel) {
		if m.ThreadTS != "" && m.ThreadTS != m.TS {
			list = append(list, m.Text)
		}
	}
	return strings.Join(list, "\n")
}

// shows waits until the one card says all of words, and returns it.
func (s *story) shows(words ...string) slacktest.Message {
	s.Helper()
	var card slacktest.Message
	s.eventually(fmt.Sprintf("a card with %q", words), func() bool {
		cards := s.cards()
		if len(cards) != 1 {
			return false
		}
		card = cards[0]
		for _, w := range words {
			if !strings.Contains(card.Text, w) {
				return false
			}
		}
		return true
	})
	return card
}

func buttons(m slacktest.Message) bool { return bytes.Contains(m.Blocks, []byte(`"approve"`)) }

// actionsOf is the block id of what can be clicked on a card.
func actionsOf(m slacktest.Message) string {
	id := ""
	eachObject(m.Blocks, func(o map[string]any) {
		if o["type"] == "actions" {
			id = fmt.Sprint(o["block_id"])
		}
	})
	return id
}

// requested is an application request in EPM whose webhook was accepted, and
// its card.
func (s *story) requested() (*epmtest.Request, slacktest.Message) {
	s.Helper()
	r, err := s.epm.RequestApp(epmtest.App{})
	if err != nil {
		s.Fatal(err)
	}
	return r, s.shows("waiting for a decision")
}

// decide clicks a button and submits the form.
func (s *story) decide(person, button string, values map[string]string) map[string]string {
	s.Helper()
	s.opens(person, button)
	return s.submits(person, values)
}

func (s *story) opens(person, button string) {
	s.Helper()
	card := s.cards()[0]
	p := s.slack.Person(person)
	if err := p.Click(s.Context(), channel, card.TS, button); err != nil {
		s.Fatalf("%s clicks %s: %v", person, button, err)
	}
	s.eventually("a form", func() bool { _, open := p.View(); return open })
}

// submits fills the fields in, the unit first because it changes the form.
func (s *story) submits(person string, values map[string]string) map[string]string {
	s.Helper()
	p := s.slack.Person(person)
	if unit := values["unit"]; unit != "" {
		if err := p.Act(s.Context(), "unit", unit); err != nil {
			s.Fatalf("choose %s: %v", unit, err)
		}
		s.eventually("the amount field follows the unit", func() bool {
			v, ok := p.View()
			return ok && bytes.Contains(v.Blocks, []byte(`"amount"`)) == (unit != "once")
		})
	}
	problems, err := p.Submit(s.Context(), values)
	if err != nil {
		s.Fatalf("submit: %v", err)
	}
	return problems
}

func (s *story) told(person, want string) {
	s.Helper()
	p := s.slack.Person(person)
	s.eventually(person+" is told "+want, func() bool {
		for _, e := range p.Ephemerals() {
			if strings.Contains(e.Text, want) {
				return true
			}
		}
		v, ok := p.View()
		return ok && strings.Contains(string(v.Blocks), want)
	})
}

// inEffect waits until EPM has the decision.
func (s *story) inEffect(id, decision, duration string) {
	s.Helper()
	s.eventually("EPM has "+decision+" for "+duration, func() bool {
		d, ok := s.epm.Effective(id)
		return ok && strings.EqualFold(string(d.Status), decision) && d.Duration == duration
	})
	if n := s.epm.TimesInEffect(id); n != 1 {
		s.Errorf("%d decisions took effect at EPM, want 1", n)
	}
}

func (s *story) confirmed(id string) {
	s.Helper()
	if err := s.epm.SendUpdate(id); err != nil {
		s.Fatal(err)
	}
}

var hours2 = map[string]string{"reason": "ok for the patch window", "unit": "hours", "amount": "2"}

func TestStoryApprove(t *testing.T) {
	for name, transport := range map[string]option{"HTTP": func(*story) {}, "Socket": bySocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, transport)
			r, card := s.requested()
			if !buttons(card) {
				t.Error("no buttons on a pending card")
			}
			if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
				t.Fatalf("problems = %v", problems)
			}
			s.inEffect(r.ID, "Approved", "7200")
			if card := s.shows("submitted to EPM"); buttons(card) {
				t.Error("buttons on a decided card")
			}
			s.confirmed(r.ID)
			s.shows("Confirmed by EPM: approved for 2 hours, until")
			s.eventually("the thread tells the steps", func() bool {
				told := s.replies()
				return strings.Contains(told, "Approved by") && strings.Contains(told, "EPM accepted") && strings.Contains(told, "Confirmed by EPM")
			})
		})
	}
}

func TestStoryAdminRequestDenied(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, err := s.epm.RequestAdmin(epmtest.Admin{})
	if err != nil {
		t.Fatal(err)
	}
	s.shows("administrator", "waiting for a decision")
	s.decide("U03GRACE", "deny", map[string]string{"reason": "not today"})
	s.shows("submitted to EPM")
	s.confirmed(r.ID)
	s.shows("denied")
	if d, _ := s.epm.Effective(r.ID); d.Status != epmtest.Denied {
		t.Errorf("EPM has %+v, want a denial", d)
	}
}

func TestStoryOnce(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.decide("U02BOB", "approve", map[string]string{"reason": "fine", "unit": "once"})
	s.inEffect(r.ID, "Approved", "Once")
	s.confirmed(r.ID)
	s.shows("approved once")
}

func TestStoryErrorTexts(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.opens("U01ANN", "approve")
	for _, c := range []struct {
		values      map[string]string
		field, text string
	}{
		{map[string]string{"reason": "   ", "unit": "once"}, "reason", tickets.MsgReason},
		{map[string]string{"reason": "ok", "unit": "minutes", "amount": "4"}, "amount", tickets.MsgMinutes},
		{map[string]string{"reason": "ok", "unit": "minutes", "amount": "1441"}, "amount", tickets.MsgMinutes},
		{map[string]string{"reason": "ok", "unit": "hours", "amount": "0"}, "amount", tickets.MsgHours},
		{map[string]string{"reason": "ok", "unit": "hours", "amount": "25"}, "amount", tickets.MsgHours},
	} {
		problems := s.submits("U01ANN", c.values)
		if problems[c.field] != c.text {
			t.Errorf("%v: problems = %v, want %q at %s", c.values, problems, c.text, c.field)
		}
	}
	// Inactive: the form was open when the state moved.
	if _, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "state JIT-1001 on hold"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "state JIT-1001 cancelled"); err != nil {
		t.Fatal(err)
	}
	if problems := s.submits("U01ANN", map[string]string{"reason": "ok"}); len(problems) > 0 {
		t.Errorf("problems = %v, want a note", problems)
	}
	s.told("U01ANN", tickets.MsgInactive)
	if card := s.shows("inactive"); buttons(card) {
		t.Error("buttons on an inactive card")
	}
	if _, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "state JIT-1001 new"); err != nil {
		t.Fatal(err)
	}
	s.eventually("buttons are back", func() bool { return buttons(s.cards()[0]) })
	// Final: two forms were open, one was quicker.
	s.opens("U02BOB", "deny")
	s.decide("U03GRACE", "approve", map[string]string{"reason": "ok", "unit": "once"})
	s.inEffect(r.ID, "Approved", "Once")
	s.shows("submitted to EPM")
	s.submits("U02BOB", map[string]string{"reason": "no"})
	s.told("U02BOB", tickets.MsgFinal)
	s.inEffect(r.ID, "Approved", "Once")
}

func TestStoryNotAnApprover(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, card := s.requested()
	sam := s.slack.Person("U09SAM")
	if err := sam.Click(t.Context(), channel, card.TS, "approve"); err != nil {
		t.Fatal(err)
	}
	s.told("U09SAM", wording.MsgNotApprover)
	if _, open := sam.View(); open {
		t.Error("a form opened for somebody who may not decide")
	}
	if err := sam.Click(t.Context(), channel, card.TS, "details"); err != nil {
		t.Fatal(err)
	}
	s.eventually("details", func() bool {
		v, ok := sam.View()
		return ok && strings.Contains(string(v.Blocks), "URM_Native_Ticket_Created")
	})
	if len(s.epm.Decisions(r.ID)) != 0 {
		t.Error("a decision reached EPM")
	}
}

func TestStoryNobodyMayDecide(t *testing.T) {
	t.Parallel()
	s := tell(t, func(s *story) { s.env.Approvers = "" })
	_, card := s.requested()
	if buttons(card) || !bytes.Contains(card.Blocks, []byte("Nobody can decide this request here")) || !bytes.Contains(card.Blocks, []byte("jit-access-management")) || !bytes.Contains(card.Blocks, []byte(`"details"`)) {
		t.Errorf("the card does not say that nobody can decide, and where it is done: %s", card.Blocks)
	}
	// Whoever has an older card before them is told so.
	err := s.slack.Person("U01ANN").ClickRaw(t.Context(), slacktest.RawClick{Channel: channel, TS: card.TS, ActionID: "approve", BlockID: actionsOf(card), Value: "JIT-1001"})
	if err != nil {
		t.Fatal(err)
	}
	s.told("U01ANN", wording.MsgNoApprovers)
}

func TestStoryDuplicateAndOutOfOrder(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r := s.epm.RequestAppQuietly(epmtest.App{})
	if err := s.epm.DecideInConsole(r.ID, epmtest.Denied, "", "console admin"); err != nil {
		t.Fatal(err)
	}
	first := s.delivers(s.epm.Body(epmtest.AppUpdated, s.again(r), epmtest.BodyOptions{}))
	if first.Status != "updated" || first.Ticket == "" {
		t.Errorf("update first = %+v", first)
	}
	created := s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})
	var wg sync.WaitGroup
	answers := make([]webhookAnswer, 10)
	for i := range answers {
		wg.Go(func() { answers[i] = s.delivers(created) })
	}
	wg.Wait()
	count := map[string]int{}
	for _, a := range answers {
		count[a.Status]++
		if a.Ticket != first.Ticket {
			t.Errorf("ticket %s, want %s", a.Ticket, first.Ticket)
		}
	}
	if count["created"] != 1 || count["duplicate"] != 9 {
		t.Errorf("statuses = %v, want one created and nine duplicates", count)
	}
	s.shows("denied", "console admin")
}

type webhookAnswer struct {
	Incoming, Ticket, Status, Error string
	code                            int
	retryAfter                      string
}

// delivers posts a webhook and returns the answer.
func (s *story) delivers(body []byte) webhookAnswer {
	s.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/x_bets_pmc_jit/authorization_request_webhook_handler", bytes.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.SetBasicAuth(webhookUser, webhookPass)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	var a webhookAnswer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		s.Fatal(err)
	}
	a.code, a.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
	return a
}

// again is the request as EPM has it now.
func (s *story) again(r *epmtest.Request) *epmtest.Request {
	s.Helper()
	now, ok := s.epm.Request(r.ID)
	if !ok {
		s.Fatalf("EPM forgot %s", r.ID)
	}
	return now
}

func TestStoryUnreadableWebhookIsKept(t *testing.T) {
	t.Parallel()
	s := tell(t)
	a := s.delivers([]byte(`{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": "x`))
	if a.code != http.StatusBadRequest || a.Status != "failed" || a.Incoming == "" || a.Error == "" {
		t.Errorf("answer = %+v, want 400, kept as failed, with a sentence", a)
	}
}

func TestStoryDecidedInConsole(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.opens("U02BOB", "approve")
	if err := s.epm.DecideInConsole(r.ID, epmtest.Approved, "2678400", "console admin"); err != nil {
		t.Fatal(err)
	}
	s.confirmed(r.ID)
	if card := s.shows("approved for 31 days", "console admin"); buttons(card) {
		t.Error("buttons on a final card")
	}
	s.submits("U02BOB", map[string]string{"reason": "ok"})
	s.told("U02BOB", tickets.MsgFinal)
	if n := s.epm.TimesInEffect(r.ID); n != 1 {
		t.Errorf("%d decisions took effect, want the console's alone", n)
	}
}

func TestStoryEPMDownForTenMinutes(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.epm.SetDown(true)
	s.decide("U01ANN", "approve", hours2)
	s.shows("trying until it does")
	for range 40 { // ten minutes, a quarter of a minute each
		s.skew.Add(int64(15 * time.Second))
		s.eventually("an attempt", func() bool { return true })
	}
	s.eventually("people are told that EPM does not answer", func() bool {
		s.skew.Add(int64(5 * time.Second))
		return strings.Contains(s.replies(), "EPM does not answer")
	})
	s.epm.SetDown(false)
	s.eventually("EPM has it", func() bool {
		s.skew.Add(int64(5 * time.Second))
		_, ok := s.epm.Effective(r.ID)
		return ok
	})
	s.inEffect(r.ID, "Approved", "7200")
	s.shows("submitted to EPM")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM")
}

func TestStoryEPMRefuses(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.epm.Fail(epmtest.Fault{On: epmtest.AppDecision, Times: 1, Kind: epmtest.Answer, Status: 400})
	s.decide("U01ANN", "approve", hours2)
	card := s.shows("EPM refused the approval", "open again")
	s.eventually("the buttons return", func() bool { return buttons(s.cards()[0]) })
	s.eventually("the approver is told in the thread", func() bool { return strings.Contains(s.replies(), "<@U01ANN>") })
	s.decide("U02BOB", "deny", map[string]string{"reason": "then not"})
	s.inEffect(r.ID, "Denied", "Once")
	if got := s.shows("submitted to EPM"); got.TS != card.TS {
		t.Error("the ticket has another message")
	}
}

func TestStorySlackDown(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.slack.SetDown(true)
	r, err := s.epm.RequestApp(epmtest.App{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.epm.DecideInConsole(r.ID, epmtest.Denied, "", "console admin"); err != nil {
		t.Fatal(err)
	}
	s.eventually("a failed attempt", func() bool { return strings.Contains(s.logs.String(), "step failed") })
	s.slack.SetDown(false)
	s.eventually("the card", func() bool { s.skew.Add(int64(time.Second)); return len(s.cards()) == 1 })
	s.confirmed(r.ID)
	s.shows("denied")
}

func TestStorySlackPostsButTheAnswerIsLost(t *testing.T) {
	for _, kind := range []slacktest.FaultKind{slacktest.DropConnection, slacktest.EmptyObject, slacktest.NoTS, slacktest.Limited, slacktest.InternalError, slacktest.UnknownElement} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			t.Parallel()
			s := tell(t)
			s.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Times: 1, Kind: kind, Did: true, RetryAfter: time.Second})
			if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
				t.Fatal(err)
			}
			s.shows("waiting for a decision")
			s.eventually("the post is found again", func() bool {
				s.skew.Add(int64(time.Second))
				return s.slack.Count("conversations.history") > 0
			})
			s.decide("U01ANN", "approve", hours2)
			s.shows("submitted to EPM")
			if n := len(s.cards()); n != 1 {
				t.Errorf("%d messages, want 1", n)
			}
		})
	}
}

func TestStoryTwoApproversAtOnce(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	people := []string{"U01ANN", "U02BOB", "U03GRACE"}
	for _, p := range people {
		s.opens(p, "approve")
	}
	var wg sync.WaitGroup
	errs := make([]error, len(people))
	for i, p := range people {
		wg.Go(func() {
			_, errs[i] = s.slack.Person(p).Submit(context.Background(), map[string]string{"reason": "mine " + p, "unit": "once"})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	s.inEffect(r.ID, "Approved", "Once")
	told := 0
	for _, p := range people {
		if v, open := s.slack.Person(p).View(); open && (strings.Contains(string(v.Blocks), "has already approved") || strings.Contains(string(v.Blocks), tickets.MsgFinal)) {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d of 2 were told that somebody was faster", told)
	}
}

func TestStoryRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.opens("U01ANN", "approve")
	s.stop()
	s.start()
	s.epm.SetDown(true)
	s.submits("U01ANN", hours2)
	s.shows("EPM")
	s.stop()
	s.epm.SetDown(false)
	s.start()
	s.eventually("EPM has it", func() bool {
		s.skew.Add(int64(5 * time.Second))
		_, ok := s.epm.Effective(r.ID)
		return ok
	})
	s.inEffect(r.ID, "Approved", "7200")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM: approved for 2 hours")
}

// syncBuffer is a buffer for many writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
