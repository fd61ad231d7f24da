package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/sinks/sinkstest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/internal/certtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const eventsSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLasw"

// listeners are those who are told of a story's events.
type listeners struct {
	syslog *sinkstest.Syslog // with TLS and certificates on both sides
	hook   *sinkstest.Webhook
	file   string
}

// withReceivers lets the story tell syslog, a webhook and a file.
func withReceivers(l *listeners) option {
	return func(s *story) {
		must := func(err error) {
			s.Helper()
			if err != nil {
				s.Fatal(err)
			}
		}
		certs, err := certtest.New(certtest.Config{Dir: s.TempDir()})
		must(err)
		l.syslog, err = sinkstest.NewSyslog(&tls.Config{Certificates: []tls.Certificate{certs.Pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: certs.Pool})
		must(err)
		l.hook, err = sinkstest.NewWebhook(eventsSecret)
		must(err)
		l.file = filepath.Join(s.TempDir(), "events.jsonl")
		s.Cleanup(func() {
			l.syslog.Down()
			l.hook.Close()
			for _, v := range slices.Concat(l.syslog.Violations(), l.hook.Violations()) {
				s.Errorf("the receivers' rules: %s", v)
			}
			if log := s.logs.String(); strings.Contains(log, "secret-path") || strings.Contains(log, eventsSecret) || strings.Contains(log, hours2["reason"]) {
				s.Error("the log holds a secret or a reason")
			}
		})
		s.env.EventsSyslog, s.env.EventsSyslogCA, s.env.EventsSyslogCert, s.env.EventsSyslogKey = "tls://"+l.syslog.Addr(), certs.CA, certs.Cert, certs.Key
		s.env.EventsWebhook, s.env.EventsWebhookSecret = secret(l.hook.URL()), eventsSecret
		s.env.EventsFile = l.file
	}
}

// told is what each has been told of, as type and position, without repeats.
func (l *listeners) told(t testing.TB) map[string][]string {
	t.Helper()
	bodies := map[string][][]byte{}
	for _, m := range l.syslog.Messages() {
		bodies["syslog"] = append(bodies["syslog"], []byte(m.Text))
	}
	for _, p := range l.hook.Posts() {
		bodies["webhook"] = append(bodies["webhook"], p.Body)
	}
	b, err := os.ReadFile(l.file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		bodies["file"] = append(bodies["file"], line)
	}
	all := map[string][]string{"syslog": nil, "webhook": nil, "file": nil}
	for name, list := range bodies {
		seen := map[string]bool{}
		for _, body := range list {
			var n struct {
				ID, Type string
				Data     struct {
					Ticket   string
					Position int
					Request  *struct{ User string }
					Change   *struct{ Key, New string }
				}
			}
			if err := json.Unmarshal(body, &n); err != nil {
				t.Errorf("%s was told %v: %.200q", name, err, body)
			}
			if seen[n.ID] {
				continue
			}
			seen[n.ID] = true
			if c := n.Data.Change; c != nil {
				all[name] = append(all[name], fmt.Sprintf("%s %s=%s", n.Type, c.Key, c.New))
				continue
			}
			all[name] = append(all[name], fmt.Sprintf("%s %d %s", n.Data.Ticket, n.Data.Position, n.Type))
		}
	}
	return all
}

// history is what receivers have to be told of a ticket.
func (s *story) history(n tickets.Number) (list []string) {
	s.Helper()
	t, err := store.Decode([]byte(s.prints("tickets", "show", "--json", string(n))))
	if err != nil {
		s.Fatal(err)
	}
	for i, e := range t.Events {
		list = append(list, fmt.Sprintf("%s %d ticket.%s", n, i+1, e.Kind))
	}
	return list
}

// A ticket's events arrive with each receiver in their order, and so does a
// change of the settings. One of them is dead for a while, then the program
// is: nothing waits for the one, and nothing is lost.
func TestStoryEventsReachEveryReceiver(t *testing.T) {
	t.Parallel()
	var l listeners
	s := tell(t, withReceivers(&l))
	l.syslog.Down()
	// The webhook fails at first, in both ways.
	l.hook.Fail(sinkstest.Fault{}, sinkstest.Fault{Status: 503, Keep: true})
	r, _ := s.requested()
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	s.shows("submitted to EPM")
	s.quiet("events/syslog")
	var settings []string
	want := func() []string { return append(s.history("JIT-1001"), settings...) }
	told := func(name string) func() bool {
		return func() bool { return slices.Equal(l.told(t)[name], want()) }
	}
	for _, kind := range []string{"received", "card_posted", "form_opened", "decided", "submitted"} {
		if !slices.ContainsFunc(want(), func(e string) bool { return strings.HasSuffix(e, " ticket."+kind) }) {
			t.Errorf("the history is %q, want %s in it", want(), kind)
		}
	}
	s.eventually("the webhook is told", told("webhook"))
	s.eventually("the file is told", told("file"))
	s.eventually("metrics tell", func() bool {
		_, text := s.get("/metrics")
		events := len(want())
		for _, w := range []string{
			`countersign_deliveries_total{result="unavailable",sink="syslog"}`, fmt.Sprintf(`countersign_deliveries_total{result="ok",sink="file"} %d`, events),
			fmt.Sprintf(`countersign_deliveries_total{result="ok",sink="webhook"} %d`, events), `countersign_deliveries_total{result="ambiguous",sink="webhook"} 2`,
			`countersign_due_tickets{lane="events/file"} 0`, `countersign_due_tickets{lane="events/syslog"} 1`, `countersign_outstanding_tickets{lane="events/file"} 0`, `countersign_outstanding_tickets{lane="events/syslog"} 1`, `countersign_steps_total{kind="deliver",result="ok"}`,
		} {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
	if got := l.told(t)["syslog"]; len(got) != 0 {
		t.Errorf("the dead one was told %q", got)
	}
	if a, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "status"); err != nil || !strings.Contains(a.Text, "Events for syslog: 1 ticket has events to deliver") {
		t.Errorf("status = %q, %v", a.Text, err)
	}

	// The program ends with what it owes, and goes on when it is back.
	s.stop()
	s.start()
	if err := l.syslog.Up(); err != nil {
		t.Fatal(err)
	}
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM")
	for _, name := range []string{"syslog", "webhook", "file"} {
		s.eventually(name+" is told of everything", told(name))
	}
	if _, err := s.slack.Person("U01ANN").CommandIn(t.Context(), channel, "/epm", "config set category Software"); err != nil {
		t.Fatal(err)
	}
	settings = []string{"settings.changed category=Software"}
	for _, name := range []string{"syslog", "webhook", "file"} {
		s.eventually(name+" is told of the setting", told(name))
	}
}

// TestForgetsNobodyInDoubt: while it is not known who is configured, or where
// the tickets are, nobody is forgotten, and no store is made.
func TestForgetsNobodyInDoubt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	for want, findings := range map[string][]finding{
		"nobody is forgotten": {{"EVENTS_WEBHOOK_FILE", "the file cannot be read; check its path and permissions"}},
		"there is no store":   {{"EPM_HOST", "is missing"}},
	} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"events", "drop-sink", "webhook"}, Env{
			Environment: func() (environment, []finding) { return environment{Store: secret("sqlite:" + path)}, findings },
			Stdout:      &out, Stderr: &out, Now: time.Now,
		})
		if err == nil || !strings.Contains(err.Error(), want) || exists(path) {
			t.Errorf("events drop-sink = %v, %s; want %q", err, &out, want)
		}
	}
}

