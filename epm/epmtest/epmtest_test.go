package epmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const deadline = 10 * time.Second

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock {
	return &clock{t: time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newServer(t *testing.T, change func(*Config)) (*Server, *clock) {
	t.Helper()
	c := newClock()
	cfg := Config{ClientID: "id", ClientSecret: "hunter2", Now: c.now, Retry: Retry{Wait: time.Millisecond}}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		if v := s.Violations(); len(v) > 0 && !strings.Contains(t.Name(), "Violation") {
			t.Errorf("violations: %v", v)
		}
	})
	return s, c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func wait(t *testing.T, s *Server, what string, done func() bool) {
	t.Helper()
	if err := s.Wait(testContext(t), done); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

type reply struct {
	status int
	body   string
	header http.Header
}

// send posts to the fake with the plain client.
func send(t *testing.T, method, address, contentType, token, body string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, string(b), res.Header}, err
}

func mustSend(t *testing.T, method, address, contentType, token, body string) reply {
	t.Helper()
	r, err := send(t, method, address, contentType, token, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	return r
}

func form(secret string) string {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_secret": {secret}}.Encode()
}

func token(t *testing.T, s *Server) string {
	t.Helper()
	r := mustSend(t, "POST", s.URL()+tokenPath, "application/x-www-form-urlencoded", "", form("hunter2"))
	var b struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	if err := json.Unmarshal([]byte(r.body), &b); err != nil || r.status != 200 {
		t.Fatalf("token: %d %s", r.status, r.body)
	}
	if b.TokenType != "Bearer" || b.ExpiresIn != 3600 || b.Scope != "urn:management:api" {
		t.Errorf("token = %+v", b)
	}
	return b.AccessToken
}

func appDecision(id string) map[string]any {
	return map[string]any{
		"status": "2000", "decision": "Approved", "decisionPerformedByUser": "Ann Example", "duration": "3600",
		"itsmRequestId": id, "decisionTime": "2026-01-31 13:05:00", "message": "ok for the patch window",
		"systemId": id, "ticketId": "JIT-1042", "ticketUrl": "https://countersign.example.com/t/1042",
	}
}

func adminDecision(id string) map[string]any {
	return map[string]any{"requestId": id, "decision": "Approved", "duration": "3600",
		"decisionPerformedByUser": "Ann Example", "message": "ok", "ticketId": "JIT-1043"}
}

func with(m map[string]any, kv ...any) map[string]any {
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(m, kv[i].(string))
			continue
		}
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func decide(t *testing.T, s *Server, path, token string, body map[string]any) reply {
	t.Helper()
	b, _ := json.Marshal(body)
	return mustSend(t, "POST", s.URL()+path, "application/json; charset=utf-8", token, string(b))
}

func TestTemplatesAreTheVendors(t *testing.T) {
	theirs := filepath.Join("..", "templates")
	entries, err := os.ReadDir(theirs)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range Events() {
		if len(Template(e)) == 0 {
			t.Errorf("no template for %s", e)
		}
		if !bytes.Contains(Template(e), []byte(`"EventType": "`+string(e)+`"`)) {
			t.Errorf("the template of %s names another event", e)
		}
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" {
			continue
		}
		seen++
		a, err := os.ReadFile(filepath.Join(theirs, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := templateFiles.ReadFile("templates/" + entry.Name())
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: the copies differ (%v)", entry.Name(), err)
		}
	}
	if seen != 4 {
		t.Errorf("%d templates beside package epm, want 4", seen)
	}
	for e, want := range map[Event]int{AppCreated: 50, AppUpdated: 8, AdminCreated: 10, AdminUpdated: 11} {
		if n := len(Placeholders(e)); n != want {
			t.Errorf("%s has %d placeholders, want %d", e, n, want)
		}
	}
}

func TestNewChecksConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"NoSecret":        {ClientID: "id"},
		"NoID":            {ClientSecret: "x"},
		"BareAdminPath":   {ClientID: "id", ClientSecret: "x", AdminDecisionPath: "/management-api/v3/AdminAccessRequest/"},
		"SamePaths":       {ClientID: "id", ClientSecret: "x", AdminDecisionPath: "/management-api/v3/authorizationrequest/notification"},
		"DoubleSlash":     {ClientID: "id", ClientSecret: "x", AppDecisionPath: "//a"},
		"WebhookIsNoURL":  {ClientID: "id", ClientSecret: "x", WebhookURL: "nowhere"},
		"AddressIsTaken!": {ClientID: "id", ClientSecret: "x", Listen: "256.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(cfg)
			if err == nil {
				s.Close()
				t.Error("New took it")
			}
		})
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	s, _ := newServer(t, func(c *Config) {
		c.WebhookURL, c.WebhookUser, c.WebhookPassword = "http://u:hunter2@127.0.0.1:1/x", "u", "hunter2"
		c.Retry.Off = true
	})
	tok := token(t, s)
	mustSend(t, "GET", s.URL()+"/management-api/v3/AdminAccessRequest", "", tok, "")
	_, err := s.RequestApp(App{})
	if err == nil {
		t.Error("the webhook should fail")
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{s, s.cfg, s.Calls(), s.Deliveries(), err} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "hunter2") || strings.Contains(text, tok) {
				t.Errorf("%s of %T shows a secret: %s", format, v, text)
			}
		}
	}
	for _, c := range s.Calls() {
		if c.String() == "" {
			t.Error("empty line for a call")
		}
	}
}

