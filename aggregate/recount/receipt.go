package recount

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ledger"
	"github.com/adtally/adtally/proto"
)

// Receipts tells the fate of single events. It reads the log around them and lets
// the core decide again about the records that share their ids, so it costs
// nothing while events are counted, and cannot say anything else than the books.
type Receipts struct {
	Rules window.Config
	Topic ledger.Topic
	Conn  clickhouse.Conn
	// Options say where the brokers are.
	Options []kgo.Opt
}

// Receipt is the fate of one record.
type Receipt struct {
	Partition int32
	Offset    int64
	LAT       time.Time
	Event     *proto.Event
	// Fate is one of the words below.
	Fate string
	// Row is what the record added to its cell; zero while it is pending. Beyond
	// the limit of distinct dimensions the books have it under __other__.
	Row window.Row
	// DuplicateOf is the offset of the first copy in the same partition, -1 for
	// none.
	DuplicateOf int64
	// Batch says which batch counted it; zero while none did.
	Batch      uuid.UUID
	From, To   uint64
	BatchBegan time.Time
}

// The fates of records.
const (
	FateCounted   = "counted"
	FateDuplicate = "duplicate"
	FateFiltered  = "filtered"
	FateOrphan    = "orphan"
	FatePending   = "pending"
)

// found is a record that shares an id.
type found struct {
	rec   *kgo.Record
	event *proto.Event
}

// Stretch is a part of the log by the time at which the broker appended it, both
// ends included.
type Stretch struct{ Since, Until time.Time }

