package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
)

// observe remembers since when deltas are in the newest cover no more.
func (c *Compactor) observe(cover books.Cover) {
	now := time.Now()
	live := named(cover)
	for id := range named(c.cover) {
		if _, seen := c.superseded[id]; !live[id] && !seen {
			c.superseded[id] = now
		}
	}
	c.cover = cover
}

// named lists the table partitions of a cover.
func named(cover books.Cover) map[uuid.UUID]bool {
	ids := make(map[uuid.UUID]bool, 2*len(cover))
	for i := range cover {
		ids[cover[i].ID], ids[cover[i].Day] = true, true
	}
	return ids
}

// partition is a partition of one of the rollup tables.
type partition struct {
	table    string
	id       uuid.UUID
	modified time.Time
}

// sweep drops deltas that later cuts have replaced some time ago, and what
// attempts left that were never committed.
func (c *Compactor) sweep(ctx context.Context, newest *books.Cut) error {
	partitions, err := c.partitions(ctx)
	if err != nil {
		return err
	}
	live, now := named(newest.Cover), time.Now()
	covers, err := c.reader.KeptCovers(ctx)
	if err != nil {
		return err
	}
	for _, cover := range covers {
		maps.Copy(live, named(cover))
	}
	there := map[uuid.UUID]bool{}
	for _, p := range partitions {
		there[p.id] = true
		since, known := c.superseded[p.id]
		switch {
		case live[p.id]:
			continue
		case known && now.Sub(since) < c.cfg.Keep, !known && now.Sub(p.modified) < litter:
			continue
		}
		if err := c.drop(ctx, p.table, p.id); err != nil {
			return err
		}
		c.count.dropped.Inc()
	}
	for id := range c.superseded {
		if !there[id] {
			delete(c.superseded, id)
		}
	}
	return nil
}

func (c *Compactor) partitions(ctx context.Context) (list []partition, err error) {
	rows, err := c.conn.Query(ctx, `
SELECT table, partition, max(modification_time) FROM system.parts
WHERE database = currentDatabase() AND table IN ('rollup_quarter', 'rollup_day') AND active
GROUP BY table, partition`)
	if err != nil {
		return nil, fmt.Errorf("list deltas: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p partition
		var id string
		if err := rows.Scan(&p.table, &id, &p.modified); err != nil {
			return nil, fmt.Errorf("list deltas: %w", err)
		}
		if p.id, err = uuid.Parse(id); err != nil {
			return nil, fmt.Errorf("list deltas: partition %q: %w", id, err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// drop drops a table partition; one that is not there is no error.
func (c *Compactor) drop(ctx context.Context, table string, id uuid.UUID) error {
	if err := c.conn.Exec(ctx, "ALTER TABLE "+table+" DROP PARTITION '"+id.String()+"'"); err != nil {
		return fmt.Errorf("drop delta %s: %w", id, err)
	}
	return nil
}
