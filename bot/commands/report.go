package commands

import (
	"context"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/reports"
)

const (
	// reportMost is how many tickets a report looks through, and reportTime how
	// long: what has been read is told before the asker is told that it took too
	// long.
	reportMost = 50_000
	reportTime = adapters.CommandTime * 2 / 3
	// reportSpan is how far back it looks unless somebody says otherwise.
	reportSpan = 7 * 24 * time.Hour
)

// report tells what became of the requests of the last days.
func (h *Handler) report(ctx context.Context, _ adapters.Command, args []string) adapters.Answer {
	span := reportSpan
	if len(args) > 0 {
		var err error
		if span, err = reports.ParseSpan(strings.Join(args, " ")); err != nil {
			return adapters.Note{Text: "I do not understand that: " + err.Error() + "."}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	now := h.Now()
	r := reports.New(now.Add(-span), now, reports.OfficeHours())
	if err := r.Read(ctx, h.Store, reportMost); err != nil {
		h.Log.Error("cannot read tickets for a report", "err", err)
		if r.Requests == 0 {
			return adapters.Note{Text: wording.MsgStoreAway}
		}
	}
	n := adapters.Note{Text: r.Fit(adapters.MaxNote)}
	if h.Picture == nil || r.Requests == 0 {
		return n
	}
	png, err := h.Picture(r)
	if err != nil {
		h.Log.Error("cannot draw a report", "err", err)
		return n
	}
	n.Picture = &adapters.Picture{PNG: png, Alt: r.Alt()}
	return n
}
