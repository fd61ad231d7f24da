package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/google/uuid"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// command runs another command of the program beside the bot, with env.
func (s *story) command(env environment, args ...string) (string, error) {
	var out bytes.Buffer
	err := run(s.Context(), args, Env{
		Environment: func() (environment, []finding) { return env, nil },
		Stdout:      &out, Stderr: &out, Now: time.Now,
	})
	return out.String(), err
}

// alone is an environment with the store and nothing else but defaults.
func (s *story) alone() environment {
	return environment{Store: s.env.Store, SettingsAutoClose: "false"}
}

// prints is what a command prints that must succeed, without any character
// that acts on a terminal.
func (s *story) prints(args ...string) string {
	s.Helper()
	text, err := s.command(s.alone(), args...)
	if err != nil {
		s.Fatalf("countersign %v: %v", args, err)
	}
	if plain := strings.ReplaceAll(text, "\n", ""); wording.Visible(plain) != plain {
		s.Errorf("countersign %v prints what acts on a terminal: %q", args, text)
	}
	return text
}

// older keeps the webhook of a request in EPM as a version did that could
// not read it, and returns the webhook's id and body.
func (s *story) older(keep store.Store) (id string, body []byte) {
	s.Helper()
	r := s.epm.RequestAppQuietly(epmtest.App{})
	body = s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})
	v7, err := uuid.NewV7()
	if err != nil {
		s.Fatal(err)
	}
	if _, _, err := keep.Accept(s.Context(), tickets.Incoming{
		ID: v7.String(), At: time.Now().Add(-time.Hour), Remote: "192.0.2.7", Raw: body,
		Error: `the event "URM_Native_Ticket_Created" is not one that Countersign handles`,
	}, nil); err != nil {
		s.Fatal(err)
	}
	return v7.String(), body
}

// upgraded is older while the bot is stopped, which then starts.
func (s *story) upgraded() (id string, body []byte) {
	s.Helper()
	s.stop()
	keep, err := sqlite.Open(s.Context(), sqlite.Config{Path: strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:")})
	if err != nil {
		s.Fatal(err)
	}
	id, body = s.older(keep)
	if err := keep.Close(); err != nil {
		s.Fatal(err)
	}
	s.start()
	return id, body
}

func (s *story) slackSays(person, text string) string {
	s.Helper()
	a, err := s.slack.Person(person).CommandIn(s.Context(), channel, "/epm", text)
	if err != nil {
		s.Fatal(err)
	}
	return a.Text
}

func (s *story) discordSays(person, word string, options map[string]string) string {
	s.Helper()
	text, _ := readDiscord(s.discordCommand(person, word, options).Components)
	return text
}

// discordCommand gives a command, once Discord knows it: the bot registers its
// commands while it is at work already.
func (s *story) discordCommand(person, word string, options map[string]string) (a *discordtest.Ephemeral) {
	s.Helper()
	s.eventually("the commands are registered", func() bool {
		var err error
		a, err = s.discord.Person(person).Command(s.Context(), discordChannel, word, options)
		if err != nil && !errors.Is(err, discordtest.ErrNoSuchCommand) {
			s.Fatal(err)
		}
		return err == nil
	})
	return a
}

func (s *story) has(what, got string, want ...string) {
	s.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			s.Errorf("%s says %q, want %q in it", what, got, w)
		}
	}
}

