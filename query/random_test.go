package query

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/report"
)

// odd are texts that a careless statement would take for something else.
var odd = []string{
	"", "a", "US", `' OR 1=1 --`, `\'`, `\`, `{x:String}`, "%", "\x00", "é", "a\tb\nc", `"`, "=1", "NULL", "\\x41", "]", "','",
}

func randomEntries(rnd *rand.Rand, n int) []entry {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	var minutes []time.Time
	for _, name := range reports.Zones {
		zone := mustLoad(name)
		for at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); ; {
			next, ok := reports.ChangeAfter(at, zone)
			if !ok || next.Year() > 2026 {
				break
			}
			minutes = append(minutes, next)
			at = next.Add(time.Hour)
		}
	}
	entries := make([]entry, n)
	for i := range entries {
		e := &entries[i]
		e.Advertiser = uint64(7 + rnd.IntN(3))
		e.Minute = time.Date(2025, 1, 1, 0, rnd.IntN(730*24*60), 0, 0, time.UTC)
		if rnd.IntN(2) == 0 {
			around := []int{2 * 60, 48 * 60}[rnd.IntN(2)]
			e.Minute = minutes[rnd.IntN(len(minutes))].Add(time.Duration(rnd.IntN(around)-around/2) * time.Minute)
		}
		e.Type = uint8(proto.EventTypes()[rnd.IntN(len(proto.EventTypes()))])
		if rnd.IntN(3) > 0 {
			e.Type = uint8(1 + rnd.IntN(4))
		}
		for j := range e.IDs {
			e.IDs[j] = uint64(rnd.IntN(4))
		}
		if rnd.IntN(50) == 0 {
			e.IDs[0] = 1<<64 - 1
		}
		e.Texts = [7]string{
			pick("US", "CA", "DE", "", "NP"), pick("US-CA", "US-NY", ""), pick("mobile", "desktop"), pick("ios", "android"),
			pick(odd...), pick("a", "b", ""), "USD",
		}
		if rnd.IntN(3) == 0 {
			e.Flags = rnd.Uint32N(1<<len(proto.FlagNames())) & rnd.Uint32()
		}
		if e.Advertiser == 8 {
			e.Texts[6] = pick("USD", "EUR", "JPY", "")
		}
		counts := [4]int64{rnd.Int64N(1000), rnd.Int64N(20), rnd.Int64N(20), 0}
		if e.Type == uint8(proto.EventType_EVENT_TYPE_CLICK) {
			counts[3] = rnd.Int64N(9)
		}
		e.Net, e.Duplicate, e.Invalid, e.Orphan = counts[0], counts[1], counts[2], counts[3]
		e.Duplicate++ // some gross event made the row
		switch rnd.IntN(4) {
		case 0:
			e.Spend = rnd.Int64N(1_000_000_000_000)
		case 1:
			e.Spend = rnd.Int64() // sums go beyond 64 bits
		}
	}
	return entries
}

func mustLoad(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// randomRequest returns a request, in the zone of the account now and then.
func randomRequest(rnd *rand.Rand, own string) (req report.Request, start, end time.Time, zone *time.Location) {
	req.Timezone = reports.Zones[rnd.IntN(len(reports.Zones))]
	if rnd.IntN(3) == 0 {
		req.Timezone = own
	}
	g := report.Granularities[rnd.IntN(len(report.Granularities))]
	if rnd.IntN(8) == 0 { // where clocks change in the middle of an hour
		req.Timezone, g = []string{"Australia/Lord_Howe", "Pacific/Chatham"}[rnd.IntN(2)], *report.GranularityNamed("hour")
	}
	zone = mustLoad(req.Timezone)
	req.Granularity = g.Name
	start = time.Date(2025, 1, 1, 0, rnd.IntN(700*24*60), 0, 0, time.UTC)
	if next, ok := reports.ChangeAfter(start, zone); ok && rnd.IntN(2) == 0 {
		start = next.Add(time.Duration(rnd.IntN(3*24*60)-2*24*60) * time.Minute)
	}
	end = start.Add(time.Duration(1+rnd.IntN(min(g.MaxDays, 500)*24*60)) * time.Minute)
	if rnd.IntN(2) == 0 {
		a, b := start.In(zone), end.In(zone).AddDate(0, 0, 1)
		if g.Name == "minute" {
			b = a.AddDate(0, 0, 1+rnd.IntN(30))
		}
		req.Start, req.End = a.Format(time.DateOnly), b.Format(time.DateOnly)
		start, end = firstMinute(a, zone), firstMinute(b, zone)
	} else {
		req.Start, req.End = start.In(zone).Format(time.RFC3339), end.UTC().Format(time.RFC3339)
	}
	some := func(names []string, most int) []string {
		names = slices.Clone(names)
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		return names[:min(len(names), rnd.IntN(most+1))]
	}
	req.Dimensions = some(report.DimensionNames(), 4)
	req.Metrics = append(some([]string{"impressions", "spend", "ctr", "cpm", "cpc", "cpa", "conversion_rate", "viewability"}, 3),
		some(slices.DeleteFunc(report.MetricNames(), func(n string) bool {
			return n == "impressions" || quotients[n][0] != "" || report.MetricNamed(n).Unique()
		}), 5)...)
	if len(req.Metrics) == 0 {
		req.Metrics = []string{"clicks"}
	}
	for range rnd.IntN(3) {
		d := report.DimensionNames()[rnd.IntN(len(report.Dimensions))]
		f := report.Filter{Dimension: d, Op: report.Ops[rnd.IntN(4)]}
		values := []string{"US", "CA", "US-NY", "mobile", "ios", "a", "USD", "EUR", ""}
		switch {
		case d == "browser":
			values = odd
		case d == "invalid_reason":
			values = []string{"", "crawler", "non_browser,data_centre", "verdict", "nobody"}
		case report.DimensionNamed(d).ID:
			values = []string{"0", "1", "2", "7", "8", "18446744073709551615"}
		}
		f.Values = some(values, 4)
		if len(f.Values) == 0 || f.Op == report.OpEq || f.Op == report.OpNe {
			f.Values = values[rnd.IntN(len(values)):][:1]
		}
		req.Filters = append(req.Filters, f)
	}
	columns := append(slices.Clone(req.Dimensions), req.Metrics...)
	if g.Type != "" {
		columns = append(columns, g.Name)
	}
	for _, field := range some(columns, 3) {
		req.OrderBy = append(req.OrderBy, report.Order{Field: field, Direction: []string{"", "asc", "desc"}[rnd.IntN(3)]})
	}
	limit := []int64{1, 10, 1000, 100_000}[rnd.IntN(4)]
	req.Limit = &limit
	return req, start, end, zone
}

// firstMinute finds the first minute of a day by looking at every one.
func firstMinute(day time.Time, zone *time.Location) time.Time {
	date := day.In(zone).Format(time.DateOnly)
	t := day.UTC().Truncate(time.Minute)
	for first := t; ; t = t.Add(-time.Minute) {
		if t.In(zone).Format(time.DateOnly) == date {
			first = t
		}
		if day.Sub(t) > 27*time.Hour {
			return first
		}
	}
}
