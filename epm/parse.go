package epm

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/tickets"
)

// Parsed is what a webhook's body says.
type Parsed struct {
	News     *tickets.Update // nil if Ignored
	Repaired bool            // the body was not valid JSON, or not meant as it reads
	// Ignored is set for an event that is none of ours; Event says which.
	Ignored bool
	Event   string // untrusted
}

// What is answered to EPM, where admins read it, when a body says nothing.
var (
	errEmpty       = errors.New("the body is empty; fill the webhook's template in EPM with the output of \"countersign templates\"")
	errCutOff      = errors.New("the body is cut off: its last brace is missing; send it again")
	errNoEvent     = errors.New("the body has no EventType; use the webhook templates that \"countersign templates\" prints")
	errOpenEvent   = errors.New("the body's EventType was left unfilled: write the event's name into the webhook's template, as in the output of \"countersign templates\"")
	errNoRequest   = errors.New("the body has no RequestId, or one that was left unfilled; use the webhook templates that \"countersign templates\" prints")
	errOpenRequest = errors.New("the body's RequestId was left unfilled or is null; use the webhook templates that \"countersign templates\" prints")
	errRequestID   = errors.New("the RequestId is not an identifier")
	errTenant      = errors.New("the webhook is of another tenant: its TenantId is not the one in COUNTERSIGN_EPM_TENANT_ID; correct that, or let this tenant's EPM send its webhooks elsewhere")
)

// Reader is how webhooks are read.
type Reader struct {
	// DayFirst reads 5/1/2026 as 5 January. Default: 1 May.
	DayFirst bool
	// Tenant is ours. A webhook that names another is not taken. Default: any.
	Tenant string
}

// Parse reads a webhook's body as the zero [Reader] does.
func Parse(body []byte) (Parsed, error) { return Reader{}.Parse(body) }

// Parse reads a webhook's body: strictly, and if that fails, or yields what
// nobody can have meant, with repairs. EPM fills a text template and does
// not say whether it escapes the values, so a body may be broken JSON, or
// valid JSON with fields that whoever asks for access wrote into a value.
//
// The News of a body either asks or concludes, by EPM's own EventType, never
// both. The error is a sentence for people.
func (x Reader) Parse(body []byte) (Parsed, error) {
	b, err := read(body)
	if err != nil {
		return Parsed{}, err
	}
	p, err := b.interpret(x)
	if b.repaired && (p.Ignored && b.swallows(kEventType) || err == errRequestID && b.swallows(kRequestID)) {
		return Parsed{}, notJSON(text(body))
	}
	if at := unfilled[err]; at != nil {
		err = located(err, body, at)
	}
	return p, err
}

var openEvent = regexp.MustCompile(`(?i)event[_ -]?type[^\w%]*:[^\w%]*(%%\w+%%|null\b)`)

// unfilled finds the placeholder that an error is about.
var unfilled = map[error]*regexp.Regexp{
	errNoEvent:   openEvent,
	errOpenEvent: openEvent,
	errNoRequest: regexp.MustCompile(`(?i)request[_ -]?id[^\w%]*:[^\w%]*(%%\w+%%|null\b)`),
}

