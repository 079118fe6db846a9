package query

import (
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	dateLayout    = "2006-01-02"
	secondsPerDay = 24 * 60 * 60
)

var (
	errTimeSyntax = errors.New("a date (2026-11-01) or a timestamp with its offset (2026-11-01T10:30:00Z) is wanted")
	errTimeMinute = errors.New("timestamps must be on a whole minute: that is the grain of the counts")
	errTimeRange  = errors.New("only the years from 2000 to 2099 are taken")
)

// parseTime reads a date, which stands for the start of that day in the zone, or
// a timestamp.
func parseTime(text string, zone *time.Location) (time.Time, error) {
	var t time.Time
	if day, err := time.Parse(dateLayout, text); err == nil {
		if day.Year() < 2000 || day.Year() > 2099 {
			return t, errTimeRange
		}
		t = dayStart(day, zone)
	} else if t, err = time.Parse(time.RFC3339, text); err != nil || strings.Contains(text, ",") {
		return t, errTimeSyntax
	}
	t = t.UTC()
	if t.Year() < 1999 || t.Year() > 2100 {
		return t, errTimeRange
	}
	if t.Second() != 0 || t.Nanosecond() != 0 {
		return t, errTimeMinute
	}
	return t, nil
}

// dayStart returns the first instant at which the zone's calendar shows the day,
// or a later one if it skips the day. That is not always midnight: where clocks
// go forward at midnight, the day begins at one.
func dayStart(day time.Time, zone *time.Location) time.Time {
	year, month, dom := day.Date()
	midnight := time.Date(year, month, dom, 0, 0, 0, 0, time.UTC)
	// The day can begin at midnight by any offset that holds around it, or at a
	// change of offset.
	var starts []time.Time
	for t := midnight.Add(-36 * time.Hour); t.Before(midnight.Add(36 * time.Hour)); {
		_, offset := t.In(zone).Zone()
		starts = append(starts, midnight.Add(-time.Duration(offset)*time.Second))
		_, next := t.In(zone).ZoneBounds()
		if next.IsZero() {
			break
		}
		starts = append(starts, next)
		t = next
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

// offsetSpan says that the zone's clock is offset seconds ahead of UTC from an
// instant on.
type offsetSpan struct {
	from   time.Time
	offset int64
}

// zoneOffsets lists the offsets that hold in [start, end). For buckets within a
// day only the remainder of the offset counts, and a change between two buckets
// that leaves it as it is changes nothing: in most zones every hour of UTC is an
// hour of the zone.
func zoneOffsets(zone *time.Location, start, end time.Time, g *granularity) []offsetSpan {
	from := start
	if g.seconds > 0 {
		// A change just before the start may cut the first bucket.
		from = start.Add(-time.Duration(g.seconds) * time.Second)
	}
	last := offsetSpan{from: from, offset: offsetAt(from, zone)}
	spans := []offsetSpan{last}
	for {
		_, next := from.In(zone).ZoneBounds()
		if next.IsZero() || !next.Before(end) {
			break
		}
		from = next.UTC()
		span := offsetSpan{from: from, offset: offsetAt(from, zone)}
		if !span.continues(last, g) {
			spans = append(spans, span)
		}
		last = span
	}
	if g.seconds > 0 {
		for i := range spans {
			spans[i].offset = (spans[i].offset%g.seconds + g.seconds) % g.seconds
		}
	}
	return spans
}

// continues says that buckets go on over the change from last to s as if there
// was none.
func (s offsetSpan) continues(last offsetSpan, g *granularity) bool {
	if s.offset == last.offset {
		return true
	}
	return g.seconds > 0 && (s.offset-last.offset)%g.seconds == 0 && (s.from.Unix()+s.offset)%g.seconds == 0
}

func offsetAt(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return int64(offset)
}
