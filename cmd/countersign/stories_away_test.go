package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/redis/redistest"
)

// unready holds that /readyz soon says no, and the log why.
func (s *story) unready(why string) {
	s.Helper()
	s.eventually("not ready", func() bool { code, _ := s.get("/readyz"); return code == http.StatusServiceUnavailable })
	log := s.logs.String()
	at := strings.LastIndex(log, "not ready")
	if at < 0 {
		s.Errorf("the log does not say that it is not ready")
		return
	}
	line, _, _ := strings.Cut(log[at:], "\n")
	if !strings.Contains(line, why) || strings.Contains(line, redistest.Password) {
		s.Errorf("the log says %q, want %q", line, why)
	}
}

// away holds what everybody hears while the store is away: EPM, people who
// click, who send a form that is open, and who ask with /epm, and the
// operator. A form must be open in Slack, and in Discord if it is there.
func (s *story) away(why string) {
	s.Helper()
	body := s.epm.Body(epmtest.AppCreated, s.epm.RequestAppQuietly(epmtest.App{}), epmtest.BodyOptions{})
	if a := s.delivers(body); a.code != http.StatusServiceUnavailable || a.retryAfter == "" || !strings.Contains(a.Error, "send it again") {
		s.Errorf("webhook = %+v, want 503 with Retry-After", a)
	}
	s.unready(why)
	if code, _ := s.get("/healthz"); code != http.StatusOK {
		s.Errorf("healthz = %d, want 200", code)
	}
	ann := s.slack.Person("U01ANN")
	problems, err := ann.Submit(s.Context(), map[string]string{"reason": "ok"})
	if err != nil || !strings.Contains(problems["reason"], " store") {
		s.Errorf("problems = %v, %v; want a word about the store", problems, err)
	}
	a, err := ann.CommandIn(s.Context(), channel, "/epm", "status")
	if err != nil || a.Text != wording.MsgMoment && !strings.Contains(a.Text, "I cannot reach my store") {
		s.Errorf("/epm status = %q, %v", a.Text, err)
	}
	s.told("U01ANN", "I cannot reach my store")
	if err := s.slack.Person("U02BOB").Click(s.Context(), channel, s.cards()[0].TS, "approve"); err != nil {
		s.Error(err)
	}
	s.told("U02BOB", " store")
	if s.discord == nil {
		return
	}
	card := s.discordCards()[0]
	s.discordSubmits(discordAnn, map[string]string{"reason": "ok"})
	if told := s.discordTold(discordAnn); !strings.Contains(told, " store") {
		s.Errorf("told %q, want a word about the store", told)
	}
	if err := s.discord.Person(discordGrace).Click(s.Context(), discordChannel, card.id, card.custom["deny"]); err != nil {
		s.Error(err)
	}
	if told := s.discordTold(discordGrace); !strings.Contains(told, " store") {
		s.Errorf("told %q, want a word about the store", told)
	}
}

// back holds that everything goes on by itself, and that nothing was done by
// half: the open form is sent once more.
func (s *story) back(r *epmtest.Request) {
	s.Helper()
	s.eventually("ready again", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	if problems := s.submits("U01ANN", map[string]string{"reason": "ok", "unit": "once"}); len(problems) > 0 {
		s.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Approved", "Once")
	// A webhook that was answered 503 may have been kept all the same.
	s.eventually("the card that was decided", func() bool { return strings.Contains(s.cards()[0].Text, "submitted to EPM") })
	next := s.epm.Body(epmtest.AppCreated, s.epm.RequestAppQuietly(epmtest.App{}), epmtest.BodyOptions{})
	a := s.delivers(next)
	if a.code != http.StatusOK {
		s.Fatalf("webhook once the store is back = %+v", a)
	}
	s.eventually("the next card", func() bool {
		return slices.ContainsFunc(s.cards(), func(m slacktest.Message) bool { return strings.Contains(m.Text, a.Ticket) })
	})
}

// Redis takes connections and does not answer, as behind a firewall that
// drops, or on a disk that hangs.
func TestStoryRedisHangs(t *testing.T) {
	for name, way := range map[string][]option{"HTTP": {discordByHTTP, inTime}, "Sockets": {withDiscord, bySocket, inTime}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startRedis(t)
			s := tell(t, append(way, withRedis(srv))...)
			r, _ := s.requested()
			s.discordShows("waiting for a decision")
			s.opens("U01ANN", "approve")
			s.discordOpens(discordAnn, "deny")
			if err := srv.Pause(); err != nil {
				t.Fatal(err)
			}
			s.away("redis cannot be reached")
			if err := srv.Resume(); err != nil {
				t.Fatal(err)
			}
			s.back(r)
		})
	}
}

