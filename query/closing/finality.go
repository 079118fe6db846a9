package closing

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// knownFor is how long a reading of the chain is used again. An old one promises
// less than is there, never more.
const knownFor = time.Second

// Finality knows which days are closed. It is safe for concurrent use.
type Finality struct {
	store *Store

	mu sync.Mutex
	// state is what the chain says; it is replaced, never changed.
	state *State
	rows  uint64
	at    time.Time
	// reading says that somebody is looking for new closes.
	reading bool
}

// NewFinality returns a Finality that reads from conn.
func NewFinality(conn clickhouse.Conn) *Finality { return &Finality{store: NewStore(conn)} }

// Through returns the instant before which all days of the advertiser were closed
// before a cut was made; zero if none was. A close of the cut itself does not
// count: answers as of that cut were given before it. The zone that counts is that
// of the chain, which follows the account's.
func (f *Finality) Through(ctx context.Context, advertiser uint64, _ *time.Location, cut uint64) (time.Time, error) {
	state, err := f.chain(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return state.through(advertiser, cut), nil
}

// chain returns what the chain says. While one looks for new closes the others go
// on with what is known.
func (f *Finality) chain(ctx context.Context) (*State, error) {
	f.mu.Lock()
	state, rows := f.state, f.rows
	if state != nil && (f.reading || time.Since(f.at) < knownFor) {
		f.mu.Unlock()
		return state, nil
	}
	f.reading = true
	f.mu.Unlock()
	began := time.Now()
	state, rows, err := f.read(ctx, state, rows)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = false
	if err != nil {
		return nil, err
	}
	f.state, f.rows, f.at = state, rows, began
	return state, nil
}

// read returns the state of the chain, the known one if it has no new row.
func (f *Finality) read(ctx context.Context, known *State, rows uint64) (*State, uint64, error) {
	n, err := f.store.count(ctx)
	if err != nil || known != nil && n == rows {
		return known, n, err
	}
	heads, err := f.store.heads(ctx)
	if err != nil {
		return nil, 0, err
	}
	state := NewState()
	for _, head := range heads {
		if err := state.Apply(head); err != nil {
			return nil, 0, err
		}
	}
	return state, n, nil
}

// through follows the advertiser from zone to zone as far as all is closed.
func (s *State) through(advertiser uint64, cut uint64) time.Time {
	zone, since := defaultZone, time.Time{}
	for _, m := range s.spans[advertiser] {
		if closed := s.zones[zone].endsBefore(cut); closed.Before(m.Since) {
			return latest(since, closed)
		}
		zone, since = m.Timezone, m.Since
	}
	return latest(since, s.zones[zone].endsBefore(cut))
}

// endsBefore is the end of the last day that was closed before a cut.
func (z *ZoneState) endsBefore(cut uint64) time.Time {
	if z == nil {
		return time.Time{}
	}
	for i, k := range slices.Backward(z.cuts) {
		if k < cut {
			return z.closedEnds[i]
		}
	}
	return time.Time{}
}
