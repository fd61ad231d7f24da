package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/sqlite"
)

// sayRedisKeepsItself answers backup and restore where the store is a Redis.
const sayRedisKeepsItself = "%s_STORE names a Redis, which is backed up and restored with its own tools: save it with redis-cli BGSAVE and keep dump.rdb, and put that into an empty Redis. " +
	"A copy in one file is made with countersign store copy redis://… sqlite:FILE, and goes back the same way; docs/maintenance.md tells more"

// sqliteOf is the path of the file that the environment names.
func sqliteOf(p Env) (string, error) {
	path, url, _, err := storeOf(p)
	if err == nil && url != "" {
		err = fmt.Errorf(sayRedisKeepsItself, envPrefix)
	}
	return path, err
}

// backupStore is "store backup FILE": one file with everything, made while the
// bot runs, read back, and its history verified.
func backupStore(ctx context.Context, p Env, file string) (err error) {
	path, err := sqliteOf(p)
	if err != nil {
		return err
	}
	keep, err := sqlite.Open(ctx, sqlite.Config{Path: path, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	counts, err := keep.Backup(ctx, file)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a file %s already, and it stays as it is: name another, for example with the date", file)
	}
	if err != nil {
		return err
	}
	if err := tellHeld(p, file, counts); err != nil {
		return err
	}
	return verifyFile(ctx, p, file)
}

func tellHeld(p Env, file string, n store.Counts) error {
	_, err := fmt.Fprintf(p.Stdout, "%s holds %s and %s; the next ticket gets number %d.\n", file, counted(n.Tickets, "ticket"), counted(n.Incomings, "webhook"), n.Counter+1)
	return err
}

// verifyFile verifies the history in a file that was just written.
func verifyFile(ctx context.Context, p Env, file string) (err error) {
	keep, err := sqlite.Open(ctx, sqlite.Config{Path: file, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	v, err := store.Verify(ctx, keep, nil, func(f store.Finding) { say(p, "%s", wording.Line(f.String())) })
	switch {
	case err != nil:
		return fmt.Errorf("verify %s: %w", file, err)
	case v.Findings > 0:
		return fmt.Errorf("the file is whole, and what it holds is not as Countersign wrote it: %s. Keep it, and look at what countersign audit verify says of the store", counted(v.Findings, "finding"))
	}
	_, err = fmt.Fprintf(p.Stdout, "Verified: every page was read back, and the history of %s and %s is whole.\n", counted(v.Tickets, "ticket"), counted(v.Incomings, "webhook"))
	return err
}

// restoreStore is "store restore FILE": the bot is stopped, and goes on with
// what the file holds.
func restoreStore(ctx context.Context, p Env, file string) error {
	path, err := sqliteOf(p)
	if err != nil {
		return err
	}
	if !exists(file) {
		return fmt.Errorf("there is no file %s", file)
	}
	aside, counts, err := sqlite.Restore(ctx, path, file, p.Now())
	if aside != "" {
		say(p, "What was there is now %s, with what was beside it.", aside)
	}
	if errors.Is(err, sqlite.ErrLocked) {
		return fmt.Errorf("a bot uses %s: stop it first, then run this again", path)
	}
	if err != nil {
		return err
	}
	if err := tellHeld(p, path, counts); err != nil {
		return err
	}
	say(p, "Run countersign doctor, then start the bot.")
	return verifyFile(ctx, p, path)
}
