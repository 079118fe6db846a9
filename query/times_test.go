package query

import (
	"math/rand/v2"
	"testing"
	"time"
)

// testZones have offsets of quarters and halves of an hour, changes by half an
// hour, at midnight, several times a year and over the date line.
var testZones = []string{
	"UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
	"Australia/Lord_Howe", "America/Havana", "Africa/Casablanca", "Pacific/Apia", "Asia/Beirut",
	"America/Santiago", "Pacific/Chatham", "America/Asuncion", "Africa/Cairo",
}

func mustZone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return zone
}

// bucketOf is the meaning of a bucket, minute by minute: within a day it begins
// where the wall clock's hour or the offset last changed.
func bucketOf(minute time.Time, g *granularity, zone *time.Location) int64 {
	local := minute.In(zone)
	y, m, d := local.Date()
	date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	switch g.name {
	case "total":
		return 0
	case "day":
	case "week":
		for date.Weekday() != time.Monday {
			date = date.AddDate(0, 0, -1)
		}
	case "month":
		date = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	default:
		at := func(t time.Time) [2]int {
			local := t.In(zone)
			_, offset := local.Zone()
			return [2]int{offset, (local.Hour()*3600 + local.Minute()*60) / int(g.seconds)}
		}
		same := at(minute)
		for at(minute.Add(-time.Minute)) == same {
			minute = minute.Add(-time.Minute)
		}
		return minute.Unix()
	}
	return date.Unix() / secondsPerDay
}

// evalBucket does in Go what builder.bucket says in SQL.
func evalBucket(minute time.Time, r *Report) int64 {
	g := r.granularity
	spans := zoneOffsets(r.zone, r.start, r.end, g)
	i := 0
	for i+1 < len(spans) && !minute.Before(spans[i+1].from) {
		i++
	}
	local := minute.Unix() + spans[i].offset
	switch g.name {
	case "day":
		return local / secondsPerDay
	case "week":
		day := local / secondsPerDay
		return day - (day+3)%7
	case "month":
		t := time.Unix(local, 0).UTC()
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	}
	start := local/g.seconds*g.seconds - spans[i].offset
	if i > 0 {
		start = max(start, spans[i].from.Unix())
	}
	return start
}

func TestZoneOffsetsGiveBuckets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range testZones {
		zone := mustZone(t, name)
		for range 60 {
			g := &granularities[1+rnd.IntN(len(granularities)-1)]
			start := time.Date(2024, 1, 1, 0, rnd.IntN(1100*24*60), 0, 0, time.UTC)
			if next, ok := changeAfter(start, zone); ok && rnd.IntN(3) > 0 {
				start = next.Add(time.Duration(rnd.IntN(240)-120) * time.Minute)
			}
			r := &Report{zone: zone, granularity: g, start: start, end: start.Add(time.Duration(1+rnd.IntN(400*24*60)) * time.Minute)}
			for range 50 {
				minute := start.Add(time.Duration(rnd.Int64N(int64(r.end.Sub(start)/time.Minute))) * time.Minute)
				if rnd.IntN(2) == 0 {
					minute = start.Add(time.Duration(rnd.Int64N(min(200, int64(r.end.Sub(start)/time.Minute)))) * time.Minute)
				}
				if got, want := evalBucket(minute, r), bucketOf(minute, g, zone); got != want {
					t.Fatalf("%s %s of %s from %s: bucket %d, want %d", name, g.name,
						minute.In(zone), r.start.In(zone), got, want)
				}
			}
		}
	}
}

func changeAfter(t time.Time, zone *time.Location) (time.Time, bool) {
	_, next := t.In(zone).ZoneBounds()
	// Some zone files change nothing at the last second of 32 bits.
	return next.UTC().Truncate(time.Minute), !next.IsZero()
}

// Zone files of 64 bits may list a change at the last second of 32 bits at which
// nothing changes.
func TestZoneOffsetsIgnoreChangesToTheSame(t *testing.T) {
	start := time.Date(2037, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range testZones {
		for _, span := range zoneOffsets(mustZone(t, name), start, start.AddDate(1, 0, 0), granularityNamed("hour")) {
			if span.from.Second() != 0 {
				t.Errorf("%s: a bucket is cut at %s", name, span.from)
			}
		}
	}
}

func TestZoneOffsetsAreFew(t *testing.T) {
	f := func(zone, granularity string, want int) {
		t.Helper()
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		got := zoneOffsets(mustZone(t, zone), start, start.AddDate(1, 0, 0), granularityNamed(granularity))
		if len(got) != want {
			t.Errorf("%s %s: %d offsets, want %d", zone, granularity, len(got), want)
		}
	}
	f("UTC", "day", 1)
	f("Europe/Berlin", "hour", 1) // every change is by a whole hour
	f("Europe/Berlin", "day", 3)
	f("Asia/Kathmandu", "hour", 1)
	f("Australia/Lord_Howe", "quarter", 1)
	f("Australia/Lord_Howe", "hour", 3)
}
