package aggregate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/ledger"
)

const (
	// insertTimeout bounds one attempt on the server and on the client.
	insertTimeout = 30 * time.Second
	// firstLineage numbers the first generation of a topic's log.
	firstLineage = uint32(1)
	// queryTimeout bounds the small reads around it.
	queryTimeout = 15 * time.Second
)

// Ledger is the Store in ClickHouse. It belongs to one goroutine for Insert;
// the other methods may be called at the same time.
type Ledger struct {
	conn    clickhouse.Conn
	columns ledgerColumns
	// inDoubt is the block whose last attempt has an unknown outcome, and the
	// id of the query that tried it.
	inDoubt uuid.UUID
	queryID string
	attempt int
}

// NewLedger returns the ledger behind conn.
func NewLedger(conn clickhouse.Conn) *Ledger { return &Ledger{conn: conn} }

// OpenTopic implements Store.
func (l *Ledger) OpenTopic(ctx context.Context, t Topic) (Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	last, err := ledger.LastTopic(ctx, l.conn, t.Name)
	if err != nil {
		return t, err
	}
	if last.Lineage > 0 {
		t.Lineage = last.Lineage
		return t, sameTopic(Topic{
			Name: last.Name, ID: last.ID, Partitions: int32(last.Partitions), Spread: last.Spread, Scheme: last.Scheme, Lineage: last.Lineage,
		}, t)
	}
	err = l.conn.Exec(clickhouse.With(ctx, "", insertSettings(uuid.New()), nil),
		"INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES (?, ?, ?, ?, ?, ?)",
		t.Name, t.ID, uint32(t.Partitions), t.Spread, t.Scheme, firstLineage)
	if err != nil {
		return t, fmt.Errorf("record topic %s: %w", t.Name, err)
	}
	t.Lineage = firstLineage
	return t, nil
}

// sameTopic explains how the topic differs from the one that the ledger counts.
func sameTopic(known, t Topic) error {
	switch {
	case known.ID != t.ID:
		return fmt.Errorf("topic %s has id %s, but the ledger counts the topic of that name with id %s: it was deleted and made again; give the new topic a new name",
			t.Name, t.ID, known.ID)
	case known.Partitions != t.Partitions:
		return fmt.Errorf("topic %s has %d partitions, but the ledger counts it with %d: repeats would land on other partitions than their firsts; make a new topic with a new name",
			t.Name, t.Partitions, known.Partitions)
	case known.Spread != t.Spread || known.Scheme != t.Scheme:
		return fmt.Errorf("topic %s is written with spread %d and rule %q, but the ledger counts it with spread %d and rule %q: set --kafka-spread back, or make a new topic with a new name",
			t.Name, t.Spread, t.Scheme, known.Spread, known.Scheme)
	default:
		return nil
	}
}

// Positions implements Store. The position is the end of the chain of marks
// without a gap; marks that overlap are an error, as then a span is counted
// twice and only a person can say which block is wrong.
func (l *Ledger) Positions(ctx context.Context, t Topic, partitions []int32) (map[int32]Position, error) {
	positions := make(map[int32]Position, len(partitions))
	for _, p := range partitions {
		chain, err := l.chain(ctx, t, p)
		if err != nil {
			return nil, fmt.Errorf("read position of partition %d: %w", p, err)
		}
		positions[p] = chain
	}
	return positions, nil
}

// chain walks the marks of one partition. ClickHouse looks for the first break
// of the chain; without one the last mark is the position.
func (l *Ledger) chain(ctx context.Context, t Topic, partition int32) (Position, error) {
	const query = `
SELECT count(), min(b_start), min(if(broken, previous, toUInt64(-1))), max(b_end), max(b_start < previous),
       argMax(leader_epoch, b_end), toUnixTimestamp64Milli(max(mark_lat))
FROM (
    SELECT b_start, b_end, leader_epoch, mark_lat,
           lagInFrame(b_end, 1, b_start) OVER (ORDER BY b_start, b_end ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS previous,
           b_start != previous AS broken
    FROM ledger
    WHERE advertiser = 0 AND topic_id = {topic:UUID} AND kafka_partition = {partition:Int32} AND lineage = {lineage:UInt32}
)`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	params := clickhouse.Parameters{
		"topic":     t.ID.String(),
		"partition": strconv.Itoa(int(partition)),
		"lineage":   strconv.FormatUint(uint64(t.Lineage), 10),
	}
	var marks, first, gapAt, end uint64
	var overlap uint8
	pos := Position{Epoch: -1}
	row := l.conn.QueryRow(clickhouse.With(ctx, "", nil, params), query)
	if err := row.Scan(&marks, &first, &gapAt, &end, &overlap, &pos.Epoch, &pos.LAT); err != nil {
		return pos, err
	}
	switch {
	case marks == 0:
		return Position{Epoch: -1}, nil
	case overlap != 0:
		return pos, errors.New("marks overlap: a span is counted twice; run adtally audit and take the books out of service")
	case gapAt < end:
		// Rows beyond a gap cannot come from this program; counting again from
		// the gap would count them twice.
		return pos, fmt.Errorf("marks have a gap at offset %d although offset %d is counted", gapAt, end)
	}
	pos.Next, pos.Known = int64(end), true
	return pos, nil
}

