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

	mu      sync.Mutex
	cells   map[cellOf][]uint64
	waiting int

	written, dropped *metrics.Counter
}

func newUniques(store Uniques, log zerolog.Logger, set *metrics.Set) *uniques {
	return &uniques{
		store: store, log: log, cells: make(map[cellOf][]uint64),
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
	var row window.Row
	for i, of := range users {
		if u.waiting >= maxUsers {
			u.dropped.Add(len(users) - i)
			return
		}
		if i == 0 || users[i-1].Row != of.Row {
			d.Row(int(of.Row), &row)
		}
		cell := cellOf{
			advertiser: row.Advertiser, campaign: row.Campaign, country: strings.Clone(row.Country), device: strings.Clone(row.Device),
			quarter: row.Minute / 15 * 15 * 60,
		}
		u.cells[cell] = append(u.cells[cell], of.User)
		u.waiting++
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
	cells, n := u.cells, u.waiting
	u.cells, u.waiting = make(map[cellOf][]uint64), 0
	u.mu.Unlock()
	if n == 0 {
		return
	}
	list := make([]Users, 0, len(cells))
	for c, users := range cells {
		slices.Sort(users)
		list = append(list, Users{
			Advertiser: c.advertiser, Campaign: c.campaign, Country: c.country, Device: c.device, Quarter: c.quarter,
			Hashes: slices.Compact(users),
		})
	}
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
		cell := cellOf{c.Advertiser, c.Campaign, c.Country, c.Device, c.Quarter}
		u.cells[cell] = append(u.cells[cell], c.Hashes...)
		u.waiting += len(c.Hashes)
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
	batch, err := l.conn.PrepareBatch(clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, nil),
		"INSERT INTO uniques (advertiser, quarter, campaign, country, device, user_hashes)")
	if err != nil {
		return fmt.Errorf("open insert of users: %w", err)
	}
	for _, c := range cells {
		if err := batch.Append(c.Advertiser, time.Unix(c.Quarter, 0).UTC(), c.Campaign, c.Country, c.Device, c.Hashes); err != nil {
			return errors.Join(fmt.Errorf("encode users: %w", err), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("send users: %w", err)
	}
	return nil
}