func TestToken(t *testing.T) {
	const formType = "application/x-www-form-urlencoded"
	s, clock := newServer(t, nil)
	list := s.URL() + "/management-api/v3/AdminAccessRequest"

	t.Run("WrongSecret", func(t *testing.T) {
		r := mustSend(t, "POST", s.URL()+tokenPath, formType, "", form("wrong"))
		if r.status != 400 || !strings.Contains(r.body, `"invalid_client"`) {
			t.Errorf("= %d %s", r.status, r.body)
		}
	})
	t.Run("WrongGrant", func(t *testing.T) {
		r := mustSend(t, "POST", s.URL()+tokenPath, formType, "", "grant_type=password")
		if r.status != 400 || !strings.Contains(r.body, `"unsupported_grant_type"`) {
			t.Errorf("= %d %s", r.status, r.body)
		}
	})
	t.Run("CredentialsInTheQuery", func(t *testing.T) {
		r := mustSend(t, "POST", s.URL()+tokenPath+"?"+form("hunter2"), formType, "", "")
		if r.status != 400 {
			t.Errorf("= %d %s", r.status, r.body)
		}
	})
	t.Run("JSONBody", func(t *testing.T) {
		r := mustSend(t, "POST", s.URL()+tokenPath, "application/json", "", form("hunter2"))
		if r.status != 400 {
			t.Errorf("= %d %s", r.status, r.body)
		}
	})
	oauth := func(style oauth2.AuthStyle) *clientcredentials.Config {
		return &clientcredentials.Config{ClientID: "id", ClientSecret: "hunter2", TokenURL: s.URL() + tokenPath, AuthStyle: style}
	}
	t.Run("BasicAuthIsRefused", func(t *testing.T) {
		_, err := oauth(oauth2.AuthStyleInHeader).Token(testContext(t))
		var refused *oauth2.RetrieveError
		if !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("CredentialsInTheBody", func(t *testing.T) {
		res, err := oauth(oauth2.AuthStyleInParams).Client(testContext(t)).Get(list)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	})
	t.Run("ExpiresByTheClock", func(t *testing.T) {
		tok := token(t, s)
		clock.add(time.Hour - time.Second)
		if r := mustSend(t, "GET", list, "", tok, ""); r.status != 200 {
			t.Errorf("before the end: %d", r.status)
		}
		clock.add(time.Second)
		if r := mustSend(t, "GET", list, "", tok, ""); r.status != 401 {
			t.Errorf("after the end: %d", r.status)
		}
	})
	t.Run("Revoked", func(t *testing.T) {
		tok := token(t, s)
		s.RevokeTokens()
		if r := mustSend(t, "GET", list, "", tok, ""); r.status != 401 {
			t.Errorf("status %d", r.status)
		}
	})
	t.Run("NoToken", func(t *testing.T) {
		if r := mustSend(t, "GET", list, "", "", ""); r.status != 401 {
			t.Errorf("status %d", r.status)
		}
	})
	t.Run("RotatedSecret", func(t *testing.T) {
		tok := token(t, s)
		secret := s.RotateSecret()
		if r := mustSend(t, "GET", list, "", tok, ""); r.status != 401 {
			t.Errorf("old token: %d", r.status)
		}
		if r := mustSend(t, "POST", s.URL()+tokenPath, formType, "", form("hunter2")); r.status != 400 {
			t.Errorf("old secret: %d", r.status)
		}
		if r := mustSend(t, "POST", s.URL()+tokenPath, formType, "", form(secret)); r.status != 200 {
			t.Errorf("new secret: %d", r.status)
		}
	})
}

func TestAppDecision(t *testing.T) {
	s, _ := newServer(t, nil)
	tok := token(t, s)
	for name, tc := range map[string]struct {
		change []any
		want   int
	}{
		"Good":                 {nil, 200},
		"Once":                 {[]any{"duration", "Once"}, 200},
		"Denied":               {[]any{"decision", "Denied", "status", "2001", "duration", "Once"}, 200},
		"ExtraField":           {[]any{"more", 1}, 200},
		"OtherLetterCase":      {[]any{"ItsmRequestID", "same", "itsmRequestId", nil}, 200},
		"StatusDisagrees":      {[]any{"status", "2001"}, 400},
		"PendingStatus":        {[]any{"status", "1000"}, 400},
		"NumberForStatus":      {[]any{"status", 2000}, 400},
		"LowerCaseDecision":    {[]any{"decision", "approved"}, 400},
		"LowerCaseOnce":        {[]any{"duration", "once"}, 400},
		"DurationWithUnit":     {[]any{"duration", "60m"}, 400},
		"ZeroDuration":         {[]any{"duration", "0"}, 400},
		"FractionalDuration":   {[]any{"duration", "1.5"}, 400},
		"EmptyDurationOnADeny": {[]any{"decision", "Denied", "status", "2001", "duration", ""}, 400},
		"TimeWithZone":         {[]any{"decisionTime", "2026-01-31T13:05:00Z"}, 400},
		"BlankMessage":         {[]any{"message", " "}, 400},
		"NullURL":              {[]any{"ticketUrl", json.RawMessage("null")}, 400},
		"UnknownRequest":       {[]any{"itsmRequestId", OtherRequestID}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.RequestAppQuietly(App{})
			body := with(appDecision(r.ID), tc.change...)
			if body["ItsmRequestID"] == "same" {
				body["ItsmRequestID"] = r.ID
			}
			got := decide(t, s, DefaultAppDecisionPath, tok, body)
			if got.status != tc.want {
				t.Errorf("= %d %s, want %d", got.status, got.body, tc.want)
			}
			if n := s.TimesInEffect(r.ID); (n == 1) != (tc.want == 200) || n > 1 {
				t.Errorf("in effect %d times after %d", n, tc.want)
			}
		})
	}
	for field := range appDecision("") {
		for _, v := range []any{nil, ""} {
			t.Run(fmt.Sprintf("Without %s %v", field, v), func(t *testing.T) {
				r := s.RequestAppQuietly(App{})
				got := decide(t, s, DefaultAppDecisionPath, tok, with(appDecision(r.ID), field, v))
				if got.status != 400 || !strings.Contains(strings.ToLower(got.body), strings.ToLower(field)) {
					t.Errorf("= %d %s", got.status, got.body)
				}
			})
		}
	}
	t.Run("KindsDoNotMix", func(t *testing.T) {
		r := s.RequestAdminQuietly(Admin{})
		if got := decide(t, s, DefaultAppDecisionPath, tok, appDecision(r.ID)); got.status != 404 {
			t.Errorf("= %d %s", got.status, got.body)
		}
	})
	t.Run("IsStored", func(t *testing.T) {
		r := s.RequestAppQuietly(App{Product: "WinSCP"})
		decide(t, s, "/management-api/v3/AuthorizationRequest/notification/", tok, appDecision(r.ID))
		now, _ := s.Request(r.Number)
		if now.Status != Approved || now.DecidedBy != "Ann Example" || now.Duration != "3600" ||
			now.Message != "ok for the patch window" || now.Until.Sub(now.Decided) != time.Hour || now.Program != "WinSCP" {
			t.Errorf("request = %+v", now)
		}
		d, ok := s.Effective(r.ID)
		if !ok || d.TicketID != "JIT-1042" || d.Status != Approved || d.Console || d.Answer != 200 {
			t.Errorf("effective = %+v", d)
		}
	})
}

func TestAdminDecision(t *testing.T) {
	s, _ := newServer(t, nil)
	strict, _ := newServer(t, func(c *Config) { c.RefuseAdminOnce = true })
	tok := token(t, s)
	for name, tc := range map[string]struct {
		change []any
		want   int
	}{
		"Good":                    {nil, 200},
		"Once":                    {[]any{"duration", "Once"}, 200},
		"Denied":                  {[]any{"decision", "Denied", "duration", nil}, 200},
		"DeniedWithNull":          {[]any{"decision", "Denied", "duration", json.RawMessage("null")}, 200},
		"BothIDs":                 {[]any{"id", "same"}, 200},
		"IDOnly":                  {[]any{"id", "same", "requestId", nil}, 200},
		"IDsDiffer":               {[]any{"id", OtherRequestID}, 400},
		"NoID":                    {[]any{"requestId", nil}, 400},
		"NotAUUID":                {[]any{"requestId", "EPM000238"}, 400},
		"UnknownRequest":          {[]any{"requestId", OtherRequestID}, 404},
		"ApprovedWithoutDuration": {[]any{"duration", nil}, 400},
		"NumberForDuration":       {[]any{"duration", 3600}, 400},
		"Pending":                 {[]any{"decision", "Pending"}, 400},
		"NoDecider":               {[]any{"decisionPerformedByUser", ""}, 400},
		"NoMessage":               {[]any{"message", nil}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.RequestAdminQuietly(Admin{})
			body := with(adminDecision(r.ID), tc.change...)
			if body["id"] == "same" {
				body["id"] = r.ID
			}
			if got := decide(t, s, DefaultAdminDecisionPath, tok, body); got.status != tc.want {
				t.Errorf("= %d %s, want %d", got.status, got.body, tc.want)
			}
			if n := s.TimesInEffect(r.ID); (n == 1) != (tc.want == 200) || n > 1 {
				t.Errorf("in effect %d times after %d", n, tc.want)
			}
		})
	}
	t.Run("OnceRefusedByConfig", func(t *testing.T) {
		r := strict.RequestAdminQuietly(Admin{})
		if got := decide(t, strict, DefaultAdminDecisionPath, token(t, strict), with(adminDecision(r.ID), "duration", "Once")); got.status != 400 {
			t.Errorf("= %d", got.status)
		}
	})
}

