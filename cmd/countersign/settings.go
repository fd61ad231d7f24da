package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/countersign/countersign/tickets"
)

const settingsUsage = "write countersign settings reset"

// settingsCommand is the operator's way back when no admin can change the
// settings in chat any more.
func settingsCommand(ctx context.Context, p process, args []string) (err error) {
	if len(args) != 1 || args[0] != "reset" {
		return errors.New(settingsUsage)
	}
	env, findings := p.Environment()
	c := checker{findings: findings}
	var cfg config
	cfg.storePath, cfg.storeURL = c.store(env.Store)
	if len(c.findings) > 0 {
		return configError(c.findings)
	}
	keep, begin, err := openStore(ctx, cfg, p, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	if err := begin(ctx); err != nil {
		return err
	}
	set, err := keep.Settings(ctx)
	if err != nil {
		return err
	}
	var changes []tickets.Change
	for key, old := range set.Values {
		changes = append(changes, tickets.Change{At: p.Now().UTC().Truncate(time.Second), Key: key, Old: &old})
	}
	if len(changes) > 0 {
		if _, err := keep.Configure(ctx, set.Version, changes); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.Stdout, "%d settings are as the program is started with again.\n", len(changes))
	return err
}
