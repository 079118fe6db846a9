package produce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/ingest/spool"
	"github.com/adtally/adtally/proto"
)

// closingFlush is how long Kafka may take at shutdown for what it has not
// acknowledged. Nobody waits for it: what was answered is in Kafka or on disk.
const closingFlush = 5 * time.Second

// Durable brings batches to Kafka, or to the spool when Kafka does not
// answer in time. The produce is left running then, so an event may be in the
// topic twice; duplicates are removed downstream.
//
// While Kafka is behind, batches go to the spool at once and only there: a
// request does not wait for a deadline that will be missed, and the producer's
// memory does not fill with events that are on disk.
type Durable struct {
	kafka *Kafka
	spool *spool.Spool
	// side is the topic of events that were spooled for too long.
	side string
}

// NewDurable returns a sink that owns both. Run must be running for Append.
func NewDurable(kafka *Kafka, spool *spool.Spool, side string) *Durable {
	return &Durable{kafka: kafka, spool: spool, side: side}
}

// Run takes appends to the spool and drains it until ctx is done or the sink is
// closed.
func (d *Durable) Run(ctx context.Context) error {
	if err := d.spool.Run(ctx, d); err != nil {
		return fmt.Errorf("run spool: %w", err)
	}
	return nil
}

// Partition implements ingest.Sink.
func (d *Durable) Partition(e *proto.Event) int32 { return d.kafka.Partition(e) }

// Append implements ingest.Sink.
func (d *Durable) Append(b *Batch, wait time.Duration) Outcome {
	if d.kafka.behind(b) && d.keep(b) {
		return Spooled
	}
	out := d.kafka.Append(b, wait)
	if out != Acked && d.keep(b) {
		return Spooled
	}
	return out
}

// keep brings b to the spool and reports whether it is on disk.
func (d *Durable) keep(b *Batch) bool {
	b.entries = b.entries[:0]
	for i := range b.Len() {
		b.entries = append(b.entries, spool.Entry{Partition: b.Partition(i), Data: b.Event(i)})
	}
	if err := d.spool.Append(b.entries); err != nil {
		d.kafka.log.Warn().Err(err).Int("events", b.Len()).Msg("spool did not take events")
		return false
	}
	d.kafka.metrics.outcome(Spooled, b.Len())
	return true
}

// Ready implements ingest.Sink: one of the two must take events.
func (d *Durable) Ready() error {
	late := d.kafka.Ready()
	if late == nil {
		return nil
	}
	if err := d.spool.Ready(); err != nil {
		return errors.Join(late, err)
	}
	return nil
}

// Close implements ingest.Sink. Events that Kafka has not acknowledged by then are on
// disk, or were refused.
func (d *Durable) Close(ctx context.Context) error {
	flushing, cancel := context.WithTimeout(ctx, closingFlush)
	defer cancel()
	if err := d.kafka.flush(flushing); err != nil {
		d.kafka.log.Warn().Int64("events", d.kafka.records.Load()).Msg("kafka did not acknowledge everything; what was answered is in the spool")
	}
	err := d.spool.Close()
	d.kafka.client.Close()
	if err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

var errBehind = errors.New("kafka is behind")

// Produce implements spool.Drain. Nothing is given to a partition while it is
// behind: it holds records for as long as an outage lasts, and the age of a
// spooled copy must be looked at when the outage is over, not when it began.
func (d *Durable) Produce(ctx context.Context, entries []spool.Entry) error {
	lanes := d.kafka.lanes
	for i := range entries {
		p := entries[i].Partition
		if p < 0 || int(p) >= len(lanes) {
			return fmt.Errorf("produce spooled event of partition %d: topic %s has %d", p, d.kafka.topic.Name, len(lanes))
		}
		if lanes[p].behind() {
			return errBehind
		}
	}
	if err := d.produce(ctx, d.kafka.topic.Name, entries, func(e *spool.Entry) int32 { return e.Partition }); err != nil {
		return err
	}
	for i := range entries {
		lanes[entries[i].Partition].recovered()
	}
	return nil
}

// Side implements spool.Drain. The side topic is for people, so its partitions
// mean nothing, and one of them is enough.
func (d *Durable) Side(ctx context.Context, entries []spool.Entry) error {
	return d.produce(ctx, d.side, entries, func(*spool.Entry) int32 { return 0 })
}

// produce returns nil when all entries are acknowledged. The producer may hold
// records for longer than the call, so they get memory of their own.
func (d *Durable) produce(ctx context.Context, topic string, entries []spool.Entry, partition func(*spool.Entry) int32) error {
	size := 0
	for _, e := range entries {
		size += len(e.Data)
	}
	memory := make([]byte, 0, size)
	records := make([]kgo.Record, len(entries))
	acks := make(chan error, len(entries))
	for i := range entries {
		start := len(memory)
		memory = append(memory, entries[i].Data...)
		records[i] = kgo.Record{Topic: topic, Partition: partition(&entries[i]), Value: memory[start:len(memory):len(memory)]}
		d.kafka.client.TryProduce(context.Background(), &records[i], func(_ *kgo.Record, err error) { acks <- err })
	}
	d.kafka.push()
	var failed error
	for range entries {
		select {
		case err := <-acks:
			if failed == nil { // thousands of records fail alike
				failed = err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if failed != nil {
		return fmt.Errorf("produce spooled events to %s: %w", topic, failed)
	}
	return nil
}
