package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// auditTimeout bounds the reading of marks: millions of them in a day.
	auditTimeout = time.Minute
	// recentDays is how far back before the last day marks are looked for.
	recentDays = 1
)

// Ledger is the Store and the Owners in ClickHouse. Insert belongs to one
// goroutine; the other methods may be called at the same time.
type Ledger struct {
	conn    clickhouse.Conn
	owner   Owner
	columns ledgerColumns
	// replicated is set by OpenTopic.
	replicated bool
	// inDoubt is the block whose last attempt has an unknown outcome, and the
	// id of the query that tried it.
	inDoubt uuid.UUID
	queryID string
	attempt int
}

// NewLedger returns the ledger behind conn, as one start of one instance of the
// consumer group uses it.
func NewLedger(conn clickhouse.Conn, group string) *Ledger {
	return &Ledger{conn: conn, owner: Owner{ID: uuid.New(), Group: group}}
}

// OpenTopic implements Store.
func (l *Ledger) OpenTopic(ctx context.Context, t Topic) (Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := l.checkTable(ctx); err != nil {
		return t, err
	}
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

// Positions implements Store. The position is the end of the chain of marks.
// Offsets that are counted beyond a gap in it are told too, so that only the gap
// is counted. Marks that overlap are a refusal, as then a span is counted twice
// and only a person can say which block is wrong.
func (l *Ledger) Positions(ctx context.Context, t Topic, partitions []int32) (map[int32]Position, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	first, last, err := ledger.Days(ctx, l.conn, ledger.Topic{ID: t.ID, Lineage: t.Lineage})
	if err != nil {
		return nil, err
	}
	// Most often every partition has recent marks, which follow on from those
	// before them.
	days := []time.Time{last.AddDate(0, 0, -recentDays), {}}
	if !days[0].After(first) {
		days = days[1:] // that is all there is
	}
	positions := make(map[int32]Position, len(partitions))
	for _, since := range days {
		if err := l.read(ctx, t, since, partitions, positions); err != nil {
			return nil, err
		}
		if len(positions) == len(partitions) {
			return positions, nil
		}
	}
	for _, id := range partitions {
		if _, ok := positions[id]; !ok {
			positions[id] = Position{Epoch: -1}
		}
	}
	return positions, nil
}

// read adds the positions that the marks since a day tell of, where none is
// known yet.
func (l *Ledger) read(ctx context.Context, t Topic, since time.Time, partitions []int32, positions map[int32]Position) error {
	found, err := ledger.Audit(ctx, l.conn, ledger.Topic{ID: t.ID, Lineage: t.Lineage}, ledger.Extent{Since: since, MarksOnly: true})
	if err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	for i := range found {
		id := found[i].ID
		if _, known := positions[id]; known || !slices.Contains(partitions, id) {
			continue
		}
		if positions[id], err = positionOf(&found[i]); err != nil {
			return err
		}
	}
	return nil
}

// Audit implements Store.
func (l *Ledger) Audit(ctx context.Context, t Topic) (map[int32]ledger.Partition, error) {
	found, err := ledger.Audit(ctx, l.conn, ledger.Topic{ID: t.ID, Lineage: t.Lineage},
		ledger.Extent{Since: time.Now().AddDate(0, 0, -recentDays), MarksOnly: true})
	if err != nil {
		return nil, err
	}
	byID := make(map[int32]ledger.Partition, len(found))
	for i := range found {
		byID[found[i].ID] = found[i]
	}
	return byID, nil
}

func positionOf(p *ledger.Partition) (Position, error) {
	pos := Position{Next: int64(p.Position), Known: true, LAT: p.LAT.UnixMilli(), Epoch: p.Epoch}
	var gaps []ledger.Fault
	for _, f := range p.Faults {
		switch f.Kind {
		case ledger.Gap, ledger.Start:
			gaps = append(gaps, f)
		case ledger.Overlap, ledger.Totals:
			return pos, refuse("partition %d: %s; run adtally audit and take the books out of service until the block is found that is wrong", p.ID, f.Text)
		}
	}
	if len(gaps) >= ledger.MaxFaults {
		return pos, refuse("partition %d: the ledger has lost %d stretches or more; restore it, or start a new one from the log", p.ID, len(gaps))
	}
	last := pos.Next
	for i, g := range gaps {
		end := last
		if i == 0 {
			pos.Next = int64(g.From)
		}
		if i+1 < len(gaps) {
			end = int64(gaps[i+1].From)
		}
		pos.Counted = append(pos.Counted, Range{From: int64(g.To), To: end})
	}
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
	l.inDoubt, l.queryID = b.ID, fmt.Sprintf("%s%s-%s-%s-%d", queryPrefix, b.Topic.ID, l.owner.ID, b.ID, l.attempt)
	sendErr := l.send(ctx, b)
	if sendErr == nil && !b.Prove {
		l.inDoubt = uuid.Nil
		return nil
	}
	err := l.resolve(ctx, b)
	switch {
	case sendErr == nil && errors.Is(err, ErrAbsent):
		return fmt.Errorf("block %s was acknowledged and is not there: this server loses what it has acknowledged", b.ID)
	case err != nil:
		return errors.Join(err, sendErr)
	default:
		return nil
	}
}

// send tries b once, as one native block.
func (l *Ledger) send(ctx context.Context, b *Block) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	err := l.conn.Insert(ctx, clickhouse.BlockInsert{
		Table: "ledger", ID: l.queryID, Settings: insertSettings(b.ID), Columns: l.columns.fill(b),
		// The insert is open on the server, so whoever takes over now ends it. A
		// process that was stopped and goes on learns here that it is late.
		Open: b.Fence,
	})
	if err != nil {
		return fmt.Errorf("insert block: %w", err)
	}
	return nil
}

// resolve finds out whether an attempt whose outcome is unknown landed. The
// query is killed first, so that it cannot land after the marks were read.
func (l *Ledger) resolve(ctx context.Context, b *Block) error {
	if err := l.end(ctx, "query_id = {id:String}", clickhouse.Parameters{"id": l.queryID}); err != nil {
		return fmt.Errorf("end insert in doubt: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
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

// marks counts the marks of b and those of others within b's spans. The day of a
// mark is that of its first record, so marks within a span are at most a day
// older than the span.
func (l *Ledger) marks(ctx context.Context, b *Block) (ours, foreign int, err error) {
	var within strings.Builder
	day := latDay(b.Spans[0].FirstLAT)
	for i, s := range b.Spans {
		if i > 0 {
			within.WriteString(" OR ")
		}
		// The offsets are our own integers, so they may stand in the text.
		fmt.Fprintf(&within, "(kafka_partition = %d AND b_start < %d AND b_end > %d)", s.Partition, s.End, s.Start)
	}
	params := topicParameters(b.Topic)
	params["batch"], params["day"] = b.ID.String(), day.AddDate(0, 0, -1).Format(time.DateOnly)
	query := `SELECT countIf(batch_id = {batch:UUID}), countIf(batch_id != {batch:UUID}) FROM ledger
WHERE advertiser = 0 AND lat_day >= {day:Date} AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND (` + within.String() + `)`
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
		// Each set of texts was coded once when it was counted, so the dictionaries
		// cost the client next to nothing, and the server copies them.
		"low_cardinality_allow_in_native_format": 1,
		"max_execution_time":                     int(insertTimeout / time.Second),
	}
}
