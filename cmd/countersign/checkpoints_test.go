package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

func checkpoint(of string, n int) tickets.Checkpoint {
	return tickets.Checkpoint{Ticket: tickets.Number(of), Events: n, Hash: fmt.Sprintf("%s-%d", of, n)}
}

// runs runs l until the returned function is called.
func runs(l *checkpointLog) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// A receiver that fails is not waited for; what waits comes in order once it
// is back, of each history the newest.
func TestCheckpointsWaitForTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got bytes.Buffer
		away := true
		logs := &syncBuffer{}
		l := newCheckpointLog("", time.Now, slog.New(slog.NewTextHandler(logs, nil)))
		l.to = func(_ context.Context, lines []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if away {
				return errors.New("the disk is full")
			}
			got.Write(lines)
			return nil
		}
		stop := runs(l)
		begun := time.Now()
		for i := range 3 {
			l.note(checkpoint("JIT-1001", i+1))
			l.note(checkpoint("JIT-1002", i+1))
			l.note(checkpoint("JIT-1001", i)) // late
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("noting took %v", took-30*time.Second)
		}
		mu.Lock()
		away = false
		mu.Unlock()
		time.Sleep(checkpointMaxRetry)
		l.note(checkpoint("JIT-1001", 3))
		l.note(checkpoint("JIT-1001", 4))
		synctest.Wait()
		stop()
		checkpoints, other := store.ParseCheckpoints(got.Bytes())
		if want := []tickets.Checkpoint{checkpoint("JIT-1001", 3), checkpoint("JIT-1002", 3), checkpoint("JIT-1001", 4)}; fmt.Sprint(checkpoints) != fmt.Sprint(want) || other != 0 {
			t.Errorf("written %v and %d other lines, want %v", checkpoints, other, want)
		}
		said := logs.String()
		if strings.Count(said, `msg="audit checkpoint" `) != 7 || !strings.Contains(said, "cannot be written") || !strings.Contains(said, "the disk is full") || !strings.Contains(said, "are written again") {
			t.Errorf("the log tells\n%s", said)
		}
	})
}

// What is told at the very end is written too; and what waits has an end.
func TestCheckpointsAtTheEnd(t *testing.T) {
	var got bytes.Buffer
	l := newCheckpointLog("", time.Now, slog.New(slog.DiscardHandler))
	l.to = func(_ context.Context, lines []byte) error { got.Write(lines); return nil }
	for i := range maxCheckpoints + 10 {
		l.note(checkpoint(fmt.Sprint("JIT-", i+1), 1))
	}
	if len(l.waiting) != maxCheckpoints || l.lost != 10 {
		t.Errorf("%d wait and %d are lost, want %d and 10", len(l.waiting), l.lost, maxCheckpoints)
	}
	runs(l)()
	if n := strings.Count(got.String(), "\n"); n != maxCheckpoints {
		t.Errorf("%d are written, want %d", n, maxCheckpoints)
	}
}

func TestCheckpointsToAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	l := newCheckpointLog(secret(path), time.Now, slog.New(slog.DiscardHandler))
	for i := range 2 {
		l.note(checkpoint("JIT-1001", i+1))
		runs(l)()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if checkpoints, _ := store.ParseCheckpoints(text); fmt.Sprint(checkpoints) != fmt.Sprint([]tickets.Checkpoint{checkpoint("JIT-1001", 1), checkpoint("JIT-1001", 2)}) {
		t.Errorf("the file has %s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want it readable by its owner alone", info.Mode(), err)
	}
	// What was meant as an address may be a secret.
	if err := appendTo(filepath.Join(path, "planted-secret"), []byte("{}\n")); err == nil || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), path) {
		t.Errorf("a file that cannot be opened: %v", err)
	}
}

// The receiver gets lines, and no error tells its address.
// A pipe that nobody reads holds up nothing, and a line that a full disk cut
// off swallows no checkpoint.
func TestCheckpointsToOddFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no pipes here")
	}
	logs := &syncBuffer{}
	l := newCheckpointLog(secret(pipe), time.Now, slog.New(slog.NewTextHandler(logs, nil)))
	l.note(checkpoint("JIT-1001", 1))
	runs(l)()
	if said := logs.String(); !strings.Contains(said, "no regular file") || strings.Contains(said, pipe) {
		t.Errorf("the log tells\n%s", said)
	}

	torn := filepath.Join(t.TempDir(), "checkpoints")
	if err := os.WriteFile(torn, []byte(`{"at":"2026-01-`), 0o600); err != nil {
		t.Fatal(err)
	}
	l = newCheckpointLog(secret(torn), time.Now, slog.New(slog.DiscardHandler))
	l.note(checkpoint("JIT-1001", 1))
	runs(l)()
	b, err := os.ReadFile(torn)
	if err != nil {
		t.Fatal(err)
	}
	var line checkpointLine
	if lines := strings.Split(string(b), "\n"); len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &line) != nil || line.Checkpoint != checkpoint("JIT-1001", 1) {
		t.Errorf("the file holds %q", b)
	}
}

