package aggregate

import (
	"context"
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
	// manyUsers is the number of users at which they are written early.
	manyUsers = 1 << 20
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
	waiting *userCells
	// many asks for a write before its time.
	many chan struct{}
	// spare has the memory of the last write.
	spare *userCells
	// cells and places are, plus one, the cells of the rows and the places of the
	// sets of texts of the delta that is being added.
	cells, places []int32

	written, dropped *metrics.Counter
}

// userCells are users by cell. Nothing in it that grows with the traffic has
// pointers.
type userCells struct {
	cells map[cellOf]int32
	// places are the countries and devices of cells, and texts what they are
	// called.
	places map[placeOf]int32
	texts  []placeOf
	// views stand in chunks, so that none is copied when there are more.
	views [][]view
	n     int
}

// cellOf is a cell of table uniques. place is a number of userCells.places.
type cellOf struct {
	advertiser, campaign uint64
	quarter              int64
	place                int32
}

type placeOf struct{ country, device string }

// view says that the user saw something of the cell with that number.
type view struct {
	user uint64
	cell int32
}

// chunkViews is the number of views that memory is taken for at a time.
const chunkViews = 1 << 14

func newUserCells() *userCells {
	return &userCells{cells: make(map[cellOf]int32), places: make(map[placeOf]int32)}
}

// place returns the number of a country and device. The texts are copied.
func (u *userCells) place(country, device string) int32 {
	at, known := u.places[placeOf{country, device}]
	if !known {
		at = int32(len(u.texts))
		p := placeOf{strings.Clone(country), strings.Clone(device)}
		u.places[p] = at
		u.texts = append(u.texts, p)
	}
	return at
}

// cell returns the number of a cell.
func (u *userCells) cell(c cellOf) int32 {
	at, known := u.cells[c]
	if !known {
		at = int32(len(u.cells))
		u.cells[c] = at
	}
	return at
}

func (u *userCells) add(v view) {
	at := u.n / chunkViews
	if at == len(u.views) {
		u.views = append(u.views, make([]view, 0, chunkViews))
	}
	u.views[at] = append(u.views[at], v)
	u.n++
}

// reset empties u and keeps its memory.
func (u *userCells) reset() {
	clear(u.cells)
	clear(u.places)
	clear(u.texts)
	u.texts, u.n = u.texts[:0], 0
	for i := range u.views {
		u.views[i] = u.views[i][:0]
	}
}

// list returns each cell with its users, in no order.
func (u *userCells) list() []Users {
	ends := make([]int, len(u.cells)+1)
	for _, chunk := range u.views {
		for _, v := range chunk {
			ends[v.cell+1]++
		}
	}
	for i := range len(u.cells) {
		ends[i+1] += ends[i]
	}
	list := make([]Users, len(u.cells))
	hashes := make([]uint64, u.n)
	for c, i := range u.cells {
		at := u.texts[c.place]
		list[i] = Users{
			Advertiser: c.advertiser, Campaign: c.campaign, Country: at.country, Device: at.device, Quarter: c.quarter,
			Hashes: hashes[ends[i]:ends[i+1]],
		}
	}
	for _, chunk := range u.views {
		for _, v := range chunk {
			hashes[ends[v.cell]] = v.user
			ends[v.cell]++
		}
	}
	return list
}

func newUniques(store Uniques, log zerolog.Logger, set *metrics.Set) *uniques {
	return &uniques{
		store: store, log: log, waiting: newUserCells(), spare: newUserCells(), many: make(chan struct{}, 1),
		written: set.NewCounter("adtally_aggregate_users_written_total"),
		dropped: set.NewCounter("adtally_aggregate_users_dropped_total"),
	}
}

// add takes the users of a delta, of which it keeps nothing.
func (u *uniques) add(d *window.Delta) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cells, u.places = zeroed(u.cells, d.Len()), u.places[:0]
	dropped := 0
	for of := range d.Users() {
		if u.waiting.n >= maxUsers {
			dropped++
			continue
		}
		at := &u.cells[of.Row]
		if *at == 0 {
			*at = u.cell(d, int(of.Row)) + 1
		}
		u.waiting.add(view{of.User, *at - 1})
	}
	u.dropped.Add(dropped)
	if u.waiting.n >= manyUsers {
		select {
		case u.many <- struct{}{}:
		default:
		}
	}
}

// cell returns the cell that the row counts in. Each set of texts of a delta is
// looked up once.
func (u *uniques) cell(d *window.Delta, row int) int32 {
	var r window.Row
	d.Row(row, &r)
	set := int(d.Texts(row))
	if set >= len(u.places) {
		u.places = append(u.places, make([]int32, set+1-len(u.places))...)
	}
	if u.places[set] == 0 {
		u.places[set] = u.waiting.place(r.Country, r.Device) + 1
	}
	return u.waiting.cell(cellOf{r.Advertiser, r.Campaign, r.Minute / 15 * 15 * 60, u.places[set] - 1})
}

// zeroed returns s with n zeros.
func zeroed(s []int32, n int) []int32 {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
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
		case <-u.many:
			u.write()
		}
	}
}

// write writes what waits; what cannot be written waits on.
func (u *uniques) write() {
	u.mu.Lock()
	n := u.waiting.n
	if n == 0 {
		u.mu.Unlock()
		return
	}
	taken := u.waiting
	u.waiting = u.spare
	u.mu.Unlock()
	list := taken.list()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	err := u.store.InsertUsers(ctx, list)
	u.mu.Lock()
	defer u.mu.Unlock()
	taken.reset()
	u.spare = taken
	if err == nil {
		u.written.Add(n)
		return
	}
	u.log.Warn().Err(err).Int("users", n).Msg("unique users not written yet")
	for _, c := range list {
		at := u.waiting.cell(cellOf{c.Advertiser, c.Campaign, c.Quarter, u.waiting.place(c.Country, c.Device)})
		for _, user := range c.Hashes {
			u.waiting.add(view{user, at})
		}
	}
}

// InsertUsers implements Uniques.
func (l *Ledger) InsertUsers(ctx context.Context, cells []Users) error {
	var advertisers, campaigns clickhouse.Fixed[uint64]
	var quarters clickhouse.Fixed[clickhouse.Second]
	var countries, devices clickhouse.Coded
	var users clickhouse.Lists
	for _, c := range cells {
		advertisers.Values = append(advertisers.Values, c.Advertiser)
		campaigns.Values = append(campaigns.Values, c.Campaign)
		quarters.Values = append(quarters.Values, clickhouse.Second(c.Quarter))
		countries.Keys = append(countries.Keys, countries.Place(c.Country))
		devices.Keys = append(devices.Keys, devices.Place(c.Device))
		users.Append(c.Hashes)
	}
	err := l.conn.Insert(ctx, clickhouse.BlockInsert{
		Table: "uniques", Settings: clickhouse.Settings{"async_insert": 0, "low_cardinality_allow_in_native_format": 1},
		Columns: []clickhouse.NamedColumn{
			{Name: "advertiser", Values: &advertisers},
			{Name: "campaign", Values: &campaigns},
			{Name: "quarter", Values: &quarters},
			{Name: "country", Values: &countries},
			{Name: "device", Values: &devices},
			{Name: "user_hashes", Values: &users},
		},
	})
	if err != nil {
		return fmt.Errorf("insert users: %w", err)
	}
	return nil
}
