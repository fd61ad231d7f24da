package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/tickets"
)

const eventsUsage = "countersign events forget syslog|webhook|file"

// eventsCommand is what the operator can do about events that nobody takes any
// more.
func eventsCommand(ctx context.Context, p process, args []string) error {
	sub, args := subcommand(args)
	if sub != "forget" {
		return errors.New("write " + eventsUsage)
	}
	return eventsForget(ctx, p, args)
}

// eventsForget lets nothing be owed to a receiver that is not configured.
func eventsForget(ctx context.Context, p process, args []string) (err error) {
	rest, err := parse(p, newFlags("events forget"), args, 1, eventsUsage)
	if err != nil {
		return err
	}
	to := tickets.Receiver(rest[0])
	if env, _ := p.Environment(); slices.Contains(env.follows(), to) {
		return fmt.Errorf("%s is configured, and would be owed what happens next: take %s_EVENTS_%s out of the environment of every replica and restart it, then run this again", to, envPrefix, strings.ToUpper(rest[0]))
	}
	keep, err := openToChange(ctx, p, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	done, err := bot.Forget(ctx, keep.(bot.Archive), to) // as every store is
	shown := adapters.Line(rest[0])
	if done.Tickets == 0 && err == nil {
		_, err = fmt.Fprintf(p.Stdout, "No ticket knows a receiver %s: nothing is owed to it.\n", shown)
		return err
	}
	_, wrote := fmt.Fprintf(p.Stdout, "Forgot %s in %s, of which %d owed it events.\n", shown, counted(done.Tickets, "ticket"), done.Owing)
	return errors.Join(err, wrote)
}
