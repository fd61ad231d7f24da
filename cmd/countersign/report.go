package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
	_ "time/tzdata" // --zone, on machines that have no zones

	"github.com/countersign/countersign/bot/reports"
)

// reportTop is how much of each list of a report is printed.
const reportTop = 20

// report prints what became of the requests of a span of time.
func report(ctx context.Context, p Env, args []string) (err error) {
	const usage = "report [--since 7d] [--hours 7-19] [--zone ZONE] [--json] [--picture FILE]"
	flags := newFlags("report")
	since := flags.String("since", "7d", "how far back: `hours, days or weeks`, as 12h, 7d, 4w")
	hours := flags.String("hours", "7-19", "the working hours of Monday to Friday, `from-to`")
	zone := flags.String("zone", "Local", "whose hours: a `name` as Europe/Berlin")
	asJSON := flags.Bool("json", false, "one JSON object, with all of every list")
	file := flags.String("picture", "", "draws the requests and the time to a decision into `FILE`, a PNG")
	if _, err := parse(p, flags, args, 0, usage); err != nil {
		return err
	}
	span, err := reports.ParseSpan(*since)
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	var h reports.Hours
	if n, err := fmt.Sscanf(*hours, "%d-%d", &h.From, &h.To); n != 2 || err != nil || h.From < 0 || h.From >= h.To || h.To > 24 {
		return errors.New("--hours is two hours of the day, from-to, for example 7-19")
	}
	if *zone == "Local" {
		if err := checkZone(os.Getenv("TZ")); err != nil {
			return fmt.Errorf("TZ: %w", err)
		}
	}
	if h.In, err = time.LoadLocation(*zone); err != nil {
		return errors.New("--zone is no time zone: write one as Europe/Berlin")
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	now := p.Now()
	r := reports.New(now.Add(-span), now, h)
	unread := r.Read(ctx, keep, math.MaxInt)
	if unread != nil && r.Requests == 0 {
		return unread
	}
	if *file != "" {
		b, err := picture(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(*file, b, 0o600); err != nil {
			return fmt.Errorf("--picture: %w", err)
		}
	}
	out := newPrinter(p.Stdout)
	if *asJSON {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		out.write(append(escapeJSON(b), '\n'))
	} else {
		out.line("%s", r.Text(reportTop))
	}
	return errors.Join(out.end(), unread)
}
