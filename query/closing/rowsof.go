package closing

import (
	"context"
	"fmt"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// RowsOf returns which rows of the ledger a close has in a file.
func RowsOf(ctx context.Context, conn clickhouse.Conn, c *Close, adjustments bool, advertiser uint64) (*Rows, error) {
	zone, err := access.LoadZone(c.Timezone)
	if err != nil {
		return nil, err
	}
	day, err := time.Parse(time.DateOnly, c.Day)
	if err != nil {
		return nil, err
	}
	state, err := NewStore(conn).LoadAt(ctx, c.Sequence)
	if err != nil {
		return nil, err
	}
	r := &Rows{
		Timezone: c.Timezone, Zone: zone, Day: DayNumber(day), Members: state.Members(c.Timezone),
		Adjustments: adjustments, Advertiser: advertiser,
	}
	reader := books.NewReader(conn)
	dropped, err := reader.Dropped(ctx)
	if err != nil {
		return nil, err
	}
	to, err := reader.Cut(ctx, c.Cut)
	if err != nil {
		return nil, err
	}
	r.Slice = books.Slice{To: to.Vector}
	gone := fmt.Errorf("the rows of %s: %w; its files can be checked against themselves only", c.Day, books.ErrDropped)
	if !adjustments {
		if starts, _ := Bounds(r.Day, zone); dropped.Since(starts) {
			return nil, gone
		}
		return r, nil
	}
	from, err := reader.Cut(ctx, c.PreviousCut)
	if err != nil {
		return nil, err
	}
	topics, err := reader.Topics(ctx)
	if err != nil {
		return nil, err
	}
	tail, err := reader.Tail(ctx, topics, from.Vector, books.UpTo(to.Vector))
	if err != nil {
		return nil, err
	}
	if r.Slice = tail.Slice; tail.Rows > 0 && dropped.Of(&r.Slice) {
		return nil, gone
	}
	return r, nil
}
