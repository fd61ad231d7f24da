package epm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

// listAll reads a list into one slice.
func (b *bench) listAll(ctx context.Context, kind tickets.Kind) (list []tickets.ListedRequest, l tickets.ListResult, err error) {
	l, err = b.List(ctx, kind, func(page []tickets.ListedRequest) { list = append(list, page...) })
	return list, l, err
}

func TestList(t *testing.T) {
	for _, own := range []bool{false, true} {
		b := newBench(t, func(c *epmtest.Config) { c.OwnRecordIDs = own }, nil)
		app := b.fake.RequestAppQuietly(epmtest.App{User: `CORP\bob`, Product: "7-Zip", Path: `C:\new\7z.exe`, CmdLine: "x <!channel>", Reason: "patch day", Extra: map[string]string{"Publisher": "Igor Pavlov"}})
		admin := b.fake.RequestAdminQuietly(epmtest.Admin{User: `CORP\eve`, Reason: "driver", Duration: 2 * time.Hour})
		gone := b.fake.RequestAdminQuietly(epmtest.Admin{})
		if err := b.fake.DecideInConsole(gone.ID, epmtest.Denied, "", "boss"); err != nil {
			t.Fatal(err)
		}
		list, l, err := b.listAll(t.Context(), tickets.Application)
		if err != nil || l != (tickets.ListResult{Complete: true}) || len(list) != 1 {
			t.Fatalf("applications: %+v, %+v, %v", list, l, err)
		}
		q := list[0].Request
		if q.ID != tickets.RequestID(app.ID) || list[0].IDs[0] != q.ID || !list[0].IDCertain || list[0].Outcome != nil || !q.Listed || q.Kind != tickets.Application ||
			q.User != `CORP\bob` || q.Product != "7-Zip" || q.Path != `C:\new\7z.exe` || q.Command != "x <!channel>" || q.Publisher != "Igor Pavlov" || q.Host != "LAPTOP-0142" ||
			q.Reason != "patch day" || q.EPMNumber != app.Number || !q.Time.Equal(noon) || len(q.Fields) == 0 || !strings.Contains(string(list[0].Raw), app.ID) {
			t.Errorf("application: %+v", list[0])
		}
		list, l, err = b.listAll(t.Context(), tickets.Admin)
		if err != nil || l != (tickets.ListResult{Complete: true}) || len(list) != 2 {
			t.Fatalf("admin: %+v, %+v, %v", list, l, err)
		}
		if o := list[0].Outcome; o == nil || o.Verdict != tickets.Deny || o.By != "boss" || list[0].IDs[0] != tickets.RequestID(gone.ID) {
			t.Errorf("decided: %+v", list[0])
		}
		q = list[1].Request
		if q.ID != tickets.RequestID(admin.ID) || list[1].Outcome != nil || q.User != `CORP\eve` || q.Reason != "driver" || q.Requested != "7200" || q.Computer == "" || q.EPMNumber != admin.Number {
			t.Errorf("admin: %+v", list[1])
		}
	}
}

// TestListedShapes: what is not understood says nothing.
func TestListedShapes(t *testing.T) {
	for raw, want := range map[string]string{
		`{"requestId":"A-1","userName":"u","decision":null}`:                                        "sure A-1 waits",
		`{"id":"7B0C6A1E-0D3C-4F0E-9A54-0F1D2C3B4A59","computerUserName":"u","decision":"Pending"}`: "7b0c6a1e-0d3c-4f0e-9a54-0f1d2c3b4a59 waits",
		`{"id":"r","itsmRequestId":"q","userName":"u","decision":"Approved"}`:                       "sure q decided",
		`{"data":{"requestId":"q","requestInfo":{"user":"u"},"accessDecision":{"status":"1000"}}}`:  "sure q waits",
		`{"requestId":"%%RequestId%%","id":"r","userName":"u","decision":""}`:                       "r waits",
		`{"requestId":"q","decision":null}`:                                                         "", // by nobody
		`{"requestId":"q","decision":"Denied"}`:                                                     "sure q decided",
		`{"requestId":"q","userName":"u"}`:                                                          "", // no decision
		`{"requestId":"q","userName":"u","decision":"Escalated"}`:                                   "",
		`{"requestId":"a b","userName":"u","decision":null}`:                                        "",
		`{"userName":"u","decision":null}`:                                                          "",
		`["requestId"]`:                                                                             "",
		`null`:                                                                                      "",
		`{"requestId":"q","userName":"u","decision":null,"reason":"` + strings.Repeat("x", 300<<10) + `","a":1}`: "sure q waits",
	} {
		got := ""
		if rec, ok := readRecord([]byte(raw)); ok {
			if l, ok := rec.listed(tickets.Admin, []byte(raw)); ok {
				got = string(l.IDs[0]) + " waits"
				if l.Outcome != nil {
					got = string(l.IDs[0]) + " decided"
				}
				if l.IDCertain {
					got = "sure " + got
				}
				n := 0
				for _, f := range l.Request.Fields {
					n += len(f.Value)
				}
				if n > maxText+100 {
					t.Errorf("%d bytes of fields", n)
				}
			}
		}
		if got != want {
			t.Errorf("%.100s: %q, want %q", raw, got, want)
		}
	}
}

