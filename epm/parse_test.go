package epm

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	requestID = "7b0c6a1e-0d3c-4f0e-9a54-0f1d2c3b4a59"
	winPath   = `C:\Users\new\table.exe`
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// world is a fake EPM with one decided request of each kind, always the same.
type world struct {
	*epmtest.Server
	app, admin *epmtest.Request
}

func newWorld(t testing.TB) world {
	t.Helper()
	s, err := epmtest.New(epmtest.Config{ClientID: "id", ClientSecret: "hush", TenantID: "tenant-1", Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	fixed := map[string]string{"RequestId": requestID, "ComputerId": "computer-1", "GroupId": "group-1", "UserId": "S-1-5-21-1"}
	w := world{
		Server: s,
		app: s.RequestAppQuietly(epmtest.App{Reason: "patch day", Path: winPath, Product: "Table", Version: "1.2", Publisher: "Acme",
			CmdLine: `"C:\Users\new\table.exe" /S`, Parent: `C:\Windows\explorer.exe`, SHA256: strings.Repeat("ab", 32), Workstyle: "High", Extra: fixed}),
		admin: s.RequestAdminQuietly(epmtest.Admin{Reason: "patch day", Extra: fixed}),
	}
	for _, r := range []*epmtest.Request{w.app, w.admin} {
		if err := s.DecideInConsole(r.ID, epmtest.Approved, "3600", "Boss"); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w world) body(e epmtest.Event, o epmtest.BodyOptions) []byte {
	r := w.app
	if e == epmtest.AdminCreated || e == epmtest.AdminUpdated {
		r = w.admin
	}
	return w.Body(e, r, o)
}

func parse(t *testing.T, body []byte) Parsed {
	t.Helper()
	p, err := Parse(body)
	if err != nil {
		t.Fatalf("Parse = %v\n%s", err, body)
	}
	if p.News != nil && p.News.ID != requestID {
		t.Errorf("ID = %q, want %q", p.News.ID, requestID)
	}
	return p
}

// TestBreakagesGolden holds what every body that EPM may send comes out as.
func TestBreakagesGolden(t *testing.T) {
	w := newWorld(t)
	golden := map[string]any{}
	for _, b := range epmtest.Breakages() {
		for _, e := range b.Events {
			name := b.Name + "/" + string(e)
			t.Run(name, func(t *testing.T) {
				body := w.body(e, b.Options)
				p, err := Parse(body)
				if b.Name == "cutOff" || b.Name == "leftover RequestId" {
					if err == nil {
						t.Errorf("Parse = %+v, want an error", p.News)
					}
					golden[name] = map[string]string{"error": err.Error()}
					return
				}
				if err != nil {
					t.Fatalf("Parse = %v\n%s", err, body)
				}
				created := e == epmtest.AppCreated || e == epmtest.AdminCreated
				if p.News.ID != requestID || (p.News.Request != nil) != created {
					t.Errorf("News = %+v, want request %t of %s", p.News, created, requestID)
				}
				if q := p.News.Request; q != nil && q.SuspectedForgery != b.Forged {
					t.Errorf("Imitates = %t, want %t\n%s", q.SuspectedForgery, b.Forged, body)
				}
				if b.Valid && p.Repaired && b.Name != "rawPathOfValidEscapes" && b.Name != "rawUserOfValidEscapes" {
					t.Errorf("Repaired, want read as it is\n%s", body)
				}
				golden[name] = p
			})
		}
	}
	checkGolden(t, "breakages.json", golden)
}

func checkGolden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s, line %d:\n got %s\nwant %s\n(-update rewrites it)", file, i+1, g[i], w[i])
			}
		}
		t.Fatalf("%s: %d lines, want %d", file, len(g), len(w))
	}
}