func TestDecisionTransport(t *testing.T) {
	s, _ := newServer(t, nil)
	tok := token(t, s)
	r := s.RequestAppQuietly(App{})
	good, _ := json.Marshal(appDecision(r.ID))
	for name, tc := range map[string]struct {
		method, path, contentType, body string
		want                            int
	}{
		"WrongContentType": {"POST", DefaultAppDecisionPath, "text/plain", string(good), 415},
		"NoContentType":    {"POST", DefaultAppDecisionPath, "", string(good), 415},
		"Get":              {"GET", DefaultAppDecisionPath, "", "", 405},
		"DoubleSlash":      {"POST", "/" + DefaultAppDecisionPath, "application/json", string(good), 405},
		"InnerDoubleSlash": {"POST", "/management-api//v2/AuthorizationRequest/notification", "application/json", string(good), 405},
		"WrongPrefix":      {"POST", "/api/v2/AuthorizationRequest/notification", "application/json", string(good), 404},
		"WrongSuffix":      {"POST", "/management-api/v2/AdminAccessRequest/decision", "application/json", string(good), 404},
		"PostToARecord":    {"POST", "/management-api/v2/AdminAccessRequest/" + r.ID, "application/json", string(good), 405},
		"NotJSON":          {"POST", DefaultAppDecisionPath, "application/json", "status=2000", 400},
		"Array":            {"POST", DefaultAppDecisionPath, "application/json", "[" + string(good) + "]", 400},
		"TextAfter":        {"POST", DefaultAppDecisionPath, "application/json", string(good) + "{}", 400},
		"TooLarge":         {"POST", DefaultAppDecisionPath, "application/json", strings.Repeat(" ", maxBody) + string(good), 413},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustSend(t, tc.method, s.URL()+tc.path, tc.contentType, tok, tc.body)
			if got.status != tc.want {
				t.Errorf("= %d %s, want %d", got.status, got.body, tc.want)
			}
		})
	}
	if n := s.TimesInEffect(r.ID); n != 0 {
		t.Errorf("in effect %d times", n)
	}
	if got := mustSend(t, "POST", s.URL()+DefaultAppDecisionPath, "application/json", "wrong", string(good)); got.status != 401 {
		t.Errorf("wrong token: %d", got.status)
	}
}

