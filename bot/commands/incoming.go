package commands

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/bot/webhooks"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// incomingShown is how many webhooks the word incoming lists.
const incomingShown = 10

func (h *Handler) incoming(ctx context.Context, c adapters.Command, args []string) string {
	const usage = "Say /epm incoming for the newest webhooks, /epm incoming failed for those that failed, or /epm incoming replay ID"
	var q store.IncomingQuery
	switch {
	case len(args) == 0:
	case len(args) == 1 && strings.EqualFold(args[0], "failed"):
		q.Status = tickets.StatusFailed
	case len(args) == 2 && strings.EqualFold(args[0], "replay"):
		return h.replay(ctx, c.Actor, args[1])
	case len(args) == 1 && strings.EqualFold(args[0], "replay"):
		return "Say which: /epm incoming replay ID. The IDs are in /epm incoming failed"
	default:
		return usage
	}
	q.Limit = incomingShown
	list, err := h.Store.Incomings(ctx, q)
	if err != nil {
		h.Log.Error("cannot list webhooks", "err", err)
		return wording.MsgStoreAway
	}
	if len(list) == 0 {
		return "There are none."
	}
	lines := make([]string, len(list))
	for i, k := range list {
		lines[i] = sayKept(k)
	}
	return strings.Join(lines, "\n")
}

// sayKept is a kept webhook on one line.
func sayKept(k store.StoredIncoming) string {
	s := k.At.UTC().Format("2006-01-02 15:04:05 UTC") + " · " + string(k.Receipt.Status) + " · " + k.ID
	if k.Receipt.Ticket != "" {
		s += " · " + string(k.Receipt.Ticket)
	}
	if k.Error != "" {
		s += " · " + wording.Cut(wording.Line(k.Error), 150)
	}
	return s
}

func (h *Handler) replay(ctx context.Context, by tickets.Actor, id string) string {
	start := h.Now()
	done, err := webhooks.Replayer{Store: h.Store, Read: h.Read, Rules: h.Settings.RulesOf, Now: h.Now}.Replay(ctx, id)
	var advice webhooks.Advice
	switch {
	case errors.As(err, &advice):
		return advice.Error()
	case err != nil:
		h.Log.Error("cannot replay webhook", "actor", by.String(), "err", err)
		return sayReplayUnclear
	}
	r := done.Receipt
	h.Log.Info("webhook replayed", "incoming", r.Incoming, "ticket", r.Ticket, "status", r.Status, "before", done.Before, "actor", by.String())
	if done.Ticket != nil {
		_, end := tracing.BeginUpdate(ctx, h.Tracer, "replay", &tickets.Update{ID: done.Ticket.ID}, start)
		end(done.Ticket, r, nil, h.Now())
		h.Outbox.Wake(done.Ticket)
	}
	return done.String()
}

// sayReplayUnclear is not wording.MsgStoreAway: the write may have happened.
const sayReplayUnclear = "My store did not answer. Please try again in a minute: a webhook that was replayed is not replayed twice."
