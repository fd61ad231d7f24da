package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// TestDoctorDates: doctor says when the dates of kept webhooks contradict
// EPM_DAY_FIRST. To see it fail, leave checkDates out.
func TestDoctorDates(t *testing.T) {
	for name, c := range map[string]struct {
		times    []string
		dayFirst string
		want     string // in a note; empty: there is none
	}{
		"MonthsAsSaid":  {[]string{"01/31/2026 13:05:00", "1/2/2026 13:05:00"}, "false", ""},
		"DaysAsSaid":    {[]string{"31/01/2026 13:05:00"}, "true", ""},
		"Days":          {[]string{"31/01/2026 13:05:00", "1/2/2026 13:05:00"}, "false", "1 of the newest webhooks have the day first, and COUNTERSIGN_EPM_DAY_FIRST says that the month is. Set it to true."},
		"Months":        {[]string{"01/31/2026 13:05:00"}, "true", "have the month first, and COUNTERSIGN_EPM_DAY_FIRST says that the day is. Remove it."},
		"Both":          {[]string{"01/31/2026 13:05:00", "31/01/2026 13:05:00"}, "false", "1 have the day first and 1 the month"},
		"JustArrived":   {[]string{"5/12/2026 13:05:00"}, "false", "Set it to true"},
		"OtherLayouts":  {[]string{"2026-01-31 13:05:00", "31.01.2026 13:05:00", "soon"}, "false", ""},
		"NothingIsKept": {nil, "false", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			for i, at := range c.times {
				in := tickets.Incoming{ID: fmt.Sprintf("in-%d", i), At: time.Date(2026, 12, 5, 13, 6, 0, 0, time.UTC),
					Raw: fmt.Appendf(nil, `{"EventType":"JIT_ADMIN_TICKET_CREATED","RequestId":"r%d","Timestamp":%q}`, i, at)}
				if _, _, err := s.Accept(context.Background(), in, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var found checkup
			checkWebhooks(context.Background(), &found, config{environment: environment{EPMDayFirst: c.dayFirst}, storePath: path})
			var said []string
			for _, n := range found.notes {
				if strings.Contains(n.What, "dates") {
					said = append(said, n.Fix)
				}
			}
			if got := strings.Join(said, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("notes %q, want %q", got, c.want)
			}
		})
	}
}