func TestViolation(t *testing.T) {
	s, _ := newServer(t, nil)
	tok := token(t, s)
	body, _ := json.Marshal(adminDecision(newUUID()))
	for _, p := range []string{"/management-api/v2/AdminAccessRequest", "/management-api/v3/adminaccessrequest/",
		"/management-api/v1/AdminAccessRequest", "/management-api/AdminAccessRequest"} {
		if r := mustSend(t, "POST", s.URL()+p, "application/json", tok, string(body)); r.status != 200 {
			t.Errorf("%s = %d", p, r.status)
		}
	}
	if r := mustSend(t, "POST", s.URL()+"//management-api/v2/AdminAccessRequest", "application/json", tok, string(body)); r.status != 405 {
		t.Errorf("double slash = %d", r.status)
	}
	if v := s.Violations(); len(v) != 5 {
		t.Errorf("violations = %v", v)
	}
	if r := s.Requests(); len(r) != 0 {
		t.Errorf("created %v", r)
	}
}

func TestSecondDecision(t *testing.T) {
	for name, tc := range map[string]struct {
		change                   func(*Config)
		equal, different, effect int
		results                  []Result
	}{
		"Default": {nil, 200, 409, 1, []Result{InEffect, Repeated, Contradicted}},
		"EqualIsRefused": {func(c *Config) { c.EqualAnswer = 409 }, 409, 409, 1,
			[]Result{InEffect, Repeated, Contradicted}},
		"LastOneWins": {func(c *Config) { c.DifferentAnswer = 200 }, 200, 200, 2,
			[]Result{InEffect, Repeated, InEffect}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t, tc.change)
			tok := token(t, s)
			r := s.RequestAppQuietly(App{})
			if got := decide(t, s, DefaultAppDecisionPath, tok, appDecision(r.ID)); got.status != 200 {
				t.Fatalf("first = %d", got.status)
			}
			later := with(appDecision(r.ID), "decisionTime", "2026-01-31 13:06:00")
			if got := decide(t, s, DefaultAppDecisionPath, tok, later); got.status != tc.equal {
				t.Errorf("equal = %d, want %d", got.status, tc.equal)
			}
			different := with(appDecision(r.ID), "decision", "Denied", "status", "2001")
			if got := decide(t, s, DefaultAppDecisionPath, tok, different); got.status != tc.different {
				t.Errorf("different = %d, want %d", got.status, tc.different)
			}
			var results []Result
			for _, d := range s.Decisions(r.ID) {
				results = append(results, d.Result)
			}
			if !slices.Equal(results, tc.results) {
				t.Errorf("results = %v, want %v", results, tc.results)
			}
			if n := s.TimesInEffect(r.ID); n != tc.effect {
				t.Errorf("in effect %d times, want %d", n, tc.effect)
			}
		})
	}
}

func TestManyDecideAtOnce(t *testing.T) {
	s, _ := newServer(t, nil)
	tok := token(t, s)
	r := s.RequestAdminQuietly(Admin{})
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			decide(t, s, DefaultAdminDecisionPath, tok, with(adminDecision(r.ID), "decisionPerformedByUser", fmt.Sprint("Person ", i)))
		})
	}
	group.Wait()
	if n := s.TimesInEffect(r.ID); n != 1 {
		t.Errorf("in effect %d times", n)
	}
	if n := len(s.Decisions(r.ID)); n != 20 {
		t.Errorf("%d decisions", n)
	}
}

func TestConsoleMayDecideAgain(t *testing.T) {
	s, _ := newServer(t, nil)
	r := s.RequestAdminQuietly(Admin{})
	if err := s.DecideInConsole(r.ID, Approved, "2678400", "Boss"); err != nil {
		t.Fatal(err)
	}
	if err := s.DecideInConsole(r.Number, Denied, "", "Boss"); err != nil {
		t.Fatal(err)
	}
	if now, _ := s.Request(r.ID); now.Status != Denied || !now.InConsole || !now.Until.IsZero() {
		t.Errorf("request = %+v", now)
	}
	if got := decide(t, s, DefaultAdminDecisionPath, token(t, s), adminDecision(r.ID)); got.status != 409 {
		t.Errorf("API after the console = %d", got.status)
	}
	if err := s.DecideInConsole(newUUID(), Denied, "", "x"); !errors.Is(err, ErrUnknownRequest) {
		t.Errorf("err = %v", err)
	}
	if err := s.DecideInConsole(r.ID, Pending, "", "x"); err == nil {
		t.Error("pending is no verdict")
	}
}

