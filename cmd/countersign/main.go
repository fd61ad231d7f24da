// Command countersign lets people approve privileged access in chat. See
// README.md for what it does and how to set it up.
//
// This package is the entry point: it alone knows every other package. It
// reads the environment once, builds the parts, connects them and ends them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// softMemory is how much memory, in bytes, garbage may fill: from there on it
// is collected more often. What is in use stays far below it, also with a
// million tickets (docs/benchmarks.md).
const softMemory = 88 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	// Only who serves has files to read again; others end, as they should.
	var hangup chan os.Signal
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		hangup = make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		if os.Getenv("GOGC") == "" {
			// A webhook leaves much garbage and little is in use: to collect
			// half as often costs 15 MiB and saves a tenth of its time.
			debug.SetGCPercent(200)
		}
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(softMemory)
		}
	}
	err := run(ctx, os.Args[1:], applyFaultOverrides(Env{
		Environment: readEnvironment,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		Now:         time.Now,
		Steady:      true,
		Hangup:      hangup,
	}))
	if err != nil {
		_, _ = fmt.Fprintln(forPeople(os.Stderr), "countersign:", err)
		os.Exit(1)
	}
}
