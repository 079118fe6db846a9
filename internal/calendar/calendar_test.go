package calendar

import (
	"testing"
	"time"
)

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

// Go's own spans do not go on beyond the last day of a leap year from 2040 on.
func TestOffsetsHoldUntilTheLastYear(t *testing.T) {
	for _, name := range testZones {
		zone := mustZone(t, name)
		spans := Offsets(zone, firstInstant, lastInstant)
		i := 0
		for at := firstInstant; at.Before(lastInstant); at = at.Add(7 * time.Hour) {
			for i+1 < len(spans) && !at.Before(spans[i+1].From) {
				i++
			}
			if got := offsetAt(at, zone); got != spans[i].Offset {
				t.Fatalf("%s: at %s the offset is %d, the spans say %d", name, at, got, spans[i].Offset)
			}
		}
	}
}

func TestDayStartIsFirstInstantOfDay(t *testing.T) {
	for _, name := range testZones {
		zone := mustZone(t, name)
		for day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2028; day = day.AddDate(0, 0, 1) {
			start := DayStart(day, zone)
			if got := start.In(zone).Format(time.DateOnly); got != day.Format(time.DateOnly) {
				t.Errorf("%s: the day %s starts on %s", name, day.Format(time.DateOnly), got)
			}
			if before := start.Add(-time.Minute).In(zone).Format(time.DateOnly); before >= day.Format(time.DateOnly) {
				t.Errorf("%s: the day %s starts after %s", name, day.Format(time.DateOnly), before)
			}
		}
	}
	// Samoa had no 30 December 2011.
	apia := mustZone(t, "Pacific/Apia")
	if got := DayStart(time.Date(2011, 12, 30, 0, 0, 0, 0, time.UTC), apia).In(apia).Format(time.RFC3339); got != "2011-12-31T00:00:00+14:00" {
		t.Errorf("a day that the zone skips starts at %s", got)
	}
}

func TestRules(t *testing.T) {
	seen := map[uint64]string{}
	for _, name := range testZones {
		rules, regular := Rules(mustZone(t, name))
		if other := seen[rules]; other != "" {
			t.Errorf("%s has the rules of %s", name, other)
		}
		seen[rules] = name
		if !regular {
			t.Errorf("%s is not regular", name)
		}
		if again, _ := Rules(mustZone(t, name)); again != rules {
			t.Errorf("%s has other rules the second time", name)
		}
	}
	if _, regular := Rules(time.FixedZone("odd", 3601)); regular {
		t.Error("an offset of 3601 seconds is regular")
	}
}

// In Newfoundland clocks went back from one minute past midnight to the day
// before, until 2011.
func TestDatesThatGoBackAreNotRegular(t *testing.T) {
	zone := mustZone(t, "America/St_Johns")
	year := func(y int) []Span {
		return Offsets(zone, time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(y+1, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	if Regular(year(2009)) {
		t.Error("2009 is regular")
	}
	if !Regular(year(2025)) {
		t.Error("2025 is not regular")
	}
}