// A receiver that is taken out of the configuration is owed what happens to
// the tickets that it was told of, which everything that tells of the backlog
// says, until the operator lets it be forgotten. When it is configured again
// it begins with what comes next. No history is changed. To see it fail, let
// forgetChanges do nothing, or Forget leave out the tickets that owe nothing.
func TestStoryReceiverIsForgotten(t *testing.T) {
	t.Parallel()
	for _, isRedis := range []bool{false, true} {
		t.Run(fmt.Sprintf("redis=%t", isRedis), func(t *testing.T) {
			t.Parallel()
			var l listeners
			options := []option{withReceivers(&l)}
			if isRedis {
				options = append(options, withRedis(startRedis(t)))
			}
			s := tell(t, options...)
			told := func(want []string) {
				t.Helper()
				s.eventually("syslog is told", func() bool {
					return slices.Equal(slices.Sorted(slices.Values(l.told(t)["syslog"])), slices.Sorted(slices.Values(want)))
				})
			}
			card := func(want string) {
				t.Helper()
				s.eventually("the card shows "+want, func() bool { return strings.Contains(s.cards()[0].Text, want) })
			}
			histories := func() []string { return append(s.history("JIT-1001"), s.history("JIT-1002")...) }
			forgets := func(want string, env environment, name string) {
				t.Helper()
				text, err := s.command(env, append([]string{"events", "drop-sink"}, strings.Fields(name)...)...)
				if text += fmt.Sprint(err); !strings.Contains(text, want) {
					t.Errorf("events drop-sink %s: %s, want %q", name, text, want)
				}
			}
			set := func(value string) { s.has("config set", s.slackSays("U01ANN", "config set category "+value), value) }
			r, _ := s.requested()
			if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
				t.Fatal(err)
			}
			s.eventually("both cards", func() bool { return len(s.cards()) == 2 })
			s.quiet()
			set("before")
			first := append(histories(), "settings.changed category=before")
			told(first)

			// Of the tickets that know syslog one will owe it something.
			s.stop()
			with := s.env
			s.env.EventsSyslog, s.env.EventsSyslogCA, s.env.EventsSyslogCert, s.env.EventsSyslogKey = "", "", "", ""
			s.start()
			s.decide("U01ANN", "approve", hours2)
			s.inEffect(r.ID, "Approved", "7200")
			card("submitted to EPM")
			s.quiet("events/syslog")
			s.has("/epm status", s.slackSays("U01ANN", "status"), "Events for syslog: 1 ticket has events to deliver", "run countersign events drop-sink syslog.")
			if _, text := s.get("/metrics"); !strings.Contains(text, `countersign_outstanding_tickets{lane="events/syslog"} 1`) {
				t.Errorf("metrics do not tell of it:\n%s", text)
			}
			if text, _, err := s.doctored(t.Context(), nil); err != nil || !strings.Contains(text, "note the receiver of events syslog: not configured, and owed events of 1 ticket\n") || !strings.Contains(text, "countersign events drop-sink syslog") {
				t.Errorf("doctor = %v\n%s", err, text)
			}
			s.has("tickets show", s.prints("tickets", "show", "JIT-1001"), " events to deliver\n", "webhook: told of everything\n")
			set("between")
			forgets("syslog is configured", with, "syslog")
			if !isRedis {
				forgets("a bot uses", s.alone(), "syslog")
				s.stop()
			}
			before := histories()
			forgets("there is no receiver Syslog", s.alone(), "Syslog")
			forgets("write countersign events drop-sink syslog|webhook|file", s.alone(), "")
			forgets("Forgot syslog in 2 tickets, of which 1 owed it events.", s.alone(), "syslog")
			forgets("No ticket knows a receiver syslog", s.alone(), "syslog")
			if after := histories(); !slices.Equal(after, before) {
				t.Errorf("the histories were %q and are %q", before, after)
			}
			s.has("audit verify", s.prints("audit", "verify"), "Everything is as it was written.")
			if !isRedis {
				s.start()
			}
			s.confirmed(r.ID)
			card("Confirmed by EPM")
			s.has("state", s.slackSays("U01ANN", "state JIT-1002 On Hold"), "JIT-1002 is now On Hold")
			s.quiet()
			if text := s.slackSays("U01ANN", "status"); strings.Contains(text, "syslog") {
				t.Errorf("status = %s", text)
			}

			// Configured again, it is told of what happens from now on.
			s.stop()
			s.env = with
			s.start()
			known := len(s.history("JIT-1002"))
			set("after")
			s.has("state", s.slackSays("U01ANN", "state JIT-1002 New"), "JIT-1002 is now New")
			s.quiet()
			told(slices.Concat(first, []string{"settings.changed category=after"}, s.history("JIT-1002")[known:]))
		})
	}
}