// TestRawValues fills each template with values that need escaping, without
// any: what was written must be what is read.
func TestRawValues(t *testing.T) {
	w := newWorld(t)
	for name, reason := range map[string]string{
		"Quotes":             `he said "please"`,
		"QuoteAtTheEnd":      `he said "please" and "now"`,
		"OnlyQuotes":         `""`,
		"QuoteComma":         `first", then "second`,
		"LineBreak":          "one\ntwo",
		"EmptyLine":          "one\n\ntwo",
		"QuoteBeforeBreak":   "he said \"x\"\nand left",
		"CommaBeforeBreak":   "he said \"x\",\nand left",
		"BraceOnALine":       "if {\n}\nend",
		"BackslashAtTheEnd":  `look at C:\`,
		"BackslashQuote":     `a \"quoted\" word`,
		"Backslashes":        `\\server\new\table C:\Users\x`,
		"UnicodeLike":        `\u0041 and \ud800 and \x`,
		"ProseLikeAField":    "note: \"x\": \"y\"",
		"Nul":                "a\x00b \\q",
		"TabsAndBreaks":      "a\tb\n\tc",
		"Emoji":              "please 🙏 \"now\"",
		"LineSeparator":      "a\u2028b\"c",
		"JSON":               `{"a": "b"}`,
		"QuoteBackslashLine": "x\\\ny\"",
	} {
		t.Run(name, func(t *testing.T) {
			for _, e := range []epmtest.Event{epmtest.AppCreated, epmtest.AdminCreated} {
				p := parse(t, w.body(e, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{
					"Reason": reason, "User": `CORP\nina`, "UserName": `CORP\nina`, "CmdArgs": `/log C:\temp\new`}}))
				q := p.News.Request
				if q == nil {
					t.Fatal("no request")
				}
				if q.Reason != reason || q.User != `CORP\nina` {
					t.Errorf("%s: reason %q, user %q, want %q", e, q.Reason, q.User, reason)
				}
				if e == epmtest.AppCreated && (q.Path != winPath || q.Command != `/log C:\temp\new`) {
					t.Errorf("path %q, command %q", q.Path, q.Command)
				}
				if !p.Repaired || q.SuspectedForgery {
					t.Errorf("%s: repaired %t imitates %t, want true, false", e, p.Repaired, q.SuspectedForgery)
				}
			}
		})
	}
}

// TestEscapedValues does the same with values that EPM escapes: none may be
// touched.
func TestEscapedValues(t *testing.T) {
	w := newWorld(t)
	for _, reason := range []string{`C:\Users\x and "quotes"`, "line\nbreak\ttab", `\\server\new`, `x", "RequestId": "y`, `\" \\" \n`, "\x01\x00", "a\u2028b"} {
		for _, e := range []epmtest.Event{epmtest.AppCreated, epmtest.AdminCreated} {
			p := parse(t, w.body(e, epmtest.BodyOptions{Values: map[string]string{"Reason": reason}}))
			if q := p.News.Request; q.Reason != reason || p.Repaired || q.SuspectedForgery {
				t.Errorf("%s: reason %q repaired %t imitates %t, want %q", e, q.Reason, p.Repaired, q.SuspectedForgery, reason)
			}
		}
	}
	p := parse(t, w.body(epmtest.AppCreated, epmtest.BodyOptions{}))
	if p.News.Request.Path != winPath || p.Repaired {
		t.Errorf("path %q repaired %t: an escaped path must not be doubled", p.News.Request.Path, p.Repaired)
	}
}

// TestOneLineBodies are templates that somebody wrote into one line.
func TestOneLineBodies(t *testing.T) {
	w := newWorld(t)
	for name, o := range map[string]epmtest.BodyOptions{
		"BadEscape":    {Escape: epmtest.Raw, Values: map[string]string{"CmdArgs": ""}},
		"ValidEscapes": {Escape: epmtest.Raw, Values: map[string]string{"FilePathObjectId": `C:\new\table`, "User": "ann", "CmdArgs": "", "ParentProcess": ""}},
		"Escaped":      {},
	} {
		body := regexp.MustCompile(`\n\s*`).ReplaceAllString(string(w.body(epmtest.AppCreated, o)), "")
		p := parse(t, []byte(body))
		want := winPath
		if v := o.Values["FilePathObjectId"]; v != "" {
			want = v
		}
		if p.News.Request.Path != want {
			t.Errorf("%s: path = %q, want %q", name, p.News.Request.Path, want)
		}
	}
}