func TestReading(t *testing.T) {
	s, clock := newServer(t, nil)
	tok := token(t, s)
	var ids []string
	for i := range 5 {
		clock.add(time.Minute)
		ids = append(ids, s.RequestAppQuietly(App{Reason: fmt.Sprint("reason ", i)}).ID)
	}
	admin := s.RequestAdminQuietly(Admin{User: `CORP\bob`, Reason: "driver", Duration: 2 * time.Hour})
	type page struct {
		Data             []map[string]any `json:"data"`
		TotalRecordCount int              `json:"totalRecordCount"`
		PageNumber       int              `json:"pageNumber"`
		PageSize         int              `json:"pageSize"`
		PageCount        int              `json:"pageCount"`
	}
	get := func(t *testing.T, path string, v any) int {
		t.Helper()
		r := mustSend(t, "GET", s.URL()+path, "", tok, "")
		if r.status == 200 {
			if err := json.Unmarshal([]byte(r.body), v); err != nil {
				t.Fatalf("%s: %v", r.body, err)
			}
		}
		return r.status
	}
	t.Run("Pages", func(t *testing.T) {
		for _, order := range []string{"", "asc", "desc"} {
			var got []string
			for n := 1; n <= 4; n++ {
				var p page
				get(t, fmt.Sprintf("/management-api/v%d/AuthorizationRequest?Pagination.PageSize=2&Pagination.PageNumber=%d&Sorts[0].by=created&Sorts[0].order=%s", 2+n%2, n, order), &p)
				if p.TotalRecordCount != 5 || p.PageCount != 3 || p.PageNumber != n || p.PageSize != 2 || p.Data == nil {
					t.Errorf("page %d = %+v", n, p)
				}
				for _, d := range p.Data {
					got = append(got, d["id"].(string))
				}
			}
			want := slices.Clone(ids)
			if order != "asc" {
				slices.Reverse(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("order %q = %v, want %v", order, got, want)
			}
		}
	})
	t.Run("WrongPages", func(t *testing.T) {
		for _, q := range []string{"Pagination.PageSize=201", "Pagination.PageSize=0", "Pagination.PageNumber=0", "Pagination.PageNumber=x"} {
			if status := get(t, "/management-api/v3/AdminAccessRequest?"+q, nil); status != 400 {
				t.Errorf("%s = %d", q, status)
			}
		}
	})
	t.Run("AppRecord", func(t *testing.T) {
		decide(t, s, DefaultAppDecisionPath, tok, appDecision(ids[0]))
		var rec map[string]map[string]any
		_ = get(t, "/management-api/v2/AuthorizationRequest/"+ids[0], &map[string]any{})
		r := mustSend(t, "GET", s.URL()+"/management-api/v2/AuthorizationRequest/"+ids[0], "", tok, "")
		var whole map[string]any
		if err := json.Unmarshal([]byte(r.body), &whole); err != nil {
			t.Fatal(err)
		}
		rec = map[string]map[string]any{}
		for k, v := range whole {
			if m, ok := v.(map[string]any); ok {
				rec[k] = m
			}
		}
		if rec["accessDecision"]["status"] != "Approved" || rec["serviceTicket"]["ticketId"] != "JIT-1042" ||
			rec["requestInfo"]["user"] != `CORP\alice` || whole["id"] != ids[0] {
			t.Errorf("record = %s", r.body)
		}
	})
	t.Run("AdminRecord", func(t *testing.T) {
		// The vendor's answer is an array, though one record is asked for.
		read := func(version string) map[string]any {
			t.Helper()
			var list []map[string]any
			if status := get(t, "/management-api/"+version+"/AdminAccessRequest/"+admin.ID, &list); status != 200 || len(list) != 1 {
				t.Fatalf("%s: %d with %d records, want one", version, status, len(list))
			}
			return list[0]
		}
		rec := read("v3")
		if rec["decision"] != "Pending" || rec["userName"] != `CORP\bob` || rec["durationRequested"] != "7200" || rec["endTime"] != nil {
			t.Errorf("pending = %v", rec)
		}
		decide(t, s, DefaultAdminDecisionPath, tok, adminDecision(admin.ID))
		rec = read("v2")
		if rec["requestId"] != admin.ID || rec["decision"] != "Approved" || rec["duration"] != "3600" || rec["decisionPerformedByUser"] != "Ann Example" ||
			rec["startTime"] != "2026-01-31T13:10:00" || rec["endTime"] != "2026-01-31T14:10:00" {
			t.Errorf("decided = %v", rec)
		}
	})
	t.Run("UnknownRecord", func(t *testing.T) {
		for _, p := range []string{"v2/AuthorizationRequest/" + newUUID(), "v2/AuthorizationRequest/" + admin.ID, "v3/AdminAccessRequest/x"} {
			if status := get(t, "/management-api/"+p, nil); status != 404 {
				t.Errorf("%s = %d", p, status)
			}
		}
	})
	t.Run("Forbidden", func(t *testing.T) {
		s.Forbid(ReadAdmin)
		defer s.Forbid(0)
		if status := get(t, "/management-api/v3/AdminAccessRequest", nil); status != 403 {
			t.Errorf("admin = %d", status)
		}
		if status := get(t, "/management-api/v3/AuthorizationRequest", &page{}); status != 200 {
			t.Errorf("app = %d", status)
		}
	})
	t.Run("OwnRecordIDs", func(t *testing.T) {
		own, _ := newServer(t, func(c *Config) { c.OwnRecordIDs = true })
		tok := token(t, own)
		id := own.RequestAppQuietly(App{}).ID
		if r := mustSend(t, "GET", own.URL()+"/management-api/v2/AuthorizationRequest/"+id, "", tok, ""); r.status != 404 {
			t.Errorf("by request id = %d", r.status)
		}
		if r := mustSend(t, "GET", own.URL()+"/management-api/v2/AuthorizationRequest", "", tok, ""); !strings.Contains(r.body, id) {
			t.Errorf("the list does not name the request: %s", r.body)
		}
	})
}

func TestSwaggerNamesTheAdminPath(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.AdminDecisionPath = "/management-api/v2/AdminAccessRequest/decide-it" })
	r := mustSend(t, "GET", s.URL()+"/management-api/swagger/v3/swagger.json", "", "", "")
	if !strings.Contains(r.body, `"/v3/AdminAccessRequest/decide-it"`) {
		t.Errorf("= %d %s", r.status, r.body)
	}
	if r := mustSend(t, "GET", s.URL()+"/management-api/swagger/index.html", "", "", ""); !strings.Contains(r.body, "v3/swagger.json") {
		t.Errorf("index = %d %s", r.status, r.body)
	}
	hidden, _ := newServer(t, func(c *Config) { c.NoSwagger = true })
	if r := mustSend(t, "GET", hidden.URL()+"/management-api/swagger/v3/swagger.json", "", "", ""); r.status != 404 {
		t.Errorf("hidden = %d", r.status)
	}
}

