package books

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Tail is what of the ledger follows a Vector: batches that join it without a
// gap.
type Tail struct {
	Slice
	// Tiles counts the batches of each partition that has any, in the order of
	// To.
	Tiles map[PartitionID]uint64
	// Rows, Gross, Net and Spend are what the marks say of the rows.
	Rows       uint64
	Gross, Net int64
	Spend      big.Int
	// Gaps lists the partitions in which a batch lies behind a gap. Overlaps
	// those in which offsets are counted twice.
	Gaps, Overlaps []PartitionID
}

// PartitionID names a partition of a topic generation.
type PartitionID struct {
	log       log
	Partition int32
}

// String names it for people.
func (p PartitionID) String() string {
	return fmt.Sprintf("%d of topic %s lineage %d", p.Partition, p.log.topic, p.log.lineage)
}

// count is how many batches the tail has.
func (t *Tail) count() uint64 {
	n := uint64(0)
	for _, tiles := range t.Tiles {
		n += tiles
	}
	return n
}

// Limit ends a tail early. The zero Limit does not.
type Limit struct {
	// to ends it at a vector, if bounded.
	to      Vector
	bounded bool
	// tiles ends each partition after so many batches.
	tiles map[log][]uint64
}

// UpTo ends a tail at a vector.
func UpTo(v Vector) Limit { return Limit{to: v, bounded: true} }

// margin is how far the clocks of brokers may differ for the first look to find
// every batch. A batch that it misses leaves a gap, and then everything is
// looked through.
const margin = 10 * time.Minute

// Topics lists the topic generations that the ledger counts, the oldest first.
func (r *Reader) Topics(ctx context.Context) (topics []Topic, err error) {
	rows, err := r.conn.Query(ctx, "SELECT topic, topic_id, lineage, partitions, scheme FROM topics ORDER BY created, lineage, topic_id")
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var t Topic
		if err := rows.Scan(&t.Name, &t.ID, &t.Lineage, &t.Partitions, &t.Scheme); err != nil {
			return nil, fmt.Errorf("read topics: %w", err)
		}
		topics = append(topics, t)
	}
	return topics, rows.Err()
}