func TestStoryReplayInChat(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	id, body := s.upgraded()
	broken := s.delivers([]byte(`{"EventType": "JIT_ADMIN_TICKET_CREATED" "RequestId"}`))
	if broken.code != http.StatusBadRequest || broken.Status != "failed" {
		t.Errorf("broken webhook = %+v, want 400, failed", broken)
	}
	for _, words := range []string{"", "failed", "replay " + id} {
		action, rest, _ := strings.Cut(words, " ")
		options := map[string]string{}
		if action != "" {
			options["action"] = action
		}
		if rest != "" {
			options["id"] = rest
		}
		s.has("/epm incoming "+words+" to a stranger in Slack", s.slackSays("U09SAM", "incoming "+words), wording.MsgNotAdmin)
		s.has("/epm incoming "+words+" to an approver in Slack", s.slackSays("U02BOB", "incoming "+words), wording.MsgNotAdmin)
		s.has("/epm incoming "+words+" to a stranger in Discord", s.discordSays(discordSam, "incoming", options), wording.MsgNotAdmin)
	}
	if n := len(s.cards()) + len(s.discordCards()); n != 0 {
		t.Fatalf("%d cards before an admin replayed anything", n)
	}
	for where, got := range map[string]string{
		"Slack":   s.slackSays("U01ANN", "incoming"),
		"Discord": s.discordSays(discordAnn, "incoming", map[string]string{"action": "failed"}),
	} {
		s.has("/epm incoming in "+where, got, "failed · "+id, "is not one that Countersign handles", "failed · "+broken.Incoming, broken.Error[:40])
	}
	s.has("the replay of the broken one", s.slackSays("U01ANN", "incoming replay "+broken.Incoming), "It fails still: the body is", "It stays kept")
	s.has("a replay without an ID", s.discordSays(discordAnn, "incoming", map[string]string{"action": "replay"}), "Say which")
	s.has("the replay", s.discordSays(discordAnn, "incoming", map[string]string{"action": "replay", "id": id[:len(id)-4]}), "Replayed: the ticket JIT-1001 was created.")
	s.shows("waiting for a decision")
	s.discordShows("waiting for a decision")
	s.has("the second replay", s.slackSays("U01ANN", "incoming replay "+id), "it was applied before as created (JIT-1001). Nothing was changed")
	s.has("an unknown ID", s.slackSays("U01ANN", "incoming replay 00000000"), "No webhook has this ID")
	if a := s.delivers(body); a.Status != "duplicate" || a.Ticket != "JIT-1001" {
		t.Errorf("the same webhook from EPM = %+v, want a duplicate of JIT-1001", a)
	}
	s.has("the list", s.slackSays("U01ANN", "incoming"), "created · "+id+" · JIT-1001", "duplicate · ")
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.shows("submitted to EPM")
	s.discordShows("submitted to EPM")
	if text := s.logs.String(); !strings.Contains(text, `msg="webhook replayed" incoming=`+id+" ticket=JIT-1001 status=created before=false actor=discord:"+discordAnn) {
		t.Error("the log does not tell who replayed what")
	}
}

func TestStoryReplayOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := tell(t)
	id, body := s.upgraded()
	s.has("incoming", s.prints("incoming"), "TIME (UTC)", "failed     "+id)
	s.has("incoming list", s.prints("incoming", "list", "--failed", "--limit", "5"), id)
	var record keptRecord
	if err := json.Unmarshal([]byte(s.prints("incoming", "--json")), &record); err != nil || record.ID != id || record.Status != "failed" || record.Remote != "192.0.2.7" {
		t.Errorf("incoming --json = %+v, %v", record, err)
	}
	if raw, err := s.command(s.alone(), "incoming", "show", id[:30]); err != nil || raw != string(body) {
		t.Errorf("incoming show = %q, %v; want the body as it arrived", raw, err)
	}
	refused := func(env environment, want string, args ...string) {
		t.Helper()
		text, err := s.command(env, args...)
		if err == nil || !strings.Contains(err.Error(), want) || text != "" {
			t.Errorf("countersign %v = %q, %v; want an error with %q", args, text, err, want)
		}
	}
	refused(s.env, "write /epm incoming replay "+id+" in chat, or stop the bot first", "incoming", "replay", id)
	s.stop()
	refused(s.alone(), "neither COUNTERSIGN_SLACK_CHANNEL nor COUNTERSIGN_DISCORD_CHANNEL is set", "incoming", "replay", id)
	refused(s.env, "No webhook has this ID", "incoming", "replay", "00000000")
	refused(s.env, "at least its first 8", "incoming", "show", "0000")
	refused(environment{Store: "sqlite:" + secret(filepath.Join(t.TempDir(), "none.db"))}, "there is no store", "incoming", "replay", id)
	refused(environment{Store: "mysql:planted"}, "COUNTERSIGN_STORE: write sqlite:PATH", "incoming")
	refused(s.env, `has no "dance"`, "incoming", "dance")
	refused(s.env, "write incoming show ID", "incoming", "show")
	refused(s.env, "from 1 to 1000", "incoming", "--limit", "0")
	s.env.EventsFile = filepath.Join(t.TempDir(), "events.jsonl") // its receiver is told of what was replayed
	text, err := s.command(s.env, "incoming", "replay", id)
	if err != nil || text != "Replayed: the ticket JIT-1001 was created.\n" {
		t.Errorf("incoming replay = %q, %v", text, err)
	}
	if text, err = s.command(s.alone(), "incoming", "replay", id); err != nil || !strings.Contains(text, "applied before as created (JIT-1001)") {
		t.Errorf("second incoming replay = %q, %v", text, err)
	}
	s.start()
	s.shows("waiting for a decision")
	s.has("incoming", s.prints("incoming"), "created    "+id+"  JIT-1001")
	s.eventually("the event is told", func() bool {
		b, err := os.ReadFile(s.env.EventsFile)
		return err == nil && strings.Contains(string(b), `"type":"ticket.received"`)
	})
}

