package closing

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// defaultZone is that of advertisers without another.
const defaultZone = "UTC"

// State is what the chain of closes says. It belongs to one goroutine.
type State struct {
	// Sequence and Hash are those of the last close, 0 and empty without one.
	Sequence uint64
	Hash     string
	// Cut is the greatest cut of a close of any zone.
	Cut uint64

	zones map[string]*ZoneState
	spans map[uint64][]Move // by advertiser, Since rising
}

// ZoneState is how far one zone is closed.
type ZoneState struct {
	First, Last int64
	// Cut is K of the last day, Ends its end.
	Cut  uint64
	Ends time.Time
	// closes are the sequence numbers by day, from First.
	closes     []uint64
	cuts       []uint64
	closedEnds []time.Time
}

// NewState returns the state before the first close.
func NewState() *State {
	return &State{zones: map[string]*ZoneState{}, spans: map[uint64][]Move{}}
}

// Apply takes the next close of the chain.
func (s *State) Apply(c *Close) error {
	switch {
	case c.Sequence != s.Sequence+1:
		return fmt.Errorf("close %d follows close %d: the table closes lacks rows", c.Sequence, s.Sequence)
	case c.Previous != s.Hash:
		return fmt.Errorf("close %d names %.12s as the hash before it, but that of close %d is %.12s: the chain is broken", c.Sequence, c.Previous, s.Sequence, s.Hash)
	}
	z := s.zones[c.Timezone]
	day := c.day()
	switch {
	case z == nil:
		z = &ZoneState{First: day}
		s.zones[c.Timezone] = z
	case day != z.Last+1 || c.Cut < z.Cut:
		return fmt.Errorf("close %d: %s in %s at cut %d cannot follow %s at cut %d", c.Sequence, c.Day, c.Timezone, c.Cut, DateOf(z.Last).Format(time.DateOnly), z.Cut)
	}
	z.Last, z.Cut, z.Ends = day, c.Cut, c.Ends
	z.closes, z.cuts, z.closedEnds = append(z.closes, c.Sequence), append(z.cuts, c.Cut), append(z.closedEnds, c.Ends)
	for _, m := range c.Moves {
		s.spans[m.Advertiser] = append(s.spans[m.Advertiser], m)
	}
	s.Sequence, s.Hash, s.Cut = c.Sequence, c.Hash, max(s.Cut, c.Cut)
	return nil
}

// Zone returns how far a zone is closed; nil if it was never.
func (s *State) Zone(name string) *ZoneState { return s.zones[name] }

// Zones lists the zones with closes.
func (s *State) Zones() []string { return slices.Sorted(maps.Keys(s.zones)) }

// Close returns the sequence number of a day's close.
func (z *ZoneState) Close(day int64) (sequence uint64, ok bool) {
	if z == nil || day < z.First || day > z.Last {
		return 0, false
	}
	return z.closes[day-z.First], true
}

// CutOf returns K of a closed day.
func (z *ZoneState) CutOf(day int64) (cut uint64, ok bool) {
	if z == nil || day < z.First || day > z.Last {
		return 0, false
	}
	return z.cuts[day-z.First], true
}

func (z *ZoneState) ends() time.Time {
	if z == nil {
		return time.Time{}
	}
	return z.Ends
}

func (z *ZoneState) cut() uint64 {
	if z == nil {
		return 0
	}
	return z.Cut
}

// ZoneOf returns the zone that an advertiser belongs to now.
func (s *State) ZoneOf(advertiser uint64) string {
	if spans := s.spans[advertiser]; len(spans) > 0 {
		return spans[len(spans)-1].Timezone
	}
	return defaultZone
}

// ZoneAt returns the zone that an advertiser belongs to at an instant.
func (s *State) ZoneAt(advertiser uint64, at time.Time) string {
	zone := defaultZone
	for _, m := range s.spans[advertiser] {
		if m.Since.After(at) {
			break
		}
		zone = m.Timezone
	}
	return zone
}

// moving lists the advertisers whose account names another zone than the chain,
// and the cut up to which one must have no rows to move wholly.
func (s *State) moving(accounts map[uint64]string) map[uint64]uint64 {
	moving := map[uint64]uint64{}
	for advertiser, zone := range accounts {
		if old := s.ZoneOf(advertiser); old != zone {
			moving[advertiser] = max(s.zones[old].cut(), s.zones[zone].cut())
		}
	}
	return moving
}

// moves decides from when on each of the moving advertisers belongs to its new
// zone. counted says of which of them rows are in closes of either zone.
func (s *State) moves(accounts map[uint64]string, moving map[uint64]uint64, counted map[uint64]bool) []Move {
	list := []Move{}
	for _, advertiser := range slices.Sorted(maps.Keys(moving)) {
		m := Move{Advertiser: advertiser, Timezone: accounts[advertiser]}
		before := time.Time{}
		if spans := s.spans[advertiser]; len(spans) > 0 {
			before = spans[len(spans)-1].Since
		}
		if counted[advertiser] || !before.IsZero() {
			closed := latest(s.zones[s.ZoneOf(advertiser)].ends(), s.zones[m.Timezone].ends())
			m.Since = latest(before, closed)
		}
		list = append(list, m)
	}
	return list
}

// Members says which advertisers belong to a zone, and when.
type Members struct {
	// Rest takes everybody who is not in Listed.
	Rest   bool
	Listed []uint64
	// Whole belong to the zone always, Partly at some time.
	Whole  []uint64
	Partly []Stay
}

// Stay is an advertiser's time in a zone; a zero bound is open.
type Stay struct {
	Advertiser uint64
	Interval
}

// Members returns the members of a zone.
func (s *State) Members(zone string) Members {
	m := Members{Rest: zone == defaultZone}
	for _, advertiser := range slices.Sorted(maps.Keys(s.spans)) {
		spans := s.spans[advertiser]
		if m.Rest {
			m.Listed = append(m.Listed, advertiser)
		}
		current, since := defaultZone, time.Time{}
		for i := 0; i <= len(spans); i++ {
			until := time.Time{}
			if i < len(spans) {
				until = spans[i].Since
			}
			switch last := i == len(spans); {
			case current != zone || !last && !since.Before(until):
			case last && since.IsZero():
				m.Whole = append(m.Whole, advertiser)
			default:
				m.Partly = append(m.Partly, Stay{advertiser, Interval{since, until}})
			}
			if i < len(spans) {
				current, since = spans[i].Timezone, spans[i].Since
			}
		}
	}
	return m
}

// with returns the state after moves. The chain of s is not changed.
func (s *State) with(moves []Move) *State {
	after := *s
	after.spans = maps.Clone(s.spans)
	for _, m := range moves {
		after.spans[m.Advertiser] = append(slices.Clone(s.spans[m.Advertiser]), m)
	}
	return &after
}
