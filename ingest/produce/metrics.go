package produce

import "github.com/VictoriaMetrics/metrics"

var ackSeconds = []float64{0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1}

// kafkaMetrics are the handles, made once.
type kafkaMetrics struct {
	outcomes [Spooled + 1]*metrics.Counter
	seconds  *metrics.PrometheusHistogram
	failures *metrics.Counter
	refusals *metrics.Counter
	dataLoss *metrics.Counter
}

func newKafkaMetrics(set *metrics.Set, k *Kafka) *kafkaMetrics {
	m := &kafkaMetrics{
		seconds:  set.NewPrometheusHistogramExt(`adtally_ingest_produce_seconds`, ackSeconds),
		failures: set.NewCounter(`adtally_ingest_produce_failures_total{reason="failed"}`),
		refusals: set.NewCounter(`adtally_ingest_produce_failures_total{reason="buffer_full"}`),
		dataLoss: set.NewCounter(`adtally_ingest_broker_data_loss_total`),
	}
	m.outcomes[Acked] = set.NewCounter(`adtally_ingest_produced_events_total{outcome="acked"}`)
	m.outcomes[Refused] = set.NewCounter(`adtally_ingest_produced_events_total{outcome="refused"}`)
	m.outcomes[Late] = set.NewCounter(`adtally_ingest_produced_events_total{outcome="late"}`)
	m.outcomes[Spooled] = set.NewCounter(`adtally_ingest_produced_events_total{outcome="spooled"}`)
	set.NewGauge(`adtally_ingest_produce_pending_events`, func() float64 { return float64(k.records.Load()) })
	set.NewGauge(`adtally_ingest_produce_pending_bytes`, func() float64 { return float64(k.bytes.Load()) })
	return m
}

func (m *kafkaMetrics) outcome(out Outcome, events int) { m.outcomes[out].Add(events) }
