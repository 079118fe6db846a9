package spool

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

var (
	syncSeconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	groupSizes  = []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500}

	refusals = [...]string{refusedFull: "full", refusedFailed: "failed", refusedTimeout: "timeout", refusedClosed: "closed", refusedSize: "too_large"}
)

// refusal is why Append did not take events.
type refusal uint8

const (
	refusedFull refusal = iota
	refusedFailed
	refusedTimeout
	refusedClosed
	refusedSize
)

// spoolMetrics are the handles of the spool, made once.
type spoolMetrics struct {
	events, bytes         *metrics.Counter
	sync, group           *metrics.PrometheusHistogram
	drained, side         *metrics.Counter
	damaged, lost, poison *metrics.Counter
	refused               [len(refusals)]*metrics.Counter
}

func newMetrics(set *metrics.Set, s *Spool) *spoolMetrics {
	m := &spoolMetrics{
		events:  set.NewCounter(`adtally_spool_appended_events_total`),
		bytes:   set.NewCounter(`adtally_spool_appended_bytes_total`),
		sync:    set.NewPrometheusHistogramExt(`adtally_spool_fsync_seconds`, syncSeconds),
		group:   set.NewPrometheusHistogramExt(`adtally_spool_group_events`, groupSizes),
		drained: set.NewCounter(`adtally_spool_drained_events_total`),
		side:    set.NewCounter(`adtally_spool_side_events_total`),
		damaged: set.NewCounter(`adtally_spool_damaged_segments_total`),
		lost:    set.NewCounter(`adtally_spool_lost_events_total`),
		poison:  set.NewCounter(`adtally_spool_poisoned_segments_total`),
	}
	for i, reason := range refusals {
		m.refused[i] = set.NewCounter(fmt.Sprintf(`adtally_spool_refused_events_total{reason=%q}`, reason))
	}
	set.NewGauge(`adtally_spool_segments`, func() float64 { return float64(s.Stats().Segments) })
	set.NewGauge(`adtally_spool_damaged_segments`, func() float64 { return float64(s.Stats().Damaged) })
	set.NewGauge(`adtally_spool_bytes`, func() float64 { return float64(s.Stats().Bytes) })
	set.NewGauge(`adtally_spool_pending_events`, func() float64 { return float64(s.Stats().Events) })
	set.NewGauge(`adtally_spool_oldest_age_seconds`, func() float64 { return s.Stats().Age.Seconds() })
	return m
}
