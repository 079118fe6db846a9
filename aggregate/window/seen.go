package window

import (
	"math"

	"github.com/adtally/adtally/proto"
)

// never is the time of what has not been seen.
const never = math.MinInt64

type seenKey struct {
	id    proto.ID
	typ   proto.EventType
	valid bool
}

// seenAt holds the latest step of a record and the payload of the last one.
type seenAt struct {
	step    int64
	payload uint16
}

// seen remembers the ids of the last horizon, counted in whole steps. Ids are
// kept a little longer than they can matter; what decides is the step stored
// with them.
type seen struct {
	horizon, skew int64 // in steps
	newest        int64
	last          map[seenKey]seenAt
}

func newSeen(cfg Config) *seen {
	step := cfg.stepMillis()
	return &seen{horizon: cfg.horizonSteps(), skew: skewMillis/step + 2, newest: never, last: make(map[seenKey]seenAt)}
}

// find returns what is remembered of k if it lies within the horizon before step.
func (s *seen) find(k seenKey, step int64) (seenAt, bool) {
	at, ok := s.last[k]
	return at, ok && at.step >= step-s.horizon
}

// record notes a record and reports whether it is a duplicate, and if so,
// whether it has another payload than the record that it repeats.
func (s *seen) record(k seenKey, step int64, payload uint16) (duplicate, conflict bool) {
	earlier, duplicate := s.find(seenKey{k.id, k.typ, true}, step)
	if !duplicate && !k.valid {
		earlier, duplicate = s.find(k, step)
	}
	latest := step
	if at, ok := s.last[k]; ok {
		latest = max(latest, at.step)
	}
	s.last[k] = seenAt{step: latest, payload: payload}
	return duplicate, duplicate && earlier.payload != payload
}

// impression reports whether the impression id was seen within the horizon
// before step, valid or not.
func (s *seen) impression(id proto.ID, step int64) bool {
	k := seenKey{id, proto.EventType_EVENT_TYPE_IMPRESSION, true}
	if _, ok := s.find(k, step); ok {
		return true
	}
	k.valid = false
	_, ok := s.find(k, step)
	return ok
}

// advance moves time to step and forgets what can no longer matter.
func (s *seen) advance(step int64) {
	if step <= s.newest {
		return
	}
	s.newest = step
	for k, at := range s.last {
		if at.step < step-s.horizon-s.skew {
			delete(s.last, k)
		}
	}
}

func (s *seen) len() int { return len(s.last) }
