package closing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// beginning is what a closer sees before it closes a day.
type beginning struct {
	*Closer
	state    *State
	accounts map[uint64]string
	cut      *books.Cut
	dropped  books.Dropped
	// moves are those that the next close has; after is the state with them.
	moves []Move
	after *State
}

func (c *Closer) begin(ctx context.Context) (*beginning, error) {
	state, err := c.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	b := &beginning{Closer: c, state: state, accounts: map[uint64]string{}}
	accounts, err := access.NewStore(c.conn).ListAccounts(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		b.accounts[a.Advertiser] = a.Timezone
	}
	if b.cut, err = c.reader.Newest(ctx); err != nil {
		return nil, err
	}
	if b.dropped, err = b.reader.Dropped(ctx); err != nil {
		return nil, err
	}
	moving := state.moving(b.accounts)
	counted, err := b.counted(ctx, moving)
	if err != nil {
		return nil, err
	}
	b.moves = state.moves(b.accounts, moving, counted)
	b.after = state.with(b.moves)
	return b, nil
}

// counted says of which of the moving advertisers something is in closes of the
// old zone or the new one.
func (b *beginning) counted(ctx context.Context, moving map[uint64]uint64) (map[uint64]bool, error) {
	found := map[uint64]bool{}
	byCut := map[uint64][]uint64{}
	for advertiser, cut := range moving {
		byCut[cut] = append(byCut[cut], advertiser)
	}
	for number, advertisers := range byCut {
		if number == 0 {
			continue
		}
		cut, err := b.reader.Cut(ctx, number)
		if err != nil {
			return nil, err
		}
		slices.Sort(advertisers)
		params := clickhouse.Parameters{"moving": idArray(advertisers)}
		slice := books.Slice{To: cut.Vector}
		query := "SELECT DISTINCT advertiser FROM ledger WHERE advertiser IN {moving:Array(UInt64)} AND " + slice.Where("s", params)
		if b.dropped.Cut > 0 { // whose rows are dropped is in closes, and in rollups
			params["through"] = b.dropped.Through.Format(time.DateTime)
			query += "\nUNION DISTINCT\nSELECT DISTINCT advertiser FROM rollup_quarter WHERE advertiser IN {moving:Array(UInt64)} AND quarter <= {through:DateTime('UTC')}"
		}
		ids, err := queryIDs(ctx, b.conn, query, params)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			found[id] = true
		}
	}
	return found, nil
}

func queryIDs(ctx context.Context, conn clickhouse.Conn, query string, params clickhouse.Parameters) (ids []uint64, err error) {
	rows, err := conn.Query(clickhouse.With(ctx, "", nil, params), query)
	if err != nil {
		return nil, fmt.Errorf("look for rows of advertisers: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id uint64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// firstMinute returns the first minute of a zone's members in the newest cut; zero
// without any.
func (b *beginning) firstMinute(ctx context.Context, zone string) (time.Time, error) {
	members := b.after.Members(zone)
	q := &rowsQuery{params: clickhouse.Parameters{}}
	slice := books.Slice{To: b.cut.Vector}
	query := "SELECT count(), min(minute) FROM ledger WHERE advertiser > 0 AND " + q.members(&members) + " AND " + slice.Where("s", q.params)
	var n uint64
	var first time.Time
	if err := b.conn.QueryRow(clickhouse.With(ctx, "", nil, q.params), query).Scan(&n, &first); err != nil {
		return first, fmt.Errorf("look for the first event of %s: %w", zone, err)
	}
	if n == 0 {
		return time.Time{}, nil
	}
	return first.UTC(), nil
}

// nextDay returns the day that closes next.
func (b *beginning) nextDay(ctx context.Context, zone string, location *time.Location, most *int64) (day int64, ok bool, err error) {
	if z := b.state.Zone(zone); z != nil {
		return z.Last + 1, true, nil
	}
	first, err := b.firstMinute(ctx, zone)
	switch {
	case err != nil:
		return 0, false, err
	case !first.IsZero() && most != nil:
		return min(LocalDay(first, location), *most), true, nil
	case !first.IsZero():
		return LocalDay(first, location), true, nil
	case most != nil:
		return *most, true, nil
	}
	return 0, false, nil
}
