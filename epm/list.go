package epm

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/tickets"
)

// List reads EPM's requests of a kind and gives them to take a page at a
// time, at most [listPages] pages: the order is not documented, so a longer
// list is read from its beginning and its end by turns. A record may come
// twice, or be missed, when the list changes meanwhile.
//
// It waits until a call takes no decision's turn. Records of an unknown shape
// are skipped; the log tells of the first. Errors hold a [tickets.Failure]:
// Denied if the account may not, Refused if this tenant has no such list.
func (c *Client) List(ctx context.Context, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error) {
	var listing tickets.ListResult
	var err error
	for _, list := range lists(kind) {
		if listing, err = c.list(ctx, list, kind, take); !errors.Is(err, errNoSuchPath) {
			break
		}
	}
	return listing, err
}

// lists are the addresses of a kind's list, newest version first.
func lists(kind tickets.Kind) []string {
	if kind == tickets.Admin {
		return []string{adminListPath, adminListPathV2}
	}
	return []string{appListPath, appListPathV2}
}

func (c *Client) list(ctx context.Context, list string, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error) {
	var out tickets.ListResult
	last := 1
	for n := range listPages {
		if n >= last {
			out.Complete = true
			return out, nil
		}
		if err := c.spare(ctx); err != nil {
			return out, err
		}
		page, err := c.records(ctx, list, pageNumber(n, last), "reconcile")
		if err != nil {
			return out, err
		}
		last = max(last, page.PageCount)
		found := make([]tickets.ListedRequest, 0, len(page.Data))
		for _, raw := range page.Data {
			rec, ok := readRecord(raw)
			var l tickets.ListedRequest
			if ok {
				l, ok = rec.listed(kind, raw)
			}
			if !ok {
				out.Skipped++
				c.tellShape(kind, rec)
				continue
			}
			found = append(found, l)
		}
		take(found)
	}
	out.Complete = last <= listPages
	return out, nil
}

// pageNumber is the page to read after n others, from the beginning and from
// the end of last pages by turns.
func pageNumber(n, last int) int {
	if n%2 == 1 {
		return last - n/2
	}
	return n/2 + 1
}

// envelope is one page of a list.
type envelope struct {
	Data      []json.RawMessage `json:"data"`
	PageCount int               `json:"pageCount"`
}

// records reads one page of a list. errNoSuchPath is in the error if the
// tenant has no such list.
func (c *Client) records(ctx context.Context, list string, number int, correlation string) (envelope, error) {
	body, status, err := c.page(ctx, list, pageSize, number, correlation)
	if err != nil {
		if f := tickets.FailureOf(err); f.Class == tickets.Rejected && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
			err = &tickets.Failure{Class: tickets.Rejected, UserMessage: f.UserMessage, Err: errors.Join(errNoSuchPath, err)}
		}
		return envelope{}, err
	}
	var page envelope
	if json.Unmarshal(body, &page) != nil || page.Data == nil {
		return envelope{}, &tickets.Failure{Class: tickets.Rejected, UserMessage: sayUnreadable, Err: errors.New("EPM's list has an unknown shape")}
	}
	return page, nil
}

// spare waits until a call can be made that takes no decision's turn: seldom,
// and only while our pace leaves another call beside it.
func (c *Client) spare(ctx context.Context) error {
	err := c.seldom.Wait(ctx)
	for err == nil && c.pace.Tokens() < float64(min(2, c.pace.Burst())) {
		timer := time.NewTimer(sparePoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			err = ctx.Err()
		}
	}
	if err != nil {
		return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayNoAnswer, Err: err}
	}
	return nil
}

// tellShape logs, once for a kind, that a record is not understood: the names
// in it and no value.
func (c *Client) tellShape(kind tickets.Kind, rec record) {
	if _, again := c.told.LoadOrStore(kind, true); again {
		return
	}
	var names []string
	for _, n := range slices.Sorted(maps.Keys(rec)) {
		if len(n) <= 60 && len(names) < 60 && strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789_.") == "" {
			names = append(names, n)
		}
	}
	c.config.Log.Warn("EPM lists requests whose shape is not known; they are left out", "kind", kind, "names", names)
}

// listed is what r tells of a request; false if not who asks for what, or
// whether it is decided.
func (r record) listed(kind tickets.Kind, raw []byte) (tickets.ListedRequest, bool) {
	l := tickets.ListedRequest{Raw: raw}
	for i, name := range recordIDs {
		id := identifier(givenText(r[name]))
		if id == "" || slices.Contains(l.IDs, id) {
			continue
		}
		l.IDs = append(l.IDs, id)
		l.IDCertain = l.IDCertain || i < sureIDs
	}
	if len(l.IDs) == 0 {
		return l, false
	}
	var ok bool
	if l.Outcome, ok = r.outcome(); !ok {
		return l, false
	}
	// What webhooks call it, below requestInfo or at the top, and other names.
	get := func(names ...string) string {
		for _, n := range names {
			if v := r.first(requestInfo+"."+n, n); v != "" {
				return v
			}
		}
		return ""
	}
	q := &l.Request
	*q = tickets.Request{
		ID: l.IDs[0], Kind: kind, Listed: true, EPMNumber: get("ticketnumber"), Tenant: get("tenantid"),
		User: get(recordUsers...), UserID: get("userid", "computeruserid"),
		Host: get("hostname", "computername"), Computer: get("computerid"), Group: get("computergroup", "groupid"),
		Reason: get("reason"), Requested: get("durationrequested"),
		Product: get("productname", "productdescription", "bundleinfodescription", "storeappname", "comdisplayname", "servicename"),
		Version: get("productversion", "fileversion"), Publisher: get("publisher"), Path: get("filepathobjectid", "hostedfilepath"),
		Command: get("cmdargs"), Parent: get("parentprocess"), Source: get("downloadsourceurl"),
		SHA256: get("sha256hash"), SHA1: get("sha1hash"),
		Reputation: reputation(get("reputationscore"), get("reputationintegrationtype"), get("reputationscoredatetime")),
	}
	created := get(recordCreated...)
	if q.Time = parseTime(created); q.Time.IsZero() {
		q.TimeRaw = created
	}
	if q.User == "" && l.Outcome == nil {
		return l, false
	}
	values := make([]value, 0, len(r))
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if text := givenText(r[name]); text != "" {
			values = append(values, value{name: name, text: text})
		}
	}
	for _, v := range limit(values) {
		q.Fields = append(q.Fields, tickets.Field{Name: v.name, Value: v.text})
	}
	return l, true
}

// identifier is id as tickets are keyed by it, or "" if it is none. The ways
// in which .NET writes a UUID, in capitals, in braces, without hyphens, are one
// and the same.
func identifier(id string) tickets.RequestID {
	if len(id) > 100 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	if u, err := uuid.Parse(strings.Trim(id, "()")); err == nil {
		return tickets.RequestID(u.String())
	}
	return tickets.RequestID(id)
}
