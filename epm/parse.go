package epm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/tickets"
)

// Parsed is what a webhook's body says.
type Parsed struct {
	News     *tickets.News // nil if Ignored
	Repaired bool          // the body was not valid JSON, or not meant as it reads
	// Ignored says that the event is none of ours, and which it was.
	Ignored bool
	Event   string // untrusted
}

// errUnreadable is answered to EPM and shown to admins.
var errUnreadable = errors.New("the body is neither valid JSON nor a filled template of ours; compare the webhook's template in EPM with the output of \"countersign templates\"")

// Parse reads a webhook's body: strictly, and if that fails, or yields what
// nobody can have meant, with repairs. EPM fills a text template and does
// not say whether it escapes the values, so a body may be broken JSON, or
// valid JSON with fields that whoever asks for access wrote into a value.
// The error is a sentence for people.
func Parse(body []byte) (Parsed, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	pairs, repaired, err := read(body)
	if err != nil {
		return Parsed{}, err
	}
	p, err := interpret(pairs)
	p.Repaired = repaired
	return p, err
}

// read chooses between the strict and the repaired reading.
func read(body []byte) (pairs []pair, repaired bool, err error) {
	if json.Valid(body) {
		if pairs, err = walk(body); err != nil {
			return nil, false, err
		}
		if !misread(pairs) {
			return pairs, false, nil
		}
		if fixed, ok := repair(body, true); ok {
			return fixed, true, nil
		}
		return pairs, false, nil
	}
	if fixed, ok := repair(body, false); ok {
		return fixed, true, nil
	}
	return nil, false, errUnreadable
}

// misread reports whether a path or a name holds control characters: then a
// backslash in it was not meant as an escape (C:\new\table).
func misread(pairs []pair) bool {
	for i := range pairs {
		if literal[pairs[i].key] && strings.ContainsFunc(pairs[i].value, unicode.IsControl) {
			return true
		}
	}
	return false
}

// literal are the fields in which backslashes are common and control
// characters impossible.
var literal = map[string]bool{
	"user": true, "username": true, "hostname": true, "filepathobjectid": true, "hostedfilepath": true,
	"parentprocess": true, "decisionperformedbyuser": true,
}

// pair is a value of the body: the object it stands in, its name, what it
// says. Objects and names are in small letters; name is as EPM wrote it.
type pair struct {
	in    string // "" at the top, "requestinfo", or an object that EPM's templates do not have
	key   string
	name  string
	value string
}

const requestInfo = "requestinfo"

// maxPairs is far above the 51 of the largest template.
const maxPairs = 1000

// walk lists the values of valid JSON in their order.
func walk(body []byte) ([]pair, error) {
	w := walker{rest: body, pairs: make([]pair, 0, 56)}
	if w.next() != '{' {
		return nil, errors.New("the body is not a JSON object")
	}
	if err := w.object("", 0); err != nil {
		return nil, err
	}
	return w.pairs, nil
}

// walker goes through JSON that [json.Valid] has accepted.
type walker struct {
	rest  []byte
	pairs []pair
}

// next skips white space and returns the byte after it without taking it.
func (w *walker) next() byte {
	for i, c := range w.rest {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			w.rest = w.rest[i:]
			return c
		}
	}
	return 0
}

func (w *walker) object(in string, depth int) error {
	w.rest = w.rest[1:] // the brace
	for {
		switch w.next() {
		case '}':
			w.rest = w.rest[1:]
			return nil
		case ',':
			w.rest = w.rest[1:]
			continue
		}
		name := w.text()
		w.next()
		w.rest = w.rest[1:] // the colon
		if len(w.pairs) >= maxPairs {
			return errors.New("the body has too many fields")
		}
		if err := w.member(in, name, depth); err != nil {
			return err
		}
	}
}

