package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Topic is a generation of a topic's log that the ledger counts.
type Topic struct {
	Name string
	// ID is the id that Kafka gave the topic; a topic made again has another.
	ID         uuid.UUID
	Partitions uint32
	// Spread and Scheme are the partition rule that ingest follows.
	Spread uint32
	Scheme string
	// Lineage numbers the generations, from 1; 0 means that nothing is recorded.
	Lineage uint32
}

// LastTopic returns the newest recorded generation of the topic of that name.
// Lineage is 0 if there is none.
func LastTopic(ctx context.Context, conn clickhouse.Conn, name string) (t Topic, err error) {
	t = Topic{Name: name}
	rows, err := conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"topic": name}),
		"SELECT topic_id, partitions, spread, scheme, lineage FROM topics WHERE topic = {topic:String} ORDER BY lineage DESC LIMIT 1")
	if err != nil {
		return t, fmt.Errorf("read recorded topic %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		if err := rows.Scan(&t.ID, &t.Partitions, &t.Spread, &t.Scheme, &t.Lineage); err != nil {
			return t, fmt.Errorf("read recorded topic %s: %w", name, err)
		}
	}
	return t, rows.Err()
}

// parameters name the topic's generation in a statement.
func (t *Topic) parameters() clickhouse.Parameters {
	return clickhouse.Parameters{"topic": t.ID.String(), "lineage": strconv.FormatUint(uint64(t.Lineage), 10)}
}
