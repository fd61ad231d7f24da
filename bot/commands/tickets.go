package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	listShown = 10 // tickets on a page
	listBatch = 200
	// listMost is how many tickets one answer looks through. The buttons go on
	// from there.
	listMost = 2000
	// listTyped bounds what is looked for, in characters, so that a button can
	// carry it with a ticket's number.
	listTyped = 60
)

// The last word of a list's command says where it begins.
const (
	listBefore = "before:"
	listAfter  = "after:"
	listAny    = "any" // in place of a state, so that a text may begin with one
	listAll    = "all" // the same, for whoever says so
)

// lister finds tickets.
type lister struct{ *Config }

// search is what somebody looks for.
type search struct {
	progress      tickets.Progress
	state         tickets.State
	words         []string // in lower case
	before, after tickets.Number
	typed         string // the state and the words, as they are typed
	guess         string // what the first word may have meant, if it is no state
}

// parseSearch reads "[state] [text]" and, at the end, where to begin. A state
// may be of several words.
func (l lister) parseSearch(args []string) search {
	var s search
	if n := len(args) - 1; n >= 0 {
		for prefix, to := range map[string]*tickets.Number{listBefore: &s.before, listAfter: &s.after} {
			value, ok := strings.CutPrefix(args[n], prefix)
			if _, isNumber := number(value).Seq(); ok && isNumber {
				*to, args = number(value), args[:n]
				break
			}
		}
	}
	s.typed = strings.Join(args, " ")
	states := l.states()
	for n := min(len(args), 6); n > 0; n-- {
		name := strings.Trim(strings.Join(args[:n], " "), `"'“”`)
		i := slices.IndexFunc(states, func(known string) bool { return strings.EqualFold(known, name) })
		if i < 0 && strings.EqualFold(name, listAll) {
			i = slices.Index(states, listAny)
		}
		if i < 0 {
			continue
		}
		switch p := tickets.Progress(states[i]); {
		case states[i] == listAny:
		case slices.Contains(progresses, p):
			s.progress = p
		default:
			s.state = tickets.State(states[i])
		}
		args = args[n:]
		break
	}
	if len(args) > 0 && s.progress == "" && s.state == "" {
		s.guess = nearest(args[0], states)
	}
	for _, w := range args {
		s.words = append(s.words, strings.ToLower(w))
	}
	return s
}

var progresses = []tickets.Progress{tickets.Pending, tickets.Submitting, tickets.Submitted, tickets.Final}

// states are the words that a list can be asked for.
func (l lister) states() []string {
	var all []string
	for _, p := range progresses {
		all = append(all, string(p))
	}
	for _, typ := range append([]tickets.Type{l.Settings.Current().Rules.Type}, l.Settings.Registry.Types...) {
		for _, s := range typ.States {
			if !slices.ContainsFunc(all, func(known string) bool { return strings.EqualFold(known, string(s)) }) {
				all = append(all, string(s))
			}
		}
	}
	return append(all, listAny)
}

// finds reports whether s looks for t.
func (s *search) finds(t *tickets.Ticket) bool {
	if s.state != "" && !strings.EqualFold(string(s.state), string(t.State)) {
		return false
	}
	if len(s.words) == 0 {
		return true
	}
	text := string(t.Number)
	if r := t.Request; r != nil {
		text = strings.Join([]string{text, r.EPMNumber, r.User, r.UserID, r.Where(), r.What(), r.Reason}, "\n")
	}
	text = strings.ToLower(text)
	return !slices.ContainsFunc(s.words, func(w string) bool { return !strings.Contains(text, w) })
}

// page is some of what a search found, newest first.
type page struct {
	found   []*tickets.Ticket
	newer   bool           // there may be newer ones
	next    tickets.Number // from where on there may be older ones; empty for none
	looked  int            // tickets, if not all were looked through
	until   tickets.Number // the last of them
	problem error          // tickets that cannot be read
}

