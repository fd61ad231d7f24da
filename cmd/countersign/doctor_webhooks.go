package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

const (
	// maxKept bounds the kept webhooks that are looked at, newest first, and
	// maxBodies those of one event whose body is read.
	maxKept   = 500
	maxBodies = 25

	webhookPath = "/webhooks/epm"
)

// heard is what is kept of one of the four webhooks.
type heard struct {
	last            time.Time // zero: never
	bodies          int
	present, filled map[string]bool
}

// dates counts the webhooks that can only be read with the day, or with the
// month, first.
type dates struct{ days, months int }

// checkWebhooks says when each of the four webhooks was last seen, and what
// it never brought.
func checkWebhooks(ctx context.Context, c *checkup, cfg config) {
	keep, err := openToRead(ctx, cfg)
	if keep == nil {
		if err == nil {
			c.skip("EPM's webhooks: the store is empty or not configured")
		} else {
			c.skip("EPM's webhooks: the store cannot be read")
		}
		return
	}
	defer func() { _ = keep.Close() }()
	all, listed, failed, dates, err := readWebhooks(ctx, keep)
	if err != nil {
		c.bad("EPM's webhooks", err.Error(), "Run doctor again; if it stays, look at the line about the store.")
		return
	}
	sayFailed(c, failed)
	checkDates(c, dates, cfg.reader().DayFirst)
	address := cmp.Or(cfg.publicURL, "https://the bot's address") + webhookPath
	for _, w := range epm.Webhooks() {
		what := "the webhook " + w.Event
		h := all[w.Event]
		todo := fmt.Sprintf("In EPM, Configuration, Webhook Settings, make a webhook for the event %s with the address %s, content type application/json, authentication Basic with the user of %s_WEBHOOK_USER, and the template that countersign templates prints for it, and enable it. EPM shows there what became of each delivery.", w.Event, address, envPrefix)
		if h == nil {
			other := counterpart(all, w)
			switch {
			case listed[w.Kind] && w.Created:
				c.bad(what, "it was never seen, and EPM lists requests that it should have told of", todo)
			case other:
				c.bad(what, "it was never seen, though the other webhook of "+w.Kind.Plural()+" comes", todo)
			default:
				c.note(what+": never seen", todo+" If you do not use "+w.Kind.Plural()+", it is not needed.")
			}
			continue
		}
		var absent, empty []string
		for _, name := range w.Names {
			if !h.present[name] {
				absent = append(absent, name)
			} else if !h.filled[name] {
				empty = append(empty, name)
			}
		}
		seen := fmt.Sprintf("%s: last seen %s", what, wording.FormatTime(h.last))
		if len(empty) > 0 {
			seen += fmt.Sprintf("\nnever filled in the newest %d: %s", h.bodies, strings.Join(empty, ", "))
		}
		c.ok(seen)
		if len(absent) > 0 {
			c.bad(what, "its template in EPM lacks "+strings.Join(absent, ", "), "Replace the template in EPM by what countersign templates prints for "+w.Event+".")
		}
	}
}

// counterpart reports whether requests of w's kind are created, but their
// decisions never updated, or the other way round.
func counterpart(all map[string]*heard, w epm.Webhook) bool {
	for _, o := range epm.Webhooks() {
		if o.Kind == w.Kind && o.Created != w.Created && all[o.Event] != nil {
			// A first request may wait for its decision.
			return w.Created || all[o.Event].bodies >= 3
		}
	}
	return false
}

// readWebhooks looks through what is kept, newest first. listed are the kinds
// of which a request was found in EPM's list.
func readWebhooks(ctx context.Context, keep store.Store) (all map[string]*heard, listed map[tickets.Kind]bool, failed []store.StoredIncoming, order dates, err error) {
	all, listed = map[string]*heard{}, map[tickets.Kind]bool{}
	list, err := keep.Incomings(ctx, store.IncomingQuery{Limit: maxKept})
	if err != nil {
		return nil, nil, nil, dates{}, err
	}
	for _, k := range list {
		if k.Remote == tickets.RemoteList {
			if t, err := keep.Get(ctx, k.Receipt.Ticket); err == nil && t.Request != nil && k.Receipt.Status == tickets.StatusCreated {
				listed[t.Request.Kind] = true
			}
			continue
		}
		if k.Error != "" {
			failed = append(failed, k)
			continue
		}
		full, err := keep.Incoming(ctx, k.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, nil, nil, dates{}, err
		}
		seen, ok := epm.Look(full.Raw)
		if !ok {
			continue
		}
		h := all[seen.Event]
		if h == nil {
			h = &heard{last: k.At, present: map[string]bool{}, filled: map[string]bool{}}
			all[seen.Event] = h
		}
		if h.bodies >= maxBodies {
			continue
		}
		h.bodies++
		days, months := epm.Order(full.Raw, k.At)
		if days {
			order.days++
		}
		if months {
			order.months++
		}
		for _, n := range seen.Present {
			h.present[n] = true
		}
		for _, n := range seen.Filled {
			h.filled[n] = true
		}
	}
	return all, listed, failed, order, nil
}

