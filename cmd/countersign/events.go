package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters/sinks"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/tickets"
)

// eventsPrefix is what the variables of receivers begin with.
const eventsPrefix = "EVENTS_"

const eventsUsage = "countersign events drop-sink syslog|webhook|file"

// eventsCommand is what the operator can do about events that nobody takes any
// more.
func eventsCommand(ctx context.Context, p Env, args []string) error {
	sub, args := subcommand(args)
	if sub != "drop-sink" {
		return errors.New("write " + eventsUsage)
	}
	return eventsForget(ctx, p, args)
}

// eventsForget lets nothing be owed to a receiver that is not configured.
func eventsForget(ctx context.Context, p Env, args []string) (err error) {
	rest, err := parse(p, newFlags("events drop-sink"), args, 1, eventsUsage)
	if err != nil {
		return err
	}
	to := tickets.EventSink(rest[0])
	if !slices.Contains([]tickets.EventSink{sinks.SyslogName, sinks.WebhookName, sinks.FileName}, to) {
		return fmt.Errorf("there is no receiver %s: write %s", wording.Line(rest[0]), eventsUsage)
	}
	env, findings := p.Environment()
	if wrong := configError(findings); wrong.about(eventsPrefix, "") {
		return fmt.Errorf("who is configured cannot be told, so nobody is forgotten: %w", wrong)
	}
	if slices.Contains(env.follows(), to) {
		return fmt.Errorf("%s is configured, and would be owed what happens next: take %s_%s%s out of the environment of every replica and restart it, then run this again", to, envPrefix, eventsPrefix, strings.ToUpper(rest[0]))
	}
	if path, url, _, err := storeOf(p); err == nil && url == "" && !exists(path) {
		return fmt.Errorf("there is no store %s: run this with the %s_STORE of the bot", path, envPrefix)
	}
	keep, err := openToChange(ctx, p, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	done, err := events.Drop(ctx, keep.(events.Archive), to) // as every store is
	if done.Tickets == 0 && err == nil {
		_, err = fmt.Fprintf(p.Stdout, "No ticket knows a receiver %s: nothing is owed to it.\n", to)
		return err
	}
	_, wrote := fmt.Fprintf(p.Stdout, "Forgot %s in %s, of which %d owed it events.\n", to, counted(done.Tickets, "ticket"), done.Owing)
	return errors.Join(err, wrote)
}