// Find returns the receipts of the records with an event id that were appended
// within a stretch of the log, in all partitions.
func (r *Receipts) Find(ctx context.Context, id proto.ID, within Stretch) ([]Receipt, error) {
	client, err := kgo.NewClient(append(slices.Clone(r.Options), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	bounds, err := r.bounds(ctx, client, within)
	if err != nil {
		return nil, err
	}
	records, last, err := r.scan(ctx, client, bounds, id)
	if err != nil {
		return nil, err
	}
	// A click is judged with its impression and the other clicks on it.
	related := map[proto.ID]bool{}
	for _, f := range records {
		if other := f.event.ImpressionID(); f.event.EventID() == id && !other.IsZero() && other != id {
			related[other] = true
		}
	}
	for other := range related {
		more, _, err := r.scan(ctx, client, bounds, other)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	list, err := r.judge(ctx, records, id, last)
	return slices.DeleteFunc(list, func(one Receipt) bool { return one.LAT.After(within.Until) }), err
}

// bounds returns the offsets that decide on what was appended within a stretch: a
// verdict looks back, and a click waits for its impression.
func (r *Receipts) bounds(ctx context.Context, client *kgo.Client, within Stretch) (map[int32]kafka.Bounds, error) {
	bounds, err := kafka.LogBounds(ctx, client, r.Topic.Name)
	if err != nil {
		return nil, err
	}
	starts, err := kafka.OffsetsAfter(ctx, client, r.Topic.Name, within.Since.Add(-r.Rules.Lookback()))
	if err != nil {
		return nil, err
	}
	ends, err := kafka.OffsetsAfter(ctx, client, r.Topic.Name, within.Until.Add(r.Rules.Lookahead()))
	if err != nil {
		return nil, err
	}
	for partition, log := range bounds {
		if at, ok := starts.Lookup(r.Topic.Name, partition); ok && at.Offset >= 0 {
			log.First = max(log.First, at.Offset)
		}
		if at, ok := ends.Lookup(r.Topic.Name, partition); ok && at.Offset >= 0 {
			log.End = min(log.End, at.Offset)
		}
		bounds[partition] = log
	}
	return bounds, nil
}

// scan reads a part of the log and keeps the records that hold an id. last is the
// newest time in it.
func (r *Receipts) scan(ctx context.Context, client *kgo.Client, bounds map[int32]kafka.Bounds, id proto.ID) (kept []found, last time.Time, err error) {
	starts, left := map[int32]kgo.Offset{}, map[int32]int64{}
	var partitions []int32
	for partition, log := range bounds {
		if log.First < log.End {
			starts[partition], left[partition] = kgo.NewOffset().At(log.First), log.End
			partitions = append(partitions, partition)
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic.Name: starts})
	defer client.RemoveConsumePartitions(map[string][]int32{r.Topic.Name: partitions})
	pattern := binary.LittleEndian.AppendUint64(nil, id.Lo)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, last, fmt.Errorf("read the log: %w", err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			end, open := left[rec.Partition]
			if !open || rec.Offset >= end {
				return
			}
			if rec.Offset == end-1 {
				delete(left, rec.Partition)
			}
			if rec.Timestamp.After(last) {
				last = rec.Timestamp
			}
			if !bytes.Contains(rec.Value, pattern) {
				return
			}
			ev := &proto.Event{}
			if err := ev.UnmarshalVT(rec.Value); err == nil && (ev.EventID() == id || ev.ImpressionID() == id) {
				kept = append(kept, found{rec, ev})
			}
		})
	}
	return kept, last, nil
}

// judge folds the records of each partition in their order.
func (r *Receipts) judge(ctx context.Context, records []found, id proto.ID, last time.Time) ([]Receipt, error) {
	byPartition := map[int32][]found{}
	for _, f := range records {
		byPartition[f.rec.Partition] = append(byPartition[f.rec.Partition], f)
	}
	var list []Receipt
	for _, of := range byPartition {
		slices.SortFunc(of, func(a, b found) int { return int(a.rec.Offset - b.rec.Offset) })
		of = slices.CompactFunc(of, func(a, b found) bool { return a.rec.Offset == b.rec.Offset })
		list = append(list, r.fold(of, id, last)...)
	}
	slices.SortFunc(list, func(a, b Receipt) int { return a.LAT.Compare(b.LAT) })
	for i := range list {
		if err := r.batch(ctx, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *Receipts) fold(records []found, id proto.ID, last time.Time) (list []Receipt) {
	state := window.NewState(r.Rules, silent{})
	waiting := []int{} // places in list of clicks that wait for their impression
	settle := func(d *window.Delta, from int) {
		var row window.Row
		for i := from; i < d.Len() && len(waiting) > 0; i++ {
			if d.Row(i, &row); row.Type == proto.EventType_EVENT_TYPE_CLICK {
				list[waiting[0]].settle(&row)
				waiting = waiting[1:]
			}
		}
	}
	for i, f := range records {
		var d window.Delta
		state.FoldBatch([]window.Record{{Value: f.rec.Value, LAT: f.rec.Timestamp.UnixMilli()}}, &d)
		if f.event.EventID() != id {
			settle(&d, 0)
			continue
		}
		one := Receipt{
			Partition: f.rec.Partition, Offset: f.rec.Offset, LAT: f.rec.Timestamp.UTC(), Event: f.event, Fate: FatePending, DuplicateOf: -1,
		}
		var row window.Row
		for j := range d.Len() {
			if d.Row(j, &row); row.Type == f.event.Type {
				one.settle(&row)
			}
		}
		if one.Fate == FateDuplicate {
			for _, before := range records[:i] {
				if before.event.EventID() == id && before.event.Type == f.event.Type {
					one.DuplicateOf = before.rec.Offset
					break
				}
			}
		}
		list = append(list, one)
		if one.Fate == FatePending {
			waiting = append(waiting, len(list)-1)
		}
	}
	tick, err := (&proto.Event{Type: proto.EventType_EVENT_TYPE_TICK}).MarshalVT()
	if err != nil {
		panic("BUG: a tick does not encode: " + err.Error())
	}
	var d window.Delta
	state.FoldBatch([]window.Record{{Value: tick, LAT: last.UnixMilli()}}, &d)
	settle(&d, 0)
	return list
}

func (one *Receipt) settle(row *window.Row) {
	one.Row = *row
	switch {
	case row.Net > 0:
		one.Fate = FateCounted
	case row.Duplicate > 0:
		one.Fate = FateDuplicate
	case row.Invalid > 0:
		one.Fate = FateFiltered
	case row.Orphan > 0:
		one.Fate = FateOrphan
	}
}

// batch finds the batch that counted a record.
func (r *Receipts) batch(ctx context.Context, one *Receipt) error {
	params := clickhouse.Parameters{
		"topic": r.Topic.ID.String(), "lineage": strconv.FormatUint(uint64(r.Topic.Lineage), 10),
		"partition": strconv.Itoa(int(one.Partition)), "offset": strconv.FormatInt(one.Offset, 10),
		"since": one.LAT.AddDate(0, 0, -1).Format(time.DateOnly),
	}
	var n uint64
	row := r.Conn.QueryRow(clickhouse.With(ctx, "", nil, params), `
SELECT count(), any(batch_id), any(b_start), any(b_end), any(block_lat) FROM ledger
WHERE advertiser = 0 AND lat_day >= {since:Date} AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND kafka_partition = {partition:Int32}
  AND b_start <= {offset:UInt64} AND b_end > {offset:UInt64}`)
	if err := row.Scan(&n, &one.Batch, &one.From, &one.To, &one.BatchBegan); err != nil {
		return fmt.Errorf("read the batch: %w", err)
	}
	if n == 0 {
		one.Batch = uuid.UUID{}
	}
	return nil
}
