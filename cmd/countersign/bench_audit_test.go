package main

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// BenchmarkAudit verifies and exports stores with as many events as
// BENCH_EVENTS names, separated by commas, as a process of its own, and tells
// how long that takes and how much memory it held.
func BenchmarkAudit(b *testing.B) {
	sizes := os.Getenv("BENCH_EVENTS")
	if sizes == "" {
		sizes = "100000,1000000"
	}
	binary := buildForBench(b)
	for _, kind := range []string{"sqlite", "redis"} {
		for size := range strings.SplitSeq(sizes, ",") {
			n, err := strconv.Atoi(size)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(kind+"/"+size, func(b *testing.B) {
				var addr string
				if kind == "sqlite" {
					addr = "sqlite:" + newKeep(b, kind, "")
				} else {
					addr = newKeep(b, kind, "no")
				}
				events := fillHistory(b, addr, n)
				for b.Loop() {
					for _, args := range [][]string{{"verify"}, {"export", "--format", "jsonl"}, {"export", "--format", "csv"}, {"export", "--format", "cef"}} {
						name := args[len(args)-1]
						cmd := exec.CommandContext(b.Context(), binary, append([]string{"audit"}, args...)...)
						cmd.Env = append(os.Environ(), "COUNTERSIGN_STORE="+addr)
						var out lineCounter
						var errs bytes.Buffer
						cmd.Stdout, cmd.Stderr = &out, &errs
						begin := time.Now()
						if err := cmd.Run(); err != nil {
							b.Fatalf("%v: %v %s", args, err, &errs)
						}
						took := time.Since(begin)
						if name != "verify" && out.lines < events {
							b.Errorf("%s exports %d lines of %d events", name, out.lines, events)
						}
						b.ReportMetric(took.Seconds(), name+"-s")
						b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), name+"-cpu-s")
						b.ReportMetric(float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, name+"-MiB")
					}
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// lineCounter counts the lines that are written to it.
type lineCounter struct{ lines int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// fillHistory fills a store with tickets of which everything happened, until
// there are n events, and returns how many there are.
func fillHistory(b *testing.B, addr string, n int) int {
	b.Helper()
	var keep archive
	var err error
	if path, ok := strings.CutPrefix(addr, "sqlite:"); ok {
		keep, err = sqlite.Open(b.Context(), sqlite.Config{Path: path})
	} else {
		keep, err = redis.Open(b.Context(), redis.Config{URL: addr})
	}
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := keep.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	before, after, _ := benchBody(b)
	rules := benchRules()
	place := rules.Places[0]
	ann := tickets.Actor{Platform: place.Platform, ID: "U01ANN", Name: "Ann"}
	at := time.Now().UTC()
	events, seq := 0, int64(1000)
	for events < n {
		var page []*tickets.Ticket
		for len(page) < 256 && events < n {
			seq++
			id := uuid.NewString()
			in := epm.Read(tickets.Incoming{ID: "in-" + id, Raw: []byte(before + id + after)})
			t := tickets.Start(tickets.NewNumber("JIT", seq), in.Update.ID, rules, at)
			t.ApplyUpdate(in, rules, at)
			t.RecordPost(place, "1700000000.000100", t, at)
			t.RecordFormOpened(ann, tickets.Approve, place, at)
			if err := t.Decide(tickets.Decision{Verdict: tickets.Approve, Reason: "ok for the patch window", Duration: tickets.Lasting(2 * time.Hour), By: ann, At: at, Place: place}, rules); err != nil {
				b.Fatal(err)
			}
			t.BeginSend(at)
			t.RecordAccepted(*t.Decision, at)
			t.Conclude(tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", By: "Ann", At: at, Start: at, End: at.Add(2 * time.Hour)}, rules, at)
			t.Version = 1
			events += len(t.Events)
			page = append(page, t)
		}
		err := keep.RestoreTickets(b.Context(), page, func(i int, _ store.Existing) *tickets.Ticket { return page[i] })
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := keep.RaiseCounter(b.Context(), seq); err != nil {
		b.Fatal(err)
	}
	return events
}
