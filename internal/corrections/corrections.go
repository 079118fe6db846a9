package corrections

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Topic is the log that corrections are batches of.
var Topic = uuid.MustParse("c0443c71-0ad5-4a11-8ed9-e20000000001")

const (
	lineage  = 1
	maxRows  = 400_000 // a block must not be split
	maxTries = 10
)

// Why says why the books are changed.
type Why struct {
	// Kind is the reason that adjustments show: reclassification, correction or
	// replay.
	Kind string
	// Reason, Author and Reference are for people.
	Reason, Author, Reference string
	// Digest names the input: the same one is not applied twice.
	Digest string
}

// Row is a change of one cell. Gross is the sum of its counts.
type Row struct {
	Cell
	Net, Duplicate, Invalid, Orphan int64
	SpendNanos                      int64
}

// Cell is a minute of the ledger under all dimensions.
type Cell struct {
	Advertiser uint64
	Minute     time.Time
	EventType  uint8
	IDs        [5]uint64 // campaign, ad group, creative, placement, publisher
	Texts      [7]string // country, region, device, os, browser, variant, currency
	Flags      uint32
}

// Applied is a correction in the ledger.
type Applied struct {
	Number  uint64
	BatchID uuid.UUID
	Created time.Time
	Rows    int
}

// ErrApplied says that the same input was applied before.
var ErrApplied = errors.New("this file was applied before")

// Apply writes a correction as one batch. rows is asked for the changes, again if
// another correction came between.
func Apply(ctx context.Context, conn clickhouse.Conn, why Why, rows func(ctx context.Context) ([]Row, error)) (*Applied, error) {
	if err := openTopic(ctx, conn); err != nil {
		return nil, err
	}
	for range maxTries {
		if err := unapplied(ctx, conn, why.Digest); err != nil {
			return nil, err
		}
		number, err := position(ctx, conn)
		if err != nil {
			return nil, err
		}
		list, err := rows(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case len(list) == 0:
			return nil, errors.New("nothing in the books matches; nothing was changed")
		case len(list) > maxRows:
			return nil, fmt.Errorf("%d cells would change, at most %d at once: split the file", len(list), maxRows)
		}
		a := &Applied{Number: number, BatchID: uuid.New(), Created: time.Now().UTC().Truncate(time.Microsecond), Rows: len(list)}
		if err := a.write(ctx, conn, why, list); err != nil {
			return nil, err
		}
		mine, err := a.landed(ctx, conn)
		if err != nil || mine {
			return a, err
		}
	}
	return nil, errors.New("other corrections are being written all the time; try again")
}

// openTopic records the log. It is older than any topic of events, so that it is
// never taken for the newest.
func openTopic(ctx context.Context, conn clickhouse.Conn) error {
	var n uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM topics WHERE topic_id = ?", Topic).Scan(&n); err != nil {
		return fmt.Errorf("look for the log of corrections: %w", err)
	}
	if n > 0 {
		return nil
	}
	settings := clickhouse.Settings{"async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": "corrections"}
	err := conn.Exec(clickhouse.With(ctx, "", settings, nil),
		"INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage, created) VALUES ('corrections', ?, 1, 1, ?, ?, toDateTime64(0, 3))", Topic, books.SchemeCorrections, uint32(lineage))
	if err != nil {
		return fmt.Errorf("record the log of corrections: %w", err)
	}
	return nil
}

// unapplied returns ErrApplied if a batch of the same input is in the ledger.
func unapplied(ctx context.Context, conn clickhouse.Conn, digest string) error {
	var n uint64
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"digest": digest, "topic": Topic.String()}), `
SELECT count() FROM ledger WHERE advertiser = 0 AND topic_id = {topic:UUID}
  AND batch_id IN (SELECT batch_id FROM corrections WHERE digest = {digest:String})`)
	if err := row.Scan(&n); err != nil {
		return fmt.Errorf("look for the correction: %w", err)
	}
	if n > 0 {
		return ErrApplied
	}
	return nil
}

