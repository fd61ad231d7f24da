// Package commands does what people write after /epm, one file for each word: help,
// status, tickets, ticket, state, config, incoming, report, test-connection and
// roles. It answers with texts, pages and forms; it knows no platform.
package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/access"
	"github.com/countersign/countersign/bot/audit"
	"github.com/countersign/countersign/bot/dedup"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/bot/reconcile"
	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Config is what a handler of commands is made of. All of it is required unless it
// says otherwise.
type Config struct {
	Store      store.Store
	Settings   *settings.Live
	Access     *access.Access
	Audit      *audit.Log
	Deliveries *dedup.Deliveries
	Outbox     *outbox.Outbox
	Reconciler *reconcile.Reconciler
	Chats      map[tickets.Platform]adapters.Chat
	EPM        EPM

	// Ready says for each neighbour why it is not ready.
	Ready func(context.Context) map[string]error
	// Read fills in what a kept webhook's raw body says, to replay it;
	// default: webhooks cannot be replayed.
	Read    func(tickets.Incoming) tickets.Incoming
	Picture reports.Picture // default: reports have none
	Tracer  tracing.Tracer  // default: hears nothing

	Log *slog.Logger
	Now func() time.Time
}

// EPM is what is known of the connection to EPM.
type EPM interface {
	// Away reports whether EPM did not answer the last decision that was sent.
	Away() bool
	// Denial says since when and why EPM takes no decisions, or "".
	Denial() string
	// Test tests the connection and says the result to people.
	Test(ctx context.Context) string
}

// Handler answers commands. Make one with [New].
type Handler struct{ Config }

// New makes a handler.
func New(c Config) *Handler { return &Handler{c} }

// words is what each of [wording.Commands] does. It is a function because help
// lists them all.
func words() map[string]func(*Handler, context.Context, adapters.Command, []string) adapters.Answer {
	return map[string]func(*Handler, context.Context, adapters.Command, []string) adapters.Answer{
		"help":            says((*Handler).help),
		"status":          says((*Handler).status),
		"tickets":         (*Handler).list,
		"ticket":          says((*Handler).ticket),
		"state":           says((*Handler).state),
		"config":          (*Handler).config,
		"incoming":        says((*Handler).incoming),
		"report":          (*Handler).report,
		"test-connection": says((*Handler).testConnection),
		"roles":           says((*Handler).roles),
	}
}

// says is a word that is answered in words.
func says(word func(*Handler, context.Context, adapters.Command, []string) string) func(*Handler, context.Context, adapters.Command, []string) adapters.Answer {
	return func(h *Handler, ctx context.Context, c adapters.Command, args []string) adapters.Answer {
		return adapters.Note{Text: word(h, ctx, c, args)}
	}
}

// turns are the words whose answers have pages: no button carries another.
var turns = []string{"tickets"}

// Command implements [adapters.Handler]: the words after /epm.
func (h *Handler) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	fields := strings.Fields(c.Text)
	if len(fields) == 0 {
		fields = []string{"help"}
	}
	for _, w := range wording.Commands() {
		if !strings.EqualFold(w.Name, fields[0]) {
			continue
		}
		if c.FromPager && !slices.Contains(turns, w.Name) {
			h.Log.Warn("a button with a word that has no pages", "actor", c.Actor.String(), "word", w.Name)
			return adapters.Note{Text: wording.MsgOldButton}
		}
		// Damaged settings are mended with config, by the admins of the start.
		if err := h.Settings.Ensure(ctx); err != nil && w.Name != "help" && w.Name != "status" && (w.Name != "config" || !errors.Is(err, store.ErrCorrupt)) {
			h.Log.Error("cannot read the settings", "err", err)
			return adapters.Note{Text: Unread(err)}
		}
		if w.Admin {
			if no := h.Access.Administer(ctx, c.Actor); no != nil {
				h.Audit.LogDenied(c.Actor, "", no.Reason)
				return adapters.Note{Text: no.Text}
			}
		} else if !w.Open {
			if no := h.Access.Read(ctx, c.Actor, c.Place); no != nil {
				h.Audit.LogDenied(c.Actor, "", no.Reason)
				return adapters.Note{Text: no.Text}
			}
		}
		if !reads(w.Name, fields[1:]) {
			if no := h.Deliveries.First(ctx, c.Actor, c.Delivery); no != nil {
				return *no
			}
		}
		return words()[w.Name](h, ctx, c, fields[1:])
	}
	say := fmt.Sprintf("I do not know “%s”.", wording.Line(fields[0]))
	if near := nearest(fields[0], slices.Sorted(maps.Keys(words()))); near != "" {
		say += fmt.Sprintf(" Did you mean /%s %s?", adapters.CommandName, near)
	}
	return adapters.Note{Text: say + "\n" + h.help(ctx, c, nil)}
}

func (h *Handler) testConnection(ctx context.Context, _ adapters.Command, _ []string) string {
	return h.EPM.Test(ctx)
}

func number(s string) tickets.Number { return tickets.Number(strings.ToUpper(s)) }

func join(states []tickets.State) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func (h *Handler) help(context.Context, adapters.Command, []string) string {
	var s strings.Builder
	s.WriteString("What I understand:")
	for _, w := range wording.Commands() {
		s.WriteString("\n/" + adapters.CommandName + " " + w.Usage() + " – " + w.Help)
		if w.Admin {
			s.WriteString(" (admins)")
		}
	}
	return s.String()
}

// nearest is the name most like word, or "" if none is like it.
func nearest(word string, names []string) string {
	apart := func(name string) int {
		return levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(name))
	}
	best := slices.MinFunc(names, func(a, b string) int { return cmp.Compare(apart(a), apart(b)) })
	if apart(best) > max(1, len(best)/3) {
		return ""
	}
	return best
}

// reads reports whether the word with args is known to change nothing: then it
// may be delivered again and again.
func reads(word string, args []string) bool {
	first := ""
	if len(args) > 0 {
		first = strings.ToLower(args[0])
	}
	switch word {
	case "help", "status", "tickets", "report", "roles", "test-connection":
		return true
	case "ticket":
		return len(args) <= 1
	case "config":
		return first == "" || first == "list" || first == "reset" && len(args) == 1
	case "incoming":
		return first == "" || first == "failed"
	}
	return false
}
