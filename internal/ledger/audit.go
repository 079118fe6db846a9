package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Controls say where the records of a stretch of one partition went.
// Records = Ticks + Poison + Net + Duplicate + Invalid + Orphan + Pending.
type Controls struct {
	Records, Ticks, Poison          int64
	Net, Duplicate, Invalid, Orphan int64
	// Synthetic are the duplicates whose content differs from the first event.
	Synthetic int64
	// Pending is how many more clicks wait for their impression than before.
	Pending    int64
	SpendNanos int64
}

// Missing is how many records went nowhere: 0 when the stretch adds up.
func (c *Controls) Missing() int64 {
	return c.Records - c.Ticks - c.Poison - c.Net - c.Duplicate - c.Invalid - c.Orphan - c.Pending
}

// Fault is a place where the books do not add up.
type Fault struct {
	// Kind is gap, overlap, start, totals or missing.
	Kind string `json:"kind"`
	// From and To are the offsets [From, To) that it concerns.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Text says what is wrong.
	Text string `json:"text"`
}

// Kinds of faults.
const (
	// Gap: offsets that no mark covers, before others that are covered.
	Gap = "gap"
	// Overlap: offsets that more than one mark covers.
	Overlap = "overlap"
	// Start: the first mark does not begin at the first offset.
	Start = "start"
	// Totals: a batch whose rows are not those that its mark tells of.
	Totals = "totals"
	// Missing: records that went nowhere.
	Missing = "missing"
)

// Partition is what the ledger holds of one partition.
type Partition struct {
	ID    int32
	Marks uint64
	// First and Position are the offsets that the marks begin and end with.
	First, Position uint64
	// LAT is the broker time reached.
	LAT time.Time
	// Epoch is the leader epoch of the last record that is counted.
	Epoch int32
	Controls
	Faults []Fault
}

// Extent says how much of the ledger an audit reads.
type Extent struct {
	// Since leaves out table partitions before that day of broker time; the zero
	// time reads all. With it, what lies before the second mark is not judged.
	Since time.Time
	// MarksOnly reads the marks and believes them: cheap enough for every
	// minute. Otherwise each mark is held against its rows.
	MarksOnly bool
}

// MaxFaults bounds the faults of each sort that are told per partition.
const MaxFaults = 20

// batches reads each batch of each partition with its mark and, unless only
// marks are read, the sums of its rows. Marks of version 0 lack some totals.
const batches = `
    SELECT kafka_partition, b_start, b_end, batch_id,
           countIf(advertiser = 0) AS marks, max(mark_version) AS version, max(mark_lat) AS lat,
           toInt64(countIf(advertiser > 0)) AS row_count, toInt64(max(mark_rows)) AS marked_rows,
           sum(ledger.gross) AS row_gross, sum(ledger.net) AS row_net, sum(ledger.duplicate) AS row_duplicate,
           sum(ledger.invalid) AS row_invalid, sum(ledger.orphan) AS row_orphan, sum(ledger.spend_nanos) AS row_spend,
           sum(mark_gross) AS m_gross, sum(mark_net) AS m_net, sum(mark_spend_nanos) AS m_spend,
           if(version = 0, %s, sum(mark_duplicate)) AS m_duplicate,
           if(version = 0, row_invalid, sum(mark_invalid)) AS m_invalid,
           if(version = 0, row_orphan, sum(mark_orphan)) AS m_orphan,
           toInt64(b_end - b_start) AS length,
           if(version = 0, length, sum(mark_records)) AS records,
           if(version = 0, length - m_gross, sum(mark_ticks)) AS ticks,
           sum(mark_poison) AS poison, sum(mark_synthetic) AS synthetic, sum(mark_pending) AS pending,
           max(ledger.leader_epoch) AS epoch,
           %s AS differs
    FROM ledger
    WHERE topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND lat_day >= {since:Date} %s
    GROUP BY kafka_partition, b_start, b_end, batch_id`