// position returns where the log ends.
func position(ctx context.Context, conn clickhouse.Conn) (end uint64, err error) {
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"topic": Topic.String()}),
		"SELECT max(b_end) FROM ledger WHERE advertiser = 0 AND topic_id = {topic:UUID}")
	if err := row.Scan(&end); err != nil {
		return 0, fmt.Errorf("read the log of corrections: %w", err)
	}
	return end, nil
}

// landed tells whether the batch at the place is this one.
func (a *Applied) landed(ctx context.Context, conn clickhouse.Conn) (bool, error) {
	var id uuid.UUID
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"topic": Topic.String(), "start": strconv.FormatUint(a.Number, 10)}),
		"SELECT any(batch_id) FROM ledger WHERE advertiser = 0 AND topic_id = {topic:UUID} AND b_start = {start:UInt64}")
	if err := row.Scan(&id); err != nil {
		return false, fmt.Errorf("read the correction back: %w", err)
	}
	return id == a.BatchID, nil
}

const insertRows = `INSERT INTO ledger (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, invalid_flags, gross, net, duplicate, invalid, orphan, spend_nanos,
    topic_id, kafka_partition, b_start, b_end, batch_id, leader_epoch, lineage, code_version, lat_day, block_lat,
    mark_rows, mark_gross, mark_net, mark_spend_nanos, mark_lat)`

// write records why and then writes the batch.
func (a *Applied) write(ctx context.Context, conn clickhouse.Conn, why Why, rows []Row) error {
	err := conn.Exec(clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, nil), `INSERT INTO corrections
(number, batch_id, created, kind, reason, author, reference, digest, summary) VALUES (?, ?, fromUnixTimestamp64Micro(?), ?, ?, ?, ?, ?, ?)`,
		a.Number, a.BatchID, a.Created.UnixMicro(), why.Kind, why.Reason, why.Author, why.Reference, why.Digest, strconv.Itoa(len(rows))+" cells")
	if err != nil {
		return fmt.Errorf("record the correction: %w", err)
	}
	settings := clickhouse.Settings{
		"async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": "correction-" + strconv.FormatUint(a.Number, 10),
		"max_partitions_per_insert_block": 1, "max_insert_block_size": 1 << 20, "min_insert_block_size_rows": 0, "min_insert_block_size_bytes": 0, "optimize_on_insert": 0,
	}
	batch, err := conn.PrepareBatch(clickhouse.With(ctx, a.BatchID.String(), settings, nil), insertRows)
	if err != nil {
		return fmt.Errorf("write the correction: %w", err)
	}
	epoch := time.Unix(0, 0).UTC()
	var gross, net, spend int64
	add := func(r *Row, marks ...any) error {
		values := []any{
			r.Advertiser, r.Minute.UTC(), r.EventType, r.IDs[0], r.IDs[1], r.IDs[2], r.IDs[3], r.IDs[4],
			r.Texts[0], r.Texts[1], r.Texts[2], r.Texts[3], r.Texts[4], r.Texts[5], r.Texts[6], r.Flags,
			r.gross(), r.Net, r.Duplicate, r.Invalid, r.Orphan, r.SpendNanos,
			Topic, int32(0), a.Number, a.Number + 1, a.BatchID, int32(0), uint32(lineage), uint32(0), a.Created, a.Created,
		}
		return batch.Append(append(values, marks...)...)
	}
	for i := range rows {
		gross, net, spend = gross+rows[i].gross(), net+rows[i].Net, spend+rows[i].SpendNanos
		if err := add(&rows[i], uint32(0), int64(0), int64(0), int64(0), epoch); err != nil {
			return errors.Join(err, batch.Abort())
		}
	}
	mark := Row{Cell: Cell{Minute: epoch}}
	if err := add(&mark, uint32(len(rows)), gross, net, spend, a.Created); err != nil {
		return errors.Join(err, batch.Abort())
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("write the correction: %w", err)
	}
	return nil
}

func (r *Row) gross() int64 { return r.Net + r.Duplicate + r.Invalid + r.Orphan }