// What is wrong with a receiver is found by doctor, which says what to do, and
// does not keep the program from its work.
func TestDoctorChecksReceivers(t *testing.T) {
	t.Parallel()
	var l listeners
	s := tell(t, withReceivers(&l))
	other, err := sinkstest.NewWebhook("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	text, fixes, err := s.doctored(t.Context(), nil)
	if err != nil || len(fixes) > 0 {
		t.Fatalf("doctor = %v\n%s", err, text)
	}
	for _, want := range []string{
		"ok   the syslog receiver " + l.syslog.Addr() + ": took a test message\n", "ok   the webhook for events: took a signed test\n", "ok   the file for events " + l.file + ": can be written\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if m := l.syslog.Messages(); len(m) != 1 || m[0].Kind != "countersign.test" {
		t.Errorf("syslog was told %+v", m)
	}
	for name, tt := range map[string]struct {
		change func(*environment)
		want   []string // in the only fix
		text   string
	}{
		"Authority":  {change: func(e *environment) { e.EventsSyslogCA = "" }, want: []string{"the syslog receiver", "certificate is not accepted", "COUNTERSIGN_EVENTS_SYSLOG_CA"}},
		"Client":     {change: func(e *environment) { e.EventsSyslogCert, e.EventsSyslogKey = "", "" }, want: []string{"the syslog receiver", "COUNTERSIGN_EVENTS_SYSLOG_CERT"}},
		"NoFile":     {change: func(e *environment) { e.EventsSyslogCA = l.file + ".none" }, want: []string{"COUNTERSIGN_EVENTS_SYSLOG_CA", "no such file"}, text: "ok   the webhook"},
		"Secret":     {change: func(e *environment) { e.EventsWebhook = secret(other.URL()) }, want: []string{"the webhook for events", "401", "COUNTERSIGN_EVENTS_WEBHOOK_SECRET"}},
		"Folder":     {change: func(e *environment) { e.EventsFile = filepath.Join(l.file+".none", "x") }, want: []string{"the file for events", "Make the folder"}},
		"SyslogDown": {change: func(e *environment) { e.EventsSyslog = "tls://127.0.0.1:1" }, want: []string{"the syslog receiver 127.0.0.1:1", "refused"}},
		"Wrong":      {change: func(e *environment) { e.EventsSyslog = "planted:514" }, want: []string{"COUNTERSIGN_EVENTS_SYSLOG", "tls://HOST:6514"}, text: "skip the receivers of events"},
	} {
		t.Run(name, func(t *testing.T) {
			text, fixes, _ := s.doctored(t.Context(), tt.change)
			if name == "Wrong" { // and with it what belongs to TLS
				fixes = fixes[:1]
			}
			if len(fixes) != 1 || !strings.Contains(text, tt.text) {
				t.Fatalf("%d to fix, want 1 and %q:\n%s", len(fixes), tt.text, text)
			}
			for _, w := range tt.want {
				if !strings.Contains(fixes[0], w) {
					t.Errorf("no %q in %s", w, fixes[0])
				}
			}
		})
	}
	if code, _ := s.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz = %d", code)
	}
}