// Another process holds the file of SQLite: what is read is there, what is
// written has to wait.
func TestStorySQLiteStalls(t *testing.T) {
	t.Parallel()
	s := tell(t, inTime)
	r, _ := s.requested()
	s.opens("U01ANN", "approve")
	db, err := sql.Open("sqlite", strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	body := s.epm.Body(epmtest.AppCreated, s.epm.RequestAppQuietly(epmtest.App{}), epmtest.BodyOptions{})
	if a := s.delivers(body); a.code != http.StatusServiceUnavailable || a.retryAfter == "" {
		t.Errorf("webhook = %+v, want 503 with Retry-After", a)
	}
	problems, err := s.slack.Person("U01ANN").Submit(t.Context(), map[string]string{"reason": "ok"})
	if err != nil || !strings.Contains(problems["reason"], " store") {
		t.Errorf("problems = %v, %v; want a word about the store", problems, err)
	}
	s.unready("the store")
	if _, err := db.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	s.back(r)
}

// Redis comes after the program.
func TestStoryRedisComesLater(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	srv.Kill()
	s := tell(t, withRedis(srv), inTime, func(s *story) { s.absent = true })
	body := s.epm.Body(epmtest.AppCreated, s.epm.RequestAppQuietly(epmtest.App{}), epmtest.BodyOptions{})
	if a := s.delivers(body); a.code != http.StatusServiceUnavailable || a.retryAfter == "" {
		t.Errorf("webhook = %+v, want 503 with Retry-After", a)
	}
	s.unready("redis cannot be reached")
	if code, _ := s.get("/healthz"); code != http.StatusOK {
		t.Errorf("healthz = %d, want 200", code)
	}
	a, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "status")
	if err != nil || !strings.Contains(a.Text, "I cannot reach my store") && !strings.Contains(a.Text, "still starting") {
		t.Errorf("/epm status = %q, %v", a.Text, err)
	}
	if !strings.Contains(s.logs.String(), "the store is away") {
		t.Errorf("the log does not say that the store is away")
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	s.eventually("ready", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	if a := s.delivers(body); a.code != http.StatusOK {
		t.Errorf("webhook = %+v, want 200", a)
	}
	s.shows("waiting for a decision")
}

// What does not pass by itself ends the program, and the wait for what does
// ends when the program is told to.
func TestServeWithoutStore(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t)
	serve := func(ctx context.Context, store string, logs io.Writer) error {
		env := s.env
		env.Store = secret(store)
		return run(ctx, []string{"serve"}, Env{
			Environment: func() (environment, []finding) { return env, nil },
			Stdout:      io.Discard, Stderr: logs, Now: time.Now,
		})
	}
	t.Run("WrongPassword", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		err := serve(ctx, "redis://:planted@"+srv.Addr(), io.Discard)
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "refuses the user or the password") || strings.Contains(err.Error(), "planted") {
			t.Errorf("serve = %v, want the end at once and why", err)
		}
	})
	t.Run("NewerSchema", func(t *testing.T) {
		c := srv.Client()
		defer c.Close()
		if err := c.Set(t.Context(), "{countersign:newer}:schema", "2", 0).Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		if err := serve(ctx, srv.URL("newer"), io.Discard); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("serve = %v, want the end at once and why", err)
		}
	})
	t.Run("EndsWhileWaiting", func(t *testing.T) {
		srv.Kill()
		ctx, cancel := context.WithCancel(t.Context())
		logs, ended := &syncBuffer{}, make(chan error, 1)
		go func() { ended <- serve(ctx, srv.URL("default"), logs) }()
		s.eventually("it waits", func() bool { return strings.Contains(logs.String(), "the store is away") })
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve = %v, want nil", err)
			}
		case <-time.After(hang):
			t.Fatal("it goes on waiting")
		}
	})
}