// Insert implements Store.
func (l *Ledger) Insert(ctx context.Context, b *Block) error {
	if l.inDoubt == b.ID {
		// Not sent again here, although it may be absent: the caller may have
		// lost a partition of b meanwhile.
		return l.resolve(ctx, b)
	}
	l.attempt++
	l.inDoubt, l.queryID = b.ID, fmt.Sprintf("adtally-ledger-%s-%d", b.ID, l.attempt)
	sendErr := l.send(ctx, b)
	if sendErr == nil {
		l.inDoubt = uuid.Nil
		return nil
	}
	if err := l.resolve(ctx, b); err != nil {
		return errors.Join(err, sendErr)
	}
	return nil
}

// send tries b once, as one native block.
func (l *Ledger) send(ctx context.Context, b *Block) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	batch, err := l.conn.PrepareBatch(clickhouse.With(ctx, l.queryID, insertSettings(b.ID), nil), l.columns.insert())
	if err != nil {
		return fmt.Errorf("open insert: %w", err)
	}
	l.columns.fill(b)
	for i := range l.columns.list {
		if err := batch.Column(i).Append(l.columns.list[i].values()); err != nil {
			return errors.Join(fmt.Errorf("encode column %s: %w", l.columns.list[i].name, err), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("send block: %w", err)
	}
	return nil
}

// resolve finds out whether an attempt whose outcome is unknown landed. The
// query is killed first, so that it cannot land after the marks were read.
func (l *Ledger) resolve(ctx context.Context, b *Block) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := l.conn.Exec(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"id": l.queryID}),
		"KILL QUERY WHERE query_id = {id:String} SYNC")
	if err != nil {
		return fmt.Errorf("kill insert in doubt: %w", err)
	}
	ours, foreign, err := l.marks(ctx, b)
	switch {
	case err != nil:
		return fmt.Errorf("read marks of block in doubt: %w", err)
	case foreign > 0:
		return ErrForeign
	case ours == len(b.Spans):
		l.inDoubt = uuid.Nil
		return nil
	case ours == 0:
		l.inDoubt = uuid.Nil
		return ErrAbsent
	default:
		return fmt.Errorf("block %s is in the ledger in part (%d of %d marks): inserts are not atomic on this server", b.ID, ours, len(b.Spans))
	}
}

// marks counts the marks at the starts of b's spans: b's own and others'.
func (l *Ledger) marks(ctx context.Context, b *Block) (ours, foreign int, err error) {
	var at strings.Builder
	for i, s := range b.Spans {
		if i > 0 {
			at.WriteByte(',')
		}
		fmt.Fprintf(&at, "(%d,%d)", s.Partition, s.Start)
	}
	params := clickhouse.Parameters{
		"topic":   b.Topic.ID.String(),
		"lineage": strconv.FormatUint(uint64(b.Topic.Lineage), 10),
		"batch":   b.ID.String(),
	}
	// The offsets are our own integers, so they may stand in the text.
	query := `SELECT countIf(batch_id = {batch:UUID}), countIf(batch_id != {batch:UUID}) FROM ledger
WHERE advertiser = 0 AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND (kafka_partition, b_start) IN (` + at.String() + `)`
	var n, others uint64
	row := l.conn.QueryRow(clickhouse.With(ctx, "", nil, params), query)
	if err := row.Scan(&n, &others); err != nil {
		return 0, 0, err
	}
	return int(n), int(others), nil
}

// insertSettings make one INSERT one atomic, durable block. Nothing is left to
// the server's defaults, which have changed between versions.
func insertSettings(batch uuid.UUID) clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert":                    0,
		"max_partitions_per_insert_block": 1,
		"insert_deduplicate":              1,
		"insert_deduplication_token":      batch.String(),
		"max_insert_block_size":           1 << 20,
		"min_insert_block_size_rows":      0,
		"min_insert_block_size_bytes":     0,
		"optimize_on_insert":              0,
		"max_execution_time":              int(insertTimeout / time.Second),
	}
}
