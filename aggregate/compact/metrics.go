package compact

import (
	"errors"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/adtally/adtally/internal/books"
)

// counters are the series of the compactor.
type counters struct {
	cuts, failures, lost, dropped *metrics.Counter
	rows, days                    *metrics.Counter
	last, created, frozen, gaps   *metrics.Gauge
	deltas                        *metrics.Gauge
	seconds                       *metrics.PrometheusHistogram
}

func newCounters(set *metrics.Set) *counters {
	return &counters{
		cuts:     set.NewCounter("adtally_compact_cuts_total"),
		failures: set.NewCounter("adtally_compact_failures_total"),
		lost:     set.NewCounter("adtally_compact_lost_races_total"),
		dropped:  set.NewCounter("adtally_compact_dropped_partitions_total"),
		rows:     set.NewCounter("adtally_compact_rows_total"),
		days:     set.NewCounter("adtally_compact_ledger_days_dropped_total"),
		last:     set.NewGauge("adtally_compact_last_cut", nil),
		created:  set.NewGauge("adtally_compact_last_cut_timestamp_seconds", nil),
		frozen:   set.NewGauge("adtally_compact_frozen", nil),
		gaps:     set.NewGauge("adtally_compact_partitions_with_gap", nil),
		deltas:   set.NewGauge("adtally_compact_deltas", nil),
		seconds:  set.NewPrometheusHistogramExt("adtally_compact_cut_seconds", []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800}),
	}
}

// note counts an attempt. cut is nil when there was nothing to do.
func (c *counters) note(cut *books.Cut, err error) {
	if err != nil {
		c.failures.Inc()
	}
	frozen := 0.0
	if errors.Is(err, ErrFrozen) {
		frozen = 1
	}
	c.frozen.Set(frozen)
	if cut == nil {
		return
	}
	c.cuts.Inc()
	c.rows.Add(int(cut.Rows))
	c.last.Set(float64(cut.Number))
	c.created.Set(float64(time.Now().Unix()))
	c.deltas.Set(float64(len(cut.Cover)))
	c.seconds.Update(cut.Seconds)
}