// TestListSkips the records that it does not understand, and tells once.
func TestListSkips(t *testing.T) {
	b := newBench(t, nil, nil)
	b.fake.RequestAdminQuietly(epmtest.Admin{})
	b.fake.ListAlso(epmtest.KindAdmin, `[1]`, `"planted"`, `{"who":"planted","Strange Näme":1,"when":{"at":"planted"}}`)
	for range 2 {
		list, l, err := b.listAll(t.Context(), tickets.Admin)
		if err != nil || len(list) != 1 || l != (tickets.ListResult{Complete: true, Skipped: 3}) {
			t.Errorf("%d records, %+v, %v", len(list), l, err)
		}
	}
	log := b.log.String()
	if strings.Count(log, "shape is not known") != 1 || !strings.Contains(log, `"when.at"`) || strings.Contains(log, "planted") || strings.Contains(log, "strange") {
		t.Errorf("log: %s", log)
	}
}

// TestLongLists: of a list that is too long both ends are read.
func TestLongLists(t *testing.T) {
	b := newBench(t, func(c *epmtest.Config) { c.RateLimit = -1 }, nil)
	n := listPages*pageSize + 1
	var ids []string
	for range n {
		ids = append(ids, b.fake.RequestAdminQuietly(epmtest.Admin{}).ID)
	}
	list, l, err := b.listAll(t.Context(), tickets.Admin)
	if err != nil || l.Complete || b.fake.Count(epmtest.Read) != listPages {
		t.Fatalf("%d records, %+v, %v, %d calls", len(list), l, err, b.fake.Count(epmtest.Read))
	}
	have := map[string]bool{}
	for _, r := range list {
		have[string(r.IDs[0])] = true
	}
	if !have[ids[0]] || !have[ids[n-1]] || have[ids[n/2]] && len(have) == n {
		t.Errorf("%d records; the first %t, the last %t", len(have), have[ids[0]], have[ids[n-1]])
	}
}

func TestListFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault epmtest.Fault
		want  tickets.Class
	}{
		"403":     {epmtest.Fault{Kind: epmtest.Answer, Status: 403}, tickets.Unauthorized},
		"404":     {epmtest.Fault{Kind: epmtest.Answer, Status: 404}, tickets.Rejected},
		"405":     {epmtest.Fault{Kind: epmtest.Answer, Status: 405}, tickets.Rejected},
		"429":     {epmtest.Fault{Kind: epmtest.Answer, Status: 429, RetryAfter: time.Minute}, tickets.RateLimited},
		"500":     {epmtest.Fault{Kind: epmtest.Answer, Status: 500}, tickets.Unavailable},
		"200Page": {epmtest.Fault{Kind: epmtest.HTMLPage, Status: 200}, tickets.Unavailable},
		"404Page": {epmtest.Fault{Kind: epmtest.HTMLPage, Status: 404}, tickets.Unavailable},
		"Cut":     {epmtest.Fault{Kind: epmtest.Drop}, tickets.Unavailable},
		"Garbage": {epmtest.Fault{Kind: epmtest.Garbage}, tickets.Rejected},
	} {
		for _, kind := range both {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				b := newBench(t, nil, nil)
				c.fault.On = epmtest.Read
				b.fake.Fail(c.fault)
				_, _, err := b.listAll(t.Context(), kind)
				if f := b.class(t, err, c.want); f.RetryAfter != c.fault.RetryAfter {
					t.Errorf("to wait %v", f.RetryAfter)
				}
				if b.Ready() != nil {
					t.Errorf("reading is a help, but Ready = %v", b.Ready())
				}
			})
		}
	}
	t.Run("NoV3", func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.fake.RequestAppQuietly(epmtest.App{Product: "7-Zip"})
		b.fake.Fail(epmtest.Fault{On: epmtest.ReadApp, Kind: epmtest.Answer, Status: 404, Times: 1})
		if list, _, err := b.listAll(t.Context(), tickets.Application); err != nil || len(list) != 1 {
			t.Errorf("%+v, %v; want the list of version 2", list, err)
		}
	})
}

// TestListLeavesDecisionsTheirTurn: while decisions take all of our pace, a
// list waits. To see it fail, let spare return at once.
func TestListLeavesDecisionsTheirTurn(t *testing.T) {
	b := newBench(t, nil, func(c *Config) { c.Rate = 5 })
	b.pace.ReserveN(time.Now(), 5)
	b.pace.ReserveN(time.Now(), 5) // a second of decisions is waiting
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _, err := b.listAll(ctx, tickets.Admin)
	if f := b.class(t, err, tickets.Unavailable); !errors.Is(f, context.DeadlineExceeded) {
		t.Errorf("List = %v", err)
	}
	if n := b.fake.Count(epmtest.Any); n != 0 {
		t.Errorf("%d calls before decisions, after %v", n, time.Since(start))
	}
	if _, _, err := b.listAll(t.Context(), tickets.Admin); err != nil {
		t.Errorf("afterwards List = %v", err)
	}
}