func TestConfigReceivers(t *testing.T) {
	const good = eventsSecret
	for name, c := range map[string]struct {
		set map[string]string
		say string // in the finding; empty for none
	}{
		"All": {map[string]string{
			"EVENTS_SYSLOG": "tls://siem.example.com:6514", "EVENTS_SYSLOG_CA": "ca.pem", "EVENTS_SYSLOG_CERT": "c.pem", "EVENTS_SYSLOG_KEY": "k.pem",
			"EVENTS_WEBHOOK": "https://siem.example.com/hooks/x", "EVENTS_WEBHOOK_SECRET": good, "EVENTS_WEBHOOK_SECRET_PREVIOUS": good, "EVENTS_FILE": "events.jsonl",
		}, ""},
		"TCP":           {map[string]string{"EVENTS_SYSLOG": "tcp://[::1]:601"}, ""},
		"UDP":           {map[string]string{"EVENTS_SYSLOG": "udp://siem:514"}, "EVENTS_SYSLOG: write tls://"},
		"NoPort":        {map[string]string{"EVENTS_SYSLOG": "tls://siem"}, "EVENTS_SYSLOG: write tls://"},
		"CAWithoutTLS":  {map[string]string{"EVENTS_SYSLOG": "tcp://siem:601", "EVENTS_SYSLOG_CA": "ca.pem"}, "EVENTS_SYSLOG_CA: needs"},
		"CertAlone":     {map[string]string{"EVENTS_SYSLOG": "tls://siem:6514", "EVENTS_SYSLOG_CERT": "c.pem"}, "EVENTS_SYSLOG_CERT: EVENTS_SYSLOG_CERT and"},
		"NotHTTPS":      {map[string]string{"EVENTS_WEBHOOK": "http://siem/planted", "EVENTS_WEBHOOK_SECRET": good}, "EVENTS_WEBHOOK: must be https"},
		"NoSecret":      {map[string]string{"EVENTS_WEBHOOK": "https://siem/planted"}, "EVENTS_WEBHOOK_SECRET: is missing"},
		"OtherSecret":   {map[string]string{"EVENTS_WEBHOOK": "https://siem/x", "EVENTS_WEBHOOK_SECRET": "planted"}, "EVENTS_WEBHOOK_SECRET: is not a secret of Standard Webhooks"},
		"NoWebhook":     {map[string]string{"EVENTS_WEBHOOK_SECRET": good}, "EVENTS_WEBHOOK_SECRET: needs EVENTS_WEBHOOK"},
		"OtherPrevious": {map[string]string{"EVENTS_WEBHOOK": "https://siem/x", "EVENTS_WEBHOOK_SECRET": good, "EVENTS_WEBHOOK_SECRET_PREVIOUS": "whsec_planted"}, "EVENTS_WEBHOOK_SECRET_PREVIOUS: is not"},
	} {
		t.Run(name, func(t *testing.T) {
			vars := complete()
			for k, v := range c.set {
				vars[k] = v
			}
			setenv(t, vars)
			env, findings := readEnvironment()
			_, err := env.check(findings)
			if (err != nil) != (c.say != "") || err != nil && (!strings.Contains(err.Error(), "COUNTERSIGN_"+c.say) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("check = %v, want %q", err, c.say)
			}
		})
	}
}
