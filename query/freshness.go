package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// freshFor is how long a reading of the marks is used again. An old reading
// promises less than is there, never more.
const freshFor = time.Second

// position is how far one partition of the topic is counted.
type position struct {
	Partition int32     `json:"partition"`
	Position  uint64    `json:"position"`
	LAT       time.Time `json:"lat"`
}

// freshness is how far the ledger is counted.
type freshness struct {
	// CompleteThrough is nil while some partition has no position.
	CompleteThrough *time.Time `json:"complete_through"`
	Topic           string     `json:"topic"`
	// Waiting lists the partitions that have no position.
	Waiting    []int32    `json:"waiting"`
	Partitions []position `json:"partitions"`
}

// through returns complete_through, or the zero time.
func (f *freshness) through() time.Time {
	if f.CompleteThrough == nil {
		return time.Time{}
	}
	return *f.CompleteThrough
}

// marks reads the marks of the ledger and keeps the last reading. It is safe for
// concurrent use; those who come during a reading wait for it.
type marks struct {
	conn clickhouse.Conn
	skew time.Duration

	turn   chan struct{} // holds one token: whoever has it reads and sets what follows
	mu     sync.Mutex
	last   *freshness
	readAt time.Time
	topic  topicRow
}

type topicRow struct {
	name       string
	id         uuid.UUID
	partitions uint32
	lineage    uint32
}

func newMarks(conn clickhouse.Conn, skew time.Duration) *marks {
	m := &marks{conn: conn, skew: skew, turn: make(chan struct{}, 1)}
	m.turn <- struct{}{}
	return m
}

// read returns how far the ledger is counted, at most freshFor ago.
func (m *marks) read(ctx context.Context) (*freshness, error) {
	if f := m.recent(); f != nil {
		return f, nil
	}
	select {
	case <-m.turn:
		defer func() { m.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f := m.recent(); f != nil { // somebody else has read it meanwhile
		return f, nil
	}
	began := time.Now()
	f, topic, err := m.load(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.last, m.readAt, m.topic = f, began, topic
	m.mu.Unlock()
	return f, nil
}

func (m *marks) recent() *freshness {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && time.Since(m.readAt) < freshFor {
		return m.last
	}
	return nil
}

func (m *marks) load(ctx context.Context) (*freshness, topicRow, error) {
	topic, found, err := m.newestTopic(ctx)
	if err != nil || !found {
		return &freshness{Waiting: []int32{}, Partitions: []position{}}, topic, err
	}
	known := map[int32]position{}
	if m.last != nil && m.topic == topic {
		for _, p := range m.last.Partitions {
			known[p.Partition] = p
		}
	}
	since := oldestDay(known)
	if len(known) < int(topic.partitions) {
		since = time.Now().AddDate(0, 0, -1) // most often they are all found there
	}
	if err := m.positions(ctx, topic, since, known); err != nil {
		return nil, topic, err
	}
	if len(known) < int(topic.partitions) {
		if err := m.positions(ctx, topic, time.Unix(0, 0), known); err != nil {
			return nil, topic, err
		}
	}
	return m.summary(topic, known), topic, nil
}

// oldestDay returns the day before the oldest known mark: later marks of a
// partition are not older than the ones before, but clocks of brokers differ.
func oldestDay(known map[int32]position) time.Time {
	oldest := time.Now()
	for _, p := range known {
		if p.LAT.Before(oldest) {
			oldest = p.LAT
		}
	}
	return oldest.AddDate(0, 0, -1)
}

func (m *marks) summary(topic topicRow, known map[int32]position) *freshness {
	f := &freshness{Topic: topic.name, Waiting: []int32{}, Partitions: make([]position, 0, len(known))}
	for p := range topic.partitions {
		if _, ok := known[int32(p)]; !ok {
			f.Waiting = append(f.Waiting, int32(p))
		}
	}
	f.Partitions = slices.AppendSeq(f.Partitions, maps.Values(known))
	slices.SortFunc(f.Partitions, func(a, b position) int { return cmp.Compare(a.Partition, b.Partition) })
	if len(f.Waiting) > 0 || len(f.Partitions) == 0 {
		return f
	}
	least := slices.MinFunc(f.Partitions, func(a, b position) int { return a.LAT.Compare(b.LAT) })
	through := least.LAT.Add(-m.skew).Truncate(time.Second)
	f.CompleteThrough = &through
	return f
}

// newestTopic returns the newest topic generation that the ledger counts.
func (m *marks) newestTopic(ctx context.Context) (t topicRow, found bool, err error) {
	rows, err := m.conn.Query(ctx, `
SELECT topic, topic_id, partitions, lineage FROM topics ORDER BY created DESC, lineage DESC LIMIT 1`)
	if err != nil {
		return t, false, fmt.Errorf("read topics: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		found = true
		err = rows.Scan(&t.name, &t.id, &t.partitions, &t.lineage)
	}
	return t, found, errors.Join(err, rows.Err())
}

// positions adds to known the last marks since a day of broker time.
func (m *marks) positions(ctx context.Context, topic topicRow, since time.Time, known map[int32]position) (err error) {
	ctx = clickhouse.With(ctx, "", nil, clickhouse.Parameters{
		"topic":   topic.id.String(),
		"lineage": strconv.FormatUint(uint64(topic.lineage), 10),
		"since":   since.UTC().Format(dateLayout),
	})
	rows, err := m.conn.Query(ctx, `
SELECT kafka_partition, max(b_end), max(mark_lat)
FROM ledger
WHERE advertiser = 0 AND lat_day >= {since:Date}
  AND topic_id = {topic:UUID} AND lineage = {lineage:UInt32}
GROUP BY kafka_partition`)
	if err != nil {
		return fmt.Errorf("read marks: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p position
		if err := rows.Scan(&p.Partition, &p.Position, &p.LAT); err != nil {
			return fmt.Errorf("read marks: %w", err)
		}
		p.LAT = p.LAT.UTC()
		known[p.Partition] = p
	}
	return rows.Err()
}
