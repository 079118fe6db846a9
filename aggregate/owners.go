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
)

// Owner is who counts partitions: one start of one instance.
type Owner struct {
	ID    uuid.UUID
	Group string
}

// Claims are the last owners of partitions.
type Claims struct {
	// Unreleased are the last owners of partitions that did not give them up
	// and are not we.
	Unreleased map[int32]Owner
	// At is the server's time of the reading, as it writes it.
	At string
	// Replicated says that the ledger is written on several servers.
	Replicated bool
}

// Claimed implements Owners.
func (l *Ledger) Claimed(ctx context.Context, t Topic, partitions []int32) (_ Claims, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	claims := Claims{Unreleased: make(map[int32]Owner), Replicated: l.replicated}
	if err := l.conn.QueryRow(ctx, "SELECT toString(now64(6, 'UTC'))").Scan(&claims.At); err != nil {
		return claims, fmt.Errorf("read the server's time: %w", err)
	}
	rows, err := l.conn.Query(clickhouse.With(ctx, "", nil, topicParameters(t)), `
SELECT kafka_partition, argMax(owner, at), argMax(consumer_group, at), argMax(released, at)
FROM owners
WHERE topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND kafka_partition IN (`+numbers(partitions)+`)
GROUP BY kafka_partition`)
	if err != nil {
		return claims, fmt.Errorf("read owners: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int32
		var o Owner
		var released bool
		if err := rows.Scan(&id, &o.ID, &o.Group, &released); err != nil {
			return claims, fmt.Errorf("read owners: %w", err)
		}
		if !released && o.ID != l.owner.ID {
			claims.Unreleased[id] = o
		}
	}
	return claims, rows.Err()
}

// Claim implements Owners.
func (l *Ledger) Claim(ctx context.Context, t Topic, partitions []int32, since Claims) error {
	if err := l.note(ctx, t, partitions, false); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	params := topicParameters(t)
	params["owner"], params["since"] = l.owner.ID.String(), since.At
	var others uint64
	var group string
	err := l.conn.QueryRow(clickhouse.With(ctx, "", nil, params), `
SELECT count(), any(consumer_group) FROM owners
WHERE topic_id = {topic:UUID} AND lineage = {lineage:UInt32} AND kafka_partition IN (`+numbers(partitions)+`)
  AND owner != {owner:UUID} AND NOT released AND at > {since:DateTime64(6, 'UTC')}`).Scan(&others, &group)
	if err != nil {
		return fmt.Errorf("read owners: %w", err)
	}
	if others > 0 {
		return fmt.Errorf("an instance of group %s claims the same partitions at the same time", group)
	}
	return nil
}

// Release implements Owners.
func (l *Ledger) Release(ctx context.Context, t Topic, partitions []int32) error {
	return l.note(ctx, t, partitions, true)
}

func (l *Ledger) note(ctx context.Context, t Topic, partitions []int32, released bool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	batch, err := l.conn.PrepareBatch(clickhouse.With(ctx, "", insertSettings(uuid.New()), nil),
		"INSERT INTO owners (topic_id, lineage, kafka_partition, owner, consumer_group, released)")
	if err != nil {
		return fmt.Errorf("note owner: %w", err)
	}
	for _, id := range partitions {
		if err := batch.Append(t.ID, t.Lineage, id, l.owner.ID, l.owner.Group, released); err != nil {
			return errors.Join(fmt.Errorf("note owner: %w", err), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("note owner: %w", err)
	}
	return nil
}

// EndOthers implements Owners. Inserts of living owners are ended too: they find
// out and send again.
func (l *Ledger) EndOthers(ctx context.Context, t Topic) error {
	all := queryPrefix + t.ID.String() + "-"
	err := l.end(ctx, "startsWith(query_id, {all:String}) AND NOT startsWith(query_id, {ours:String})",
		clickhouse.Parameters{"all": all, "ours": all + l.owner.ID.String()})
	if err != nil {
		return fmt.Errorf("end inserts of the last owner: %w", err)
	}
	return nil
}

// end ends inserts: afterwards those that the condition finds have landed or
// never will. A killed insert does not end while it waits for its client, which
// may be stopped, but what comes later is refused. So only those are waited for
// that have got their rows. A look may come between a block and the count of its
// rows, therefore there are two.
func (l *Ledger) end(ctx context.Context, which string, params clickhouse.Parameters) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	ctx = clickhouse.With(ctx, "", nil, params)
	for quiet := 0; ; {
		if err := l.conn.Exec(ctx, "KILL QUERY WHERE "+which+" ASYNC"); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
		var open, running uint64
		err := l.conn.QueryRow(ctx, "SELECT count(), countIf(NOT is_cancelled OR read_rows > 0) FROM system.processes WHERE "+which).Scan(&open, &running)
		if err != nil {
			return fmt.Errorf("look for killed inserts: %w", err)
		}
		if running == 0 {
			quiet++
		} else {
			quiet = 0
		}
		if open == 0 || quiet == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d killed inserts: %w", running, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// queryPrefix begins the ids of inserts into the ledger; topic, owner, batch and
// attempt follow.
const queryPrefix = "adtally-ledger-"

// killTimeout bounds the end of inserts.
const killTimeout = 20 * time.Second

func topicParameters(t Topic) clickhouse.Parameters {
	return clickhouse.Parameters{"topic": t.ID.String(), "lineage": strconv.FormatUint(uint64(t.Lineage), 10)}
}

// numbers lists our own integers, which may stand in the text of a query.
func numbers(ids []int32) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(id)))
	}
	return b.String()
}
