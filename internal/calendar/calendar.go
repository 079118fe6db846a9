// Package calendar knows how far the wall clocks of time zones are from UTC. It
// asks Go's zone rules only: rollups, reports and closes must agree about days.
package calendar

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Span says that a zone's clock is Offset seconds ahead of UTC from an instant
// on, until the next Span begins.
type Span struct {
	From   time.Time
	Offset int64
}

// Offsets lists the offsets that hold in [start, end). The first span is from
// start.
func Offsets(zone *time.Location, start, end time.Time) []Span {
	spans := []Span{{From: start, Offset: offsetAt(start, zone)}}
	for from := start; ; {
		_, next := from.In(zone).ZoneBounds()
		if next.IsZero() || !next.Before(end) {
			return spans
		}
		if !next.After(from) {
			// On the last day of leap years from 2040 on Go says that a span ends
			// where it begins, which would keep us here for good.
			next = from.Add(24 * time.Hour)
		}
		from = next.UTC()
		if offset := offsetAt(from, zone); offset != spans[len(spans)-1].Offset {
			spans = append(spans, Span{From: from, Offset: offset})
		}
	}
}

func offsetAt(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return int64(offset)
}

// DayStart returns the first instant at which the zone's calendar shows the day,
// or a later one if it skips the day. That is not always midnight: where clocks
// go forward at midnight, the day begins at one.
func DayStart(day time.Time, zone *time.Location) time.Time {
	year, month, dom := day.Date()
	midnight := time.Date(year, month, dom, 0, 0, 0, 0, time.UTC)
	// The day can begin at midnight by any offset that holds around it, or at a
	// change of offset.
	var starts []time.Time
	for _, span := range Offsets(zone, midnight.Add(-36*time.Hour), midnight.Add(36*time.Hour)) {
		starts = append(starts, span.From, midnight.Add(-time.Duration(span.Offset)*time.Second))
	}
	slices.SortFunc(starts, time.Time.Compare)
	for _, t := range starts {
		y, m, d := t.In(zone).Date()
		if !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(midnight) {
			return t
		}
	}
	panic("BUG: no offset of the zone reaches the day")
}

// The years that counted events may be in: none is older than this program by
// more than their greatest age.
var (
	firstInstant = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	lastInstant  = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)
)

// quarter is the width of the time buckets that are added up, in seconds.
const quarter = 15 * 60

// Regular says that quarters of an hour of UTC do not straddle two days of the
// zone, nor two offsets, and that its date never goes back, in the given spans.
func Regular(spans []Span) bool {
	for i, span := range spans {
		if span.Offset%quarter != 0 {
			return false
		}
		if i == 0 {
			continue
		}
		at := span.From.Unix()
		if at%quarter != 0 || day(at+span.Offset) < day(at-1+spans[i-1].Offset) {
			return false
		}
	}
	return true
}

// day counts local days since 1970.
func day(local int64) int64 { return local / (24 * 60 * 60) }

// rulesOf remembers what Rules found, by name of the zone.
var rulesOf sync.Map

type known struct {
	rules   uint64
	regular bool
}

// Rules identifies what Go knows of a zone in the years that events may be in:
// it is another number if a newer zone database moves any day. regular is that of
// Regular for those years. Zones of one name are taken to be the same.
func Rules(zone *time.Location) (rules uint64, regular bool) {
	if k, ok := rulesOf.Load(zone.String()); ok {
		k, _ := k.(known) // nothing else is stored
		return k.rules, k.regular
	}
	spans := Offsets(zone, firstInstant, lastInstant)
	hash := fnv.New64a()
	for _, span := range spans {
		var text [16]byte
		binary.LittleEndian.PutUint64(text[:], uint64(span.From.Unix()))
		binary.LittleEndian.PutUint64(text[8:], uint64(span.Offset))
		_, _ = hash.Write(text[:]) // never fails
	}
	k := known{hash.Sum64(), Regular(spans)}
	rulesOf.Store(zone.String(), k)
	return k.rules, k.regular
}
