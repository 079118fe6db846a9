package report

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/testkit/reports"
)

func mustZone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return zone
}

// evalBucket does in Go what the bucket of a statement says in SQL.
func evalBucket(minute time.Time, r *Report) int64 {
	g := r.Granularity
	spans := r.Offsets()
	i := 0
	for i+1 < len(spans) && !minute.Before(spans[i+1].From) {
		i++
	}
	local := minute.Unix() + spans[i].Offset
	switch g.Name {
	case "day":
		return local / SecondsPerDay
	case "week":
		day := local / SecondsPerDay
		return day - (day+3)%7
	case "month":
		t := time.Unix(local, 0).UTC()
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix() / SecondsPerDay
	}
	start := local/g.Seconds*g.Seconds - spans[i].Offset
	if i > 0 {
		start = max(start, spans[i].From.Unix())
	}
	return start
}

func TestZoneOffsetsGiveBuckets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range reports.Zones {
		zone := mustZone(t, name)
		for range 60 {
			g := &Granularities[1+rnd.IntN(len(Granularities)-1)]
			start := time.Date(2024, 1, 1, 0, rnd.IntN(1100*24*60), 0, 0, time.UTC)
			if next, ok := reports.ChangeAfter(start, zone); ok && rnd.IntN(3) > 0 {
				start = next.Add(time.Duration(rnd.IntN(240)-120) * time.Minute)
			}
			r := &Report{Zone: zone, Granularity: g, Start: start, End: start.Add(time.Duration(1+rnd.IntN(400*24*60)) * time.Minute)}
			for range 50 {
				minute := start.Add(time.Duration(rnd.Int64N(int64(r.End.Sub(start)/time.Minute))) * time.Minute)
				if rnd.IntN(2) == 0 {
					minute = start.Add(time.Duration(rnd.Int64N(min(200, int64(r.End.Sub(start)/time.Minute)))) * time.Minute)
				}
				if got, want := evalBucket(minute, r), reports.BucketOf(minute, g.Name, zone); got != want {
					t.Fatalf("%s %s of %s from %s: bucket %d, want %d", name, g.Name,
						minute.In(zone), r.Start.In(zone), got, want)
				}
			}
		}
	}
}

// Zone files of 64 bits may list a change at the last second of 32 bits at which
// nothing changes.
func TestZoneOffsetsIgnoreChangesToTheSame(t *testing.T) {
	start := time.Date(2037, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range reports.Zones {
		for _, span := range (&Report{Zone: mustZone(t, name), Start: start, End: start.AddDate(1, 0, 0), Granularity: GranularityNamed("hour")}).Offsets() {
			if span.From.Second() != 0 {
				t.Errorf("%s: a bucket is cut at %s", name, span.From)
			}
		}
	}
}

func TestZoneOffsetsAreFew(t *testing.T) {
	f := func(zone, granularity string, want int) {
		t.Helper()
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		got := (&Report{Zone: mustZone(t, zone), Start: start, End: start.AddDate(1, 0, 0), Granularity: GranularityNamed(granularity)}).Offsets()
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
