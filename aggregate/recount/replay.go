package recount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ledger"
	"github.com/adtally/adtally/proto"
)

// Replay counts stretches of the log again, into memory, and compares them with
// the ledger. It writes nothing. Its rules must be those that the ledger was
// counted with.
type Replay struct {
	Rules window.Config
	Topic ledger.Topic
	Conn  clickhouse.Conn
	// Options say where the brokers are.
	Options []kgo.Opt
	// Since leaves out batches before that day of broker time; zero for none.
	Since time.Time
	// Progress is told how many records of how many of a partition were read; nil
	// for nobody.
	Progress func(partition int32, records, of int64)
}

// Replayed is what came out for one partition.
type Replayed struct {
	Partition int32
	// From and To are the offsets [From, To) that were counted again, ReadFrom
	// the offset from which on they were read.
	ReadFrom, From, To int64
	// Cells is the number of cells in the ledger or the replay.
	Cells int
	// Versions are the code versions that counted the batches. Another than
	// window.CodeVersion may count differently.
	Versions    []uint32
	Differences []Difference
}

// Difference is a cell that the ledger and the log tell differently.
type Difference struct {
	// Ledger and Log are the figures; zero where there is no such cell.
	Ledger, Log window.Row
}

// ErrLogGone means that the log does not hold what a replay needs.
var ErrLogGone = errors.New("the log is gone")

// Run replays one partition.
func (r *Replay) Run(ctx context.Context, partition int32) (Replayed, error) {
	out := Replayed{Partition: partition}
	if err := r.stretch(ctx, &out); err != nil || out.From == out.To {
		return out, err
	}
	client, err := kgo.NewClient(append(slices.Clone(r.Options), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return out, fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	if err := r.lookBack(ctx, client, &out); err != nil {
		return out, err
	}
	var counted window.Delta
	state := window.NewState(r.Rules, silent{})
	err = r.read(ctx, client, partition, out.ReadFrom, out.To, func(recs []*kgo.Record) {
		batch := make([]window.Record, len(recs))
		before := 0
		for i, rec := range recs {
			batch[i] = window.Record{Value: rec.Value, LAT: rec.Timestamp.UnixMilli()}
			if rec.Offset < out.From {
				before++
			}
		}
		state.FoldBatch(batch[:before], nil)
		state.FoldBatch(batch[before:], &counted)
		if r.Progress != nil {
			r.Progress(partition, recs[len(recs)-1].Offset+1-out.ReadFrom, out.To-out.ReadFrom)
		}
	})
	if err != nil {
		return out, err
	}
	return out, r.compare(ctx, &counted, &out)
}

// silent is a window.Reporter that tells nobody: all was told when it counted.
type silent struct{}

func (silent) Poison(int, error) {}
func (silent) Synthetic(int)     {}

// stretch asks the ledger which offsets its batches cover.
func (r *Replay) stretch(ctx context.Context, out *Replayed) error {
	var from, to uint64
	var first, dropped time.Time
	row := r.Conn.QueryRow(r.parameters(ctx, out), `
SELECT min(b_start), max(b_end), groupUniqArray(code_version), min(lat_day), (SELECT max(day) FROM dropped_days) FROM ledger
WHERE advertiser = 0 AND lat_day >= {since:Date} AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND kafka_partition = {partition:Int32}`)
	if err := row.Scan(&from, &to, &out.Versions, &first, &dropped); err != nil {
		return fmt.Errorf("read batches of partition %d: %w", out.Partition, err)
	}
	if to > 0 && !first.After(dropped) {
		return fmt.Errorf("%w: the ledger keeps the minutes of %s and before no longer; choose a later day with --since",
			ErrLogGone, dropped.Format(time.DateOnly))
	}
	slices.Sort(out.Versions)
	out.From, out.To = int64(from), int64(to)
	return nil
}

func (r *Replay) parameters(ctx context.Context, out *Replayed) context.Context {
	since := r.Since
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	return clickhouse.With(ctx, "", nil, clickhouse.Parameters{
		"topic": r.Topic.ID.String(), "lineage": strconv.FormatUint(uint64(r.Topic.Lineage), 10), "since": since.UTC().Format(time.DateOnly),
		"partition": strconv.Itoa(int(out.Partition)),
		"from":      strconv.FormatInt(out.From, 10), "to": strconv.FormatInt(out.To, 10),
	})
}

// lookBack finds the offset to read from: verdicts of the first records look
// back on what lies before them.
func (r *Replay) lookBack(ctx context.Context, client *kgo.Client, out *Replayed) error {
	bounds, err := kafka.LogBounds(ctx, client, r.Topic.Name)
	if err != nil {
		return err
	}
	log := bounds[out.Partition]
	switch {
	case log.First > out.From:
		return fmt.Errorf("%w: partition %d begins at offset %d, and the batches at %d; choose a later day with --since", ErrLogGone, out.Partition, log.First, out.From)
	case log.End < out.To:
		return fmt.Errorf("%w: partition %d ends at offset %d, and the batches at %d", ErrLogGone, out.Partition, log.End, out.To)
	}
	var first time.Time
	if err := r.read(ctx, client, out.Partition, out.From, out.From+1, func(recs []*kgo.Record) { first = recs[0].Timestamp }); err != nil {
		return err
	}
	since, err := kafka.OffsetsAfter(ctx, client, r.Topic.Name, first.Add(-r.Rules.Lookback()))
	if err != nil {
		return err
	}
	out.ReadFrom = out.From
	if back, ok := since.Lookup(r.Topic.Name, out.Partition); ok && back.Offset >= 0 {
		out.ReadFrom = max(min(out.From, back.Offset), log.First)
	}
	if log.First > 0 && out.ReadFrom == log.First {
		return fmt.Errorf("%w: partition %d begins at offset %d, later than verdicts look back on from offset %d; choose a later day with --since",
			ErrLogGone, out.Partition, log.First, out.From)
	}
	return nil
}

// read hands the records with the offsets [from, to) of a partition to fold, in
// their order.
func (r *Replay) read(ctx context.Context, client *kgo.Client, partition int32, from, to int64, fold func([]*kgo.Record)) error {
	itself := map[string]map[int32]kgo.Offset{r.Topic.Name: {partition: kgo.NewOffset().At(from)}}
	client.AddConsumePartitions(itself)
	defer client.RemoveConsumePartitions(map[string][]int32{r.Topic.Name: {partition}})
	for next := from; next < to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read partition %d: %w", partition, err)
		}
		recs := fetches.Records()
		for i, rec := range recs {
			if rec.Offset != next {
				return fmt.Errorf("%w: partition %d: offset %d follows %d", ErrLogGone, partition, rec.Offset, next-1)
			}
			if next++; next == to {
				recs = recs[:i+1]
				break
			}
		}
		if len(recs) > 0 {
			fold(recs)
		}
	}
	return nil
}

