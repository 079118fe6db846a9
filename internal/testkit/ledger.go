package testkit

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Row is a row of the ledger. Gross is the sum of its four counts.
type Row struct {
	Advertiser uint64
	Minute     time.Time
	Type       uint8
	IDs        [5]uint64 // campaign, ad_group, creative, placement, publisher
	Texts      [7]string // country, region, device, os, browser, variant, currency
	Flags      uint32

	Net, Duplicate, Invalid, Orphan int64
	Spend                           int64
}

// Gross is the sum of the counts.
func (r *Row) Gross() int64 { return r.Net + r.Duplicate + r.Invalid + r.Orphan }

// Span is what one batch of a partition adds. A batch without rows is a tick.
type Span struct {
	Partition int32
	Rows      []Row
	// LAT is the broker time that it reaches; that of the block when zero.
	LAT time.Time
}

// Ledger writes blocks as aggregate does: rows, and a mark that joins the one
// before. It belongs to one goroutine.
type Ledger struct {
	Conn    clickhouse.Conn
	Topic   uuid.UUID
	Lineage uint32
	// Next is the offset at which each partition goes on.
	Next []uint64
}

// NewLedger records a topic generation of so many partitions.
func NewLedger(tb testing.TB, conn clickhouse.Conn, partitions int) *Ledger {
	tb.Helper()
	l := &Ledger{Conn: conn, Topic: uuid.New(), Lineage: 1, Next: make([]uint64, partitions)}
	l.exec(tb, fmt.Sprintf("INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES ('%s', '%s', %d, 4, 's', 1)",
		l.Topic, l.Topic, partitions))
	return l
}

const insertLedger = `INSERT INTO ledger (advertiser, minute, event_type,
	campaign, ad_group, creative, placement, publisher, country, region, device, os, browser, variant, currency, invalid_flags,
	gross, net, duplicate, invalid, orphan, spend_nanos,
	topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day, block_lat,
	mark_rows, mark_gross, mark_net, mark_spend_nanos, mark_lat)`

// Block writes spans as one block that begins at lat.
func (l *Ledger) Block(tb testing.TB, lat time.Time, spans ...Span) {
	tb.Helper()
	if err := l.TryBlock(tb, lat, spans...); err != nil {
		tb.Fatal(err)
	}
}

// TryBlock is Block for tests that expect it to fail.
func (l *Ledger) TryBlock(tb testing.TB, lat time.Time, spans ...Span) error {
	tb.Helper()
	id := uuid.New()
	ctx := clickhouse.With(tb.Context(), "", clickhouse.Settings{
		"async_insert": 0, "max_partitions_per_insert_block": 1, "insert_deduplication_token": id.String(), "optimize_on_insert": 0,
	}, nil)
	batch, err := l.Conn.PrepareBatch(ctx, insertLedger)
	if err != nil {
		return err
	}
	lat = lat.UTC()
	day := lat.Truncate(24 * time.Hour)
	var none Row
	none.Minute = time.Unix(0, 0).UTC()
	for _, s := range spans {
		reached := lat
		if !s.LAT.IsZero() {
			reached = s.LAT.UTC()
		}
		start := l.Next[s.Partition]
		end := start + uint64(len(s.Rows)) + 1
		l.Next[s.Partition] = end
		var gross, net, spend int64
		add := func(r *Row, rows uint32, gross, net, spend int64, reached time.Time) error {
			return batch.Append(r.Advertiser, r.Minute.UTC(), r.Type, r.IDs[0], r.IDs[1], r.IDs[2], r.IDs[3], r.IDs[4],
				r.Texts[0], r.Texts[1], r.Texts[2], r.Texts[3], r.Texts[4], r.Texts[5], r.Texts[6], r.Flags,
				r.Gross(), r.Net, r.Duplicate, r.Invalid, r.Orphan, r.Spend,
				l.Topic, s.Partition, start, end, id, l.Lineage, day, lat, rows, gross, net, spend, reached)
		}
		for i := range s.Rows {
			r := &s.Rows[i]
			gross, net, spend = gross+r.Gross(), net+r.Net, spend+r.Spend
			if err := add(r, 0, 0, 0, 0, time.Unix(0, 0).UTC()); err != nil {
				return err
			}
		}
		if err := add(&none, uint32(len(s.Rows)), gross, net, spend, reached); err != nil {
			return err
		}
	}
	return batch.Send()
}

func (l *Ledger) exec(tb testing.TB, statement string) {
	tb.Helper()
	if err := l.Conn.Exec(clickhouse.With(tb.Context(), "", clickhouse.Settings{"async_insert": 0}, nil), statement); err != nil {
		tb.Fatal(err)
	}
}
