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

	mu    sync.Mutex
	heads []*Close
	at    time.Time
}

// NewFinality returns a Finality that reads from conn.
func NewFinality(conn clickhouse.Conn) *Finality { return &Finality{store: NewStore(conn)} }

// Through returns the instant before which all days of the advertiser were closed
// at a cut; zero if none was. The zone that counts is that of the chain, which
// follows the account's.
func (f *Finality) Through(ctx context.Context, advertiser uint64, _ *time.Location, cut uint64) (time.Time, error) {
	heads, err := f.chain(ctx)
	if err != nil {
		return time.Time{}, err
	}
	state := NewState()
	for _, head := range heads {
		if err := state.Apply(head); err != nil {
			return time.Time{}, err
		}
	}
	return state.through(advertiser, cut), nil
}

func (f *Finality) chain(ctx context.Context) ([]*Close, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heads != nil && time.Since(f.at) < knownFor {
		return f.heads, nil
	}
	began := time.Now()
	heads, err := f.store.heads(ctx)
	if err != nil {
		return nil, err
	}
	f.heads, f.at = append([]*Close{}, heads...), began
	return f.heads, nil
}

// through follows the advertiser from zone to zone as far as all is closed.
func (s *State) through(advertiser uint64, cut uint64) time.Time {
	zone, since := defaultZone, time.Time{}
	for _, m := range append(s.spans[advertiser], Move{}) {
		last := m.Timezone == ""
		closed := s.zones[zone].endsAt(cut)
		if last || closed.Before(m.Since) {
			return latest(since, closed)
		}
		zone, since = m.Timezone, m.Since
	}
	return since
}

// endsAt is the end of the last day that was closed at a cut.
func (z *ZoneState) endsAt(cut uint64) time.Time {
	if z == nil {
		return time.Time{}
	}
	for i, k := range slices.Backward(z.cuts) {
		if k <= cut {
			return z.closedEnds[i]
		}
	}
	return time.Time{}
}
