package epm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

// TestReadTime is the table of layouts. To see it fail, take a layout out.
func TestReadTime(t *testing.T) {
	want := time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	for _, s := range []string{
		// ISO 8601 and what databases make of it.
		"2026-01-31 13:05:00", "2026-01-31 13:05", "2026-01-31T13:05", "2026-01-31T13:05:00", "2026-01-31T13:05:00Z", "2026-01-31t13:05:00z",
		"2026-01-31T13:05:00.000Z", "2026-01-31T13:05:00.0000000Z", "2026-01-31T13:05:00,000", "2026-01-31 13:05:00.000", "2026-01-31 13:05:00Z", "2026-01-31 13:05:00 Z",
		"2026-01-31T13:05:00+0000", "2026-01-31T13:05:00+00", "2026-01-31T13:05:00+00:00", "2026-01-31 15:05:00 +0200", "2026-01-31 15:05:00 +02:00", "2026-01-31 15:05:00+02:00",
		"2026-01-31 07:35:00 -05:30", "2026-01-31 13:05:00 UTC", "2026-01-31 13:05:00 GMT", "2026-01-31 13:05:00 +00:00 (Coordinated Universal Time)",
		"2026/01/31 13:05:00", "2026/1/31 13:05:00", "2026.01.31 13:05:00", "20260131T130500Z", "20260131 130500", "20260131130500", "20260131T150500+0200",
		// .NET's formats G, g, F, f, U, R, o, u, s in the cultures that people have.
		"1/31/2026 1:05:00 PM", "1/31/2026 1:05:00 pm", "1/31/2026 1:05 PM", "01/31/2026 13:05:00", "1/31/2026 13:05:00", "01/31/2026 13:05:00 +00:00", "1/31/2026 1:05:00 PM +00:00",
		"1/31/2026 1:05:00\u202fPM", "1/31/2026\u00a01:05:00 PM", "\u200e1/31/2026 1:05:00 PM", "1/31/2026, 1:05:00 PM", "1-31-2026 13:05:00",
		"31/01/2026 13:05:00", "31/1/2026 1:05:00 p.m.", "31-01-2026 13:05:00", "31.01.2026 13:05:00", "31.1.2026 13.05.00", "31.01.2026 13:05", "31/01/2026 13:05:00 +00:00",
		"Saturday, January 31, 2026 1:05:00 PM", "Saturday, January 31, 2026 1:05 PM", "Saturday, 31 January 2026 13:05:00", "31 January 2026 13:05:00", "January 31, 2026 1:05:00 PM",
		"Jan 31, 2026 1:05:00 PM", "Jan 31 2026 1:05PM", "31-Jan-2026 13:05:00", "31 Jan 2026 13:05", "January 31, 2026 at 1:05 PM",
		"Sat, 31 Jan 2026 13:05:00 GMT", "Sat, 31 Jan 2026 13:05:00 +0000", "Sat, 31 Jan 2026 15:05:00 +0200",
		// JavaScript and C.
		"Sat Jan 31 2026 15:05:00 GMT+0200 (Central European Summer Time)", "Sat Jan 31 13:05:00 UTC 2026", "Sat Jan 31 13:05:00 2026",
		// Since 1970.
		"1769864700", "1769864700000", "1769864700.0", "/Date(1769864700000)/", "/Date(1769864700000+0200)/",
		"  2026-01-31 13:05:00  ",
	} {
		for _, days := range []bool{false, true} {
			if got, _ := readTime(s, days); !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("readTime(%q, %t) = %v, want %v", s, days, got, want)
			}
		}
	}
	if got, _ := readTime("2026-01-31T13:05:00.1234567Z", false); got.Nanosecond() != 123456700 {
		t.Errorf("fraction: %v", got)
	}
	for s, hour := range map[string]int{"1/31/2026 12:05:00 AM": 0, "1/31/2026 12:05:00 PM": 12, "1/31/2026 11:05:00 PM": 23, "1/31/2026 0:05:00": 0} {
		if got, _ := readTime(s, false); got.Hour() != hour || got.Day() != 31 {
			t.Errorf("readTime(%q) = %v, want hour %d", s, got, hour)
		}
	}
	// Two ways to read a date: by the setting.
	for _, s := range []string{"1/5/2026 1:05:00 PM", "01/05/2026 13:05:00", "1-5-2026 13:05:00 +00:00"} {
		months, _ := readTime(s, false)
		days, _ := readTime(s, true)
		if months.Month() != time.January || months.Day() != 5 || days.Month() != time.May || days.Day() != 1 {
			t.Errorf("%q: %v with the month first, %v with the day first", s, months, days)
		}
	}
	if got, _ := readTime("01.05.2026 13:05:00", false); got.Month() != time.May {
		t.Errorf("dots: %v", got)
	}
	for _, s := range []string{"", "soon", "13:05:00", "2026-01-31", "1/31/2026", "1/31/26 1:05 PM", "31. Januar 2026 13:05", "31/02/2026 13:05:00", "13/13/2026 13:05:00", "2026-13-01 13:05:00",
		"1/31/2026 13:05:00 PM", "1/31/2026 0:05:00 AM", "2026-01-31 24:05:00", "2026-01-31 13:60:00", "2026-01-31 13:05:00 CET", "Sat Jan 31 13:05:00 CET 2026", "176986470", "17698647000", "99999999999999999999",
		"0000-01-31 13:05:00", "31 Foo 2026 13:05:00", "2026-01-31 13:05:00 +99:00", "/Date(99999999999999999)/", "2026-01-31 13:05:00 x", strings.Repeat("1", 1<<20)} {
		if got, _ := readTime(s, false); !got.IsZero() {
			t.Errorf("readTime(%.40q) = %v, want it unread", s, got)
		}
	}
}

