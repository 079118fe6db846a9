package query

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit/reports"
)

func (b *ledger) addUsers(t *testing.T, advertiser uint64, quarter string, campaign int, country string, from, to int) {
	t.Helper()
	b.exec(t, fmt.Sprintf(`INSERT INTO uniques (advertiser, quarter, campaign, country, device, user_hashes)
		SELECT %d, '%s', %d, '%s', 'mobile', range(%d, %d)`, advertiser, quarter, campaign, country, from, to))
}

func TestReachIsMergedAndNeverAddedUp(t *testing.T) {
	b := newLedger(t, 1)
	impressions := func(advertiser, campaign uint64, minute string, net int64) entry {
		return entry{Advertiser: advertiser, Minute: at(minute), Type: 1, IDs: [5]uint64{campaign}, Texts: [7]string{"US"}, Net: net}
	}
	b.insert(t, impressions(7, 1, "2026-11-01T10:05:00Z", 200), impressions(7, 1, "2026-11-02T23:50:00Z", 100),
		impressions(7, 2, "2026-11-01T10:05:00Z", 60), impressions(7, 3, "2026-11-01T10:05:00Z", 5), impressions(8, 1, "2026-11-01T10:05:00Z", 1))
	b.addUsers(t, 7, "2026-11-01 10:00:00", 1, "US", 0, 50)
	b.addUsers(t, 7, "2026-11-01 10:00:00", 1, "US", 0, 50) // the same again: a sketch takes it once
	b.addUsers(t, 7, "2026-11-02 23:45:00", 1, "US", 25, 75)
	b.addUsers(t, 7, "2026-11-01 10:00:00", 2, "US", 0, 30)
	b.addUsers(t, 8, "2026-11-01 10:00:00", 1, "US", 0, 1000)
	url := serve(t, testConfig(), b.reader, newFixedKeys(), zerolog.Nop())
	f := func(more, rows, totals string) {
		t.Helper()
		status, got := post(t, url, "one", reports.Body(`"metrics":["reach","frequency"],`+more))
		if status != 200 || fmt.Sprint(got["rows"]) != rows || fmt.Sprint(got["totals"]) != "map["+totals+"]" {
			t.Errorf("%s: %d\ngot  %v %v\nwant %s %s", more, status, got["rows"], got["totals"], rows, totals)
		}
	}
	f(`"dimensions":["campaign"]`,
		"[map[campaign:1 finality:provisional frequency:4 reach:75] map[campaign:2 finality:provisional frequency:2 reach:30] map[campaign:3 finality:provisional frequency:<nil> reach:0]]",
		"frequency:4.866667 reach:75")
	f(`"granularity":"day","filters":[{"dimension":"campaign","op":"eq","values":[1]}]`,
		"[map[day:2026-11-01 finality:provisional frequency:4 reach:50] map[day:2026-11-02 finality:provisional frequency:2 reach:50]]",
		"frequency:4 reach:75")
	f(`"timezone":"Asia/Kathmandu","granularity":"day","filters":[{"dimension":"campaign","op":"eq","values":[1]}]`,
		"[map[day:2026-11-01 finality:provisional frequency:4 reach:50] map[day:2026-11-03 finality:provisional frequency:2 reach:50]]",
		"frequency:4 reach:75")
	f(`"filters":[{"dimension":"country","op":"ne","values":["CA"]}]`, "[map[finality:provisional frequency:4.866667 reach:75]]", "frequency:4.866667 reach:75")
	f(`"start":"2020-01-01","end":"2020-01-02"`, "[]", "frequency:<nil> reach:0")

	refused := func(more, field string) {
		t.Helper()
		status, got := post(t, url, "one", reports.Body(`"metrics":["reach"],`+more))
		if status != 400 || got["code"] != "reach_not_possible" || got["field"] != field {
			t.Errorf("%s: %d %v", more, status, got)
		}
	}
	refused(`"dimensions":["campaign","creative"]`, "dimensions[1]")
	refused(`"filters":[{"dimension":"variant","op":"eq","values":["a"]}]`, "filters[0].dimension")
	refused(`"granularity":"minute"`, "granularity")
	refused(`"start":"2026-11-01T00:05:00Z"`, "start")
	refused(`"end":"2026-11-08T00:05:00Z"`, "end")
	refused(`"order_by":[{"field":"reach"}]`, "order_by[0].field")
}