// differs compares a mark with its rows, unless the ledger keeps those no longer.
const differs = `if(max(ledger.lat_day) <= (SELECT max(day) FROM dropped_days), marks != 1, marks != 1 OR row_count != marked_rows OR row_gross != m_gross OR row_net != m_net OR row_spend != m_spend
               OR row_duplicate != m_duplicate OR row_invalid != m_invalid OR row_orphan != m_orphan
               OR records != length OR row_gross != row_net + row_duplicate + row_invalid + row_orphan)`

// audit walks the batches of each partition in the order of their offsets. The
// totals are summed from the first offset on; where the first batches are not
// read, from the end of the first one that is, as only then the number of
// pending clicks at the beginning is known. At most MaxFaults faults of each
// sort are told per partition.
const audit = `
SELECT kafka_partition, count(), min(b_start), max(b_end), max(lat), argMax(epoch, b_end),
       sumIf(records, whole), sumIf(ticks, whole), sumIf(poison, whole), sumIf(m_net, whole), sumIf(m_duplicate, whole),
       sumIf(m_invalid, whole), sumIf(m_orphan, whole), sumIf(synthetic, whole), sumIf(m_spend, whole),
       argMax(pending, b_end) - if(min(b_start) = 0, 0, argMin(pending, b_start)),
       groupArrayIf(%d)((previous, b_start, batch_id), b_start != previous),
       groupArrayIf(%d)((b_start, b_end, batch_id), differs)
FROM (
    SELECT *, lagInFrame(b_end, 1, b_start) OVER w AS previous, first_value(b_start) OVER w AS first,
           first = 0 OR b_start != first AS whole
    FROM (%s)
    WINDOW w AS (PARTITION BY kafka_partition ORDER BY b_start, b_end ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
GROUP BY kafka_partition
ORDER BY kafka_partition`

// chains sums up the marks without looking at each: they follow each other
// exactly if the hashes of their starts, less those of their ends, leave the
// first start and the last end. What is left otherwise is told as a break.
const chains = `
WITH argMin((length, ticks, mark_poison, mark_net, duplicate_, mark_invalid, mark_orphan, mark_synthetic, mark_spend_nanos, mark_pending), b_start) AS one,
     if(min(b_start) = 0, tupleMultiplyByNumber(one, 0), one) AS at_first
SELECT kafka_partition, count(), min(b_start) AS first, max(b_end) AS last, max(mark_lat), argMax(leader_epoch, b_end),
       sum(length) - at_first.1, sum(ticks) - at_first.2, sum(mark_poison) - at_first.3, sum(mark_net) - at_first.4,
       sum(duplicate_) - at_first.5, sum(mark_invalid) - at_first.6, sum(mark_orphan) - at_first.7,
       sum(mark_synthetic) - at_first.8, sum(mark_spend_nanos) - at_first.9,
       argMax(mark_pending, b_end) - at_first.10,
       if(sum(intHash64(b_start)) - sum(intHash64(b_end)) = intHash64(first) - intHash64(last),
          CAST([], 'Array(Tuple(UInt64, UInt64, UUID))'), [(first, last, any(batch_id))]),
       CAST([], 'Array(Tuple(UInt64, UInt64, UUID))')
FROM (
    SELECT *, toInt64(b_end - b_start) AS length,
           if(mark_version = 0, length - mark_gross, mark_ticks) AS ticks,
           if(mark_version = 0, mark_gross - mark_net, mark_duplicate) AS duplicate_
    FROM ledger
    WHERE advertiser = 0 AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND lat_day >= {since:Date}
)
GROUP BY kafka_partition
ORDER BY kafka_partition`

