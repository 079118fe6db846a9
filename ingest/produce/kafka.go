package produce

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/ops"
	"github.com/adtally/adtally/proto"
)

// Outcome is what became of a batch within the time that its request had.
type Outcome uint8

// The outcomes of Append.
const (
	// Acked says that every event is in Kafka.
	Acked Outcome = iota + 1
	// Refused says that at least one event will not be written: there was no
	// room to keep the batch, or Kafka will never take it.
	Refused
	// Late says that Kafka has not answered for every event yet. It may still.
	Late
	// Spooled says that every event is on disk, and will be in Kafka.
	Spooled
)

// Durable reports whether a request may be answered with success.
func (o Outcome) Durable() bool { return o == Acked || o == Spooled }

// metadataMinAge is how soon the producer asks again who leads a partition.
// With the default of 5 s every change of a leader would cost that long.
const metadataMinAge = 100 * time.Millisecond

// Topic is where the events go. Partitions and spread are part of the data
// format: see proto.Partition.
type Topic struct {
	Name       string
	Partitions int
	Spread     int
}

// Kafka is the ingest.Sink that produces to a Kafka topic. A record is never given
// up: no delivery timeout, no retry limit, and the contexts of records do not
// end, because a record that was sent once cannot be taken back.
type Kafka struct {
	client  *kgo.Client
	topic   Topic
	cfg     Config
	log     zerolog.Logger // sampled: what goes wrong per event is counted always
	metrics *kafkaMetrics
	rounds  *rounds
	lanes   []lane // by partition

	// What waits for Kafka now: records, and the memory of their batches.
	records, bytes atomic.Int64
}

// lane is how one partition fares.
type lane struct {
	pending atomic.Int64 // records that wait for Kafka
	// lateSince is when the partition began to miss deadlines, in unix
	// nanoseconds, or 0; an ack in time ends it.
	lateSince atomic.Int64
}

// behind reports that the partition misses deadlines: what is given to it now
// would wait behind what it has not acknowledged.
func (l *lane) behind() bool { return l.lateSince.Load() != 0 && l.pending.Load() > 0 }

// settled counts a record out.
func (l *lane) settled(ackedInTime bool) {
	l.pending.Add(-1)
	if ackedInTime {
		l.recovered()
	}
}

func (l *lane) recovered() {
	if l.lateSince.Load() != 0 {
		l.lateSince.Store(0)
	}
}

// NewKafka returns a sink for the topic, which must exist. The options say
// how to reach the brokers. It connects with the first event.
func NewKafka(cfg Config, topic Topic, log zerolog.Logger, set *metrics.Set, opts ...kgo.Opt) (*Kafka, error) {
	if topic.Name == "" || topic.Partitions < 1 || topic.Spread < 1 {
		return nil, fmt.Errorf("topic %q with %d partitions, spread %d: all three are needed", topic.Name, topic.Partitions, topic.Spread)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	compression, err := codec(cfg.Compression)
	if err != nil {
		return nil, err
	}
	k := &Kafka{topic: topic, cfg: cfg, log: ops.Sampled(log), lanes: make([]lane, topic.Partitions)}
	k.rounds = newRounds(k, cfg.Linger)
	k.metrics = newKafkaMetrics(set, k)
	all := append(append([]kgo.Opt(nil), opts...),
		kgo.DefaultProduceTopic(topic.Name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(-1),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MaxBufferedRecords(cfg.MaxRecords),
		kgo.MaxBufferedBytes(cfg.MaxBytes),
		kgo.ProducerLinger(cfg.Linger+safetyLinger),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerOnDataLossDetected(func(topic string, partition int32) {
			k.metrics.dataLoss.Inc()
			log.Error().Str("topic", topic).Int32("partition", partition).Msg("broker lost acknowledged records")
		}),
	)
	if k.client, err = kgo.NewClient(all...); err != nil {
		return nil, fmt.Errorf("make kafka producer: %w", err)
	}
	return k, nil
}

// Partition returns the partition of e in the topic.
func (k *Kafka) Partition(e *proto.Event) int32 {
	return proto.Partition(e, uint32(k.topic.Spread), uint32(k.topic.Partitions))
}

// Append produces the events of b. It takes all of them or none: a batch that
// would not fit is refused before its first record.
func (k *Kafka) Append(b *Batch, wait time.Duration) Outcome {
	start := time.Now()
	f := &b.flight
	f.prepare(b)
	if !k.admit(int64(b.Len()), f.bytes) {
		k.metrics.outcome(Refused, b.Len())
		return Refused
	}
	f.sink = k
	b.Hold()
	for i := range f.records {
		p := b.Partition(i)
		f.records[i] = kgo.Record{Value: b.Event(i), Topic: k.topic.Name, Partition: p, Timestamp: start}
		k.lanes[p].pending.Add(1)
	}
	k.rounds.add(b, start, wait)
	<-f.done
	out := f.outcome()
	k.metrics.outcome(out, b.Len())
	k.metrics.seconds.UpdateDuration(start)
	if out == Late {
		k.late(b, start)
		k.log.Warn().Int("events", b.Len()).Dur("waited", wait).Msg("kafka did not acknowledge in time")
	}
	return out
}

// late marks the partitions of b. Those that are not the cause are acked again
// at once.
func (k *Kafka) late(b *Batch, since time.Time) {
	for i := range b.Len() {
		k.lanes[b.Partition(i)].lateSince.CompareAndSwap(0, since.UnixNano())
	}
}

// Ready reports the first partition that misses deadlines.
func (k *Kafka) Ready() error {
	for i := range k.lanes {
		if l := &k.lanes[i]; l.behind() {
			since := time.Unix(0, l.lateSince.Load()).UTC()
			return fmt.Errorf("kafka has not acknowledged in time since %s (partition %d)", since.Format(time.RFC3339), i)
		}
	}
	return nil
}

// behind reports that one of the partitions of b misses deadlines.
func (k *Kafka) behind(b *Batch) bool {
	for i := range b.Len() {
		if k.lanes[b.Partition(i)].behind() {
			return true
		}
	}
	return false
}

// Close flushes the producer and closes it.
func (k *Kafka) Close(ctx context.Context) error {
	err := k.flush(ctx)
	left := k.records.Load()
	k.client.Close()
	if err != nil {
		return fmt.Errorf("flush kafka producer, %d events unacknowledged: %w", left, err)
	}
	return nil
}

// flush sends everything and waits for the acks.
func (k *Kafka) flush(ctx context.Context) error {
	k.rounds.flush()
	return k.client.Flush(ctx)
}

// admit counts a batch in if there is room for it.
func (k *Kafka) admit(records, bytes int64) bool {
	fits := k.records.Add(records) <= int64(k.cfg.MaxRecords)
	fits = k.bytes.Add(bytes) <= int64(k.cfg.MaxBytes) && fits
	if !fits {
		k.records.Add(-records)
		k.bytes.Add(-bytes)
	}
	return fits
}

// fault counts a record that will not be written.
func (k *Kafka) fault(err error) {
	if errors.Is(err, kgo.ErrMaxBuffered) {
		k.metrics.refusals.Inc()
		return
	}
	k.metrics.failures.Inc()
	k.log.Error().Err(err).Msg("kafka refused an event")
}
