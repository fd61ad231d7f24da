package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// audit checks and exports the history.
func audit(ctx context.Context, p Env, args []string) error {
	sub, args := subcommand(args)
	switch sub {
	case "verify":
		return auditVerify(ctx, p, args)
	case "export":
		return auditExport(ctx, p, args)
	}
	return errors.New("say audit verify or audit export")
}

// openArchive opens the store to read all of it, beside a running bot or
// without one.
func openArchive(ctx context.Context, p Env) (archive, error) {
	s, err := openToLook(ctx, p)
	if err != nil {
		return nil, err
	}
	return s.(archive), nil // as every store is
}

// auditVerify looks for what was changed, removed or moved in the store.
func auditVerify(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("audit verify")
	from := flags.String("checkpoints", "", "a `FILE` with checkpoints that serve wrote to COUNTERSIGN_AUDIT_CHECKPOINTS or to its log, or - for the standard input")
	asJSON := flags.Bool("json", false, "one JSON object on each line: each finding, and last what was looked through")
	if _, err := parse(p, flags, args, 0, "audit verify [--checkpoints FILE] [--json]"); err != nil {
		return err
	}
	// Before the store: what is in them was there by then.
	checkpoints, err := readCheckpoints(*from)
	if err != nil {
		return err
	}
	keep, err := openArchive(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	out := newPrinter(p.Stdout)
	v, err := store.Verify(ctx, keep, checkpoints, func(f store.Finding) {
		if *asJSON {
			out.json(f)
			return
		}
		out.line("%s", wording.Line(f.String()))
	})
	switch {
	case err != nil:
	case *asJSON:
		out.json(struct {
			Verified store.Verified `json:"verified"`
		}{v})
	default:
		out.verified(v)
	}
	if err = errors.Join(err, out.end()); err == nil && v.Findings > 0 {
		err = fmt.Errorf("the history is not as it was written: %d findings. docs/runbook.md says what to do", v.Findings)
	}
	return err
}

func readCheckpoints(path string) ([]tickets.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", err)
	}
	checkpoints, _ := store.ParseCheckpoints(text)
	if len(checkpoints) == 0 {
		return nil, errors.New("there are no checkpoints in the file of --checkpoints: it has one JSON object on each line, with ticket, events and hash")
	}
	return checkpoints, nil
}

func (o *printer) verified(v store.Verified) {
	o.line("Looked through %d tickets with %d events, %d changes of the settings and %d webhooks.", v.Tickets, v.Events, v.Changes, v.Incomings)
	if v.Checkpoints > 0 {
		o.line("Compared %d checkpoints.", v.Checkpoints)
	}
	if v.Findings == 0 {
		o.line("Everything is as it was written.")
	}
}

// auditExport writes the history: of each ticket, the oldest first, and of the
// settings.
func auditExport(ctx context.Context, p Env, args []string) (err error) {
	const usage = "audit export [--format jsonl|csv|cef] [--since WHEN] [--ticket NUMBER]"
	flags := newFlags("audit export")
	format := flags.String("format", "jsonl", "`jsonl`, one JSON object on each line as it is kept; csv; or cef, for a SIEM")
	since := flags.String("since", "", "only what happened since `WHEN`: a span as 12h, 7d, 4w, a day as 2026-01-31, or a time as 2026-01-31T13:05:00Z")
	number := flags.String("ticket", "", "only the history of the ticket `NUMBER`")
	if _, err := parse(p, flags, args, 0, usage); err != nil {
		return err
	}
	from, err := sinceWhen(*since, p.Now())
	if err != nil {
		return err
	}
	out := newPrinter(p.Stdout)
	write := map[string]func(record){"jsonl": out.recordJSON, "csv": out.recordCSV, "cef": out.recordCEF}[*format]
	if write == nil {
		return errors.New("--format is jsonl, csv or cef")
	}
	keep, err := openArchive(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	if *format == "csv" {
		csvHead(out, auditColumns)
	}
	if *number != "" {
		f, err := formOf(ctx, keep, *number)
		if err != nil {
			return err
		}
		return errors.Join(records(f, from, write), out.end())
	}
	var unread []error
	err = store.Forms(ctx, keep, func(page []store.Form) error {
		for _, f := range page {
			if err := records(f, from, write); err != nil {
				unread = append(unread, err)
			}
		}
		return out.err
	})
	if err == nil {
		err = changeRecords(ctx, keep, from, write)
	}
	if err == nil {
		err = ledgerRecords(ctx, keep, from, write)
	}
	if len(unread) > 0 {
		const named = 10
		err = errors.Join(err, fmt.Errorf("%d tickets cannot be read and are left out:\n%w", len(unread), errors.Join(unread[:min(named, len(unread))]...)))
	}
	return errors.Join(err, out.end())
}

// sinceWhen reads when; the zero time if it is empty.
func sinceWhen(when string, now time.Time) (time.Time, error) {
	if when == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, when); err == nil {
			return at, nil
		}
	}
	span, err := reports.ParseSpan(when)
	if err != nil {
		return time.Time{}, errors.New("--since: write a span as 12h, 7d or 4w, a day as 2026-01-31, or a time as 2026-01-31T13:05:00Z")
	}
	return now.Add(-span), nil
}

