package query

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
)

const (
	// refreshEvery is how often the newest view is read while reports come, and
	// freshFor how old it is at most. It is read more often, up to refreshLeast,
	// while that takes no more than one part in refreshShare of the time.
	refreshEvery = 250 * time.Millisecond
	refreshLeast = 25 * time.Millisecond
	refreshShare = 10
	// quietFor is when it is read although there was no news.
	quietFor = 600 * time.Millisecond
	freshFor = time.Second
	// idleAfter ends the reading when no report comes.
	idleAfter = 5 * time.Second
	// keepFor is how long an earlier view is used again, far less than its deltas
	// are kept.
	keepFor = time.Minute
	// maxPinned bounds the earlier views, and the zone maps, that are remembered.
	maxPinned = 256
)

// versions finds the views that reports read, and remembers them for a while. It
// is safe for concurrent use; those who want the newest during a reading wait
// for it.
type versions struct {
	reader *books.Reader
	// news says that the ledger has more; without, it is only looked at.
	news <-chan struct{}
	turn chan struct{} // holds one token: whoever has it reads the newest view
	// looked is the last view whose rest was looked at, for whoever has the turn.
	looked *books.View

	mu     sync.Mutex
	newest *books.View
	readAt time.Time
	usedAt time.Time
	pinned map[string]pinnedView
	zones  map[uuid.UUID]*books.ZoneMap
}

type pinnedView struct {
	view   *books.View
	readAt time.Time
}

func newVersions(reader *books.Reader, news <-chan struct{}) *versions {
	v := &versions{
		reader: reader, news: news, turn: make(chan struct{}, 1),
		pinned: map[string]pinnedView{}, zones: map[uuid.UUID]*books.ZoneMap{},
	}
	v.turn <- struct{}{}
	return v
}

// now returns the newest view, at most freshFor old.
func (v *versions) now(ctx context.Context) (*books.View, error) {
	if view := v.recent(); view != nil {
		return view, nil
	}
	select {
	case <-v.turn:
		defer func() { v.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if view := v.recent(); view != nil { // somebody else has read it meanwhile
		return view, nil
	}
	return v.read(ctx)
}

func (v *versions) read(ctx context.Context) (*books.View, error) {
	began := time.Now()
	view, err := v.reader.Now(ctx)
	if err != nil {
		return nil, err
	}
	view = view.Known(v.looked)
	v.publish(view, began)
	return view, nil
}

// publish makes a view, which was read from began on, the newest.
func (v *versions) publish(view *books.View, began time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest, v.readAt = view, began
}

// run keeps the newest view fresh while reports come, so that none waits for it.
func (v *versions) run(ctx context.Context) {
	next := time.NewTimer(refreshEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-v.news:
		}
		next.Reset(v.refresh(ctx))
	}
}

// refresh reads the newest view if reports come, and returns when to do so again.
func (v *versions) refresh(ctx context.Context) time.Duration {
	v.mu.Lock()
	idle := time.Since(v.usedAt) > idleAfter
	v.mu.Unlock()
	if idle {
		return refreshEvery
	}
	select {
	case <-v.turn:
	default: // a report is reading it
		return refreshLeast
	}
	began := time.Now()
	defer func() { v.turn <- struct{}{} }()
	// After an error the view grows old, and the next report says why.
	if v.look(ctx) != nil {
		return refreshEvery
	}
	if v.news != nil {
		return quietFor
	}
	return min(max(refreshShare*time.Since(began), refreshLeast), refreshEvery)
}

// look reads the newest view, and then what is behind its cut: reports have the view
// already, and from then on they need not read that. Its caller has the turn.
func (v *versions) look(ctx context.Context) error {
	began := time.Now()
	view, err := v.read(ctx)
	if err != nil {
		return err
	}
	looked, err := v.reader.Looked(ctx, view, v.looked)
	if err != nil {
		return err
	}
	v.looked = looked
	v.publish(looked, began)
	return nil
}

func (v *versions) recent() *books.View {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.usedAt = time.Now()
	if v.newest != nil && time.Since(v.readAt) < freshFor {
		return v.newest
	}
	return nil
}

// at returns the view of a name.
func (v *versions) at(ctx context.Context, name string) (*books.View, error) {
	v.mu.Lock()
	if v.newest != nil && v.newest.Name == name && time.Since(v.readAt) < keepFor {
		defer v.mu.Unlock()
		return v.newest, nil
	}
	known, ok := v.pinned[name]
	v.mu.Unlock()
	if ok && time.Since(known.readAt) < keepFor {
		return known.view, nil
	}
	began := time.Now()
	view, err := v.reader.At(ctx, name)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.pinned) >= maxPinned {
		clear(v.pinned)
	}
	v.pinned[name] = pinnedView{view, began}
	return view, nil
}

// ZoneMap returns a zone map. It never changes.
func (v *versions) ZoneMap(ctx context.Context, id uuid.UUID) (*books.ZoneMap, error) {
	v.mu.Lock()
	known := v.zones[id]
	v.mu.Unlock()
	if known != nil {
		return known, nil
	}
	m, err := v.reader.ZoneMap(ctx, id)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.zones) >= maxPinned {
		clear(v.zones)
	}
	v.zones[id] = m
	return m, nil
}
