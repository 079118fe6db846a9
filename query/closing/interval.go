package closing

import (
	"slices"
	"time"

	"github.com/adtally/adtally/internal/calendar"
)

const secondsPerDay = 24 * 60 * 60

// Interval is the instants from From to before To.
type Interval struct{ From, To time.Time }

// Days are numbered since 1970 on the zone's own calendar.

// DayNumber returns the number of a date.
func DayNumber(day time.Time) int64 {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
}

// DateOf returns the date of a number, as midnight UTC.
func DateOf(day int64) time.Time { return time.Unix(day*secondsPerDay, 0).UTC() }

// LocalDay returns the number of the day that the zone's calendar shows.
func LocalDay(t time.Time, zone *time.Location) int64 { return DayNumber(t.In(zone)) }

// instants returns when the zone's calendar shows a day from first to last. Where
// clocks go back over midnight that is more than one interval.
func instants(first, last int64, zone *time.Location) []Interval {
	begin := time.Unix(0, 0).UTC()
	if first > 1 {
		begin = DateOf(first).Add(-36 * time.Hour)
	}
	end := DateOf(last).Add(60 * time.Hour)
	spans := calendar.Offsets(zone, begin, end)
	var list []Interval
	for i, span := range spans {
		until := end
		if i+1 < len(spans) {
			until = spans[i+1].From
		}
		from := latest(span.From, time.Unix(first*secondsPerDay-span.Offset, 0).UTC())
		to := earliest(until, time.Unix((last+1)*secondsPerDay-span.Offset, 0).UTC())
		if !from.Before(to) {
			continue
		}
		if n := len(list); n > 0 && list[n-1].To.Equal(from) {
			list[n-1].To = to
			continue
		}
		list = append(list, Interval{from, to})
	}
	return list
}

// Instants returns when the zone's calendar shows a day. A day that the calendar
// skips has none.
func Instants(day int64, zone *time.Location) []Interval { return instants(day, day, zone) }

// Before returns when the zone's calendar shows an earlier day, since 1970.
func Before(day int64, zone *time.Location) []Interval {
	return instants(-1, day-1, zone)
}

// Bounds are the first instant and the end of a day. A skipped day is where the
// day before it ends.
func Bounds(day int64, zone *time.Location) (starts, ends time.Time) {
	list := Instants(day, zone)
	if len(list) == 0 {
		_, at := Bounds(day-1, zone)
		return at, at
	}
	return list[0].From, slices.MaxFunc(list, func(a, b Interval) int { return a.To.Compare(b.To) }).To
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// offsetsUntil lists the offsets that hold up to the end of a day, and since when.
func offsetsUntil(day int64, zone *time.Location) (froms, offsets []int64) {
	for _, span := range calendar.Offsets(zone, time.Unix(0, 0).UTC(), DateOf(day).Add(60*time.Hour)) {
		froms, offsets = append(froms, span.From.Unix()), append(offsets, span.Offset)
	}
	return froms, offsets
}
