package query

import (
	"errors"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/calendar"
)

const (
	dateLayout       = "2006-01-02"
	secondsPerMinute = 60
	secondsPerDay    = 24 * 60 * 60
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
		t = calendar.DayStart(day, zone)
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
	var spans []offsetSpan
	var last offsetSpan
	for i, c := range calendar.Offsets(zone, from, end) {
		span := offsetSpan{from: c.From, offset: c.Offset}
		if i == 0 || !span.continues(last, g) {
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

// bucketEnd returns the instant at which a bucket of the report ends. Those of
// more than a day end where the next one begins, also outside of the report.
func (r *Report) bucketEnd(bucket int64) time.Time {
	g := r.granularity
	if g.typ == "" {
		return r.end
	}
	if g.seconds > 0 {
		return time.Unix(bucket+g.seconds, 0)
	}
	day := time.Unix(bucket*secondsPerDay, 0).UTC()
	switch g.name {
	case "week":
		day = day.AddDate(0, 0, 7)
	case "month":
		day = day.AddDate(0, 1, 0)
	default:
		day = day.AddDate(0, 0, 1)
	}
	return calendar.DayStart(day, r.zone)
}