// TestRescueFails: in a template on one line a user's backslash was read as a
// control character, and a quote in another value keeps the body from being
// read as it was meant. The account is shown as it is written, and the request
// is suspected. To see it fail, return the strict reading from read.
func TestRescueFails(t *testing.T) {
	w := newWorld(t)
	for _, letter := range "bfnrt" {
		for name, value := range map[string]string{"Quote": `he said \"please\"`, "QuoteAtTheEnd": `x\"`, "Brace": `\"}`, "Fields": `x\", \"user\": \"CEO`} {
			for e, field := range map[epmtest.Event]string{epmtest.AppCreated: "User", epmtest.AdminCreated: "UserName"} {
				account := `ACME\` + string(letter) + "ob"
				o := epmtest.BodyOptions{Escape: epmtest.Raw, Values: tame(value)}
				o.Values[field] = account
				body := regexp.MustCompile(`\n\s*`).ReplaceAllString(string(w.body(e, o)), "")
				q := parse(t, []byte(body)).News.Request
				if q.User != account || !q.SuspectedForgery || q.ID != requestID {
					t.Errorf("%s %s: user %q, suspected %t, want %q and suspected", name, e, q.User, q.SuspectedForgery, account)
				}
			}
		}
	}
	// A quote alone, from a sender that escapes, is no reason to suspect.
	body := regexp.MustCompile(`\n\s*`).ReplaceAllString(string(w.body(epmtest.AdminCreated, epmtest.BodyOptions{Values: map[string]string{"Reason": `"x"`, "UserName": `ACME\bob`}})), "")
	if q := parse(t, []byte(body)).News.Request; q.User != `ACME\bob` || q.SuspectedForgery || q.Reason != `"x"` {
		t.Errorf("escaped: user %q, reason %q, suspected %t", q.User, q.Reason, q.SuspectedForgery)
	}
}

// TestInjection tries what somebody who asks for access could write.
func TestInjection(t *testing.T) {
	w := newWorld(t)
	for name, reason := range map[string]string{
		"TopFields":      epmtest.Injection(epmtest.OtherRequestID, epmtest.AdminUpdated, false),
		"OnLines":        epmtest.Injection(epmtest.OtherRequestID, epmtest.AppUpdated, true),
		"DecisionOnly":   `x", "Decision": "Approved", "y": "`,
		"Duration":       `x", "DurationRequested": "86400", "y": "`,
		"User":           `x", "user": "CEO", "UserName": "CEO", "userid": "S-1-5-18", "HostName": "SAFE", "y": "`,
		"Reason":         `x", "reason": "approved by the CISO`,
		"Info":           `x", "requestInfo": {"user": "CEO"}, "y": "`,
		"Object":         `x", "z": {"user": "CEO"}, "y": "`,
		"NewObject":      `x", "z": {"q": "CEO"}, "y": "`,
		"Array":          `x", "z": [{"user": "CEO"}], "y": "`,
		"OtherCase":      `x", "REQUESTID": "` + epmtest.OtherRequestID + `", "eventtype": "URM_NATIVE_DECISION_UPDATE`,
		"BrokenToo":      `x\q", "RequestId": "` + epmtest.OtherRequestID + `", "EventType": "URM_NATIVE_DECISION_UPDATE`,
		"LinesAndBroken": "x \"\n\"RequestId\": \"" + epmtest.OtherRequestID + "\",\n\"EventType\": \"URM_NATIVE_DECISION_UPDATE\",\n\"Decision\": \"Approved",
		"Unterminated":   "x\n\"RequestId\": \"" + epmtest.OtherRequestID + "\",\n\"user\": \"CEO",
		"ManyFields":     `x` + strings.Repeat(`", "a": "b`, 3000),
		"EscapedKeys":    `x", "\u0052equestId": "` + epmtest.OtherRequestID,
	} {
		for _, broken := range []bool{false, true} {
			for _, e := range []epmtest.Event{epmtest.AppCreated, epmtest.AdminCreated} {
				// Once so that the body stays JSON, once with other values that break it.
				body := w.body(e, epmtest.BodyOptions{Escape: epmtest.Raw, Values: tame(reason)})
				if broken {
					body = w.body(e, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{"Reason": reason}})
				}
				q := parse(t, body).News.Request
				if q == nil {
					t.Fatalf("%s %s: a request decides", name, e)
				}
				if !q.SuspectedForgery {
					t.Errorf("%s %s broken %t: not marked\n%.500s", name, e, broken, body)
				}
				if q.ID != requestID || !strings.HasSuffix(q.User, "alice") || q.Requested == "86400" || e == epmtest.AppCreated && (q.UserID != "" || q.Host != "LAPTOP-0142") {
					t.Errorf("%s %s broken %t: id %q, user %q %q, host %q, requested %q\n%.500s", name, e, broken, q.ID, q.User, q.UserID, q.Host, q.Requested, body)
				}
			}
		}
	}
	t.Run("PushedIntoAnObject", func(t *testing.T) {
		reason := `x", "user": "CEO"}, "rest": {"a": "b`
		q := parse(t, w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{"Reason": reason,
			"User": "ann", "FilePathObjectId": "x.exe", "CmdArgs": "", "ParentProcess": ""}})).News.Request
		if !q.SuspectedForgery || q.User != "ann" || q.Host != "LAPTOP-0142" {
			t.Errorf("imitates %t, user %q, host %q", q.SuspectedForgery, q.User, q.Host)
		}
	})
	t.Run("IdentityLeftOpen", func(t *testing.T) {
		// EPM left its own RequestId unfilled: an injected one must not step in.
		body := w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Leave: []string{"RequestId"},
			Values: map[string]string{"Reason": `x", "RequestId": "` + epmtest.OtherRequestID}})
		if p, err := Parse(body); err == nil {
			t.Errorf("Parse = %+v, want an error", p.News)
		}
	})
	t.Run("IdentityLeftOut", func(t *testing.T) {
		// A template without a field must not be completed by the requester.
		o := epmtest.BodyOptions{Escape: epmtest.Raw, Without: []string{"TicketNumber"}, Values: tame(`x", "TicketNumber": "EPM000001`)}
		if q := parse(t, w.body(epmtest.AppCreated, o)).News.Request; q.EPMNumber != "" || !q.SuspectedForgery {
			t.Errorf("number %q, imitates %t", q.EPMNumber, q.SuspectedForgery)
		}
		o = epmtest.BodyOptions{Escape: epmtest.Raw, Without: []string{"RequestId"}, Values: tame(`x", "RequestId": "` + epmtest.OtherRequestID)}
		if p, err := Parse(w.body(epmtest.AppCreated, o)); err != errNoRequest {
			t.Errorf("Parse = %+v, %v, want %v", p.News, err, errNoRequest)
		}
	})
	t.Run("TimesOfAnUpdate", func(t *testing.T) {
		o := parse(t, w.body(epmtest.AppUpdated, epmtest.BodyOptions{Escape: epmtest.Raw,
			Values: map[string]string{"DecisionPerformedByUser": `Ann", "EndTime": "2030-01-01 00:00:00", "StartTime": "2029-01-01 00:00:00`}})).News.Outcome
		if !o.End.IsZero() || !o.Start.IsZero() {
			t.Errorf("from %v until %v", o.Start, o.End)
		}
	})
	t.Run("DecidersName", func(t *testing.T) {
		for _, e := range []epmtest.Event{epmtest.AppUpdated, epmtest.AdminUpdated} {
			o := parse(t, w.body(e, epmtest.BodyOptions{Escape: epmtest.Raw,
				Values: map[string]string{"Decision": "Denied", "DecisionPerformedByUser": `Ann", "Decision": "Approved`}})).News.Outcome
			if o.Verdict != tickets.Deny || !o.Imitates {
				t.Errorf("%s: verdict %s, imitates %t", e, o.Verdict, o.Imitates)
			}
		}
	})
}

// tame are values that leave a raw body valid, beside the reason.
func tame(reason string) map[string]string {
	return map[string]string{"Reason": reason, "User": "alice", "UserName": "alice", "FilePathObjectId": "x.exe", "CmdArgs": "", "ParentProcess": ""}
}

func TestDecisionWords(t *testing.T) {
	w := newWorld(t)
	for word, want := range map[string]tickets.Verdict{
		"Approved": tickets.Approve, "approve": tickets.Approve, "APPROVED": tickets.Approve, "2000": tickets.Approve,
		"Denied": tickets.Deny, "deny": tickets.Deny, "2001": tickets.Deny,
		"Expired": tickets.Other, "true": tickets.Other,
		"Cancelled": tickets.Other, "Revoked": tickets.Other, "Escalated": tickets.Other, "Timed Out": tickets.Other, "Not Approved": tickets.Other,
		"Pending": "", "1000": "", "": "", "null": "", "PENDING": "", "Pending Approval": "", "PendingApproval": "", "pending_approval": "", "Approval Pending": "", "Decision-Pending": "",
		"Awaiting approval": "", "Waiting for approval": "", "WaitingForDecision": "", "InProgress": "", "In Progress": "", "in-progress": "", "Processing": "", "None": "", "none": "", "N/A": "",
		"New": "", "Open": "", "Submitted": "", "Requested": "", "Under Review": "", "On Hold": "", "Undecided": "", "Not Decided": "", "NotSet": "", "Unknown": "", "-": "",
	} {
		for _, e := range []epmtest.Event{epmtest.AppUpdated, epmtest.AdminUpdated} {
			o := epmtest.BodyOptions{Values: map[string]string{"Decision": word}}
			if word == "" {
				o = epmtest.BodyOptions{Leave: []string{"Decision"}}
			}
			n := parse(t, w.body(e, o)).News
			switch {
			case want == "" && (n.Outcome != nil || !n.Waiting):
				t.Errorf("%s %q: %+v, want waiting", e, word, n)
			case want != "" && (n.Outcome == nil || n.Outcome.Verdict != want || n.Waiting):
				t.Errorf("%s %q: %+v, want %s", e, word, n, want)
			case want == tickets.Other && n.Outcome.Raw != word:
				t.Errorf("Raw = %q, want %q", n.Outcome.Raw, word)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	want := time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	for _, s := range []string{"2026-01-31 13:05:00", "2026-01-31T13:05:00", "2026-01-31T13:05:00.0000000", "2026-01-31T13:05:00Z",
		"2026-01-31T14:05:00+01:00", "01/31/2026 13:05:00", "1/31/2026 1:05:00 PM", "Sat, 31 Jan 2026 13:05:00 GMT", "2026-01-31 13:05:00Z", "2026-01-31 13:05:00 UTC"} {
		if got := parseTime(s); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("parseTime(%q) = %v, want %v", s, got, want)
		}
	}
	// What cannot be read, or could be read in two ways, is not guessed.
	for _, s := range []string{"", "soon", "31. Januar 2026 13:05", "1/31/26 1:05 PM", "32/01/2026 13:05:00", "0001-01-01T00:00:00", strings.Repeat("2", 200)} {
		if got := parseTime(s); !got.IsZero() {
			t.Errorf("parseTime(%q) = %v, want zero", s, got)
		}
	}
	o := parse(t, newWorld(t).body(epmtest.AppUpdated, epmtest.BodyOptions{Values: map[string]string{"DecisionTime": "31. Januar"}})).News.Outcome
	if o.AtRaw != "31. Januar" || !o.At.IsZero() {
		t.Errorf("AtRaw = %q, At = %v", o.AtRaw, o.At)
	}
}

func TestUnreadable(t *testing.T) {
	w := newWorld(t)
	clean := string(w.body(epmtest.AdminCreated, epmtest.BodyOptions{}))
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"Empty":         {"", errEmpty},
		"BOMOnly":       {"\ufeff \n", errEmpty},
		"Array":         {"[1]", errNoObject},
		"Text":          {`"x"`, errNoObject},
		"Null":          {"null", errNoObject},
		"EmptyObject":   {"{}", errNoEvent},
		"OpenEvent":     {`{"EventType": "%%EventType%%", "RequestId": "x"}`, errOpenEvent},
		"OpenBareEvent": {`{"EventType": %%EventType%%, "RequestId": "x"}`, errOpenEvent},
		"CutOff":        {clean[:len(clean)/2], errCutOff},
		"NoRequestID":   {`{"EventType": "JIT_ADMIN_TICKET_CREATED"}`, errNoRequest},
		"RequestIDNull": {`{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": null}`, errOpenRequest},
		"RequestIDText": {`{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": "a b\n"}`, errRequestID},
		"RequestIDLong": {`{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": "` + strings.Repeat("x", 200) + `"}`, errRequestID},
		"Nested":        {`{"a":` + strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat("}", 100) + `}`, errTooNested},
		"NestedArray":   {`{"a":` + strings.Repeat(`[`, 100) + strings.Repeat("]", 100) + `}`, errTooNested},
		"TooMany":       {`{"a":1` + strings.Repeat(`,"a":1`, maxValues) + `}`, errTooMany},
	} {
		_, err := Parse([]byte(c.body))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestUnknownEventIsIgnored(t *testing.T) {
	in := Read(tickets.Incoming{ID: "1", Raw: []byte(`{"EventType": "SOMETHING\u0000 ELSE", "RequestId": "x", "Decision": "Approved"}`)})
	if !in.Ignored || in.Update != nil || !strings.Contains(in.Error, "SOMETHING") || strings.Contains(in.Error, "\x00") {
		t.Errorf("Read = %+v", in)
	}
	// The names of EPM's settings and other letter case are not unknown.
	for _, name := range []string{"JIT Admin Ticket Created", "jit_admin_ticket_created", "Jit-Admin-Ticket-Created"} {
		if p, err := Parse([]byte(`{"EventType": "` + name + `", "RequestId": "x"}`)); err != nil || p.News == nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestReadReplays(t *testing.T) {
	raw := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	in := Read(tickets.Incoming{ID: "1", At: noon, Remote: "r", Raw: raw, Error: "an older version could not", Ignored: true})
	if in.Error != "" || in.Ignored || in.Update == nil || in.ID != "1" || in.Remote != "r" || !in.At.Equal(noon) {
		t.Errorf("Read = %+v", in)
	}
}

// TestTwoWorkstyles keeps both values of the name that the vendor's template
// has twice.
func TestTwoWorkstyles(t *testing.T) {
	q := parse(t, newWorld(t).body(epmtest.AppCreated, epmtest.BodyOptions{SecondWorkstyle: "Low"})).News.Request
	var got []string
	for _, f := range q.Fields {
		if f.Name == "workstyle" {
			got = append(got, f.Value)
		}
	}
	if !reflect.DeepEqual(got, []string{"High", "Low"}) || q.SuspectedForgery {
		t.Errorf("workstyles %q, imitates %t", got, q.SuspectedForgery)
	}
	third := parse(t, newWorld(t).body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: tame(`x", "workstyle": "z`)}))
	if !third.News.Request.SuspectedForgery {
		t.Error("three workstyles are not marked")
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("ü", 450_000)
	q := parse(t, w.body(epmtest.AppCreated, epmtest.BodyOptions{Values: map[string]string{"Reason": long, "CmdArgs": "short"}})).News.Request
	total := 0
	for _, f := range q.Fields {
		total += len(f.Value)
	}
	if total > maxText+1024 || !strings.Contains(q.Reason, "more bytes)") || !strings.HasPrefix(q.Reason, "üüü") || strings.Contains(q.Reason, "\ufffd") {
		t.Errorf("%d bytes kept, reason ends %q", total, q.Reason[len(q.Reason)-40:])
	}
	if q.SHA256 != strings.Repeat("ab", 32) || q.Publisher != "Acme" || q.Command != "short" {
		t.Errorf("a long reason pushed others out: %q %q %q", q.SHA256, q.Publisher, q.Command)
	}
	q = parse(t, w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: tame("x" + strings.Repeat(`", "a": "b`, 3000))})).News.Request
	if len(q.Fields) > maxFields || !q.SuspectedForgery || q.User != "alice" || q.Reason != "x" {
		t.Errorf("%d fields, imitates %t, user %q, reason %.100q", len(q.Fields), q.SuspectedForgery, q.User, q.Reason)
	}
	said := false
	for _, f := range q.Fields {
		said = said || strings.Contains(f.Value, "fields left out")
	}
	if !said {
		t.Error("fields are left out without a word")
	}
}

// TestLongValuesAreReadInOneGo: the time to read a value must not grow with
// the square of its lines, quotes or blanks.
func TestLongValuesAreReadInOneGo(t *testing.T) {
	w := newWorld(t)
	for name, reason := range map[string]string{
		"Lines": strings.Repeat("\n", 400_000), "ShortLines": strings.Repeat("x\n", 200_000), "Quotes": strings.Repeat(`"`, 400_000),
		"QuotesAndBlanks": strings.Repeat(`" `, 200_000) + strings.Repeat(" ", 200_000), "Commas": strings.Repeat("\",\n", 100_000),
		"Backslashes": strings.Repeat(`\`, 400_000), "QuoteCommas": strings.Repeat(`",`, 200_000) + strings.Repeat(" ", 200_000) + "x",
		"Names": strings.Repeat("\"x\":\n", 100_000), "Objects": strings.Repeat("\"x\": {\n", 9_000), "Blanks": "x" + strings.Repeat(" \n", 200_000) + "x",
		"Fields": `x` + strings.Repeat(`","a":"`, 9_000),
	} {
		begin := time.Now()
		_, err := Parse(w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{"Reason": reason}}))
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%s: %v %v", name, took, err)
		}
	}
}

// TestTemplates holds our embedded templates to the vendor's.
func TestTemplates(t *testing.T) {
	got := Templates()
	if len(got) != 4 {
		t.Fatalf("%d templates", len(got))
	}
	for i, e := range []epmtest.Event{epmtest.AdminCreated, epmtest.AdminUpdated, epmtest.AppCreated, epmtest.AppUpdated} {
		if got[i].Body != string(epmtest.Template(e)) {
			t.Errorf("%s differs from the vendor's", got[i].Event)
		}
		// A template that EPM posts without filling it has no request.
		if _, err := Parse([]byte(got[i].Body)); !errors.Is(err, errOpenRequest) {
			t.Errorf("%s unfilled: %v, want %v", got[i].Event, err, errOpenRequest)
		}
		if events[squeeze(got[i].Event)] != events[squeeze(string(e))] {
			t.Errorf("%s is not known under the name that EPM's settings use", got[i].Event)
		}
	}
}

// A year that cannot be written down must not make the webhook unstorable.
func TestParseTimeBeyondTheCalendar(t *testing.T) {
	for _, s := range []string{"9999-12-31T23:59:59-05:00", "0000-01-01T00:00:00+01:00"} {
		if got := parseTime(s); !got.IsZero() {
			t.Errorf("parseTime(%q) = %v, want it unread", s, got)
		}
	}
	if got := parseTime("2026-01-31 13:05:00"); got.IsZero() {
		t.Error("a usual time was not read")
	}
}

// TestReputation: what EPM sends of it is one phrase, and nothing without a
// score.
func TestReputation(t *testing.T) {
	w := newWorld(t)
	for want, extra := range map[string]map[string]string{
		"3 (VirusTotal, 2026-03-02 11:00:00)": {"ReputationScore": "3", "ReputationIntegrationType": "VirusTotal", "ReputationScoreDateTime": "2026-03-02 11:00:00"},
		"0 (VirusTotal)":                      {"ReputationScore": "0", "ReputationIntegrationType": "VirusTotal"},
		"good":                                {"ReputationScore": "good"},
		"":                                    {"ReputationIntegrationType": "VirusTotal", "ReputationScoreDateTime": "2026-03-02 11:00:00"},
	} {
		extra["RequestId"] = requestID
		r := w.RequestAppQuietly(epmtest.App{Extra: extra})
		p := parse(t, w.Body(epmtest.AppCreated, r, epmtest.BodyOptions{}))
		if got := p.News.Request.Reputation; got != want {
			t.Errorf("%v is %q, want %q", extra, got, want)
		}
	}
	const listed = `{"requestId":"q","requestInfo":{"user":"u","reputationScore":3,"reputationIntegrationType":"VirusTotal"},"decision":null}`
	rec, _ := readRecord([]byte(listed))
	if l, ok := rec.listed(tickets.Application, []byte(listed)); !ok || l.Request.Reputation != "3 (VirusTotal)" {
		t.Errorf("a record's is %q", l.Request.Reputation)
	}
}
