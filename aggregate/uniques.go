package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
)

const (
	// usersEvery is the time between two writes of users.
	usersEvery = 2 * time.Second
	// usersAgain is the broker time before a position whose users are told again
	// by a new owner: longer than the last one may have kept them.
	usersAgain = 2 * time.Minute
	// maxUsers bounds the users that wait.
	maxUsers = 4 << 20
)

// uniques gathers the users of net impressions and writes them now and then,
// beside the ledger: the states are idempotent, so at least once is enough, and
// a failure never holds the books up.
type uniques struct {
	store Uniques
	log   zerolog.Logger

	mu sync.Mutex
	userCells
	// places are the cells of the rows of the delta that is being added.
	places []int32

	written, dropped *metrics.Counter
}

// userCells are users by cell: the cells, and which of them saw whom.
type userCells struct {
	index map[cellOf]int32
	cells []cellOf
	views []view
}

// view says that the user saw something of the cell with that number.
type view struct {
	user uint64
	cell int32
}

// cell returns the number of a cell. c's texts are copied.
func (u *userCells) cell(c cellOf) int32 {
	at, known := u.index[c]
	if !known {
		if u.index == nil {
			u.index = make(map[cellOf]int32)
		}
		c.country, c.device = strings.Clone(c.country), strings.Clone(c.device)
		at = int32(len(u.cells))
		u.index[c] = at
		u.cells = append(u.cells, c)
	}
	return at
}

// list returns each cell with its users, each of them once.
func (u *userCells) list() []Users {
	ends := make([]int, len(u.cells)+1)
	for _, v := range u.views {
		ends[v.cell+1]++
	}
	for i := range u.cells {
		ends[i+1] += ends[i]
	}
	hashes := make([]uint64, len(u.views))
	next := slices.Clone(ends)
	for _, v := range u.views {
		hashes[next[v.cell]] = v.user
		next[v.cell]++
	}
	list := make([]Users, len(u.cells))
	for i, c := range u.cells {
		of := hashes[ends[i]:ends[i+1]]
		slices.Sort(of)
		list[i] = Users{
			Advertiser: c.advertiser, Campaign: c.campaign, Country: c.country, Device: c.device, Quarter: c.quarter,
			Hashes: slices.Compact(of),
		}
	}
	return list
}

func newUniques(store Uniques, log zerolog.Logger, set *metrics.Set) *uniques {
	return &uniques{
		store: store, log: log,
		written: set.NewCounter("adtally_aggregate_users_written_total"),
		dropped: set.NewCounter("adtally_aggregate_users_dropped_total"),
	}
}

// add takes the users of a delta, of which it keeps nothing.
func (u *uniques) add(d *window.Delta) {
	users := d.Users()
	if len(users) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	const unknown = -1
	u.places = slices.Grow(u.places[:0], d.Len())[:d.Len()]
	for i := range u.places {
		u.places[i] = unknown
	}
	var row window.Row
	for i, of := range users {
		if len(u.views) >= maxUsers {
			u.dropped.Add(len(users) - i)
			return
		}
		at := u.places[of.Row]
		if at == unknown {
			d.Row(int(of.Row), &row)
			at = u.cell(cellOf{row.Advertiser, row.Campaign, row.Country, row.Device, row.Minute / 15 * 15 * 60})
			u.places[of.Row] = at
		}
		u.views = append(u.views, view{of.User, at})
	}
}

// run writes until ctx is done, and then what is left.
func (u *uniques) run(ctx context.Context) {
	every := time.NewTicker(usersEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			u.write()
			return
		case <-every.C:
			u.write()
		}
	}
}

// write writes what waits; what cannot be written waits on.
func (u *uniques) write() {
	u.mu.Lock()
	taken := u.userCells
	u.userCells = userCells{}
	u.mu.Unlock()
	n := len(taken.views)
	if n == 0 {
		return
	}
	list := taken.list()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	err := u.store.InsertUsers(ctx, list)
	if err == nil {
		u.written.Add(n)
		return
	}
	u.log.Warn().Err(err).Int("users", n).Msg("unique users not written yet")
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range list {
		at := u.cell(cellOf{c.Advertiser, c.Campaign, c.Country, c.Device, c.Quarter})
		for _, user := range c.Hashes {
			u.views = append(u.views, view{user, at})
		}
	}
}

// cellOf is a cell of table uniques.
type cellOf struct {
	advertiser, campaign uint64
	country, device      string
	quarter              int64
}

// InsertUsers implements Uniques.
func (l *Ledger) InsertUsers(ctx context.Context, cells []Users) error {
	settings := clickhouse.Settings{"async_insert": 0, "low_cardinality_allow_in_native_format": 0}
	batch, err := l.conn.PrepareBatch(clickhouse.With(ctx, "", settings, nil),
		"INSERT INTO uniques (advertiser, campaign, quarter, country, device, user_hashes)")
	if err != nil {
		return fmt.Errorf("open insert of users: %w", err)
	}
	ids := [2][]uint64{make([]uint64, len(cells)), make([]uint64, len(cells))}
	texts := [2][]string{make([]string, len(cells)), make([]string, len(cells))}
	quarters, hashes := make([]int64, len(cells)), make([][]uint64, len(cells))
	for i, c := range cells {
		ids[0][i], ids[1][i] = c.Advertiser, c.Campaign
		texts[0][i], texts[1][i] = c.Country, c.Device
		quarters[i], hashes[i] = c.Quarter, c.Hashes
	}
	for i, values := range []any{ids[0], ids[1], quarters, texts[0], texts[1], hashes} {
		if err := batch.Column(i).Append(values); err != nil {
			return errors.Join(fmt.Errorf("encode users: %w", err), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("send users: %w", err)
	}
	return nil
}
