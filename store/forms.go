package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/countersign/countersign/tickets"
)

// Forms calls each with the stored forms of all tickets, oldest first, a page
// at a time. The next page is read meanwhile.
func Forms(ctx context.Context, from Archive, each func([]Form) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type page struct {
		forms []Form
		err   error
	}
	pages := make(chan page)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		defer close(pages)
		for seq := int64(0); ; {
			forms, err := from.FormsAfter(ctx, seq, verifyPage)
			if len(forms) == 0 && err == nil {
				return
			}
			select {
			case pages <- page{forms, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			seq = forms[len(forms)-1].Seq
		}
	})
	for p := range pages {
		if p.err != nil {
			return fmt.Errorf("read tickets: %w", p.err)
		}
		if err := each(p.forms); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// each calls do for 0 to n-1, on all processors.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// ParseCheckpoints reads checkpoints that were written one on a line. Lines that hold none, as
// other lines of a log, are passed over, and counted.
func ParseCheckpoints(text []byte) (checkpoints []tickets.Checkpoint, other int) {
	for line := range bytes.Lines(text) {
		var h tickets.Checkpoint
		if err := json.Unmarshal(line, &h); err != nil || h.Ticket == "" || h.Hash == "" {
			if strings.TrimSpace(string(line)) != "" {
				other++
			}
			continue
		}
		checkpoints = append(checkpoints, h)
	}
	return checkpoints, other
}