// Tail reads what follows from, in the given topics.
func (r *Reader) Tail(ctx context.Context, topics []Topic, from Vector, limit Limit) (*Tail, error) {
	tail := &Tail{Slice: Slice{From: from}, Tiles: map[PartitionID]uint64{}}
	ends := make(map[PartitionID]Position)
	for _, p := range from {
		ends[PartitionID{p.log(), p.Partition}] = p
	}
	rows := make([][]tailRow, len(topics))
	g, ctx := errgroup.WithContext(ctx)
	for i := range topics {
		g.Go(func() (err error) {
			rows[i], err = r.topicTail(ctx, &topics[i], since(topics, i, from), from, limit)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read marks: %w", err)
	}
	for i := range topics {
		for j := range rows[i] {
			tail.add(ends, topics[i].log(), &rows[i][j])
		}
	}
	positions := make([]Position, 0, len(ends))
	for _, p := range ends {
		positions = append(positions, p)
	}
	tail.To = newVector(positions)
	return tail, nil
}

// since is the broker time from which on the next batches of a topic should be;
// zero while that is not known. Corrections are rare, but as their time is that of
// the writing they are not before what had come of the events.
func since(topics []Topic, i int, from Vector) time.Time {
	t := topics[i]
	if t.Scheme == SchemeCorrections {
		t = last(topics)
	}
	reached, ok := from.Reached(t)
	if !ok {
		return time.Time{}
	}
	return reached.Add(-margin)
}

// topicTail looks first where the batches should be, and everywhere if some of
// them is missing there.
func (r *Reader) topicTail(ctx context.Context, t *Topic, since time.Time, from Vector, limit Limit) ([]tailRow, error) {
	rows, err := r.marks(ctx, t, from, limit, since)
	if err != nil || since.IsZero() || joined(rows, t, from, limit) {
		return rows, err
	}
	return r.marks(ctx, t, from, limit, time.Time{})
}

// joined says that nothing is missing in rows.
func joined(rows []tailRow, t *Topic, from Vector, limit Limit) bool {
	want := limit.tiles[t.log()]
	ends := from.dense(t.log(), t.Partitions, 0)
	tiles := make([]uint64, t.Partitions)
	for _, row := range rows {
		if row.behind > 0 {
			return false
		}
		ends[row.partition], tiles[row.partition] = row.end, row.tiles
	}
	for i := range want {
		if tiles[i] < want[i] {
			return false
		}
	}
	if !limit.bounded {
		return true
	}
	for i, end := range limit.to.dense(t.log(), t.Partitions, 0) {
		if ends[i] < end {
			return false
		}
	}
	return true
}

// tailRow is the tail of one partition.
type tailRow struct {
	partition         int32
	tiles, first, end uint64
	lat               int64
	rows              uint64
	gross, net        int64
	spend             big.Int
	firstDay, lastDay time.Time
	firstLAT          time.Time
	behind            uint64
	overlap           uint8
}

func (t *Tail) add(ends map[PartitionID]Position, l log, row *tailRow) {
	id := PartitionID{l, row.partition}
	if row.overlap != 0 {
		t.Overlaps = append(t.Overlaps, id)
	}
	if row.behind > 0 {
		t.Gaps = append(t.Gaps, id)
	}
	if row.tiles == 0 {
		return
	}
	end, known := ends[id]
	if !known {
		end = Position{Topic: l.topic, Lineage: l.lineage, Partition: row.partition, First: row.first}
	}
	end.Next = row.end
	if lat := time.UnixMilli(row.lat).UTC(); lat.After(end.LAT) { // the broker's clock may have gone back
		end.LAT = lat
	}
	ends[id] = end
	t.Tiles[id] = row.tiles
	t.Rows += row.rows
	t.Gross += row.gross
	t.Net += row.net
	t.Spend.Add(&t.Spend, &row.spend)
	t.within(row.firstDay, row.lastDay, row.firstLAT)
}

// marks reads the tail of a topic from the marks since a time. The chain is
// walked inside of ClickHouse.
func (r *Reader) marks(ctx context.Context, t *Topic, from Vector, limit Limit, since time.Time) (list []tailRow, err error) {
	const query = `
WITH {from:Array(UInt64)}[kafka_partition + 1] AS base
SELECT kafka_partition, countIf(whole), minIf(b_start, whole), maxIf(b_end, whole), toUnixTimestamp64Milli(maxIf(mark_lat, whole)),
       sumIf(mark_rows, whole), sumIf(mark_gross, whole), sumIf(mark_net, whole), sumIf(toInt128(mark_spend_nanos), whole),
       minIf(lat_day, whole), maxIf(lat_day, whole), minIf(block_lat, whole),
       countIf(NOT whole), max(b_start < previous)
FROM (
    SELECT *, max(b_start != previous) OVER (PARTITION BY kafka_partition ORDER BY b_start, b_end
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) = 0 AS whole
    FROM (
        SELECT kafka_partition, b_start, b_end, mark_lat, mark_rows, mark_gross, mark_net, mark_spend_nanos, lat_day, block_lat,
               lagInFrame(b_end, 1, if(base = 18446744073709551615, b_start, base)) OVER chain AS previous,
               row_number() OVER chain AS tile
        FROM ledger
        WHERE advertiser = 0 AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32}
          AND lat_day >= toDate({since:DateTime('UTC')}) AND block_lat >= {since:DateTime('UTC')}
          AND (base = 18446744073709551615 OR b_end > base) AND b_end <= {to:Array(UInt64)}[kafka_partition + 1]
        WINDOW chain AS (PARTITION BY kafka_partition ORDER BY b_start, b_end ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WHERE tile <= {tiles:Array(UInt64)}[kafka_partition + 1]
)
GROUP BY kafka_partition
ORDER BY kafka_partition`
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	rows, err := r.conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{
		"topic":   t.ID.String(),
		"lineage": strconv.FormatUint(uint64(t.Lineage), 10),
		"since":   since.UTC().Format(time.DateTime),
		"from":    arrayParam(from.dense(t.log(), t.Partitions, nowhere)),
		"to":      arrayParam(limit.ends(t)),
		"tiles":   arrayParam(limit.counts(t)),
	}), query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var w tailRow
		err := rows.Scan(&w.partition, &w.tiles, &w.first, &w.end, &w.lat, &w.rows, &w.gross, &w.net, &w.spend,
			&w.firstDay, &w.lastDay, &w.firstLAT, &w.behind, &w.overlap)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, rows.Err()
}

// ends is where each partition's tail ends at the latest.
func (l Limit) ends(t *Topic) []uint64 {
	if !l.bounded {
		return filled(t.Partitions, nowhere)
	}
	return l.to.dense(t.log(), t.Partitions, 0)
}

// counts is how many batches each partition's tail has at most.
func (l Limit) counts(t *Topic) []uint64 {
	if l.tiles == nil {
		return filled(t.Partitions, nowhere)
	}
	counts := make([]uint64, t.Partitions)
	copy(counts, l.tiles[t.log()])
	return counts
}

func filled(n uint32, value uint64) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = value
	}
	return list
}

func arrayParam(list []uint64) string {
	var text strings.Builder
	text.WriteByte('[')
	for i, n := range list {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(strconv.FormatUint(n, 10))
	}
	text.WriteByte(']')
	return text.String()
}
