package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
)

const (
	storeUsage = `Usage: countersign store backup FILE
       countersign store restore FILE
       countersign store copy FROM TO

backup writes everything that the SQLite store of COUNTERSIGN_STORE holds into
one new FILE, while the bot runs or not, and reads it back.

restore puts what FILE holds in the place of that store; stop the bot first.
What was there is put aside, and where is said.

copy copies all tickets with their numbers, all webhooks and the counter of
ticket numbers from one store to another. FROM and TO are written as in COUNTERSIGN_STORE: sqlite:PATH, or the
address of a Redis. TO may be new. Stop the bot first. It may be interrupted
and run again: what is there already is left out, and a ticket that has gone
further in TO is kept. What one of them has retired is not brought back.
`
	// tellEvery is how long the command says nothing.
	tellEvery = 2 * time.Second
)

// storeCommand is what is done with a whole store. No message about copy quotes
// an argument: it may hold a password.
func storeCommand(ctx context.Context, p Env, args []string) error {
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		_, err := io.WriteString(p.Stdout, storeUsage)
		return err
	}
	switch {
	case len(args) == 2 && args[0] == "backup":
		return backupStore(ctx, p, args[1])
	case len(args) == 2 && args[0] == "restore":
		return restoreStore(ctx, p, args[1])
	case len(args) != 3 || args[0] != "copy":
		_, _ = io.WriteString(p.Stderr, storeUsage)
		return errors.New("write countersign store copy FROM TO, store backup FILE or store restore FILE")
	}
	from, err := endOf("FROM", secret(args[1]))
	if err != nil {
		return err
	}
	to, err := endOf("TO", secret(args[2]))
	if err != nil {
		return err
	}
	return copyStore(ctx, p, from, to)
}

// endpoint is one end of a copy.
type endpoint struct {
	name string // FROM or TO
	path string // of a SQLite file
	url  secret // of a Redis
	show string // for people
}

func endOf(name string, value secret) (endpoint, error) {
	path, url, err := storeAddress(value)
	if err != nil {
		return endpoint{}, fmt.Errorf("%s: %w", name, err)
	}
	e := endpoint{name: name, path: path, url: url, show: "sqlite:" + path}
	if path == "" {
		if e.show, err = redis.Address(url.Reveal()); err != nil {
			return endpoint{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return e, nil
}

// archive is a store that can be copied.
type archive interface {
	store.Archive
	Close() error
}

func copyStore(ctx context.Context, p Env, from, to endpoint) (err error) {
	if err := differ(from, to); err != nil {
		return err
	}
	if from.path == "" || to.path == "" {
		say(p, "Stop the bot, every replica of it, before this: a Redis does not keep a running one away. What a bot changes in FROM meanwhile is copied when this is run again.")
	}
	source, err := from.open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := to.open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if a, ok := source.(*redis.Store); ok {
		if b, ok := target.(*redis.Store); ok {
			same, err := a.Same(ctx, b)
			if err != nil {
				return fmt.Errorf("compare FROM and TO: %w", err)
			}
			if same {
				return errSameStore
			}
		}
	}
	if n, err := source.Count(ctx); err != nil {
		return fmt.Errorf("FROM: %w", err)
	} else if n.Tickets+n.Incomings == 0 {
		return fmt.Errorf("there is nothing in FROM, %s: look whether its address, and its tenant, are right", from.show)
	}
	next := p.Now().Add(tellEvery)
	done, err := store.Copy(ctx, source, target, func(s store.Progress) {
		if now := p.Now(); now.After(next) {
			next = now.Add(tellEvery)
			if sum(s.Tickets) == 0 {
				say(p, "%d of %d tickets compared", s.Compared, s.From.Tickets)
				return
			}
			say(p, "%d of %d tickets, %d of %d webhooks", sum(s.Tickets), s.From.Tickets, sum(s.Incomings), s.From.Incomings)
		}
	})
	if ctx.Err() != nil {
		return errors.New("interrupted: run it again, it goes on where it was")
	}
	if sum(done.Tickets)+sum(done.Incomings) > 0 {
		if _, err := io.WriteString(p.Stdout, copied(done, from, to)); err != nil {
			return err
		}
	}
	return err
}

var errSameStore = errors.New("FROM and TO are the same store")

// differ is an error if from and to are certainly one store. Two addresses of
// one Redis are found out when both are open.
func differ(from, to endpoint) error {
	if from.path == "" || to.path == "" {
		if from.url != "" && from.url == to.url {
			return errSameStore
		}
		return nil
	}
	a, err := os.Stat(from.path)
	if err != nil {
		return nil // open tells
	}
	if b, err := os.Stat(to.path); err == nil && os.SameFile(a, b) {
		return errSameStore
	}
	return nil
}

func (e endpoint) open(ctx context.Context, p Env) (archive, error) {
	if e.path == "" {
		s, err := redis.Open(ctx, redis.Config{URL: e.url.Reveal(), Now: p.Now})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		if e.name == "TO" {
			for _, sentence := range s.Warnings(ctx) {
				say(p, "TO may lose what it acknowledges: %s", sentence)
			}
		}
		return s, nil
	}
	if _, err := os.Stat(e.path); e.name == "FROM" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("FROM: there is no file %s", e.path)
	}
	s, err := sqlite.Open(ctx, sqlite.Config{Path: e.path})
	if errors.Is(err, sqlite.ErrLocked) {
		return nil, fmt.Errorf("%s: a bot uses %s: stop the bot first, then run this again", e.name, e.path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	return s, nil
}

// copied says what was done.
func copied(done store.Progress, from, to endpoint) string {
	var s strings.Builder
	t, w := done.Tickets, done.Incomings
	fmt.Fprintf(&s, "Copied %s and %s; already there: %s and %s", counted(t[store.Copied], "ticket"), counted(w[store.Copied], "webhook"),
		counted(t[store.Same], "ticket"), counted(w[store.Same], "webhook"))
	fmt.Fprintf(&s, "; brought up to date: %s; kept because they have gone further there: %s", counted(t[store.Updated], "ticket"), counted(t[store.Further], "ticket"))
	if n := t[store.Refused] + w[store.Refused] + done.Unread; n > 0 {
		fmt.Fprintf(&s, "; not copied: %d", n)
	}
	s.WriteString(".\n")
	for _, e := range []struct {
		endpoint
		n store.Counts
	}{{from, done.From}, {to, done.To}} {
		fmt.Fprintf(&s, "%s, %s, holds %s and %s; its next ticket gets number %d.\n", e.name, e.show, counted(e.n.Tickets, "ticket"), counted(e.n.Incomings, "webhook"), e.n.Counter+1)
	}
	return s.String()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func sum(counts map[store.Restored]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func say(p Env, format string, args ...any) {
	_, _ = fmt.Fprintf(p.Stderr, format+"\n", args...)
}
