package report

import (
	"errors"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/calendar"
)

const (
	// SecondsPerMinute is the grain of the counts.
	SecondsPerMinute = 60
	// SecondsPerDay is that of a day without a change of clocks.
	SecondsPerDay = 24 * 60 * 60
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
	if day, err := time.Parse(time.DateOnly, text); err == nil {
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

// OffsetSpan says that the zone's clock is offset seconds ahead of UTC from an
// instant on.
type OffsetSpan struct {
	From   time.Time
	Offset int64
}

// Offsets lists the offsets that hold in the range of the report. For buckets within a
// day only the remainder of the offset counts, and a change between two buckets
// that leaves it as it is changes nothing: in most zones every hour of UTC is an
// hour of the zone.
func (r *Report) Offsets() []OffsetSpan {
	g, from := r.Granularity, r.Start
	if g.Seconds > 0 {
		// A change just before the start may cut the first bucket.
		from = r.Start.Add(-time.Duration(g.Seconds) * time.Second)
	}
	var spans []OffsetSpan
	var last OffsetSpan
	for i, c := range calendar.Offsets(r.Zone, from, r.End) {
		span := OffsetSpan{From: c.From, Offset: c.Offset}
		if i == 0 || !span.continues(last, g) {
			spans = append(spans, span)
		}
		last = span
	}
	if g.Seconds > 0 {
		for i := range spans {
			spans[i].Offset = (spans[i].Offset%g.Seconds + g.Seconds) % g.Seconds
		}
	}
	return spans
}

// continues says that buckets go on over the change from last to s as if there
// was none.
func (s OffsetSpan) continues(last OffsetSpan, g *Granularity) bool {
	if s.Offset == last.Offset {
		return true
	}
	return g.Seconds > 0 && (s.Offset-last.Offset)%g.Seconds == 0 && (s.From.Unix()+s.Offset)%g.Seconds == 0
}

// BucketEnd returns the instant at which a bucket of the report ends. Those of
// more than a day end where the next one begins, also outside of the report.
func (r *Report) BucketEnd(bucket int64) time.Time {
	g := r.Granularity
	if g.Type == "" {
		return r.End
	}
	if g.Seconds > 0 {
		return time.Unix(bucket+g.Seconds, 0)
	}
	day := time.Unix(bucket*SecondsPerDay, 0).UTC()
	switch g.Name {
	case "week":
		day = day.AddDate(0, 0, 7)
	case "month":
		day = day.AddDate(0, 1, 0)
	default:
		day = day.AddDate(0, 0, 1)
	}
	return calendar.DayStart(day, r.Zone)
}