// Two replicas and the command line replay the same webhook at once.
func TestStoryReplayAtOnce(t *testing.T) {
	t.Parallel()
	s := tell(t, withRedis(startRedis(t)))
	addr, stop := s.join(0)
	defer stop()
	keep, err := redis.Open(t.Context(), redis.Config{URL: s.env.Store.Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	id, _ := s.older(keep)
	s.has("incoming", s.prints("incoming", "--failed"), id)
	s.slackSays("U01ANN", "incoming replay 00000000") // through the first replica
	s.slackCalls(addr)
	var wg sync.WaitGroup
	said := make([]string, 8)
	for i := range said {
		wg.Go(func() {
			if i%2 == 0 {
				said[i] = s.slackSays("U01ANN", "incoming replay "+id)
				return
			}
			text, err := s.command(s.env, "incoming", "replay", id[:32])
			if err != nil {
				t.Error(err)
			}
			said[i] = text
		})
	}
	wg.Wait()
	for _, text := range said {
		if !strings.Contains(text, "JIT-1001") {
			t.Errorf("a replay says %q, want JIT-1001 in it", text)
		}
	}
	s.shows("waiting for a decision")
	if text := s.prints("tickets", "list"); strings.Count(text, "JIT-") != 1 {
		t.Errorf("tickets:\n%s\nwant one", text)
	}
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.shows("submitted to EPM")
	if n := s.slack.Count("chat.postMessage"); len(s.cards()) != 1 || n < 1 {
		t.Errorf("%d cards, want 1", len(s.cards()))
	}
}

// hostileReason is a reason that wants to be a formula, a second line of a
// table, and an order to the terminal.
const hostileReason = "=HYPERLINK(\"http://evil.example\";\"x\")\n\x1b[2J\x1b]0;owned\a JIT-9999 \u202egpj.exe\u202c;=1+1 ünïcode"

func TestStoryTicketsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := tell(t)
	if _, err := s.epm.RequestApp(epmtest.App{Reason: hostileReason, User: "+cmd|' /C calc'!A0", Product: "@SUM(1)\x1b[31m"}); err != nil {
		t.Fatal(err)
	}
	s.shows("waiting for a decision")
	s.decide("U01ANN", "approve", map[string]string{"reason": "-2+3\n=4", "unit": "once"})
	s.shows("submitted to EPM")
	if _, err := s.epm.RequestAdmin(epmtest.Admin{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("two tickets", func() bool { return strings.Count(s.prints("tickets", "list"), "\n") == 3 })
	s.quiet() // what is read several times does not change meanwhile
	list := strings.Split(s.prints("tickets", "list"), "\n")
	s.has("tickets list", list[1], "JIT-1002    20", "pending     New           administrator rights")
	s.has("tickets list", list[2], "JIT-1001    20", "submitted   New           @SUM(1)␛[31m")
	s.has("tickets list --progress", s.prints("tickets", "list", "--progress", "pending", "--limit", "1"), "JIT-1002")
	show := s.prints("tickets", "show", "jit-1001")
	s.has("tickets show", show, "ünïcode", "␛[2J", "⟦U+202E⟧", "Approved by", "(Slack)", "Reason: “-2+3 ⏎ =4”", "Slack C01EPM: shows change")
	for i, line := range strings.Split(show, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "JIT-9999") {
			t.Errorf("line %d is not ours: %q", i, line)
		}
	}

	lines := strings.Split(strings.TrimSpace(s.prints("tickets", "export")), "\n")
	if len(lines) != 2 {
		t.Fatalf("tickets export = %d lines, want 2", len(lines))
	}
	got, err := store.Decode([]byte(lines[1]))
	if err != nil || got.Number != "JIT-1001" || got.Request.Reason != hostileReason || got.Decision == nil {
		t.Errorf("exported = %+v, %v; want the reason as it is", got, err)
	}
	one := s.prints("tickets", "show", "--json", "JIT-1001")
	if strings.TrimSpace(one) != lines[1] {
		t.Errorf("tickets show --json = %s, want the exported line", one)
	}

	rows, err := csv.NewReader(strings.NewReader(s.prints("tickets", "export", "--format", "csv"))).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("CSV = %d rows, %v", len(rows), err)
	}
	cell := map[string]string{}
	for i, name := range rows[0] {
		cell[name] = rows[2][i]
	}
	for name, want := range map[string]string{
		"number": "JIT-1001", "progress": "submitted", "kind": string(tickets.Application), "decision": "approve", "decided_by": "slack:U01ANN", "decision_duration": "once",
		"user": "'+cmd|' /C calc'!A0", "product": "'@SUM(1)␛[31m", "decision_reason": "'-2+3 ⏎ =4",
	} {
		if cell[name] != want {
			t.Errorf("CSV %s = %q, want %q", name, cell[name], want)
		}
	}
	s.has("the reason in CSV", cell["reason"], `'=HYPERLINK("http://evil.example";"x")`, ";'=1+1", "⟦U+202E⟧")

	for _, c := range []struct {
		want string
		args []string
	}{
		{"there is no ticket JIT-7", []string{"tickets", "show", "JIT-7"}},
		{"say tickets list", []string{"tickets"}},
		{"say tickets list", []string{"tickets", "dance"}},
		{"--progress is unknown, pending", []string{"tickets", "list", "--progress", "done"}},
		{"at least 1", []string{"tickets", "list", "--limit", "0"}},
		{"jsonl or csv", []string{"tickets", "export", "--format", "xml"}},
	} {
		if text, err := s.command(s.alone(), c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("countersign %v = %q, %v; want an error with %q", c.args, text, err, c.want)
		}
	}
}

// The report tells of what was asked for and decided, from the store alone.
func TestStoryReport(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.requested()
	s.decide("U01ANN", "approve", hours2)
	s.shows("submitted to EPM")
	for _, want := range []string{": 1.\nApproved: 1. Denied: 0. Undecided: 0.\n", "\nBy approver:\n• ann (Slack): 1, approved 1, denied 0\n", "\nApproved within ten seconds: 1 (JIT-1001)"} {
		s.has("report", s.prints("report"), want)
	}
	var r struct {
		Requests int      `json:"requests"`
		Hasty    []string `json:"hasty"`
		Median   float64  `json:"median_seconds"`
	}
	if text := s.prints("report", "--json", "--since", "1h", "--hours", "0-24", "--zone", "Europe/Berlin"); json.Unmarshal([]byte(text), &r) != nil || r.Requests != 1 || len(r.Hasty) != 1 || r.Median <= 0 {
		t.Errorf("report --json = %s", text)
	}
	file := filepath.Join(t.TempDir(), "report.png")
	s.prints("report", "--picture", file)
	if b, err := os.ReadFile(file); err != nil || http.DetectContentType(b) != "image/png" {
		t.Errorf("report --picture: %v, %s", err, http.DetectContentType(b))
	}
	for want, args := range map[string][]string{
		"--picture: open":    {"--picture", t.TempDir()},
		"12h, 7d or 4w":      {"--since", "yesterday"},
		"--hours is two":     {"--hours", "19-7"},
		"as Europe/Berlin":   {"--zone", "Here/There"},
		"write report [--si": {"everything"},
	} {
		if text, err := s.command(s.alone(), append([]string{"report"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("countersign report %v = %q, %v; want an error with %q", args, text, err, want)
		}
	}
}

// In Discord the report's picture follows its words; both are for the admin who
// asked, and whoever cannot see it reads what it shows.
func TestStoryReportHasAPicture(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	s.requested()
	ann := s.discord.Person(discordAnn)
	s.discordCommand(discordAnn, "report", nil)
	var files []discordtest.File
	s.eventually("the picture", func() bool {
		for _, e := range ann.Ephemerals() {
			files = append(files, e.Files...)
		}
		return len(files) > 0
	})
	size, err := png.DecodeConfig(bytes.NewReader(files[0].Content))
	if err != nil || size.Width != pictureWidth || !strings.Contains(files[0].Description, "1 in all, 0 approved, 0 denied, 1 undecided.") {
		t.Errorf("the picture is %+v, %v: %s", size, err, files[0].Description)
	}
	if n := len(s.discord.Person(discordGrace).Ephemerals()); n != 0 {
		t.Errorf("somebody else is shown %d messages", n)
	}
}

// More tickets than are read together are listed and exported whole.
func TestTicketsExportIsWhole(t *testing.T) {
	t.Parallel()
	const n = 2*ticketPage + 7
	path := filepath.Join(t.TempDir(), "a.db")
	keep, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := tickets.RequestID(fmt.Sprint("r", i))
			_, _, err := keep.Accept(context.Background(), tickets.Incoming{ID: string(id), At: time.Now(), Update: &tickets.Update{ID: id, Request: &tickets.Request{ID: id}}},
				func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
					if t != nil {
						return nil, tickets.StatusDuplicate
					}
					t = tickets.Start(tickets.NewNumber("JIT", seq), id, tickets.Rules{Type: tickets.Types()[0]}, time.Now())
					t.Ask(tickets.Request{ID: id}, tickets.Rules{}, time.Now())
					return t, tickets.StatusCreated
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := keep.Close(); err != nil {
		t.Fatal(err)
	}
	s := &story{TB: t, env: environment{Store: secret("sqlite:" + path)}}
	for _, args := range [][]string{{"tickets", "export"}, {"tickets", "list", "--json", "--limit", fmt.Sprint(n + 1)}} {
		lines := strings.Split(strings.TrimSpace(s.prints(args...)), "\n")
		if len(lines) != n {
			t.Fatalf("%v prints %d tickets, want %d", args, len(lines), n)
		}
		for i, line := range lines {
			if tk, err := store.Decode([]byte(line)); err != nil || tk.Number != tickets.NewNumber("JIT", int64(1000+n-i)) {
				t.Fatalf("line %d is %+v, %v; want the newest first", i, tk, err)
			}
		}
	}
	if text := s.prints("tickets", "list", "--limit", fmt.Sprint(ticketPage+1)); strings.Count(text, "\n") != ticketPage+2 {
		t.Errorf("tickets list --limit %d prints %d lines", ticketPage+1, strings.Count(text, "\n"))
	}
}

func TestCSVColumnsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference.md"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range csvColumns {
		names = append(names, "`"+c.name+"`")
	}
	if want := strings.Join(names, ", "); !strings.Contains(string(text), want) {
		t.Errorf("docs/reference.md does not tell of the columns %s", want)
	}
}

// What is long is cut at the terminal's edge, and columns stay in place.
func TestTableFits(t *testing.T) {
	var b bytes.Buffer
	out := newPrinter(&b)
	out.width = 40
	shape := table{{"ONE", 5}, {"TWO", 3}, {"THREE", 0}}
	out.head(shape)
	out.row(shape, "ääääääää", "x", strings.Repeat("long ", 20))
	out.row(shape, "", "", "")
	out.row(shape, "a\nb", "", "\x1b[2J")
	if err := out.end(); err != nil {
		t.Fatal(err)
	}
	const want = "ONE    TWO  THREE\nääää…  x    long long long long long lo…\n\na ⏎ b       ␛[2J\n"
	if b.String() != want {
		t.Errorf("table = %q, want %q", b.String(), want)
	}
}

// planted are secrets that reach the bot with a webhook and must not be kept.
var planted = []string{"planted-cookie", "planted-key", "planted-query", "planted-agent", "planted-hop", "planted-fragment"}

// deliversSecrets sends webhooks, one that can be read and one that cannot,
// with secrets everywhere but in their bodies.
func (s *story) deliversSecrets() {
	s.Helper()
	r := s.epm.RequestAppQuietly(epmtest.App{})
	for _, body := range [][]byte{s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{}), []byte("{")} {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/webhooks/epm?token=planted-query", bytes.NewReader(body))
		if err != nil {
			s.Fatal(err)
		}
		req.SetBasicAuth(webhookUser, webhookPass)
		for name, value := range map[string]string{
			"Content-Type": "application/json; note=planted-fragment", "Cookie": "session=planted-cookie", "X-Api-Key": "planted-key",
			"User-Agent": "planted-agent", "X-Forwarded-For": "planted-hop, 192.0.2.9", "Forwarded": "for=planted-hop",
		} {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			s.Fatal(err)
		}
	}
	s.shows("waiting for a decision")
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		s.Fatalf("problems = %v", problems)
	}
	s.shows("submitted to EPM")
}