func TestFaults(t *testing.T) {
	for _, kind := range []FaultKind{Late, Drop, Hang, Answer, HTMLPage, Garbage} {
		for _, did := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v did %t", kind, did), func(t *testing.T) {
				s, _ := newServer(t, nil)
				tok := token(t, s)
				r := s.RequestAppQuietly(App{})
				s.Fail(Fault{On: AppDecision, Times: 1, Kind: kind, Did: did, RetryAfter: 1500 * time.Millisecond, Status: 503})

				b, _ := json.Marshal(appDecision(r.ID))
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "POST", s.URL()+DefaultAppDecisionPath, bytes.NewReader(b))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+tok)
				if kind == Hang { // the caller gives up once the call has arrived
					go func() {
						_ = s.Wait(ctx, func() bool { return s.Count(AppDecision) == 1 && (!did || s.TimesInEffect(r.ID) == 1) })
						cancel()
					}()
				}
				res, err := http.DefaultClient.Do(req)
				switch kind {
				case Drop, Hang:
					if err == nil {
						t.Errorf("answered %d", res.StatusCode)
					}
				default:
					want := map[FaultKind]int{Late: 200, Answer: 503, HTMLPage: 503, Garbage: 200}[kind]
					if err != nil || res.StatusCode != want || res.Header.Get("Retry-After") != "2" {
						t.Fatalf("= %v, %v, want %d", res, err, want)
					}
				}
				if res != nil {
					res.Body.Close()
				}
				happened := did || kind == Late
				if _, ok := s.Effective(r.ID); ok != happened {
					t.Errorf("in effect %t, want %t", ok, happened)
				}
				wait(t, s, "the call's record", func() bool { return len(s.Calls(AppDecision)) == 1 })
				if c := s.Calls(AppDecision)[0]; c.Fault == "" || c.Did != happened || !strings.EqualFold(c.RequestID, r.ID) {
					t.Errorf("call = %+v", c)
				}
				if n := s.FaultsLeft(); n != 0 {
					t.Errorf("%d faults left", n)
				}
				if got := decide(t, s, DefaultAppDecisionPath, tok, appDecision(r.ID)); got.status != 200 {
					t.Errorf("sent again = %d %s", got.status, got.body)
				}
				if n := s.TimesInEffect(r.ID); n != 1 {
					t.Errorf("in effect %d times", n)
				}
			})
		}
	}
	t.Run("StatusesOnEveryEndpoint", func(t *testing.T) {
		s, _ := newServer(t, nil)
		tok := token(t, s)
		for _, status := range []int{400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504} {
			s.Fail(Fault{Status: status, Kind: Answer, Times: 2})
			if r := mustSend(t, "POST", s.URL()+tokenPath, "application/x-www-form-urlencoded", "", form("hunter2")); r.status != status {
				t.Errorf("token = %d, want %d", r.status, status)
			}
			if r := mustSend(t, "GET", s.URL()+"/management-api/v3/AdminAccessRequest", "", tok, ""); r.status != status || r.header.Get("Retry-After") != "" {
				t.Errorf("list = %d, want %d", r.status, status)
			}
		}
	})
	t.Run("SkipAndRequestAndClear", func(t *testing.T) {
		s, _ := newServer(t, nil)
		tok := token(t, s)
		a, b := s.RequestAppQuietly(App{}), s.RequestAppQuietly(App{})
		s.Fail(Fault{On: Decide, RequestID: b.ID, Skip: 1, Kind: Answer, Status: 500})
		var got []int
		for _, id := range []string{a.ID, b.ID, b.ID, b.ID, a.ID} {
			got = append(got, decide(t, s, DefaultAppDecisionPath, tok, appDecision(id)).status)
		}
		if want := []int{200, 200, 500, 500, 200}; !slices.Equal(got, want) {
			t.Errorf("= %v, want %v", got, want)
		}
		s.ClearFaults()
		if r := decide(t, s, DefaultAppDecisionPath, tok, appDecision(b.ID)); r.status != 200 {
			t.Errorf("after ClearFaults = %d", r.status)
		}
	})
	t.Run("LateButTheCallerGaveUp", func(t *testing.T) {
		s, _ := newServer(t, nil)
		tok := token(t, s)
		r := s.RequestAppQuietly(App{})
		s.Fail(Fault{On: AppDecision, Delay: time.Hour})
		b, _ := json.Marshal(appDecision(r.ID))
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "POST", s.URL()+DefaultAppDecisionPath, bytes.NewReader(b))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+tok)
		go func() {
			_ = s.Wait(testContext(t), func() bool { return s.Count(AppDecision) == 1 })
			cancel()
		}()
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			t.Error("answered")
		}
		wait(t, s, "the call's record", func() bool { return len(s.Calls(AppDecision)) == 1 })
		if len(s.Decisions(r.ID)) != 0 {
			t.Error("stored")
		}
	})
}

func TestModes(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.SlowBy = time.Millisecond })
	tok := token(t, s)
	for mode, want := range map[Mode]int{Normal: 200, Slow: 200, Failing: 503, Refusing: 400} {
		s.SetMode(mode)
		r := s.RequestAdminQuietly(Admin{})
		if got := decide(t, s, DefaultAdminDecisionPath, tok, adminDecision(r.ID)); got.status != want {
			t.Errorf("%s = %d %s, want %d", mode, got.status, got.body, want)
		}
		if n := s.TimesInEffect(r.ID); (n == 1) != (want == 200) {
			t.Errorf("%s: in effect %d times", mode, n)
		}
	}
	if s.Mode() == "" || len(Modes()) != 4 {
		t.Error("modes")
	}
}

