package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// ticketPage is how many tickets are read together.
const ticketPage = 100

// ticketsCommand reads the tickets in the store.
func ticketsCommand(ctx context.Context, p Env, args []string) error {
	sub, args := subcommand(args)
	switch sub {
	case "list":
		return ticketsList(ctx, p, args)
	case "show":
		return ticketsShow(ctx, p, args)
	case "export":
		return ticketsExport(ctx, p, args)
	}
	return errors.New("say tickets list, tickets show NUMBER or tickets export")
}

// each calls do with up to limit tickets, newest first, a page at a time.
func each(ctx context.Context, s store.Store, q store.Query, limit int, do func(*tickets.Ticket)) error {
	for limit > 0 {
		q.Limit = min(ticketPage, limit)
		list, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range list {
			do(t)
		}
		if len(list) < q.Limit {
			return nil
		}
		q.Before, limit = list[len(list)-1].Number, limit-len(list)
	}
	return nil
}

// ticketJSON writes t's stored form on one line.
func (o *printer) ticketJSON(t *tickets.Ticket) {
	doc, err := store.Encode(t)
	if err != nil {
		o.err = errors.Join(o.err, err)
		return
	}
	o.write(append(escapeJSON(doc), '\n'))
}

var ticketTable = table{{"NUMBER", 10}, {"CREATED (UTC)", 19}, {"PROGRESS", 10}, {"STATE", 12}, {"WHAT", 0}}

func ticketsList(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("tickets list")
	progress := flags.String("progress", "", "only those that have come this far: `unknown, pending, submitting, submitted or final`")
	limit := flags.Int("limit", 20, "how many, the newest first; at least `1`")
	asJSON := flags.Bool("json", false, "one JSON object on each line")
	if _, err := parse(p, flags, args, 0, "tickets list [--progress P] [--limit N] [--json]"); err != nil {
		return err
	}
	q := store.Query{Progress: tickets.Progress(strings.ToLower(*progress))}
	switch {
	case *limit < 1:
		return errors.New("--limit is at least 1")
	case q.Progress != "" && !slices.Contains(tickets.Progresses(), q.Progress):
		return errors.New("--progress is unknown, pending, submitting, submitted or final")
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	out := newPrinter(p.Stdout)
	if !*asJSON {
		out.head(ticketTable)
	}
	err = each(ctx, keep, q, *limit, func(t *tickets.Ticket) {
		if *asJSON {
			out.ticketJSON(t)
			return
		}
		out.row(ticketTable, string(t.Number), t.Created.UTC().Format(time.DateTime), string(t.Progress()), string(t.State), wording.Subject(t))
	})
	return errors.Join(err, out.end())
}

func ticketsShow(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("tickets show")
	asJSON := flags.Bool("json", false, "the ticket as one JSON object")
	everything := flags.Bool("evidence", false, "everything about the ticket as one JSON file: record, history, webhooks, settings, and whether it is as it was written")
	to := flags.String("out", "", "with --evidence, the `FILE` to write, which must not exist; else it is printed")
	args, err = parse(p, flags, args, 1, "tickets show NUMBER [--json | --evidence [--out FILE]]")
	switch {
	case err != nil:
		return err
	case *everything && *asJSON, *to != "" && !*everything:
		return errors.New("write tickets show NUMBER [--json | --evidence [--out FILE]]")
	case *everything:
		return showEvidence(ctx, p, args[0], *to)
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	t, err := keep.Get(ctx, tickets.Number(strings.ToUpper(args[0])))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no ticket %s", wording.Line(args[0]))
	} else if err != nil {
		return err
	}
	out := newPrinter(p.Stdout)
	if *asJSON {
		out.ticketJSON(t)
		return out.end()
	}
	out.ticket(t)
	return out.end()
}

// here is no chat: people are named with theirs.
const here = tickets.Platform("terminal")

// ticket writes everything that people want to know of t.
func (o *printer) ticket(t *tickets.Ticket) {
	o.line("%s", wording.PlainText(t, here))
	o.line("Type: %s\nState: %s\nRequest: %s", wording.Line(t.Type), wording.Line(string(t.State)), wording.Line(string(t.ID)))
	if r := t.Request; r != nil {
		o.line("\nWhat EPM sent:")
		for _, f := range r.Fields {
			o.line("  %s: %s", wording.Line(f.Name), wording.Line(f.Value))
		}
	}
	if len(t.Messages) > 0 {
		o.line("\nMessages:")
	}
	for _, m := range t.Messages {
		s := fmt.Sprintf("%s %s: shows change %d of %d", wording.PlatformName(m.Place.Platform), m.Place.Channel, m.Shown, t.Rev)
		switch {
		case m.Dead:
			s += ", given up"
		case m.ID == "":
			s += ", not posted yet"
		}
		if m.Problem != "" {
			s += " (" + m.Problem + ")"
		}
		o.line("  %s", wording.Line(s))
	}
	if len(t.Deliveries) > 0 {
		o.line("\nEvents outside of the chats:")
	}
	for _, d := range t.Deliveries {
		s := string(d.To) + ": told of everything"
		if left := len(t.Events) - d.Done; left > 0 {
			s = fmt.Sprintf("%s: %s to deliver", d.To, counted(left, "event"))
		}
		if d.Problem != "" {
			s += " (" + d.Problem + ")"
		}
		o.line("  %s", wording.Line(s))
	}
	o.line("\nHistory:")
	for i, e := range t.Events {
		o.line("  %s %s", e.At.UTC().Format("2006-01-02 15:04:05 UTC"), wording.Line(wording.ThreadLine(t, i).On(here)))
	}
}

// ticketsExport writes every ticket, the newest first.
func ticketsExport(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("tickets export")
	format := flags.String("format", "jsonl", "`jsonl`, one JSON object on each line with all that is known, or csv")
	if _, err := parse(p, flags, args, 0, "tickets export [--format jsonl|csv]"); err != nil {
		return err
	}
	if *format != "jsonl" && *format != "csv" {
		return errors.New("--format is jsonl or csv")
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	out := newPrinter(p.Stdout)
	do := out.ticketJSON
	if *format == "csv" {
		csvHead(out, csvColumns)
		do = func(t *tickets.Ticket) { csvRow(out, csvColumns, t) }
	}
	err = each(ctx, keep, store.Query{}, int(^uint(0)>>1), do)
	return errors.Join(err, out.end())
}

// columnOf is a column of a CSV file with a T in each row.
type columnOf[T any] struct {
	name  string
	value func(T) string
}

func csvHead[T any](o *printer, columns []columnOf[T]) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	o.csv(names)
}

func csvRow[T any](o *printer, columns []columnOf[T], v T) {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.value(v)
	}
	o.csv(cells)
}