// TestUnreadTimesAreKept: what is not read is kept as EPM wrote it, for each
// time of each event and of a record.
func TestUnreadTimesAreKept(t *testing.T) {
	w := newWorld(t)
	const odd = "31. Januar, mittags"
	for _, e := range epmtest.Events() {
		o := epmtest.BodyOptions{Values: map[string]string{"Timestamp": odd, "DecisionTime": odd, "StartTime": odd, "EndTime": odd}}
		n := parse(t, w.body(e, o)).News
		switch {
		case n.Request != nil && (n.Request.TimeRaw != odd || !n.Request.Time.IsZero()):
			t.Errorf("%s: %v, %q", e, n.Request.Time, n.Request.TimeRaw)
		case n.Outcome != nil && n.Outcome.AtRaw != odd:
			t.Errorf("%s: %q", e, n.Outcome.AtRaw)
		case e == epmtest.AdminUpdated && (n.Outcome.StartRaw != odd || n.Outcome.EndRaw != odd):
			t.Errorf("%s: start %q, end %q", e, n.Outcome.StartRaw, n.Outcome.EndRaw)
		}
		n = parse(t, w.body(e, epmtest.BodyOptions{})).News
		if n.Request != nil && n.Request.TimeRaw != "" || n.Outcome != nil && n.Outcome.StartRaw+n.Outcome.EndRaw != "" {
			t.Errorf("%s: the text of a time is kept that was read", e)
		}
	}
	rec, _ := readRecord([]byte(`{"requestId":"q","userName":"u","created":"` + odd + `","decision":"Approved","endTime":"` + odd + `"}`))
	l, ok := rec.listed(tickets.Admin, nil)
	if !ok || l.Request.TimeRaw != odd || l.Outcome.EndRaw != odd {
		t.Errorf("listed: %+v", l)
	}
}

// TestOrder: what webhooks tell of the order of day and month.
func TestOrder(t *testing.T) {
	arrived := time.Date(2026, 12, 5, 13, 6, 0, 0, time.UTC)
	for at, want := range map[string]string{
		"31/01/2026 13:05:00": "true false", "01/31/2026 13:05:00": "false true",
		"12/5/2026 13:05:00": "false true", "5/12/2026 13:05:00": "true false", // it has just arrived
		"3/4/2026 13:05:00": "false false", "2026-12-05 13:05:00": "false false", "05.12.2026 13:05:00": "false false", "soon": "false false", "": "false false",
	} {
		body, err := json.Marshal(map[string]string{"EventType": eventAdminCreated, "RequestId": "x", "Timestamp": at})
		if err != nil {
			t.Fatal(err)
		}
		days, months := Order(body, arrived)
		if got := fmt.Sprint(days, months); got != want {
			t.Errorf("%q: %s, want %s", at, got, want)
		}
	}
	if p, err := (Reader{DayFirst: true}).Parse([]byte(`{"EventType":"JIT_ADMIN_TICKET_CREATED","RequestId":"x","Timestamp":"5/12/2026 13:05:00"}`)); err != nil || p.News.Request.Time.Month() != time.December {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestOneIdentity: however a UUID is written, it is one request.
func TestOneIdentity(t *testing.T) {
	const id = requestID
	for _, s := range []string{id, strings.ToUpper(id), "{" + id + "}", "{" + strings.ToUpper(id) + "}", "(" + id + ")", strings.ReplaceAll(id, "-", ""), "urn:uuid:" + id, " {" + id + "} "} {
		p, err := Parse([]byte(`{"EventType":"JIT_ADMIN_TICKET_CREATED","RequestId":"` + s + `"}`))
		if err != nil || p.News.ID != id || p.News.Request.ID != id {
			t.Fatalf("%q: %+v, %v", s, p.News, err)
		}
		if f := p.News.Request.Fields[1]; f.Name != "RequestId" || f.Value != strings.TrimSpace(s) {
			t.Errorf("%q: EPM's text is kept as %+v", s, f)
		}
		rec, _ := readRecord([]byte(`{"requestId":"` + strings.TrimSpace(s) + `"}`))
		if !rec.is(id) {
			t.Errorf("the record of %q is not found", s)
		}
	}
	for _, s := range []string{"EPM-42", "{x}", "AbC"} { // nothing that may be the same
		if got := identifier(s); string(got) != s {
			t.Errorf("identifier(%q) = %q", s, got)
		}
	}
}

// TestOtherTenants: a webhook of another tenant is kept as failed.
func TestOtherTenants(t *testing.T) {
	const ours = "7d8f2c10-aaaa-4bbb-8ccc-121212121212"
	for _, event := range []string{eventAdminCreated, eventAdminUpdated, eventAppCreated, eventAppUpdated} {
		for tenant, want := range map[string]error{ours: nil, strings.ToUpper(ours): nil, "{" + ours + "}": nil, "": nil, "%%TenantId%%": nil, "other": errTenant, "00000000-aaaa-4bbb-8ccc-121212121212": errTenant} {
			body := []byte(`{"EventType":"` + event + `","RequestId":"x","TenantId":"` + tenant + `"}`)
			if _, err := (Reader{Tenant: ours}).Parse(body); err != want {
				t.Errorf("%s of %q: %v, want %v", event, tenant, err, want)
			}
			if _, err := (Reader{}).Parse(body); err != nil {
				t.Errorf("%s of %q, any tenant: %v", event, tenant, err)
			}
			in := (Reader{Tenant: ours}).Read(tickets.Incoming{Raw: body})
			if (in.Update == nil) != (want != nil) || (in.Error != "") != (want != nil) {
				t.Errorf("%s of %q: %+v", event, tenant, in)
			}
		}
	}
}