func TestDown(t *testing.T) {
	s, _ := newServer(t, nil)
	client := &http.Client{Transport: &http.Transport{}, Timeout: deadline}
	defer client.CloseIdleConnections()
	get := func() error {
		res, err := client.Get(s.URL() + "/management-api/swagger/v3/swagger.json")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	s.SetDown(true)
	for range 3 {
		if err := get(); err == nil {
			t.Error("answered while down")
		}
	}
	s.SetDown(false)
	if err := get(); err != nil || s.Down() {
		t.Errorf("up again: %v", err)
	}
}

func TestRateLimit(t *testing.T) {
	s, clock := newServer(t, func(c *Config) { c.RateLimit = 3 })
	tok := token(t, s)
	list := s.URL() + "/management-api/v3/AdminAccessRequest"
	for i, want := range []int{200, 200, 429, 429} {
		clock.add(10 * time.Second)
		if r := mustSend(t, "GET", list, "", tok, ""); r.status != want {
			t.Errorf("call %d = %d, want %d", i, r.status, want)
		} else if want == 429 && r.header.Get("Retry-After") != fmt.Sprint(90-10*i) {
			t.Errorf("call %d: Retry-After %s", i, r.header.Get("Retry-After"))
		}
	}
	clock.add(60 * time.Second)
	if r := mustSend(t, "GET", list, "", tok, ""); r.status != 200 {
		t.Errorf("later = %d", r.status)
	}
}

func TestPace(t *testing.T) {
	s, _ := newServer(t, nil)
	token(t, s)
	token(t, s)
	start := s.Calls()[0].Wall
	s.mu.Lock()
	s.calls = ring[Call]{max: 4}
	for _, at := range []int{9000, 0, 100, 200, 1100, 1150} { // the first two fall out of the ring
		s.calls.add(Call{Endpoint: Token, Wall: start.Add(time.Duration(at) * time.Millisecond)})
	}
	s.mu.Unlock()
	if n := s.MostWithin(time.Second); n != 3 {
		t.Errorf("within a second %d, want 3", n)
	}
	if n := s.MostWithin(time.Second, Read); n != 0 {
		t.Errorf("reads %d", n)
	}
	if n := s.Count(Token); n != 2 {
		t.Errorf("Count = %d", n)
	}
	s.ResetCalls()
	if len(s.Calls()) != 0 || s.Count() != 0 {
		t.Error("calls survive ResetCalls")
	}
}

// hook is a webhook receiver that answers with the given statuses, then 200.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	bodies   []string
	statuses []int
}