// formOf is the stored form of a ticket.
func formOf(ctx context.Context, keep archive, number string) (store.Form, error) {
	missing := fmt.Errorf("there is no ticket %s", wording.Line(number))
	n := tickets.Number(strings.ToUpper(number))
	seq, ok := n.Seq()
	if !ok {
		return store.Form{}, missing
	}
	forms, err := keep.FormsAfter(ctx, seq-1, 1)
	if err == nil && (len(forms) == 0 || forms[0].Seq != seq) {
		err = missing
	}
	if err != nil {
		return store.Form{}, err
	}
	if r := forms[0].Record(); r.Err == nil && r.Ticket.Number != n {
		return store.Form{}, missing
	}
	return forms[0], nil
}

// record is one line of the history: an event of a ticket, a change of the
// settings, or an entry of the ledger of retired tickets.
type record struct {
	Ticket  tickets.Number    `json:"ticket,omitempty"`
	ID      tickets.RequestID `json:"id,omitempty"` // of the request
	Created string            `json:"created,omitempty"`
	Event   json.RawMessage   `json:"event,omitempty"`  // as it is kept
	Change  json.RawMessage   `json:"change,omitempty"` // of the settings, as it is kept
	Entry   json.RawMessage   `json:"entry,omitempty"`  // of the ledger, as it is kept

	line // what it tells, of each kind the same
}

// line is what every record has.
type line struct {
	of     string // the ticket, or what else it is the history of
	n      int    // its place there
	kind   string
	at     time.Time
	by     tickets.Actor // empty for EPM, Countersign, and the operator at the command line
	text   string
	hash   string
	event  tickets.Event  // zero if it is none
	change tickets.Change // zero if it is none
}

// records writes the history of a ticket since from.
func records(f store.Form, from time.Time, write func(record)) error {
	var t struct {
		Number  tickets.Number    `json:"number"`
		ID      tickets.RequestID `json:"id"`
		Created string            `json:"created"`
		Events  []json.RawMessage `json:"events"`
	}
	err := f.Err
	if err == nil {
		err = json.Unmarshal(f.Doc, &t)
	}
	if err != nil {
		return fmt.Errorf("ticket %d: %w", f.Seq, err)
	}
	var unread error
	for i, raw := range t.Events {
		var e tickets.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			unread = fmt.Errorf("%s, event %d: %w", t.Number, i+1, err)
			continue
		}
		if !e.At.Before(from) {
			write(record{Ticket: t.Number, ID: t.ID, Created: t.Created, Event: raw, line: line{
				of: string(t.Number), n: cmp.Or(e.N, i+1), kind: string(e.Kind), at: e.At, by: e.Actor, text: e.Text, hash: e.Hash, event: e,
			}})
		}
	}
	return unread
}

func changeRecords(ctx context.Context, keep archive, from time.Time, write func(record)) error {
	docs, err := keep.ChangeForms(ctx, math.MaxInt32)
	if err != nil {
		return err
	}
	var unread error
	for i, doc := range slices.Backward(docs) {
		c, err := store.DecodeChange(doc)
		if err != nil {
			unread = fmt.Errorf("change %d of the settings: %w", len(docs)-i, err)
			continue
		}
		if !c.At.Before(from) {
			write(record{Change: doc, line: line{
				of: store.SettingsCheckpoint, n: cmp.Or(c.N, len(docs)-i), kind: settingChanged, at: c.At, by: c.By, hash: c.Hash, change: c,
			}})
		}
	}
	return unread
}

