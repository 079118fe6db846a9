package window

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// ignore is a Reporter for tests that look at the books only.
type ignore struct{}

func (ignore) Poison(int, error) {}
func (ignore) Synthetic(int)     {}

func TestIDsAreForgotten(t *testing.T) {
	cfg := Defaults()
	cfg.Horizon, cfg.JoinWindow = 10*time.Minute, time.Minute
	r := rand.New(rand.NewPCG(7, 7))
	state := NewState(cfg, ignore{})
	var key proto.IDKey
	const perMinute = 100
	for minute := range int64(600) {
		for range perMinute {
			ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1}
			ev.SetEventID(key.Hash(r.Uint64(), nil))
			ev.SetImpressionID(ev.EventID())
			fold(state, logged{ev, minute * 60_000}, nil)
		}
	}
	if got, limit := state.seen.len(), 14*perMinute; got > limit { // horizon, skew, and a step or two
		t.Errorf("%d ids are remembered, want at most %d", got, limit)
	}
	if got, limit := len(state.clicks.slab), 28*perMinute; got > limit {
		t.Errorf("clicks of %d impressions are remembered, want at most %d", got, limit)
	}
	if got, limit := len(state.pending.slab), 4*perMinute; got > limit {
		t.Errorf("%d clicks are kept that waited, want at most %d", got, limit)
	}
}

func TestFoldDoesNotAllocate(t *testing.T) {
	state := NewState(Defaults(), ignore{})
	var d Delta
	events := newTraffic(t, 1<<13, 1000)
	for range 4 * len(events.values) / len(events.batch) { // until tables and lists have their size
		state.FoldBatch(events.next(), &d)
		d.dropUsers()
	}
	if n := testing.AllocsPerRun(2, func() { state.FoldBatch(events.next(), &d); d.dropUsers() }); n > 2 {
		t.Errorf("folding %d fresh events into live cells allocates %v times", len(events.batch), n)
	}
}