func TestCheckpointsToAnAddress(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	status := http.StatusFound
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-ndjson" || r.URL.Path != "/planted-secret" {
			t.Errorf("%s %s %v, %v", r.Method, r.URL, r.Header, err)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		if status/100 == 2 {
			bodies = append(bodies, string(body))
		}
	}))
	logs := &syncBuffer{}
	l := newCheckpointLog(secret(srv.URL+"/planted-secret"), time.Now, slog.New(slog.NewTextHandler(logs, nil)))
	l.note(checkpoint("JIT-1001", 1))
	runs(l)()
	mu.Lock()
	status = http.StatusAccepted
	mu.Unlock()
	runs(l)()
	srv.Close()
	l.note(checkpoint("JIT-1001", 2))
	runs(l)()
	var line checkpointLine
	if len(bodies) != 1 || json.Unmarshal([]byte(bodies[0]), &line) != nil || line.Checkpoint != checkpoint("JIT-1001", 1) || line.At.IsZero() {
		t.Errorf("received %q", bodies)
	}
	if said := logs.String(); strings.Contains(said, "planted") || strings.Contains(said, srv.URL) || !strings.Contains(said, "answers 302") || strings.Count(said, "cannot be written") < 2 { // a run that is ended at once may try twice
		t.Errorf("the log tells\n%s", said)
	}
}

func TestCheckpointsPlace(t *testing.T) {
	for where, want := range map[string]string{
		"": "", "checkpoints.jsonl": "file", "/var/lib/checkpoints": "file", "https://siem.example.com/x?token=y": "address", "http://127.0.0.1:1/x": "address",
		"http://siem.example.com/": "wrong", "ftp://x": "wrong", "https://u:p@x/": "wrong", "https://": "wrong",
	} {
		if got := checkpointsPlace(secret(where)); got != want {
			t.Errorf("checkpointsPlace(%s) = %q, want %q", where, got, want)
		}
	}
}

// TestStoryAudit: a request from webhook to confirmation, the checkpoints of which
// prove the store; then somebody makes another decision of it.
func TestStoryAudit(t *testing.T) {
	t.Parallel()
	checkpoints := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	s := tell(t, func(s *story) { s.env.AuditCheckpoints = secret(checkpoints) })
	r, _ := s.requested()
	s.refuses("U09SAM", "approve", "approver")
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Approved", "7200")
	s.shows("submitted to EPM")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM: approved for 2 hours, until")
	s.has("audit verify beside the bot", s.prints("audit", "verify"), "Everything is as it was written.")
	s.eventually("all is told", func() bool { return strings.Contains(s.replies(), "Confirmed by EPM") })
	s.stop()
	s.has("audit verify", s.prints("audit", "verify", "--checkpoints", checkpoints), "Everything is as it was written.", "Compared")
	var kinds []string
	for line := range strings.Lines(s.prints("audit", "export", "--ticket", "JIT-1001")) {
		var e record
		var event tickets.Event
		if json.Unmarshal([]byte(line), &e) != nil || json.Unmarshal(e.Event, &event) != nil {
			t.Fatalf("%q", line)
		}
		kinds = append(kinds, string(event.Kind))
	}
	// The click may be faster than what is known of the post.
	got := strings.Replace(strings.Join(kinds, " "), "access_denied card_posted", "card_posted access_denied", 1)
	if got != "received card_posted access_denied form_opened decided submitted outcome" {
		t.Errorf("the history is %s", got)
	}
	text, err := os.ReadFile(checkpoints)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := store.ParseCheckpoints(text)
	if len(list) == 0 || list[len(list)-1].Events != 7 || !strings.Contains(s.logs.String(), list[len(list)-1].Hash) {
		t.Errorf("checkpoints %v; want the last in the file and in the log", list)
	}
	path := strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:")
	change(t, path, 1001, `"n":4,"kind":"form_opened"`, `"n":4,"kind":"card_posted"`)
	if got, err := s.command(s.alone(), "audit", "verify", "--checkpoints", checkpoints); err == nil || !strings.Contains(got, "JIT-1001, event 4: changed") {
		t.Errorf("verify = %q, %v", got, err)
	}
}

// What changed while nobody told its checkpoint is told at the start: otherwise
// verify would name the last retirement until there is another.
func TestCheckpointsOfOthersAreTold(t *testing.T) {
	keep, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keep.Close() })
	_, doc, err := store.NewLedgerEntry(nil, []*tickets.Ticket{{Number: "JIT-1001"}}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keep.RestoreLedger(t.Context(), [][]byte{doc}); err != nil {
		t.Fatal(err)
	}
	e, err := store.DecodeRetired(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	l := newCheckpointLog("", time.Now, slog.New(slog.NewJSONHandler(&out, nil)))
	l.noteOthers(t.Context(), keep)
	checkpoints, _ := store.ParseCheckpoints(out.Bytes())
	if want := []tickets.Checkpoint{{Ticket: store.LedgerCheckpoint, Events: 1, Hash: e.Hash}}; !slices.Equal(checkpoints, want) {
		t.Errorf("told %v, want %v", checkpoints, want)
	}
}