// many sends n new requests at once, and returns when all are answered.
func (s *story) many(n int) {
	s.Helper()
	bodies := make(chan []byte, n)
	for range n {
		bodies <- s.epm.Body(epmtest.AppCreated, s.epm.RequestAppQuietly(epmtest.App{}), epmtest.BodyOptions{})
	}
	close(bodies)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for body := range bodies {
				req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/webhooks/epm", bytes.NewReader(body))
				if err != nil {
					s.Error(err)
					return
				}
				req.SetBasicAuth(webhookUser, webhookPass)
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				if err != nil {
					s.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					s.Errorf("webhook = %d, want 200", res.StatusCode)
				}
			}
		})
	}
	wg.Wait()
}

// A storm with a hundredfold of what the chats take: cards come in the order
// of the requests, and who decides the first one waits for none of the others.
func TestStoryStorm(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 20, PostBurst: 1}
		s.discordPace.CallsPerSecond = 20
	})
	r, _ := s.requested()
	s.many(storm)
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	updated := func() bool {
		return strings.Contains(s.cards()[0].Text, "submitted to EPM") && strings.Contains(s.replies(), "EPM accepted") &&
			strings.Contains(s.discordCards()[0].text, "submitted to EPM")
	}
	s.eventually("the first card tells, in both chats", updated)
	if n := len(s.cards()); n > storm/2 {
		t.Errorf("%d of %d cards were posted before the first one's decision was shown", n, storm+1)
	}
	_, metrics := s.get("/metrics")
	for _, want := range []string{`countersign_due_tickets{lane="slack/post"} `, `countersign_oldest_due_age_seconds{lane="slack/post"} `, `countersign_due_tickets{lane="discord/post"} `, `countersign_due_tickets{lane="epm"} 0`, `countersign_oldest_due_age_seconds{lane="epm"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, `countersign_due_tickets{lane="slack/post"} 0`) {
		t.Error("nothing is due in a storm")
	}
	s.skew.Add(int64(5 * time.Second))
	a, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "status")
	if err != nil || !strings.Contains(a.Text, "requests wait to be shown, the oldest for ") || !strings.Contains(a.Text, "Slack takes one message a second in each channel") {
		t.Errorf("/epm status = %q, %v", a.Text, err)
	}
	s.eventually("every card is shown", func() bool { return len(s.cards()) == storm+1 && len(s.discordCards()) == storm+1 })
	inOrder := func(where string, texts []string) {
		// Requests that come at the same instant may be numbered the other way
		// round.
		last := 0
		for _, text := range texts {
			i := strings.Index(text, "JIT-")
			var n int
			if _, err := fmt.Sscanf(text[max(i, 0):], "JIT-%d", &n); err != nil {
				t.Fatalf("%s: no number in %q", where, text)
			}
			if n < last-64 {
				t.Errorf("%s: %d stands after %d", where, n, last)
			}
			last = max(last, n)
		}
	}
	var inSlack, inDiscord []string
	for _, c := range s.cards() {
		inSlack = append(inSlack, c.Text)
	}
	for _, c := range s.discordCards() {
		inDiscord = append(inDiscord, c.text)
	}
	inOrder("Slack", inSlack)
	inOrder("Discord", inDiscord)
}

// Webhooks are taken as fast as they come while a chat takes nothing: what
// waits is in the store, not in memory.
func TestStoryStormLeavesMemoryFlat(t *testing.T) {
	const storm = memoryStorm
	for name, with := range map[string]func(t *testing.T) option{
		"SQLite": func(*testing.T) option { return func(*story) {} },
		"Redis":  func(t *testing.T) option { return withRedis(startRedis(t, "--appendfsync", "everysec")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, with(t), func(s *story) {
				s.env.LogLevel = "error"
				s.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.Unavailable, Times: -1})
			})
			heap := func() int64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			s.many(storm / 10)
			fake := func() int64 { return int64(len(s.epm.Requests())) }
			before, requests := heap(), fake()
			s.many(storm)
			grown, each := heap()-before, int64(2<<10) // what EPM's fake keeps of a request
			t.Logf("%d KB for %d webhooks", grown>>10, storm)
			if limit := (fake()-requests)*each + 8<<20; grown > limit {
				t.Errorf("the heap has grown by %d KB with %d webhooks, want at most %d", grown>>10, storm, limit>>10)
			}
			if _, metrics := s.get("/metrics"); !strings.Contains(metrics, fmt.Sprintf(`countersign_due_tickets{lane="slack/post"} %d`, storm+storm/10)) {
				t.Error("not everything waits to be posted")
			}
		})
	}
}
