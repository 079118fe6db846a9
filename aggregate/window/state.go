package window

import (
	"time"

	"github.com/adtally/adtally/proto"
)

// Config are the rules that may be set. Changing one changes verdicts, so a
// change takes effect from the next record on and is logged with the batch.
type Config struct {
	// Horizon is how long an id is remembered, in broker time.
	Horizon time.Duration
}

// Lookback is how much of the log before a position must be read again to
// decide as if reading had never stopped.
func (c Config) Lookback() time.Duration {
	return c.Horizon + skewMillis*time.Millisecond
}

// State is what the core remembers of one partition's log. It belongs to one
// goroutine.
type State struct {
	seen *seen
}

// NewState returns the state before the first record.
func NewState(cfg Config) *State {
	return &State{seen: newSeen(cfg.Horizon.Milliseconds())}
}

// Fold takes the next record of the log: ev, appended at lat (milliseconds
// since 1970 UTC). It adds what the record counts to d, or only remembers the
// record when d is nil, as when rebuilding. ev is not kept.
func (s *State) Fold(ev *proto.Event, lat int64, d *Delta) {
	s.seen.advance(lat)
	if ev.Type == proto.EventType_EVENT_TYPE_TICK {
		return
	}
	valid := ev.InvalidFlags == 0
	duplicate := s.seen.record(seenKey{id: ev.EventID(), typ: ev.Type}, lat, valid)
	if d == nil {
		return
	}
	row := d.cell(ev)
	row.Gross++
	switch {
	case duplicate:
		row.Duplicate++
	case !valid:
		row.Invalid++
	default:
		row.Net++
		if ev.Pricing.Bills(ev.Type) {
			row.SpendNanos += ev.PriceNanos
		}
	}
}

// IDs returns the number of ids that are remembered.
func (s *State) IDs() int { return s.seen.len() }
