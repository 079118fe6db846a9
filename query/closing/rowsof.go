package closing

import (
	"context"
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
	to, err := reader.Cut(ctx, c.Cut)
	if err != nil {
		return nil, err
	}
	r.Slice = books.Slice{To: to.Vector}
	if !adjustments {
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
	r.Slice = tail.Slice
	return r, nil
}