// csvColumns are documented in docs/reference.md, which a test compares.
// People's scripts know them: a new one comes last.
var csvColumns = []columnOf[*tickets.Ticket]{
	{"number", func(t *tickets.Ticket) string { return string(t.Number) }},
	{"request_id", func(t *tickets.Ticket) string { return string(t.ID) }},
	{"type", func(t *tickets.Ticket) string { return t.Type }},
	{"progress", func(t *tickets.Ticket) string { return string(t.Progress()) }},
	{"state", func(t *tickets.Ticket) string { return string(t.State) }},
	{"created", func(t *tickets.Ticket) string { return stamp(t.Created) }},
	{"kind", ofRequest(func(r *tickets.Request) string { return string(r.Kind) })},
	{"epm_number", ofRequest(func(r *tickets.Request) string { return r.EPMNumber })},
	{"requested", ofRequest(func(r *tickets.Request) string { return stamp(r.Time) })},
	{"user", ofRequest(func(r *tickets.Request) string { return r.User })},
	{"computer", ofRequest((*tickets.Request).Where)},
	{"reason", ofRequest(func(r *tickets.Request) string { return r.Reason })},
	{"product", ofRequest(func(r *tickets.Request) string { return r.Product })},
	{"version", ofRequest(func(r *tickets.Request) string { return r.Version })},
	{"publisher", ofRequest(func(r *tickets.Request) string { return r.Publisher })},
	{"path", ofRequest(func(r *tickets.Request) string { return r.Path })},
	{"command", ofRequest(func(r *tickets.Request) string { return r.Command })},
	{"sha256", ofRequest(func(r *tickets.Request) string { return r.SHA256 })},
	{"imitates", func(t *tickets.Ticket) string {
		if t.Request != nil && t.Request.SuspectedForgery || t.Outcome != nil && t.Outcome.Imitates {
			return "yes"
		}
		return ""
	}},
	{"decision", ofDecision(func(d *tickets.Decision) string { return string(d.Verdict) })},
	{"decided_by", ofDecision(func(d *tickets.Decision) string { return d.By.String() })},
	{"decided_by_name", ofDecision(func(d *tickets.Decision) string { return d.By.Name })},
	{"decided_at", ofDecision(func(d *tickets.Decision) string { return stamp(d.At) })},
	{"decision_reason", ofDecision(func(d *tickets.Decision) string { return d.Reason })},
	{"decision_duration", ofDecision(func(d *tickets.Decision) string { return d.Duration.String() })},
	{"acknowledged_at", func(t *tickets.Ticket) string { return stamp(t.Sending.Done) }},
	{"outcome", ofOutcome(func(o *tickets.Outcome) string {
		if o.Verdict == tickets.Other {
			return o.Raw
		}
		return string(o.Verdict)
	})},
	{"outcome_by", ofOutcome(func(o *tickets.Outcome) string { return o.By })},
	{"outcome_at", ofOutcome(func(o *tickets.Outcome) string { return stamp(o.At) })},
	{"outcome_duration", ofOutcome(func(o *tickets.Outcome) string { return o.Duration })},
}

func ofRequest(value func(*tickets.Request) string) func(*tickets.Ticket) string {
	return func(t *tickets.Ticket) string {
		if t.Request == nil {
			return ""
		}
		return value(t.Request)
	}
}

func ofDecision(value func(*tickets.Decision) string) func(*tickets.Ticket) string {
	return func(t *tickets.Ticket) string {
		if t.Decision == nil {
			return ""
		}
		return value(t.Decision)
	}
}

func ofOutcome(value func(*tickets.Outcome) string) func(*tickets.Ticket) string {
	return func(t *tickets.Ticket) string {
		if t.Outcome == nil {
			return ""
		}
		return value(t.Outcome)
	}
}

// stamp is at for scripts, empty if there is none.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// formula is where a spreadsheet may begin to calculate: at the beginning of
// a cell, also if it takes another character for the separator.
var formula = regexp.MustCompile(`(^|[,;|])([\s"']*)([=+\-@＝＋－＠])`)

// csv writes a row. Each cell is in quotes, on one line, with what cannot be
// seen made visible; an apostrophe keeps a spreadsheet from taking text for a
// formula (owasp.org/www-community/attacks/CSV_Injection).
func (o *printer) csv(cells []string) {
	for i, c := range cells {
		if i > 0 {
			o.write([]byte(","))
		}
		c = formula.ReplaceAllString(wording.Line(c), "$1$2'$3")
		o.write([]byte(`"` + strings.ReplaceAll(c, `"`, `""`) + `"`))
	}
	o.write([]byte("\n"))
}