func ledgerRecords(ctx context.Context, keep archive, from time.Time, write func(record)) error {
	docs, err := keep.Ledger(ctx)
	if err != nil {
		return err
	}
	var unread error
	for i, doc := range docs {
		e, err := store.DecodeRetired(doc)
		if err != nil {
			unread = fmt.Errorf("entry %d of the ledger: %w", i+1, err)
			continue
		}
		if e.At.Before(from) || len(e.Tickets) == 0 {
			continue
		}
		text := fmt.Sprintf("%d tickets, from %s to %s", len(e.Tickets), e.Tickets[0].Ticket, e.Tickets[len(e.Tickets)-1].Ticket)
		write(record{Entry: doc, line: line{of: store.LedgerCheckpoint, n: e.N, kind: store.LedgerCheckpoint, at: e.At, text: text, hash: e.Hash}})
	}
	return unread
}

func (o *printer) recordJSON(r record) { o.json(r) }

func (o *printer) recordCSV(r record) { csvRow(o, auditColumns, r) }

// settingChanged is what a change of the settings is called among the kinds of
// events.
const settingChanged = "setting"

// verdict is that of the form, the decision or EPM's outcome.
func (r record) verdict() string {
	switch e := r.event; {
	case e.Decision != nil:
		return string(e.Decision.Verdict)
	case e.Outcome != nil && e.Outcome.Verdict == tickets.Other:
		return e.Outcome.Raw
	case e.Outcome != nil:
		return string(e.Outcome.Verdict)
	}
	return string(r.event.Verdict)
}

func (r record) reason() string {
	if d := r.event.Decision; d != nil {
		return d.Reason
	}
	return ""
}

func (r record) duration() string {
	switch e := r.event; {
	case e.Decision != nil:
		return e.Decision.Duration.String()
	case e.Outcome != nil:
		return e.Outcome.Duration
	}
	return ""
}

func (r record) epmBy() string {
	if o := r.event.Outcome; o != nil {
		return o.By
	}
	return ""
}

func (r record) place() string {
	if r.event.Place == (tickets.Place{}) {
		return ""
	}
	return r.event.Place.String()
}

