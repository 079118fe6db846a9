package aggregate

import "github.com/VictoriaMetrics/metrics"

// counters are the series of aggregate. Handles are made once; there is no
// look-up per event.
type counters struct {
	folded    *metrics.Counter
	rebuilt   *metrics.Counter
	poison    *metrics.Counter
	blocks    *metrics.Counter
	rows      *metrics.Counter
	retries   *metrics.Counter
	inDoubt   *metrics.Counter
	ticks     *metrics.Counter
	pauses    *metrics.Counter
	insertSec *metrics.PrometheusHistogram
}

func newCounters(set *metrics.Set) *counters {
	return &counters{
		folded:    set.NewCounter("adtally_aggregate_events_folded_total"),
		rebuilt:   set.NewCounter("adtally_aggregate_events_rebuilt_total"),
		poison:    set.NewCounter("adtally_aggregate_events_poison_total"),
		blocks:    set.NewCounter("adtally_aggregate_blocks_total"),
		rows:      set.NewCounter("adtally_aggregate_rows_total"),
		retries:   set.NewCounter("adtally_aggregate_insert_retries_total"),
		inDoubt:   set.NewCounter("adtally_aggregate_insert_in_doubt_total"),
		ticks:     set.NewCounter("adtally_aggregate_ticks_total"),
		pauses:    set.NewCounter("adtally_aggregate_partition_pauses_total"),
		insertSec: set.NewPrometheusHistogramExt("adtally_aggregate_insert_seconds", []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}),
	}
}
