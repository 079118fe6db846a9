package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/testkit/reports"
)

// The planner reads the coarsest tables that can answer.
func TestPlannedTables(t *testing.T) {
	p := newPlanner()
	f := func(more string, settled bool, want string) {
		t.Helper()
		var got []string
		for _, src := range p.plan(t, mustReport(t, reports.OneAdvertiser, reports.Body(more)), settled).sources {
			got = append(got, tables[src.grain].name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: reads %v, want %s", more, got, want)
		}
	}
	f(``, true, "rollup_day")
	f(`"granularity":"month","start":"2026-01-01","end":"2026-12-31"`, true, "rollup_day")
	f(`"granularity":"day","timezone":"Asia/Kathmandu"`, true, "rollup_quarter")
	f(`"granularity":"hour"`, true, "rollup_quarter")
	f(`"granularity":"quarter","timezone":"Australia/Lord_Howe"`, true, "rollup_quarter")
	f(`"granularity":"minute"`, true, "ledger")
	f(`"start":"2026-11-01T00:00:00Z","end":"2026-11-02T00:15:00Z"`, true, "rollup_day rollup_quarter")
	f(`"start":"2026-11-01T00:01:00Z","end":"2026-11-03T00:00:00Z"`, true, "rollup_day rollup_quarter ledger")
	f(`"start":"2026-11-01T12:00:00Z","end":"2026-11-02T11:00:00Z"`, true, "rollup_quarter")
	f(`"start":"2026-11-01T12:01:00Z","end":"2026-11-01T12:14:00Z"`, true, "ledger")
	f(``, false, "rollup_day rollup_quarter ledger")
	f(`"granularity":"hour"`, false, "rollup_quarter ledger")
	f(`"timezone":"Europe/Berlin"`, true, "rollup_day rollup_quarter") // the account's days lie within
}

// Go says of the last day of leap years from 2040 on that its offset ends where
// it begins.
func TestRangesBeyond2040End(t *testing.T) {
	p := newPlanner()
	r := mustReport(t, reports.OneAdvertiser, reports.Body(`"granularity":"day","timezone":"Europe/Berlin","start":"2040-12-01","end":"2041-12-01"`))
	done := make(chan string, 1)
	go func() { done <- p.plan(t, r, true).Rows().SQL }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the plan does not end")
	}
}