// older looks for the page that begins behind s.before.
func (l lister) older(ctx context.Context, s search) page {
	p := page{newer: s.before != ""}
	q := store.Query{Progress: s.progress, Before: s.before, Limit: listBatch}
	if s.state == "" && len(s.words) == 0 {
		q.Limit = listShown + 1
	}
	looked := 0
	for looked < listMost {
		list, err := l.Store.List(ctx, q)
		if err != nil {
			p.problem = err
		}
		for _, t := range list {
			if !s.finds(t) {
				continue
			}
			if len(p.found) == listShown {
				p.next = p.found[listShown-1].Number
				return p
			}
			p.found = append(p.found, t)
		}
		looked += len(list)
		if len(list) == 0 || len(list) < q.Limit && err == nil {
			return p
		}
		q.Before = list[len(list)-1].Number
	}
	p.next, p.looked, p.until = q.Before, looked, q.Before
	return p
}

// newer looks for the page that ends before s.after. If that is the newest it
// is shown whole.
func (l lister) newer(ctx context.Context, s search) page {
	top, _ := s.after.Seq()
	newest, err := l.Store.List(ctx, store.Query{Limit: 1})
	if err != nil && len(newest) == 0 {
		return page{problem: err}
	}
	var end int64
	if len(newest) > 0 {
		end, _ = newest[0].Number.Seq()
	}
	p := page{newer: true}
	begin := top
	for ; top < end && top-begin < listMost && len(p.found) < listShown; top += listBatch {
		list, err := l.Store.List(ctx, store.Query{Progress: s.progress, Before: tickets.NewNumber("X", top+listBatch+1), Limit: listBatch})
		if err != nil {
			p.problem = err
		}
		for _, t := range slices.Backward(list) {
			if seq, _ := t.Number.Seq(); seq > top && s.finds(t) {
				p.found = append(p.found, t)
			}
		}
	}
	if top >= end && len(p.found) <= listShown {
		s.after = ""
		return l.older(ctx, s)
	}
	if len(p.found) == 0 {
		prefix := prefixOf(s.after)
		p.looked, p.until, p.next = listMost, tickets.NewNumber(prefix, top), tickets.NewNumber(prefix, top+1)
		return p
	}
	p.found = p.found[:min(len(p.found), listShown)]
	slices.Reverse(p.found)
	p.next = p.found[len(p.found)-1].Number
	return p
}

func prefixOf(n tickets.Number) string {
	return string(n)[:strings.LastIndexByte(string(n), '-')]
}

// list shows tickets, a page at a time.
func (h *Handler) list(ctx context.Context, c adapters.Command, args []string) adapters.Answer {
	l := lister{&h.Config}
	s := l.parseSearch(args)
	if n := len([]rune(s.typed)); n > listTyped {
		return adapters.Note{Text: fmt.Sprintf("Please look for something shorter: %d characters at most, these are %d.", listTyped, n)}
	}
	find := l.older
	if s.after != "" {
		find = l.newer
	}
	p := find(ctx, s)
	if p.problem != nil {
		h.Log.Error("cannot list tickets", "err", p.problem)
		if len(p.found) == 0 {
			return adapters.Note{Text: wording.MsgStoreAway}
		}
	}
	var lines []string
	for _, t := range p.found {
		lines = append(lines, wording.ListLine(t, c.Actor.Platform))
	}
	switch {
	case len(p.found) > 0:
	case p.looked > 0 || !p.newer:
		lines = append(lines, "There are none.")
	default:
		lines = append(lines, "There are no more.")
	}
	if s.guess != "" && len(p.found) == 0 && !p.newer {
		lines = append(lines, fmt.Sprintf("I looked for requests that mention “%s”. Did you mean the state %s?", wording.Line(strings.Join(s.words, " ")), s.guess))
	}
	if p.looked > 0 {
		lines = append(lines, fmt.Sprintf("I looked through %d requests, as far as %s. The buttons go on from there.", p.looked, p.until))
	}
	if p.problem != nil {
		lines = append(lines, "There are more, which cannot be read.")
	}
	out := adapters.Page{Text: strings.Join(lines, "\n")}
	turn := func(where string, from tickets.Number) string {
		return strings.Join(strings.Fields("tickets "+s.typed+" "+where+string(from)), " ")
	}
	if p.next != "" {
		out.Older = turn(listBefore, p.next)
	}
	switch {
	case !p.newer:
	case len(p.found) > 0:
		out.Newer = turn(listAfter, p.found[0].Number)
	case p.until != "" && s.after != "":
		out.Newer = turn(listAfter, p.until)
	default:
		out.Newer = strings.TrimSpace("tickets " + s.typed)
	}
	return out
}
