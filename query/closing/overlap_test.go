package closing

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// closeUpto closes a day of a zone and those before it.
func (l *ledger) closeUpto(zone string, day time.Time) *Close {
	l.t.Helper()
	_, closed, waits, err := l.closer(6*time.Hour).Upto(l.t.Context(), zone, LocalDay(day, time.UTC))
	if err != nil || closed == nil {
		l.t.Fatalf("%s in %s is not closed: %+v, %v", day.Format(time.DateOnly), zone, waits, err)
	}
	return closed
}

// TestClosesOverlap closes the same hours in two zones, and then moves an
// advertiser from the one that is behind to the one that has closed them.
func TestClosesOverlap(t *testing.T) {
	l := newLedger(t, 1)
	l.account(2, "Asia/Kathmandu") // 5:45 ahead of UTC
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	row := func(advertiser, campaign uint64, at time.Time) row {
		return row{advertiser: advertiser, minute: at, campaign: campaign, currency: "USD", net: 1, spend: int64(campaign)}
	}
	// 17:00 UTC is the 20th in both zones, 19:00 UTC the 21st in Kathmandu.
	both, after := day.Add(17*time.Hour), day.Add(19*time.Hour)
	l.batch(0, day.Add(48*time.Hour), row(1, 11, both), row(2, 12, both), row(1, 13, after), row(2, 14, after))
	l.cut()
	utc := l.closeUpto("UTC", day)
	kathmandu := l.closeUpto("Asia/Kathmandu", day)
	if !kathmandu.Starts.Before(utc.Ends) || !utc.Starts.Before(kathmandu.Ends) {
		t.Fatalf("the closes do not overlap: %s and %s", utc.Ends, kathmandu.Ends)
	}
	want := func(c *Close, adjustments bool, campaigns ...uint64) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(l.holds(c, adjustments))); !slices.Equal(got, campaigns) {
			t.Errorf("close %d (%s, adjustments %t) holds %v, want %v", c.Sequence, c.Timezone, adjustments, got, campaigns)
		}
	}
	want(utc, false, 11, 13)
	want(kathmandu, false, 12)
	// The move takes effect where both zones are open: 14 stays with Kathmandu,
	// whose 21st has begun when UTC's 20th ends.
	l.account(2, "UTC")
	l.batch(0, day.Add(96*time.Hour), row(2, 15, both), row(2, 16, after), row(2, 17, day.Add(30*time.Hour)))
	l.cut()
	next := day.AddDate(0, 0, 1)
	utc2, kathmandu2 := l.closeUpto("UTC", next), l.closeUpto("Asia/Kathmandu", next)
	want(utc2, false, 17)
	want(kathmandu2, false, 14, 16)
	want(kathmandu2, true, 15)
	want(utc, false, 11, 13)
	want(kathmandu, false, 12)
	l.checkAll()
}

// TestChangesLeadOn closes more days than one piece of the feed takes, each with a
// late row for the first, and follows the feed to its end.
func TestChangesLeadOn(t *testing.T) {
	l := newLedger(t, 1)
	day := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	const days = 2*maxSteps + 5
	for i := range days {
		l.batch(0, day.AddDate(0, 0, i).Add(31*time.Hour), row{advertiser: 1, minute: day.Add(time.Hour), campaign: uint64(100 + i), currency: "USD", net: 1, spend: 1})
		l.cut()
		l.closeUpto("UTC", day.AddDate(0, 0, i))
	}
	var campaigns []uint64
	pieces, since := 0, uint64(0)
	for more := true; more; pieces++ {
		feed, err := Changes(t.Context(), l.conn, 1, since)
		if err != nil {
			t.Fatal(err)
		}
		next, ok := ParseAsOf(feed.AsOf)
		if !ok || feed.More && next <= since {
			t.Fatalf("the feed does not lead on: since %d, then %s", since, feed.AsOf)
		}
		for i := range feed.Changes {
			campaigns = append(campaigns, feed.Changes[i].Campaign)
		}
		more, since = feed.More, next
	}
	if pieces < 3 || len(campaigns) != days-1 || !slices.IsSorted(campaigns) || len(slices.Compact(campaigns)) != days-1 {
		t.Errorf("%d pieces with the campaigns %v", pieces, campaigns)
	}
	if since != l.cuts {
		t.Errorf("the feed ends at version %d, the books at %d", since, l.cuts)
	}
}