// located is err with the line and column of what it is about, if at finds it.
func located(err error, body []byte, at *regexp.Regexp) error {
	s := string(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	all := at.FindAllStringSubmatchIndex(s, -1)
	if len(all) == 0 {
		return err
	}
	found := all[len(all)-1] // somebody may have written the same into a value before
	switch err {             // what was dropped as not given
	case errNoEvent:
		err = errOpenEvent
	case errNoRequest:
		err = errOpenRequest
	}
	line, column := position(s, found[2])
	return fmt.Errorf("%w (line %d, column %d)", err, line, column)
}

// Read fills in what in's raw body says, as the zero [Reader] does.
func Read(in tickets.Incoming) tickets.Incoming { return Reader{}.Read(in) }

// Read fills in what in's raw body says: News, or Error, and the notes. It
// serves webhooks that arrive and those that are replayed, and never fails
// otherwise.
func (x Reader) Read(in tickets.Incoming) tickets.Incoming {
	in.Update, in.Error, in.Repaired, in.Ignored = nil, "", false, false
	defer func() {
		// What cannot be read must still be kept. A panic would make EPM
		// send the same body again, to the same end.
		if recover() != nil {
			in.Update, in.Error = nil, "the body could not be read because of a fault in Countersign; it was kept and can be replayed"
		}
	}()
	p, err := x.Parse(in.Raw)
	switch {
	case err != nil:
		in.Error = err.Error()
	case p.Ignored:
		in.Ignored = true
		in.Error = fmt.Sprintf("the event %.60q is not one that Countersign handles; it was kept and changes nothing", p.Event)
	default:
		in.Update, in.Repaired = p.News, p.Repaired
	}
	return in
}

// body is a body as it was read.
type body struct {
	values   []value
	repaired bool
	strange  bool // a value was written to look like lines of the template
}

// read chooses between the strict and the repaired reading.
func read(raw []byte) (body, error) {
	s := text(raw)
	b, err := readJSON(s)
	if !errors.Is(err, errSyntax) {
		return b, err
	}
	first, repaired := repair(strings.TrimSpace(s))
	if repaired && !first.strange {
		return first, nil
	}
	plain := straighten(straightenHTML(s))
	text := strings.TrimSpace(plain.text)
	if b, err := readJSON(text); !errors.Is(err, errSyntax) {
		b.repaired, b.strange = true, b.strange || plain.strange
		return b, err
	}
	if repaired {
		return first, nil
	}
	switch {
	case text == "":
		return body{}, errEmpty
	case strings.HasPrefix(text, "{") && !strings.HasSuffix(text, "}"):
		return body{}, errCutOff
	}
	if b, ok := repair(text); ok {
		b.strange = b.strange || plain.strange
		return b, nil
	}
	return body{}, notJSON(s)
}

// text is a body in UTF-8, without a byte-order mark.
func text(raw []byte) string {
	s := string(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // U+FFFD for what is none, as encoding/json
	}
	return s
}

// notJSON says where s, a body, stops being JSON.
func notJSON(s string) error {
	s = straightenHTML(s)
	plain := straighten(s)
	return unreadable(s, plain.from[failsAt(plain.text)])
}

// swallows reports whether the value of k, which is one word, was repaired to
// hold what follows it: a quote or a colon is missing there.
func (b *body) swallows(k key) bool {
	return slices.ContainsFunc(b.values, func(v value) bool { return v.key == k && v.in == "" && strings.ContainsAny(v.text, "\"\n") })
}

// readJSON reads what is JSON. errSyntax means that s is not.
func readJSON(s string) (body, error) {
	values, err := scan(s)
	if err != nil {
		return body{}, err
	}
	values = unwrap(values)
	identify(values)
	if !misread(values) {
		return body{values: values}, nil
	}
	if again, err := scan(escape(s, true)); err == nil {
		again = unwrap(again)
		identify(again)
		return body{values: again, repaired: true}, nil
	}
	if b, ok := parseByLine(strings.TrimSpace(s)); ok {
		return b, nil
	}
	// The sender escapes nothing, and a value was written so that this cannot
	// be undone for all of them.
	spell(values)
	return body{values: values, repaired: true, strange: true}, nil
}

// unwrap takes the template out of an object that holds it alone, as some
// senders put around every body.
func unwrap(values []value) []value {
	if len(values) < 2 || values[0].form != formObject || strings.EqualFold(values[0].name, requestInfo) {
		return values
	}
	outer := strings.ToLower(values[0].name)
	inner := slices.Clone(values[1:])
	for i := range inner {
		v := &inner[i]
		switch rest, ok := strings.CutPrefix(v.in, outer+"."); {
		case v.in == outer:
			v.in = ""
		case ok:
			v.in = rest
		default:
			return values // it is not alone
		}
	}
	return inner
}

func identify(values []value) {
	for i := range values {
		values[i].key = keyOf(values[i].name)
	}
}

// misread reports whether a path or a name holds control characters, or a path
// begins with one backslash: of the two of a network share one was taken for an
// escape.
func misread(values []value) bool {
	for i := range values {
		v := &values[i]
		if literal[v.key] && (strings.ContainsFunc(v.text, unicode.IsControl) || v.key != kUser && v.key != kUserName && v.key != kDecider && isHalfShare(v.text)) {
			return true
		}
	}
	return false
}

// isHalfShare reports whether path begins with a single backslash, and is none
// of those that Windows gives to devices.
func isHalfShare(path string) bool {
	rest, ok := strings.CutPrefix(path, `\`)
	if !ok || rest == "" || strings.HasPrefix(rest, `\`) {
		return false
	}
	for _, device := range []string{`Device\`, `??\`, `SystemRoot\`} {
		if len(rest) >= len(device) && strings.EqualFold(rest[:len(device)], device) {
			return false
		}
	}
	return true
}

// spell writes the control characters of paths and names as the backslash and
// letter that they were read from: ACME\bob must not pass for somebody else.
func spell(values []value) {
	spelled := strings.NewReplacer("\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	for i := range values {
		if v := &values[i]; literal[v.key] && v.form == formText {
			v.text = spelled.Replace(v.text)
		}
	}
}

// reading is a body under the rules of its event.
type reading struct {
	Reader
	*event
	values   []value
	at       [maxKeys]int32 // index of the occurrence to believe, plus one
	imitates bool
}

// get returns the first of keys that EPM gave, "" if none. Names that the
// event's template does not have say nothing: somebody else wrote them.
func (r *reading) get(keys ...key) string {
	for _, k := range keys {
		if i := r.at[k]; i > 0 && r.times[k] > 0 {
			if v := given(&r.values[i-1]); v != "" {
				return v
			}
		}
	}
	return ""
}

// given returns v's text, or "" if EPM had nothing to fill in.
func given(v *value) string {
	if v.form == formNull || v.form == formObject {
		return ""
	}
	return givenText(v.text)
}

// givenText returns s without white space around it, or "" for an empty
// text, a written null or a leftover placeholder.
func givenText(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 4 && strings.EqualFold(s, "null") || isPlaceholder(s) {
		return ""
	}
	return s
}

func isPlaceholder(s string) bool {
	if len(s) < 5 || s[:2] != "%%" || s[len(s)-2:] != "%%" {
		return false
	}
	for _, c := range []byte(s[2 : len(s)-2]) {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if c < '0' || c > '9' {
				return false
			}
		}
	}
	return true
}

// interpret says what the body means.
func (b *body) interpret(x Reader) (Parsed, error) {
	p := Parsed{Repaired: b.repaired}
	first := func(k key) string {
		for i := range b.values {
			if v := &b.values[i]; v.key == k && v.in == "" {
				return given(v)
			}
		}
		return ""
	}
	p.Event = first(kEventType)
	switch {
	case p.Event == "" && slices.ContainsFunc(b.values, func(v value) bool { return v.key == kEventType && v.in == "" && v.text != "" }):
		return p, errOpenEvent
	case p.Event == "":
		return p, errNoEvent
	}
	e := events[squeeze(p.Event)]
	if e == nil {
		p.Ignored = true
		return p, nil
	}
	id := first(kRequestID)
	if id == "" {
		return p, errNoRequest
	}
	request := identifier(id)
	if request == "" {
		return p, errRequestID
	}
	if tenant := first(kTenantID); tenant != "" && x.Tenant != "" && identifier(tenant) != identifier(x.Tenant) {
		return p, errTenant
	}
	r := reading{Reader: x, event: e, values: limit(b.values), imitates: b.strange}
	r.weigh()
	p.News = &tickets.Update{ID: request}
	if e.created {
		p.News.Request = r.request(p.News.ID)
		return p, nil
	}
	p.News.Outcome = r.outcome()
	p.News.Waiting = p.News.Outcome == nil
	return p, nil
}

// weigh finds the occurrence of each name that is to be believed, and the
// signs that somebody wrote text that imitates fields.
func (r *reading) weigh() {
	var seen [maxKeys]uint16
	var others map[string]bool
	infos := 0
	for i := range r.values {
		v := &r.values[i]
		switch v.form {
		case formObject:
			// An injected brace can push EPM's own fields into an object.
			if r.info && v.in == "" && strings.EqualFold(v.name, requestInfo) {
				infos++
			} else {
				r.imitates = true
			}
			continue
		case formArray:
			r.imitates = true
		}
		k := v.key
		if k == 0 {
			name := strings.ToLower(v.name)
			if others[name] || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) {
				r.imitates = true // twice, or a name that nobody puts into a template
			}
			if others == nil {
				others = map[string]bool{}
			}
			others[name] = true
			continue
		}
		if r.created && r.times[k] == 0 {
			r.imitates = true // the other kind's field, or a decision with the request
			continue
		}
		if seen[k]++; seen[k] > uint16(max(1, r.times[k])) {
			r.imitates = true
		}
		switch {
		case v.in != "" && r.top[k] && r.info:
			// Which request this is stands at the top only.
			r.imitates = true
			continue
		case r.own[k] && (r.at[k] > 0 || v.in != "" && v.in != requestInfo):
			continue
		}
		r.at[k] = int32(i + 1)
	}
	r.imitates = r.imitates || infos > 1
}

func (r *reading) request(id tickets.RequestID) *tickets.Request {
	q := &tickets.Request{
		ID: id, Kind: r.kind, EPMNumber: r.get(kNumber), Tenant: r.get(kTenantID),
		User: r.get(kUser, kUserName), UserID: r.get(kUserID), Host: r.get(kHost), Computer: r.get(kComputerID),
		Group: r.get(kGroup, kGroupID), Reason: r.get(kReason), Requested: r.get(kRequested),
		Product: r.get(kProduct...), Version: r.get(kVersions...), Publisher: r.get(kMaker),
		Path: r.get(kPath, kHosted), Command: r.get(kCommand), Parent: r.get(kParent), Source: r.get(kSource),
		SHA256: r.get(kSHA256), SHA1: r.get(kSHA1), SuspectedForgery: r.imitates,
		Reputation: reputation(r.get(kScore), r.get(kScorer), r.get(kScoreAt)),
		Fields:     make([]tickets.Field, 0, len(r.values)),
	}
	q.Time, q.TimeRaw = r.time(kTimestamp)
	for i := range r.values {
		v := &r.values[i]
		text := given(v)
		if text == "" {
			continue
		}
		name := v.name
		if v.in != "" && v.in != requestInfo {
			name = v.in + "." + name // not as if it stood where EPM's stand
		}
		q.Fields = append(q.Fields, tickets.Field{Name: name, Value: text})
	}
	return q
}

// reputation is a score with whose it is and of when, as EPM writes them; the
// vendor documents none of the three. Without a score nothing is known.
func reputation(score, whose, when string) string {
	about := slices.DeleteFunc([]string{whose, when}, func(s string) bool { return s == "" })
	if score == "" || len(about) == 0 {
		return score
	}
	return score + " (" + strings.Join(about, ", ") + ")"
}

// outcome is nil if EPM has not decided.
func (r *reading) outcome() *tickets.Outcome {
	v, raw, decided := verdict(r.get(kDecision))
	if !decided {
		return nil
	}
	o := &tickets.Outcome{
		Verdict: v, Raw: raw, Duration: r.get(kDuration), By: r.get(kDecider), AtRaw: r.get(kDecided),
		Imitates: r.imitates,
	}
	o.At, _ = r.time(kDecided)
	o.Start, o.StartRaw = r.time(kStart)
	o.End, o.EndRaw = r.time(kEnd)
	return o
}

// time is the time under k, or EPM's text if it cannot be read.
func (r *reading) time(k key) (time.Time, string) {
	text := r.get(k)
	t, _ := readTime(text, r.DayFirst)
	if t.IsZero() {
		return t, text
	}
	return t, ""
}

// Limits of what a ticket keeps of a request. The incoming webhook keeps all
// of it.
const (
	maxFields   = 256
	maxName     = 128       // bytes
	maxText     = 128 << 10 // bytes of all values together
	marginField = 64        // of the fields kept, those from the beginning
)

// limit keeps what a ticket should hold, and says where it left something
// out. The longest values are cut first, so that nobody can push a hash or a
// publisher out with a long reason.
func limit(values []value) []value {
	total, long := 0, false
	for i := range values {
		total += len(values[i].text)
		long = long || len(values[i].name) > maxName || len(values[i].in) > maxName
	}
	if total <= maxText && len(values) <= maxFields && !long {
		return values
	}
	if n := len(values) - maxFields + 2; len(values) > maxFields {
		kept := append([]value{}, values[:marginField]...)
		// Twice the same name marks the request as one that imitates: EPM
		// sends no such number of fields.
		gap := value{name: tickets.FieldsLeftOut, text: fmt.Sprintf("%d fields left out; the webhook was kept whole", n)}
		values = append(append(kept, gap, gap), values[marginField+n:]...)
	} else {
		values = append([]value{}, values...)
	}
	most := maxText
	for sum(values, most) > maxText {
		most /= 2
	}
	for i := range values {
		v := &values[i]
		v.name, v.in = cut(v.name, maxName), cut(v.in, maxName)
		if kept := cut(v.text, most); len(kept) < len(v.text) {
			v.text = fmt.Sprintf("%s… (%d more bytes)", kept, len(v.text)-len(kept))
		}
	}
	return values
}

// sum is the length of all texts if none is longer than most.
func sum(values []value, most int) (n int) {
	for i := range values {
		n += min(len(values[i].text), most)
	}
	return n
}

// cut returns at most n bytes of s and no half character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// isPending reports whether word says that nothing is decided yet. The vendor
// documents Pending alone; a word for it that is not known would close the
// ticket.
func isPending(word string) bool {
	plain := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, word)
	for _, part := range pendingParts {
		if strings.HasPrefix(plain, part) || strings.HasSuffix(plain, part) {
			return true
		}
	}
	return slices.Contains(pendingWords, plain)
}

// verdict reads EPM's word or code for a decision. decided is false for the
// words of a request that waits.
func verdict(word string) (v tickets.Verdict, raw string, decided bool) {
	if isPending(word) {
		return "", "", false
	}
	switch strings.ToLower(word) {
	case "approved", "approve", statusApproved:
		return tickets.Approve, "", true
	case "denied", "deny", statusDenied:
		return tickets.Deny, "", true
	}
	return tickets.Other, word, true
}