func (w *walker) member(in, name string, depth int) error {
	key := strings.ToLower(name)
	switch w.next() {
	case '"':
		w.pairs = append(w.pairs, pair{in, key, name, w.text()})
	case '{':
		if depth == 4 {
			return errors.New("the body's objects are nested too deeply")
		}
		at := key
		if in != "" {
			at = in + "." + key
		}
		// The object itself is listed, so that one twice, or one that EPM
		// does not send, is noticed even if it is empty.
		w.pairs = append(w.pairs, pair{in: in, key: key, name: ""})
		return w.object(at, depth+1)
	case '[':
		w.pairs = append(w.pairs, pair{in, key, name, string(w.array())})
	default:
		end := bytes.IndexAny(w.rest, ",}] \t\r\n")
		if end < 0 {
			end = len(w.rest)
		}
		value := string(w.rest[:end])
		w.rest = w.rest[end:]
		if value != "null" {
			w.pairs = append(w.pairs, pair{in, key, name, value})
		}
	}
	return nil
}

// text takes a string.
func (w *walker) text() string {
	escaped := false
	for i := 1; i < len(w.rest); i++ {
		switch w.rest[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			quoted := w.rest[:i+1]
			w.rest = w.rest[i+1:]
			if !escaped {
				return strings.ToValidUTF8(string(quoted[1:i]), "\ufffd")
			}
			var s string
			_ = json.Unmarshal(quoted, &s) // valid by json.Valid
			return s
		}
	}
	w.rest = nil
	return ""
}

// array takes an array as it stands.
func (w *walker) array() []byte {
	depth, start := 0, w.rest
	for i := 0; i < len(w.rest); i++ {
		switch w.rest[i] {
		case '"':
			inner := walker{rest: w.rest[i:]}
			inner.text()
			i = len(w.rest) - len(inner.rest) - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				w.rest = w.rest[i+1:]
				return start[:i+1]
			}
		}
	}
	w.rest = nil
	return start
}

// The fields whose first occurrence is EPM's own: in the vendor's templates
// they stand before anything that a requester or decider writes. Of all
// others it is the last. (encoding/json would always take the last.)
var first = map[string]bool{
	"eventtype": true, "requestid": true, "tenantid": true, "timestamp": true, "computerid": true, "groupid": true,
	"ticketnumber": true, "decision": true, "decisiontime": true, "starttime": true, "endtime": true,
}

// top are the fields that stand at the top of every template.
var top = map[string]bool{"eventtype": true, "requestid": true, "tenantid": true, "timestamp": true, "ticketnumber": true}

// deciding are the fields of updates only.
var deciding = map[string]bool{"decision": true, "decisiontime": true, "decisionperformedbyuser": true, "starttime": true, "endtime": true}

// fields is a body by name.
type fields struct {
	values   map[string]string
	imitates bool // some text tries to look like a field of EPM's
}

func collect(pairs []pair) fields {
	f := fields{values: make(map[string]string, len(pairs))}
	type place struct{ in, key string }
	seen := make(map[place]bool, len(pairs))
	for i := range pairs {
		p := &pairs[i]
		if at := (place{p.in, p.key}); seen[at] && p.key != "workstyle" {
			f.imitates = true // twice
		} else {
			seen[at] = true
		}
		switch {
		case p.in != "" && p.in != requestInfo:
			f.imitates = true // in an object that EPM does not send
		case p.in == requestInfo && top[p.key]:
			f.imitates = true
			continue // what stands inside requestInfo never says which request this is
		}
		if p.name == "" {
			if p.key != requestInfo || p.in != "" {
				f.imitates = true
			}
			continue
		}
		if p.in != "" && p.in != requestInfo && first[p.key] {
			continue
		}
		if _, known := f.values[p.key]; known && first[p.key] {
			continue
		}
		f.values[p.key] = p.value
	}
	return f
}

// get returns the first given value of keys, "" if none is.
func (f fields) get(keys ...string) string {
	for _, k := range keys {
		if v := given(f.values[k]); v != "" {
			return v
		}
	}
	return ""
}

// given returns v, or "" if EPM had nothing to fill in: an empty text, a
// written null or a leftover placeholder.
func given(v string) string {
	v = strings.TrimSpace(v)
	if strings.EqualFold(v, "null") || isPlaceholder(v) {
		return ""
	}
	return v
}