func newHook(t *testing.T, statuses ...int) *hook {
	h := &hook{statuses: statuses}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if user, password, ok := r.BasicAuth(); !ok || user != "epm" || password != "pw" || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(401)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.bodies = append(h.bodies, string(b))
		status := 200
		if len(h.statuses) > 0 {
			status, h.statuses = h.statuses[0], h.statuses[1:]
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"status":"created"}`)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) received() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.bodies)
}

func TestWebhooks(t *testing.T) {
	t.Run("CreateDecideConfirm", func(t *testing.T) {
		h := newHook(t)
		s, clock := newServer(t, func(c *Config) { c.AutoConfirm = true })
		s.SetWebhook(h.URL, "epm", "pw")
		r, err := s.RequestAdmin(Admin{User: `CORP\bob`, Reason: `he said "please"`})
		if err != nil {
			t.Fatal(err)
		}
		clock.add(time.Minute)
		decide(t, s, DefaultAdminDecisionPath, token(t, s), adminDecision(r.ID))
		wait(t, s, "the update", func() bool { return len(s.Deliveries()) == 2 })
		var created, updated map[string]string
		bodies := h.received()
		if err := errors.Join(json.Unmarshal([]byte(bodies[0]), &created), json.Unmarshal([]byte(bodies[1]), &updated)); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]string{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": r.ID, "TicketNumber": "EPM000238",
			"UserName": `CORP\bob`, "Reason": `he said "please"`, "DurationRequested": "3600", "Timestamp": "2026-01-31 13:05:00"} {
			if created[k] != want {
				t.Errorf("created %s = %q, want %q", k, created[k], want)
			}
		}
		for k, want := range map[string]string{"EventType": "JIT_ADMIN_TICKET_UPDATED", "RequestId": r.ID, "Decision": "Approved",
			"DecisionPerformedByUser": "Ann Example", "Duration": "3600", "DecisionTime": "2026-01-31 13:06:00",
			"StartTime": "2026-01-31 13:06:00", "EndTime": "2026-01-31 14:06:00"} {
			if updated[k] != want {
				t.Errorf("updated %s = %q, want %q", k, updated[k], want)
			}
		}
		if d := s.Deliveries()[0]; !d.OK() || d.Answer != `{"status":"created"}` || d.Event != AdminCreated || d.RequestID != r.ID {
			t.Errorf("delivery = %+v", d)
		}
	})
	t.Run("ConsoleConfirmsToo", func(t *testing.T) {
		h := newHook(t)
		s, _ := newServer(t, func(c *Config) { c.AutoConfirm = true })
		s.SetWebhook(h.URL, "epm", "pw")
		r := s.RequestAppQuietly(App{})
		if err := s.DecideInConsole(r.ID, Denied, "Once", "Boss"); err != nil {
			t.Fatal(err)
		}
		wait(t, s, "the update", func() bool { return len(h.received()) == 1 })
	})
	t.Run("RetriesUntilTaken", func(t *testing.T) {
		h := newHook(t, 500, 503)
		s, _ := newServer(t, nil)
		s.SetWebhook(h.URL, "epm", "pw")
		if _, err := s.RequestApp(App{}); err != nil {
			t.Error(err)
		}
		if d := s.Deliveries(); len(d) != 3 || d[2].Attempt != 3 || d[0].Status != 500 || d[1].OK() {
			t.Errorf("deliveries = %v", d)
		}
	})
	t.Run("GivesUp", func(t *testing.T) {
		s, _ := newServer(t, nil)
		s.SetWebhook(newHook(t).URL, "epm", "wrong")
		r, err := s.RequestApp(App{})
		if err == nil || r == nil || len(s.Deliveries()) != 4 {
			t.Errorf("= %v, %v after %d", r, err, len(s.Deliveries()))
		}
	})
	t.Run("RetryOff", func(t *testing.T) {
		s, _ := newServer(t, func(c *Config) { c.Retry.Off = true })
		s.SetWebhook(newHook(t, 500).URL, "epm", "pw")
		if _, err := s.RequestApp(App{}); err == nil || len(s.Deliveries()) != 1 {
			t.Errorf("err = %v after %d", err, len(s.Deliveries()))
		}
	})
	t.Run("NothingConfigured", func(t *testing.T) {
		s, _ := newServer(t, nil)
		r, err := s.RequestApp(App{})
		if !errors.Is(err, ErrNoWebhook) || len(s.Requests()) != 1 {
			t.Errorf("err = %v", err)
		}
		if err := s.SendUpdate(r.ID); !errors.Is(err, ErrPending) {
			t.Errorf("update of a pending request: %v", err)
		}
		if err := s.SendCreated("EPM999999"); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("unknown: %v", err)
		}
	})
	t.Run("UpdateBeforeCreateAndTenAtOnce", func(t *testing.T) {
		h := newHook(t)
		s, _ := newServer(t, nil)
		s.SetWebhook(h.URL, "epm", "pw")
		r := s.RequestAppQuietly(App{})
		if err := errors.Join(s.DecideInConsole(r.ID, Approved, "Once", "Boss"), s.SendUpdate(r.Number), s.SendCreated(r.Number)); err != nil {
			t.Fatal(err)
		}
		body := s.Body(AppCreated, r, BodyOptions{})
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if d, err := s.Deliver(testContext(t), body); err != nil || !d.OK() {
					t.Errorf("= %v, %v", d, err)
				}
			})
		}
		group.Wait()
		got := h.received()
		if len(got) != 12 || !strings.Contains(got[0], string(AppUpdated)) || !strings.Contains(got[1], string(AppCreated)) || got[1] != string(body) {
			t.Errorf("received %d", len(got))
		}
	})
	t.Run("NobodyListens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		s, _ := newServer(t, nil)
		s.SetWebhook("http://"+l.Addr().String(), "epm", "pw")
		if d, err := s.Deliver(testContext(t), []byte("{}")); err == nil || d.Err == "" || d.Status != 0 {
			t.Errorf("= %+v, %v", d, err)
		}
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	arrived := make(chan struct{}, 1)
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer h.Close()
	s, _ := newServer(t, nil)
	s.SetWebhook(h.URL, "", "")
	s.Fail(Fault{On: Token, Kind: Hang})
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := s.RequestApp(App{}); err == nil {
			t.Error("the webhook was taken")
		}
	})
	group.Go(func() {
		if r, err := send(t, "POST", s.URL()+tokenPath, "application/x-www-form-urlencoded", "", form("hunter2")); err == nil {
			t.Errorf("answered %d", r.status)
		}
	})
	<-arrived
	wait(t, s, "the token call", func() bool { return s.Count(Token) == 1 })
	s.Close()
	s.Close()
	group.Wait()
	if _, err := s.Deliver(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Deliver after Close: %v", err)
	}
	if err := s.Wait(t.Context(), func() bool { return false }); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}

func TestBreakages(t *testing.T) {
	s, _ := newServer(t, nil)
	app := s.RequestAppQuietly(App{Reason: "patch day", Path: `C:\Tools\x.exe`, Workstyle: "High", CmdLine: `"C:\Tools\x.exe" /S`})
	admin := s.RequestAdminQuietly(Admin{Reason: "patch day"})
	for _, r := range []*Request{app, admin} {
		if err := s.DecideInConsole(r.ID, Approved, "3600", "Boss"); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]bool{}
	for _, b := range Breakages() {
		for _, e := range b.Events {
			name := b.Name + "/" + string(e)
			if names[name] {
				t.Errorf("%s twice", name)
			}
			names[name] = true
			t.Run(name, func(t *testing.T) {
				r := app
				if e == AdminCreated || e == AdminUpdated {
					r = admin
				}
				body := s.Body(e, r, b.Options)
				var v map[string]any
				err := json.Unmarshal(body, &v)
				if (err == nil) != b.Valid {
					t.Errorf("valid %t, want %t (%v):\n%s", err == nil, b.Valid, err, body)
				}
				if b.Forged != bytes.Contains(body, []byte(`"Approved"`)) && (e == AppCreated || e == AdminCreated) {
					t.Errorf("forged %t:\n%s", b.Forged, body)
				}
				if n := bytes.Count(body, []byte("%%")); n > 0 != (strings.HasPrefix(b.Name, "leftover") || b.Options.Missing == MissingPlaceholder && n > 0) {
					t.Errorf("%d %%%% in\n%s", n, body)
				}
			})
		}
	}
	if len(names) < 100 {
		t.Errorf("only %d breakages", len(names))
	}
}

func TestBodyOptions(t *testing.T) {
	s, _ := newServer(t, nil)
	r := s.RequestAppQuietly(App{Workstyle: "High", Reason: "%%User%% <b>"})
	if got := string(s.Body(AppCreated, r, BodyOptions{SecondWorkstyle: "Low"})); strings.Count(got, `"workstyle": "High"`) != 1 ||
		strings.Count(got, `"workstyle": "Low"`) != 1 || !strings.Contains(got, `"reason": "%%User%% <b>"`) {
		t.Errorf("body = %s", got)
	}
	a := s.RequestAdminQuietly(Admin{})
	if got := string(s.Body(AdminCreated, a, BodyOptions{Numbers: true})); !strings.Contains(got, `"DurationRequested": 3600`+"\n") {
		t.Errorf("numbers = %s", got)
	}
	got := s.Body(AdminCreated, a, BodyOptions{Without: []string{"DurationRequested", "UserId"}})
	if !json.Valid(got) || bytes.Contains(got, []byte("UserId")) {
		t.Errorf("without = %s", got)
	}
	if s.Body("NO_SUCH_EVENT", a, BodyOptions{}) != nil {
		t.Error("a body for an unknown event")
	}
	if got := s.Body(AdminUpdated, &Request{ID: OtherRequestID, Status: Denied}, BodyOptions{}); !bytes.Contains(got, []byte(OtherRequestID)) {
		t.Errorf("a request of nobody = %s", got)
	}
}

func TestSubscribeCoalesces(t *testing.T) {
	s, _ := newServer(t, nil)
	changes, cancel := s.Subscribe()
	for range 5 {
		s.RequestAppQuietly(App{})
	}
	if len(changes) != 1 {
		t.Errorf("%d changes wait, want 1", len(changes))
	}
	<-changes
	cancel()
	s.RequestAppQuietly(App{})
	if len(changes) != 0 {
		t.Error("a change after the end")
	}
	if got := s.Requests(); len(got) != 6 || got[0].Number != "EPM000243" {
		t.Errorf("requests = %v", got)
	}
}