// sayFailed tells of webhooks that could not be read.
func sayFailed(c *checkup, failed []store.StoredIncoming) {
	if len(failed) == 0 {
		return
	}
	newest := failed[0]
	c.bad("EPM's webhooks", fmt.Sprintf("%d of the newest could not be understood, the last %s: %s", len(failed), wording.FormatTime(newest.At), strings.TrimRight(newest.Error, ".")),
		"Compare the webhook's template in EPM with what countersign templates prints. Each is kept with the ID that EPM's delivery history shows.")
}

// checkDates tells of dates that contradict the order in which they are read.
func checkDates(c *checkup, d dates, dayFirst bool) {
	switch {
	case d.days > 0 && d.months > 0:
		c.note("the dates in EPM's webhooks",
			fmt.Sprintf("Of the newest webhooks %d have the day first and %d the month. Make EPM's templates write one of them, or better a time like 2026-01-31 13:05:00.", d.days, d.months))
	case d.days > 0 && !dayFirst:
		c.note("the dates in EPM's webhooks",
			fmt.Sprintf("%d of the newest webhooks have the day first, and %s_EPM_DAY_FIRST says that the month is. Set it to true.", d.days, envPrefix))
	case d.months > 0 && dayFirst:
		c.note("the dates in EPM's webhooks",
			fmt.Sprintf("%d of the newest webhooks have the month first, and %s_EPM_DAY_FIRST says that the day is. Remove it.", d.months, envPrefix))
	}
}

// openToRead opens the configured store beside a bot that may run. It returns
// nil if there is none yet, or if it is not configured.
func openToRead(ctx context.Context, cfg config) (store.Store, error) {
	switch {
	case cfg.storeURL != "":
		keep, err := redis.Open(ctx, redis.Config{URL: cfg.storeURL.Reveal()})
		if err != nil {
			return nil, err
		}
		return keep, nil
	case cfg.storePath != "" && exists(cfg.storePath):
		keep, err := sqlite.Open(ctx, sqlite.Config{Path: cfg.storePath, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		return keep, nil
	}
	return nil, nil
}

// checkWebhookAddress sends the bot what it refuses without keeping it: a
// body that is not JSON, with the right user and password. The answer proves
// that a webhook would arrive.
func checkWebhookAddress(ctx context.Context, c *checkup, cfg config) {
	if cfg.publicURL == "" || cfg.WebhookUser == "" || cfg.WebhookPassword == "" {
		return // told of elsewhere
	}
	what := "the address of EPM's webhooks, " + cfg.publicURL + webhookPath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.publicURL+webhookPath, strings.NewReader("a test of countersign doctor"))
	if err != nil {
		return // told of elsewhere
	}
	req.Header.Set("Content-Type", "text/plain")
	req.SetBasicAuth(cfg.WebhookUser, cfg.WebhookPassword.Reveal())
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		c.bad(what, "there is no answer: "+withoutURL(err).Error(), "Start the bot with countersign serve, or correct "+envPrefix+"_PUBLIC_URL.")
		return
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4096))
	switch code := res.StatusCode; {
	case code == http.StatusUnsupportedMediaType:
		c.ok(what + ": takes user and password, and wants JSON")
	case code == http.StatusUnauthorized && strings.Contains(res.Header.Get("WWW-Authenticate"), `"countersign"`):
		c.bad(what, "the bot there wants another user or password", "Let "+envPrefix+"_WEBHOOK_USER and "+envPrefix+"_WEBHOOK_PASSWORD be those of the running bot, let no proxy before it take the header Authorization away, and compare them with the webhooks' authentication in EPM.")
	case code == http.StatusUnauthorized:
		c.bad(what, "something before the bot asks for a password", "Let the proxy there pass "+webhookPath+" on to the bot as it is.")
	case code == http.StatusForbidden && len(cfg.webhookAllow) > 0:
		c.skip(what + ": this machine is not in " + envPrefix + "_WEBHOOK_ALLOW; EPM's addresses have to be")
	default:
		c.bad(what, fmt.Sprintf("something else than the bot answers, with HTTP status %d", code), "Correct "+envPrefix+"_PUBLIC_URL, or let the proxy there pass "+webhookPath+" on to the bot as it is.")
	}
}

// checkDescription compares our decision paths with what the tenant itself
// describes.
func checkDescription(ctx context.Context, c *checkup, client *epm.Client) {
	list, served := client.CompareDescription(ctx)
	if !served {
		c.skip("EPM's own API description: this tenant serves none, so the decision paths show only with a real request")
		return
	}
	for _, a := range list {
		if a.Problem == "" {
			c.ok(a.What)
		} else {
			c.bad(a.What, a.Problem, a.Fix)
		}
	}
}