// Audit reads the batches of a topic and says what is wrong with them. It
// returns the partitions that have marks, by their number.
func Audit(ctx context.Context, conn clickhouse.Conn, t Topic, e Extent) (partitions []Partition, err error) {
	if !e.MarksOnly {
		return read(ctx, conn, t, e, fmt.Sprintf(audit, MaxFaults, MaxFaults, fmt.Sprintf(batches, "row_duplicate", differs, "")))
	}
	partitions, err = read(ctx, conn, t, e, chains)
	for i := range partitions {
		if len(partitions[i].Faults) > 0 { // tells that there is one, not where
			return read(ctx, conn, t, e, fmt.Sprintf(audit, MaxFaults, MaxFaults, fmt.Sprintf(batches, "m_gross - m_net", "marks != 1", "AND advertiser = 0")))
		}
	}
	return partitions, err
}

// read runs a statement that answers partitions.
func read(ctx context.Context, conn clickhouse.Conn, t Topic, e Extent, statement string) (partitions []Partition, err error) {
	params := t.parameters()
	params["since"] = sinceDay(e.Since)
	rows, err := conn.Query(clickhouse.With(ctx, "", nil, params), statement)
	if err != nil {
		return nil, fmt.Errorf("audit the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Partition
		var breaks, wrong [][]any
		err := rows.Scan(&p.ID, &p.Marks, &p.First, &p.Position, &p.LAT, &p.Epoch,
			&p.Records, &p.Ticks, &p.Poison, &p.Net, &p.Duplicate, &p.Invalid, &p.Orphan, &p.Synthetic, &p.SpendNanos, &p.Pending,
			&breaks, &wrong)
		if err != nil {
			return nil, fmt.Errorf("audit the ledger: %w", err)
		}
		p.LAT = p.LAT.UTC()
		p.judge(e, breaks, wrong)
		partitions = append(partitions, p)
	}
	return partitions, rows.Err()
}

// Days returns the first and the last day of broker time that the ledger has
// batches of, zero times if it has none.
func Days(ctx context.Context, conn clickhouse.Conn, t Topic) (first, last time.Time, err error) {
	var marks uint64
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, t.parameters()),
		"SELECT min(lat_day), max(lat_day), count() FROM ledger WHERE advertiser = 0 AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32}")
	if err := row.Scan(&first, &last, &marks); err != nil {
		return first, last, fmt.Errorf("read the days of the ledger: %w", err)
	}
	if marks == 0 {
		return time.Time{}, time.Time{}, nil
	}
	return first, last, nil
}

func sinceDay(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.UTC().Format(time.DateOnly)
}

// place is a pair of offsets and a batch, as ClickHouse answers a tuple.
func place(tuple []any) (from, to uint64, batch uuid.UUID) {
	from, _ = tuple[0].(uint64) // the statement says so
	to, _ = tuple[1].(uint64)
	batch, _ = tuple[2].(uuid.UUID)
	return from, to, batch
}

func (p *Partition) judge(e Extent, breaks, wrong [][]any) {
	add := func(kind string, from, to uint64, format string, args ...any) {
		p.Faults = append(p.Faults, Fault{Kind: kind, From: from, To: to, Text: fmt.Sprintf(format, args...)})
	}
	if e.Since.IsZero() && p.First != 0 {
		add(Start, 0, p.First, "the first batch begins at offset %d: nothing before it is counted", p.First)
	}
	for _, b := range breaks {
		previous, start, batch := place(b)
		if start > previous {
			add(Gap, previous, start, "offsets %d to %d are not counted, but batch %s after them is", previous, start-1, batch)
		} else {
			add(Overlap, start, previous, "offsets %d to %d are counted by batch %s and by one before it", start, previous-1, batch)
		}
	}
	for _, w := range wrong {
		from, to, batch := place(w)
		add(Totals, from, to, "the rows of batch %s are not those that its mark tells of", batch)
	}
	if n := p.Missing(); n != 0 && len(p.Faults) == 0 {
		add(Missing, p.First, p.Position, "%d of %d records went nowhere", n, p.Records)
	}
}
