package window

import (
	"math"

	"github.com/adtally/adtally/proto"
)

// skewMillis is how far the broker's clock may step back (at a leader change)
// before a verdict could miss an id that was already forgotten.
const skewMillis = 2 * 60_000

// generations is the number of steps in which ids grow old.
const generations = 32

// never is the time of what has not been seen.
const never = math.MinInt64

type seenKey struct {
	id  proto.ID
	typ proto.EventType
}

// seenAt holds the latest LAT, in milliseconds, of any and of a valid record.
type seenAt struct{ any, valid int64 }

// seen remembers the ids of the last horizon. Ids are kept a little longer than
// they can matter; what decides is the LAT stored with them.
type seen struct {
	horizon int64
	newest  int64
	last    map[seenKey]seenAt
	// ages lists the keys by the generation of a record that carried them.
	ages map[int64][]seenKey
	// oldest is the lowest generation that may be in ages.
	oldest int64
}

func newSeen(horizonMillis int64) *seen {
	return &seen{
		horizon: horizonMillis,
		newest:  never,
		last:    make(map[seenKey]seenAt),
		ages:    make(map[int64][]seenKey),
		oldest:  math.MaxInt64,
	}
}

// record notes a record and reports whether it is a duplicate.
func (s *seen) record(k seenKey, lat int64, valid bool) bool {
	at, known := s.last[k]
	if !known {
		at = seenAt{any: never, valid: never}
	}
	earlier := at.any
	if valid {
		earlier = at.valid
		at.valid = max(at.valid, lat)
	}
	at.any = max(at.any, lat)
	s.last[k] = at
	g := s.generation(lat)
	s.ages[g] = append(s.ages[g], k)
	s.oldest = min(s.oldest, g)
	return earlier != never && earlier > lat-s.horizon
}

// advance moves time to lat and forgets what can no longer matter.
func (s *seen) advance(lat int64) {
	if lat <= s.newest {
		return
	}
	s.newest = lat
	cutoff := lat - s.horizon - skewMillis
	for end := s.generation(cutoff); s.oldest < end; s.oldest++ {
		if len(s.ages) == 0 {
			s.oldest = math.MaxInt64
			return
		}
		for _, k := range s.ages[s.oldest] {
			if at, ok := s.last[k]; ok && at.any <= cutoff {
				delete(s.last, k)
			}
		}
		delete(s.ages, s.oldest)
	}
}

func (s *seen) generation(lat int64) int64 {
	step := max(s.horizon/generations, 1)
	g := lat / step
	if lat%step < 0 {
		g--
	}
	return g
}

func (s *seen) len() int { return len(s.last) }