// secrets are all that the store must not hold, with what must be found in
// it, so that a search that finds nothing is not taken for a good one.
func (s *story) noSecrets(where, text string) {
	s.Helper()
	all := append([]string{webhookPass, base64.StdEncoding.EncodeToString([]byte(webhookUser + ":" + webhookPass)), "epm-secret-1",
		s.env.SlackBotToken.Reveal(), s.env.SlackSigningSecret.Reveal()}, planted...)
	for _, secret := range all {
		if strings.Contains(text, secret) {
			s.Errorf("%s holds the secret %.8s…", where, secret)
		}
	}
	for _, want := range []string{"URM_Native_Ticket_Created", "ok for the patch window", "192.0.2.9"} {
		if !strings.Contains(text, want) {
			s.Errorf("%s does not hold %q: the search looks in the wrong place", where, want)
		}
	}
}

func TestStoreHoldsNoSecret(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s := tell(t, func(s *story) { s.env.TrustedProxies = "127.0.0.0/8" })
		s.deliversSecrets()
		path := strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:")
		var all strings.Builder
		// The files as they are, and what is packed in them.
		for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
			b, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		keep, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer keep.Close()
		list, err := keep.Incomings(t.Context(), store.IncomingQuery{})
		if err != nil || len(list) != 2 {
			t.Fatalf("Incomings = %+v, %v; want two", list, err)
		}
		for _, k := range list {
			if k, err = keep.Incoming(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%+v\n%s\n", k, k.Raw)
		}
		err = each(t.Context(), keep, store.Query{}, 10, func(tk *tickets.Ticket) {
			doc, err := store.Encode(tk)
			if err != nil {
				t.Error(err)
			}
			all.Write(doc)
		})
		if err != nil {
			t.Fatal(err)
		}
		s.noSecrets("the store", all.String())
	})
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		srv := startRedis(t)
		s := tell(t, withRedis(srv), func(s *story) { s.env.TrustedProxies = "127.0.0.0/8" })
		s.deliversSecrets()
		address, _, _ := strings.Cut(srv.URL("x"), "?")
		options, err := goredis.ParseURL(address)
		if err != nil {
			t.Fatal(err)
		}
		c := goredis.NewClient(options)
		defer c.Close()
		s.noSecrets("Redis", dumpRedis(t, c))
	})
}

// dumpRedis is everything in a Redis, as text.
func dumpRedis(t *testing.T, c *goredis.Client) string {
	t.Helper()
	var all strings.Builder
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		kind, err := c.Type(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		var v any
		switch kind {
		case "string":
			v, err = c.Get(t.Context(), key).Result()
		case "hash":
			v, err = c.HGetAll(t.Context(), key).Result()
		case "zset":
			v, err = c.ZRange(t.Context(), key, 0, -1).Result()
		case "set":
			v, err = c.SMembers(t.Context(), key).Result()
		case "list":
			v, err = c.LRange(t.Context(), key, 0, -1).Result()
		}
		if err != nil && err != goredis.Nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, key, v)
	}
	return all.String()
}
