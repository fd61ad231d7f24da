package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/sinks"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Checkpoints are what proves that a store is the one that it was: each stands for
// a history up to there, and is written down where whoever can change the
// store cannot reach it. They go to the log at once, and to the place that
// COUNTERSIGN_AUDIT_CHECKPOINTS names as soon as that takes them. Nothing waits for
// that place.

const (
	checkpointBatch    = 500              // written together
	checkpointTimeout  = 10 * time.Second // of one try at a batch
	checkpointRetry    = time.Second      // before a failed batch is tried again, doubled each time up to
	checkpointMaxRetry = time.Minute
	// maxCheckpoints is how many histories wait at most for a place that does not
	// take their checkpoints. Beyond that the oldest are only in the log.
	maxCheckpoints = 100_000
	// maxTold is of how many histories it is known which checkpoint was told: those
	// that are written at the same time may be told in either order.
	maxTold = 4096
)

// checkpointLog tells checkpoints, in order for each history.
type checkpointLog struct {
	log  *slog.Logger
	now  func() time.Time
	to   func(context.Context, []byte) error // nil: the log alone
	wake chan struct{}

	mu      sync.Mutex
	told    map[tickets.Number]int                // events of the last checkpoint that was told
	waiting map[tickets.Number]tickets.Checkpoint // newest of each history
	order   []tickets.Number                      // of waiting, those first that wait longest
	lost    int
}

// newCheckpointLog makes a checkpoint log to where, a file or an address, or to the log
// alone if that is empty.
func newCheckpointLog(where secret, now func() time.Time, log *slog.Logger) *checkpointLog {
	l := &checkpointLog{log: log, now: now, wake: make(chan struct{}, 1), told: map[tickets.Number]int{}, waiting: map[tickets.Number]tickets.Checkpoint{}}
	switch kind, text := checkpointsPlace(where), where.Reveal(); kind {
	case "file":
		l.to = func(_ context.Context, lines []byte) error { return appendTo(text, lines) }
	case "address":
		client := &http.Client{Timeout: checkpointTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		l.to = func(ctx context.Context, lines []byte) error { return postTo(ctx, client, text, lines) }
	}
	return l
}

// checkpointsPlace says what where is: a file, an address, or wrong; empty if it is.
func checkpointsPlace(where secret) string {
	text := where.Reveal()
	if text == "" || !strings.Contains(text, "://") {
		return map[bool]string{true: "file"}[text != ""]
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(text)) {
		return "wrong"
	}
	return "address"
}

// note tells a checkpoint, unless a later one of the same history was told.
func (l *checkpointLog) note(h tickets.Checkpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.Events <= l.told[h.Ticket] {
		return
	}
	if len(l.told) >= maxTold {
		clear(l.told) // what is told late then is true still
	}
	l.told[h.Ticket] = h.Events
	l.log.Info("audit checkpoint", "ticket", h.Ticket, "events", h.Events, "hash", h.Hash)
	if l.to == nil {
		return
	}
	if _, ok := l.waiting[h.Ticket]; !ok {
		l.order = append(l.order, h.Ticket)
	}
	l.waiting[h.Ticket] = h
	for len(l.order) > maxCheckpoints {
		delete(l.waiting, l.order[0])
		l.order = l.order[1:]
		l.lost++
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take takes out the checkpoints that wait longest.
func (l *checkpointLog) take() (batch []tickets.Checkpoint, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.order), checkpointBatch)
	for _, of := range l.order[:n] {
		batch = append(batch, l.waiting[of])
		delete(l.waiting, of)
	}
	l.order = l.order[n:]
	lost, l.lost = l.lost, 0
	return batch, lost
}

// back puts a batch back that could not be written, but for those of which a
// later checkpoint waits.
func (l *checkpointLog) back(batch []tickets.Checkpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first []tickets.Number
	for _, h := range batch {
		if _, later := l.waiting[h.Ticket]; !later {
			l.waiting[h.Ticket] = h
			first = append(first, h.Ticket)
		}
	}
	l.order = append(first, l.order...)
}

// run writes checkpoints until ctx ends, and then tries once more.
func (l *checkpointLog) run(ctx context.Context) {
	if l.to == nil {
		<-ctx.Done()
		return
	}
	failed := 0
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointTimeout)
			defer cancel()
			for l.write(end, &failed) {
			}
			return
		case <-l.wake:
		}
		for ctx.Err() == nil && l.write(ctx, &failed) {
		}
		if failed > 0 {
			chatkit.Sleep(ctx, min(checkpointRetry<<min(failed-1, 10), checkpointMaxRetry))
			l.awake()
		}
	}
}

// wait waits until run has ended, and not for a place that never answers.
func (l *checkpointLog) wait(written <-chan struct{}) {
	patience := time.NewTimer(checkpointTimeout + time.Second)
	defer patience.Stop()
	select {
	case <-written:
	case <-patience.C:
		l.log.Error("checkpoints of histories are in the log alone: the place of COUNTERSIGN_AUDIT_CHECKPOINTS does not answer")
	}
}

func (l *checkpointLog) awake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write writes one batch, and reports whether there may be another.
func (l *checkpointLog) write(ctx context.Context, failed *int) bool {
	batch, lost := l.take()
	if lost > 0 {
		l.log.Error("checkpoints of histories are in the log alone: the place of COUNTERSIGN_AUDIT_CHECKPOINTS has not taken any for too long", "count", lost)
	}
	if len(batch) == 0 {
		return false
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, h := range batch {
		if err := enc.Encode(checkpointLine{l.now().UTC(), h}); err != nil {
			l.log.Error("cannot write the checkpoint of a history", "ticket", h.Ticket, "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointTimeout)
	defer cancel()
	err := l.to(ctx, lines.Bytes())
	switch {
	case err != nil:
		l.back(batch)
		*failed++
		l.log.Error("the checkpoints of histories cannot be written: they wait, and are in the log", "err", err)
		return false
	case *failed > 0:
		*failed = 0
		l.log.Info("the checkpoints of histories are written again")
	}
	return true
}

// checkpointLine is a checkpoint as it is written down.
type checkpointLine struct {
	At time.Time `json:"at"`
	tickets.Checkpoint
}

// appendTo adds lines to a file. Its errors do not name it: whoever meant to
// write an address may have written a secret.
func appendTo(path string, lines []byte) error {
	err := sinks.AppendLines(path, 0o600, lines)
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s the file: %w", p.Op, p.Err)
	}
	return err
}

// postTo sends lines to an address. Its errors do not name it: there may be a
// secret in it.
func postTo(ctx context.Context, client *http.Client, to string, lines []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(lines))
	if err != nil {
		return errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4096)
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answers %d", resp.StatusCode)
	}
	return nil
}

// noteOthers tells the checkpoints of the settings' history and of the ledger as they
// are: they may have changed while nobody served, or while the checkpoints were told
// to nobody.
func (l *checkpointLog) noteOthers(ctx context.Context, s store.Store) {
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	if h, err := store.CheckpointOfSettings(ctx, s); err == nil && h.Events > 0 {
		l.note(h)
	}
	archive, ok := s.(store.Archive)
	if !ok {
		return
	}
	if h, err := store.CheckpointOfLedger(ctx, archive); err == nil && h.Events > 0 {
		l.note(h)
	}
}
