package aggregate

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/adtally/adtally/internal/ledger"
)

// counters are the series of aggregate. Handles are made once; there is no
// look-up per event.
type counters struct {
	folded    *metrics.Counter
	rebuilt   *metrics.Counter
	poison    *metrics.Counter
	synthetic *metrics.Counter
	blocks    *metrics.Counter
	rows      *metrics.Counter
	retries   *metrics.Counter
	inDoubt   *metrics.Counter
	ticks     *metrics.Counter
	pauses    *metrics.Counter
	insertSec *metrics.PrometheusHistogram

	tooManyParts *metrics.Counter
	fenced       *metrics.Counter
	interval     durationGauge
	audited      atomic.Int64 // seconds since 1970

	set *metrics.Set
}

// fault counts faults of a kind that audits find.
func (c *counters) fault(kind string) *metrics.Counter {
	return c.set.GetOrCreateCounter(fmt.Sprintf("adtally_audit_faults_total{kind=%q}", kind))
}

// conserve publishes where the records of a partition went. Audits call it,
// which are rare.
func (c *counters) conserve(p *ledger.Partition, inFlight int64) {
	put := func(place string, n int64) {
		c.set.GetOrCreateGauge(fmt.Sprintf(`adtally_conservation_events{partition="%d",place=%q}`, p.ID, place), nil).Set(float64(n))
	}
	put("accepted", p.Records-p.Ticks+inFlight)
	put("counted", p.Net)
	put("duplicate", p.Duplicate)
	put("filtered", p.Invalid+p.Orphan)
	put("rejected", p.Poison)
	put("pending", p.Pending)
	put("in_flight", inFlight)
	put("missing", p.Missing())
}

// durationGauge is a duration that one goroutine sets and others read.
type durationGauge struct{ atomic.Int64 }

// Store sets it.
func (g *durationGauge) Store(d time.Duration) { g.Int64.Store(int64(d)) }

func (g *durationGauge) seconds() float64 { return time.Duration(g.Load()).Seconds() }

func newCounters(set *metrics.Set) *counters {
	c := &counters{
		folded:    set.NewCounter("adtally_aggregate_events_folded_total"),
		rebuilt:   set.NewCounter("adtally_aggregate_events_rebuilt_total"),
		poison:    set.NewCounter("adtally_aggregate_events_poison_total"),
		synthetic: set.NewCounter("adtally_aggregate_events_synthetic_duplicate_total"),
		blocks:    set.NewCounter("adtally_aggregate_blocks_total"),
		rows:      set.NewCounter("adtally_aggregate_rows_total"),
		retries:   set.NewCounter("adtally_aggregate_insert_retries_total"),
		inDoubt:   set.NewCounter("adtally_aggregate_insert_in_doubt_total"),
		ticks:     set.NewCounter("adtally_aggregate_ticks_total"),
		pauses:    set.NewCounter("adtally_aggregate_partition_pauses_total"),
		insertSec: set.NewPrometheusHistogramExt("adtally_aggregate_insert_seconds", []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}),

		tooManyParts: set.NewCounter("adtally_aggregate_too_many_parts_total"),
		set:          set,
		fenced:       set.NewCounter("adtally_aggregate_fenced_total"),
	}
	set.NewGauge("adtally_audit_last_seconds", func() float64 { return float64(c.audited.Load()) })
	set.NewGauge("adtally_aggregate_flush_interval_seconds", c.interval.seconds)
	return c
}