// who names an actor, empty if there is none.
func who(a tickets.Actor) string {
	if a.ID == "" {
		return ""
	}
	return a.String()
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// auditColumns are documented in docs/audit.md, which a test compares.
// People's scripts know them: a new one comes last.
var auditColumns = []columnOf[record]{
	{"ticket", func(r record) string { return r.of }},
	{"n", func(r record) string { return strconv.Itoa(r.n) }},
	{"at", func(r record) string { return stamp(r.at) }},
	{"kind", func(r record) string { return r.kind }},
	{"actor", func(r record) string { return who(r.by) }},
	{"actor_name", func(r record) string { return r.by.Name }},
	{"verdict", record.verdict},
	{"reason", record.reason},
	{"duration", record.duration},
	{"epm_by", record.epmBy},
	{"text", func(r record) string { return r.text }},
	{"state", func(r record) string { return string(r.event.State) }},
	{"place", record.place},
	{"message", func(r record) string { return r.event.Message }},
	{"setting", func(r record) string { return r.change.Key }},
	{"old", func(r record) string { return orEmpty(r.change.Old) }},
	{"new", func(r record) string { return orEmpty(r.change.New) }},
	{"request_id", func(r record) string { return string(r.ID) }},
	{"incoming", func(r record) string { return r.event.Source.Incoming }},
	{"body_sha256", func(r record) string { return r.event.Source.Body }},
	{"request_sha256", func(r record) string { return r.event.Request }},
	{"hash", func(r record) string { return r.hash }},
}

// evidence is everything about one ticket, in one file.
type evidence struct {
	Evidence   int                 `json:"evidence"` // the version of this format
	Made       time.Time           `json:"made"`
	Program    string              `json:"countersign"`
	Number     tickets.Number      `json:"number"`
	Checkpoint *tickets.Checkpoint `json:"checkpoint,omitempty"`
	Findings   []store.Finding     `json:"findings"` // what is wrong with the record; empty if nothing is
	Ticket     json.RawMessage     `json:"ticket"`   // the record with its history
	Form       string              `json:"form"`     // the same, byte by byte as it is kept and sealed
	Webhooks   []bodyOf            `json:"webhooks"` // those that are kept still
	Settings   *inForceThen        `json:"settings,omitempty"`
}

// bodyOf is a webhook that is kept.
type bodyOf struct {
	keptRecord
	SHA256 string `json:"sha256"` // of the body
	Body   []byte `json:"body"`   // base64
}

// inForceThen is what admins had set when the ticket was decided, or now if it
// is not. What they had not set had the value that the program was started
// with, which no store knows.
type inForceThen struct {
	At      time.Time         `json:"at"`
	Values  map[string]string `json:"values"`
	Changes []json.RawMessage `json:"changes"` // that made them, as they are kept, oldest first
}

// evidenceOf gathers what there is about a ticket.
func evidenceOf(ctx context.Context, keep archive, number string, now time.Time) (evidence, error) {
	f, err := formOf(ctx, keep, number)
	if err == nil {
		err = f.Err
	}
	if err != nil {
		return evidence{}, err
	}
	e := evidence{Evidence: 1, Made: now.UTC(), Program: versionText(), Number: tickets.Number(strings.ToUpper(number)), Findings: []store.Finding{}, Ticket: f.Doc, Form: string(f.Doc), Webhooks: []bodyOf{}}
	e.Findings = append(e.Findings, store.VerifyForm(f.Seq, f.Doc)...)
	t := f.Record().Ticket
	at := now
	var known []string
	if t != nil {
		checkpoint := t.Checkpoint()
		e.Checkpoint = &checkpoint
		if t.Decision != nil {
			at = t.Decision.At
		}
		for _, event := range t.Events {
			known = append(known, event.Source.Incoming)
		}
	}
	if e.Webhooks, err = bodiesOf(ctx, keep, e.Number, known); err != nil {
		return evidence{}, err
	}
	if e.Settings, err = settingsAt(ctx, keep, at); err != nil {
		return evidence{}, err
	}
	return e, nil
}

// bodiesOf are the webhooks about a ticket: those of known, and duplicates.
func bodiesOf(ctx context.Context, keep archive, n tickets.Number, known []string) ([]bodyOf, error) {
	bodies := []bodyOf{}
	s := keep.(store.Store)
	list, err := s.Incomings(ctx, store.IncomingQuery{Limit: math.MaxInt32})
	if err != nil {
		return nil, err
	}
	for _, k := range slices.Backward(list) {
		if k.Receipt.Ticket != n && !slices.Contains(known, k.ID) {
			continue
		}
		k, err := s.Incoming(ctx, k.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // it was forgotten meanwhile
		}
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, bodyOf{recordOf(k), tickets.Digest(k.Raw), k.Raw})
	}
	return bodies, nil
}

func settingsAt(ctx context.Context, keep archive, at time.Time) (*inForceThen, error) {
	then := &inForceThen{At: at, Values: map[string]string{}, Changes: []json.RawMessage{}}
	var set tickets.Settings
	err := changeRecords(ctx, keep, time.Time{}, func(r record) {
		if r.change.At.After(at) {
			return
		}
		if r.change.Key == tickets.KeyDamaged {
			set.Values = nil
		} else {
			set = set.With([]tickets.Change{r.change})
		}
		then.Changes = append(then.Changes, r.Change)
	})
	for k, v := range set.Values {
		then.Values[k] = v
	}
	return then, err
}

// showEvidence writes everything about a ticket to the file path, or to p's
// output if that is empty.
func showEvidence(ctx context.Context, p Env, number, path string) (err error) {
	keep, err := openArchive(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	e, err := evidenceOf(ctx, keep, number, p.Now())
	if err != nil {
		return err
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, escapeJSON(doc), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	if path == "" {
		_, err = p.Stdout.Write(b.Bytes())
		return err
	}
	// Readable by its owner only, and never in place of another file.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the evidence: %w", err)
	}
	if _, err = f.Write(b.Bytes()); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the evidence: %w", err)
	}
	return nil
}