// cells reads what batches add to each cell.
const cells = `
SELECT minute, event_type, invalid_flags, advertiser, campaign, ad_group, creative, placement, publisher,
       country, region, device, os, browser, variant, currency,
       sum(gross), sum(net), sum(duplicate), sum(invalid), sum(orphan), sum(spend_nanos)
FROM ledger
WHERE advertiser > 0 AND lat_day >= {since:Date} AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32}
  AND kafka_partition = {partition:Int32} AND b_start >= {from:UInt64} AND b_end <= {to:UInt64}
GROUP BY ALL`

// compare holds what was counted against the ledger.
func (r *Replay) compare(ctx context.Context, counted *window.Delta, out *Replayed) (err error) {
	log := make(map[window.Key]window.Row, counted.Len())
	var row window.Row
	for i := range counted.Len() {
		counted.Row(i, &row)
		log[row.Key] = row
	}
	rows, err := r.Conn.Query(r.parameters(ctx, out), cells)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var k window.Row
		var minute time.Time
		var typ uint8
		var flags uint32
		err := rows.Scan(&minute, &typ, &flags, &k.Advertiser, &k.Campaign, &k.AdGroup, &k.Creative, &k.Placement, &k.Publisher,
			&k.Country, &k.Region, &k.Device, &k.OS, &k.Browser, &k.Variant, &k.Currency,
			&k.Gross, &k.Net, &k.Duplicate, &k.Invalid, &k.Orphan, &k.SpendNanos)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		k.Minute, k.Type, k.Flags = minute.Unix()/60, proto.EventType(typ), proto.Flag(flags)
		out.Cells++
		if is := log[k.Key]; is != k {
			out.Differences = append(out.Differences, Difference{Ledger: k, Log: is})
		}
		delete(log, k.Key)
	}
	for _, is := range log {
		out.Cells++
		out.Differences = append(out.Differences, Difference{Log: is})
	}
	slices.SortFunc(out.Differences, func(a, b Difference) int {
		x, y := a.Key(), b.Key()
		return cmp.Or(cmp.Compare(x.Minute, y.Minute), cmp.Compare(x.Advertiser, y.Advertiser), strings.Compare(fmt.Sprint(x), fmt.Sprint(y)))
	})
	return rows.Err()
}

// Key is the cell that differs.
func (d *Difference) Key() window.Key {
	if d.Ledger.Advertiser == 0 {
		return d.Log.Key
	}
	return d.Ledger.Key
}