func isPlaceholder(v string) bool {
	name, ok := strings.CutPrefix(v, "%%")
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, "%%")
	return ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func interpret(pairs []pair) (Parsed, error) {
	f := collect(pairs)
	p := Parsed{Event: f.get("eventtype")}
	if p.Event == "" {
		return p, errors.New("the body has no EventType; use the webhook templates that \"countersign templates\" prints")
	}
	id := f.get("requestid")
	event := strings.ToLower(p.Event)
	switch event {
	case eventAppCreated, eventAdminCreated, eventAppUpdated, eventAdminUpdated:
	default:
		p.Ignored = true
		return p, nil
	}
	if id == "" {
		return p, errors.New("the body has no RequestId; use the webhook templates that \"countersign templates\" prints")
	}
	if len(id) > 200 || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return p, errors.New("the RequestId is not an identifier")
	}
	p.News = &tickets.News{ID: tickets.RequestID(id)}
	switch event {
	case eventAppCreated:
		p.News.Request = f.request(tickets.Application, pairs)
	case eventAdminCreated:
		p.News.Request = f.request(tickets.Admin, pairs)
	default:
		p.News.Outcome = f.outcome()
		p.News.Waiting = p.News.Outcome == nil
	}
	return p, nil
}

func (f fields) request(kind tickets.Kind, pairs []pair) *tickets.Request {
	r := &tickets.Request{
		ID: tickets.RequestID(f.get("requestid")), Kind: kind,
		EPMNumber: f.get("ticketnumber"), Tenant: f.get("tenantid"), Time: parseTime(f.get("timestamp")),
		UserID: f.get("userid"), Computer: f.get("computerid"), Reason: f.get("reason"), Requested: f.get("durationrequested"),
		Imitates: f.imitates, Fields: make([]tickets.Field, 0, len(pairs)),
	}
	if kind == tickets.Admin {
		r.User, r.Group = f.get("username"), f.get("groupid")
	} else {
		r.User, r.Host, r.Group = f.get("user"), f.get("hostname"), f.get("computergroup", "groupid")
		r.Product = f.get("productname", "productdescription", "bundleinfodescription", "storeappname", "comdisplayname", "servicename")
		r.Version, r.Publisher = f.get("productversion", "fileversion"), f.get("publisher")
		r.Path, r.Command = f.get("filepathobjectid", "hostedfilepath"), f.get("cmdargs")
		r.Parent, r.Source = f.get("parentprocess"), f.get("downloadsourceurl")
		r.SHA256, r.SHA1 = f.get("sha256hash"), f.get("sha1hash")
	}
	for i := range pairs {
		p := &pairs[i]
		if deciding[p.key] {
			r.Imitates = true // a request that already tells its decision
		}
		if v := given(p.value); v != "" && p.name != "" {
			r.Fields = append(r.Fields, tickets.Field{Name: p.name, Value: v})
		}
	}
	return r
}

// outcome is nil if EPM has not decided.
func (f fields) outcome() *tickets.Outcome {
	word := f.get("decision")
	o := &tickets.Outcome{
		Duration: f.get("duration"), By: f.get("decisionperformedbyuser"),
		AtRaw: f.get("decisiontime"), Start: parseTime(f.get("starttime")), End: parseTime(f.get("endtime")),
		Imitates: f.imitates,
	}
	o.At = parseTime(o.AtRaw)
	var decided bool
	o.Verdict, o.Raw, decided = verdict(word)
	if !decided {
		return nil
	}
	return o
}

// verdict reads EPM's word or code for a decision. decided is false for the
// words of a request that waits.
func verdict(word string) (v tickets.Verdict, raw string, decided bool) {
	switch strings.ToLower(word) {
	case "", "pending", "none", "1000":
		return "", "", false
	case "approved", "approve", statusApproved:
		return tickets.Approve, "", true
	case "denied", "deny", "rejected", statusDenied:
		return tickets.Deny, "", true
	}
	return tickets.Other, word, true
}

// parseTime reads s in any of the layouts, as UTC if it names no zone; zero
// if none fits.
func parseTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// unknownEvent is the sentence for an event that is none of ours.
func unknownEvent(event string) string {
	return fmt.Sprintf("the event %.60q is not one that Countersign handles; it was kept and changes nothing", event)
}
