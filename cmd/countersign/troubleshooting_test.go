package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/epm/epmtest"
)

// hears has EPM send each of the four webhooks.
func (s *story) hears() {
	s.Helper()
	app, err := s.epm.RequestApp(epmtest.App{Product: "7-Zip"})
	if err != nil {
		s.Fatal(err)
	}
	admin, err := s.epm.RequestAdmin(epmtest.Admin{Reason: "driver"})
	if err != nil {
		s.Fatal(err)
	}
	for _, id := range []string{app.ID, admin.ID} {
		if err := s.epm.DecideInConsole(id, epmtest.Denied, "", "boss"); err != nil {
			s.Fatal(err)
		}
		if err := s.epm.SendUpdate(id); err != nil {
			s.Fatal(err)
		}
	}
}

// posts sends the bot a webhook, as an EPM that is set up differently would.
func (s *story) posts(body, contentType, user, password string) int {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://"+s.addr+webhookPath, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.SetBasicAuth(user, password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestTroubleshooting walks through the troubleshooting chapter of the
// vendor's manual: each case is provoked, and doctor names it.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	before := func(h http.HandlerFunc) func(*story) string {
		return func(s *story) string {
			u, err := url.Parse("http://" + s.addr)
			if err != nil {
				s.Fatal(err)
			}
			pass := httputil.NewSingleHostReverseProxy(u)
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == webhookPath {
					if h(w, r); r.Header.Get("X-Pass") == "" {
						return
					}
				}
				pass.ServeHTTP(w, r)
			}))
			s.Cleanup(proxy.Close)
			return proxy.URL
		}
	}
	for name, tt := range map[string]struct {
		world  func(*story)
		public func(*story) string // another address than the bot's
		change func(*environment)
		want   []string // words of the one line to fix; none: nothing is to be fixed
		text   []string // what else is printed
	}{
		"AllWell": {world: (*story).hears, text: []string{
			"ok   the webhook JIT Admin Ticket Created: last seen 20", "ok   the webhook JIT Admin Decision Updated: last seen",
			"ok   the webhook JIT Application Access Ticket Created: last seen", "never filled in the newest 1: workstyle, reason, trustedOwnership",
			"ok   the webhook JIT Application Access Decision Updated: last seen", "/webhooks/epm: takes user and password, and wants JSON",
			"ok   EPM's own API description: the decision on admin requests, /management-api/v2/AdminAccessRequest/approval, is there",
		}},

		// Webhooks not received.
		"NeverSeen": {text: []string{"note the webhook JIT Admin Ticket Created: never seen\n     → In EPM, Configuration, Webhook Settings, make a webhook for the event JIT Admin Ticket Created with the address http://",
			"/webhooks/epm, content type application/json, authentication Basic", "countersign templates", "If you do not use application requests"}},
		"OneMissing": {world: func(s *story) {
			r := s.epm.RequestAdminQuietly(epmtest.Admin{})
			if err := s.epm.DecideInConsole(r.ID, epmtest.Denied, "", "boss"); err != nil {
				s.Fatal(err)
			}
			if err := s.epm.SendUpdate(r.ID); err != nil {
				s.Fatal(err)
			}
		}, want: []string{"the webhook JIT Admin Ticket Created", "never seen, though the other webhook of admin access requests comes", "make a webhook for the event JIT Admin Ticket Created"}},
		"Missed": {world: func(s *story) {
			s.stop()
			s.epm.RequestAppQuietly(epmtest.App{Product: "7-Zip"})
			s.skew.Add(int64(time.Hour))
			s.start()
			s.shows("waiting for a decision")
		}, want: []string{"the webhook JIT Application Access Ticket Created", "EPM lists requests that it should have told of"}},
		"WrongURL":      {public: before(http.NotFound), want: []string{"the address of EPM's webhooks", "something else than the bot answers, with HTTP status 404", "COUNTERSIGN_PUBLIC_URL"}},
		"WrongPassword": {change: func(e *environment) { e.WebhookPassword = "another-secret" }, want: []string{"the address of EPM's webhooks", "wants another user or password", "COUNTERSIGN_WEBHOOK_PASSWORD"}},
		"AuthorizationLost": {public: before(func(_ http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("X-Pass", "1")
		}), want: []string{"wants another user or password", "let no proxy before it take the header Authorization away"}},
		"OtherLogin": {public: before(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="proxy"`)
			w.WriteHeader(http.StatusUnauthorized)
		}), want: []string{"something before the bot asks for a password"}},
		"Unreachable": {public: func(s *story) string {
			srv := httptest.NewServer(nil)
			srv.Close()
			return srv.URL
		}, want: []string{"the bot at http://", "refused", "countersign serve"}},

		// Tickets not created.
		"Unreadable": {world: func(s *story) {
			if code := s.posts(`planted`, "application/json", webhookUser, webhookPass); code != http.StatusBadRequest {
				s.Fatalf("status %d", code)
			}
		}, want: []string{"EPM's webhooks: 1 of the newest could not be understood", "countersign templates"}},
		"OtherTemplate": {world: func(s *story) {
			body := `{"EventType":"JIT_ADMIN_TICKET_CREATED","RequestId":"r-1","UserName":"bob","Reason":"%%Reason%%"}`
			if code := s.posts(body, "application/json", webhookUser, webhookPass); code != http.StatusOK {
				s.Fatalf("status %d", code)
			}
		}, want: []string{"the webhook JIT Admin Ticket Created", "its template in EPM lacks TenantId, Timestamp, ComputerId, GroupId, TicketNumber, UserId, DurationRequested", "Replace the template"},
			text: []string{"never filled in the newest 1: Reason"}},

		// Approval decisions not working.
		"Secret":     {change: func(e *environment) { e.EPMClientSecret = "another-secret" }, want: []string{"EPM: EPM does not accept the bot's client ID or secret"}},
		"Permission": {world: func(s *story) { s.epm.Forbid(epmtest.Read) }, want: []string{"EPM does not allow it", "JIT: Full Access"}},
		"Host":       {change: func(e *environment) { e.EPMHost = "acme.beyondtrustcloud.com" }, want: []string{"COUNTERSIGN_EPM_HOST", "acme-services.beyondtrustcloud.com"}},
		"Network": {change: func(e *environment) {
			srv := httptest.NewServer(nil)
			srv.Close()
			e.EPMHost = srv.URL
		}, want: []string{"EPM: The connection to 127.0.0.1:", "is refused", "firewall"}},
		"Page": {world: func(s *story) { s.epm.Fail(epmtest.Fault{Kind: epmtest.HTMLPage, Status: 200}) }, want: []string{"EPM: A web page answers", "COUNTERSIGN_EPM_HOST"}},
		"Path": {change: func(e *environment) { e.EPMAdminDecisionPath = "/management-api/v2/AdminAccessRequest/decide" },
			want: []string{"the decision on admin requests", "Set COUNTERSIGN_EPM_ADMIN_DECISION_PATH=/management-api/v2/AdminAccessRequest/approval and start the bot anew"}},
		"NobodyDecides": {change: func(e *environment) { e.Approvers = "" }, want: []string{"who may decide", "COUNTERSIGN_APPROVERS"}},
		"EmptyGroup":    {world: func(s *story) { s.slack.SetGroup("S01HELP") }, want: []string{"the user group @helpdesk (S01HELP)", "nobody is in it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t)
			if tt.world != nil {
				tt.world(s)
			}
			text, fixes, _ := s.doctored(t.Context(), func(e *environment) {
				if tt.public != nil {
					e.PublicURL = tt.public(s)
				}
				if tt.change != nil {
					tt.change(e)
				}
			})
			if len(fixes) != min(1, len(tt.want)) {
				t.Fatalf("%d to fix:\n%s", len(fixes), text)
			}
			for _, w := range tt.want {
				if !strings.Contains(fixes[0], w) {
					t.Errorf("no %q in %s", w, fixes[0])
				}
			}
			for _, w := range tt.text {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s", w, text)
				}
			}
			if n := len(s.cards()); tt.world == nil && n != 0 {
				t.Errorf("doctor made %d requests", n)
			}
		})
	}
}

// TestStoryReconcile: while the bot was away webhooks were lost and a request was
// decided elsewhere. After its start it is as if they had come.
func TestStoryReconcile(t *testing.T) {
	t.Parallel()
	s := tell(t)
	decided, _ := s.requested()
	s.stop()
	s.epm.RequestAdminQuietly(epmtest.Admin{Reason: "driver"})
	if err := s.epm.DecideInConsole(decided.ID, epmtest.Denied, "", "boss"); err != nil {
		t.Fatal(err)
	}
	s.epm.ListAlso(epmtest.KindAdmin, `{"strange":"planted"}`)
	s.skew.Add(int64(time.Hour))
	s.start()
	s.eventually("both are as in EPM", func() bool {
		cards := s.cards()
		return len(cards) == 2 && strings.Contains(cards[0].Text, "denied") && strings.Contains(cards[1].Text, "waiting for a decision") && strings.Contains(cards[1].Text, "administrator rights")
	})
	want := []string{`countersign_reconcile_recovered_requests_total{kind="admin"} 1`, `countersign_reconcile_recovered_requests_total{kind="application"} 0`,
		`countersign_reconcile_resolved_tickets_total{kind="application"} 1`, `countersign_reconcile_skipped_records{kind="admin"} 1`,
		`countersign_reconcile_last_success_timestamp_seconds{kind="admin"} 1`}
	s.eventually("the metrics", func() bool {
		_, text := s.get("/metrics")
		for _, w := range want {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
	if log := s.logs.String(); strings.Count(log, "shape is not known") != 1 || strings.Contains(log, "planted") {
		t.Errorf("log: %s", log)
	}
	if n := s.epm.Count(epmtest.Decide); n != 0 {
		t.Errorf("%d decisions were sent", n)
	}
}

func TestWebhooksAreTheTemplates(t *testing.T) {
	t.Parallel()
	for _, w := range epm.Webhooks() {
		if w.Event == "" || len(w.Names) < 8 || strings.Contains(strings.Join(w.Names, " "), "requestInfo") {
			t.Errorf("%+v", w)
		}
	}
	if n := fmt.Sprint(len(epm.Webhooks())); n != "4" {
		t.Errorf("%s webhooks", n)
	}
}
