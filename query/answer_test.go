package query

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/internal/testkit/reports"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// small is a ledger whose reports can be checked by eye.
func small(t *testing.T) (b *ledger, url string) {
	t.Helper()
	b = newLedger(t, 1)
	impression := func(advertiser, campaign uint64, when, browser, currency string, net, spend int64) entry {
		return entry{
			Advertiser: advertiser, Minute: at(when), Type: 1, IDs: [5]uint64{campaign},
			Texts: [7]string{"US", "", "", "", browser, "", currency}, Net: net, Duplicate: 1, Invalid: 2, Spend: spend,
		}
	}
	click := impression(7, 1, "2026-11-01T10:01:00Z", "=cmd|'/C calc'!A0", "USD", 3, 0)
	click.Type, click.Orphan = 3, 5
	b.insert(t,
		impression(7, 1, "2026-11-01T10:00:00Z", "=cmd|'/C calc'!A0", "USD", 1000, 1_250_000_000),
		click,
		impression(7, 18446744073709551615, "2026-11-02T23:59:00Z", "say \"a\",\r\nb", "USD", 10, 1),
		impression(8, 1, "2026-11-01T10:00:00Z", "x", "USD", 1, 1_000_000_000),
		impression(8, 2, "2026-11-01T10:00:00Z", "x", "EUR", 2, 2_000_000_000),
		impression(8, 3, "2026-11-01T10:00:00Z", "x", "JPY", 4, 0),
	)
	return b, serve(t, testConfig(), b.reader, newFixedKeys(), zerolog.Nop())
}

func TestReportJSON(t *testing.T) {
	b, url := small(t)
	status, got := post(t, url, "one", reports.Body(`"granularity":"day","dimensions":["campaign"],
		"metrics":["impressions","impressions_gross","clicks","clicks_orphan","duplicates","spend","ctr","cpm","cpc"]`))
	if status != 200 {
		t.Fatalf("%d %v", status, got)
	}
	meta := got["meta"].(map[string]any)
	if asOf, _ := meta["as_of"].(string); !strings.HasPrefix(asOf, "0.") {
		t.Errorf("as_of is %q", asOf)
	}
	delete(meta, "as_of") // has a part that is the topic's
	delete(meta, "query_ms")
	want := `{
 "columns": [
  {"name": "day", "type": "date"}, {"name": "campaign", "type": "id"}, {"name": "impressions", "type": "integer"},
  {"name": "impressions_gross", "type": "integer"}, {"name": "clicks", "type": "integer"}, {"name": "clicks_orphan", "type": "integer"},
  {"name": "duplicates", "type": "integer"}, {"name": "spend", "type": "decimal"}, {"name": "ctr", "type": "decimal"},
  {"name": "cpm", "type": "decimal"}, {"name": "cpc", "type": "decimal"}, {"name": "finality", "type": "string"}],
 "rows": [
  {"day": "2026-11-01", "campaign": "1", "impressions": 1000, "impressions_gross": 1003, "clicks": 3, "clicks_orphan": 5,
   "duplicates": 2, "spend": "1.25", "ctr": "0.003", "cpm": "1.25", "cpc": "0.416667", "finality": "provisional"},
  {"day": "2026-11-02", "campaign": "18446744073709551615", "impressions": 10, "impressions_gross": 13, "clicks": 0, "clicks_orphan": 0,
   "duplicates": 1, "spend": "0.000000001", "ctr": "0", "cpm": "0", "cpc": null, "finality": "provisional"}],
 "totals": {"impressions": 1010, "impressions_gross": 1016, "clicks": 3, "clicks_orphan": 5, "duplicates": 3,
  "spend": "1.250000001", "ctr": "0.00297", "cpm": "1.237624", "cpc": "0.416667"},
 "meta": {"complete_through": "2026-11-20T11:59:58Z", "finality": "provisional", "timezone": "UTC", "advertiser": "7", "currency": "USD",
  "rows": 2, "truncated": false}}`
	if g, w := pretty(got), pretty(parse(t, []byte(want))); g != w {
		t.Errorf("got\n%s\nwant\n%s", head(g, w), head(w, g))
	}

	// GET gives the same; the limit cuts rows and not totals.
	_, text := call(t, "GET", url+"/v1/reports?start=2026-11-01&end=2026-11-08&metrics=impressions&dimensions=campaign&order_by=impressions:desc&limit=1&filter=country:in:US,CA", "one", "")
	got = parse(t, text)
	if fmt.Sprint(got["rows"]) != "[map[campaign:1 finality:provisional impressions:1000]]" ||
		fmt.Sprint(got["totals"]) != "map[impressions:1010]" || got["meta"].(map[string]any)["truncated"] != true {
		t.Errorf("GET: %s", text)
	}
	// Nothing is invented where nothing happened.
	_, got = post(t, url, "one", reports.Body(`"start":"2020-01-01","end":"2020-01-02","granularity":"hour","metrics":["clicks","spend","ctr"]`))
	if fmt.Sprint(got["rows"]) != "[]" || fmt.Sprint(got["totals"]) != "map[clicks:0 ctr:<nil> spend:0]" {
		t.Errorf("empty: %v", got)
	}
	_, got = post(t, url, "one", reports.Body(`"start":"2020-01-01","end":"2020-01-02"`))
	if fmt.Sprint(got["rows"]) != "[]" {
		t.Errorf("empty total: %v", got)
	}
	// Marks are no rows, also not with a key over all.
	b.Block(t, testLAT, testkit.Span{})
	_, got = post(t, url, "all", reports.Body(`"advertiser":7,"dimensions":["advertiser"],"metrics":["impressions"]`))
	if fmt.Sprint(got["rows"]) != "[map[advertiser:7 finality:provisional impressions:1010]]" {
		t.Errorf("by advertiser: %v", got["rows"])
	}
}

func TestReportCSV(t *testing.T) {
	_, url := small(t)
	res, text := call(t, "POST", url+"/v1/reports", "one",
		reports.Body(`"granularity":"day","dimensions":["campaign","browser"],"metrics":["impressions","spend","cpc"]`), "Accept", "text/csv")
	want := "day,campaign,browser,impressions,spend,cpc,finality\r\n" +
		"2026-11-01,1,'=cmd|'/C calc'!A0,1000,1.25,0.416667,provisional\r\n" +
		"2026-11-02,18446744073709551615,\"say \"\"a\"\",\r\nb\",10,0.000000001,,provisional\r\n"
	if string(text) != want {
		t.Errorf("got\n%q\nwant\n%q", text, want)
	}
	if _, err := csv.NewReader(bytes.NewReader(text)).ReadAll(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/csv; charset=utf-8; header=present", "X-Adtally-Complete-Through": "2026-11-20T11:59:58Z", "X-Adtally-Finality": "provisional",
		"X-Adtally-Timezone": "UTC", "X-Adtally-Advertiser": "7", "X-Adtally-Rows": "2", "X-Adtally-Truncated": "false",
		"X-Adtally-Currency": "USD", "Cache-Control": "private, no-cache",
	} {
		if got := res.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTenantsAreApart(t *testing.T) {
	_, url := small(t)
	_, got := post(t, url, "one", reports.Body(`"dimensions":["advertiser"],"metrics":["impressions"]`))
	if fmt.Sprint(got["totals"]) != "map[impressions:1010]" {
		t.Errorf("totals: %v", got["totals"])
	}
	// A filter narrows; it never widens.
	for _, filter := range []string{
		`{"dimension":"advertiser","op":"eq","values":[8]}`, `{"dimension":"advertiser","op":"in","values":[8,9]}`,
		`{"dimension":"advertiser","op":"ne","values":[7]}`,
	} {
		status, got := post(t, url, "one", reports.Body(`"filters":[`+filter+`]`))
		if status != 200 || fmt.Sprint(got["rows"]) != "[]" {
			t.Errorf("%s: %d %v", filter, status, got)
		}
	}
	_, got = post(t, url, "two", reports.Body(`"advertiser":"8","metrics":["impressions"]`))
	if fmt.Sprint(got["totals"]) != "map[impressions:7]" {
		t.Errorf("totals: %v", got["totals"])
	}
}

func TestMixedCurrencies(t *testing.T) {
	_, url := small(t)
	f := func(more string, wantStatus int, want string) {
		t.Helper()
		status, got := post(t, url, "two", reports.Body(`"advertiser":8,"timezone":"UTC",`+more))
		text := fmt.Sprint(got["totals"]) + " " + fmt.Sprint(got["meta"].(map[string]any)["currency"])
		if status != wantStatus || text != want {
			t.Errorf("%s: %d %s, want %d %s", more, status, text, wantStatus, want)
		}
	}
	for _, metric := range []string{"spend", "cpm", "cpc", "cpa"} {
		status, got := post(t, url, "two", reports.Body(`"advertiser":8,"metrics":["`+metric+`"]`))
		if status != 422 || got["code"] != "mixed_currencies" || fmt.Sprint(got["allowed"]) != "[EUR USD]" {
			t.Errorf("%s: %d %v", metric, status, got)
		}
	}
	status, _ := post(t, url, "two", reports.Body(`"advertiser":8,"metrics":["spend"],"filters":[{"dimension":"currency","op":"in","values":["USD","EUR"]}]`))
	if status != 422 {
		t.Errorf("a filter that leaves two: %d", status)
	}
	f(`"metrics":["impressions"]`, 200, "map[impressions:7] <nil>")
	f(`"metrics":["spend"],"filters":[{"dimension":"currency","op":"eq","values":["EUR"]}]`, 200, "map[spend:2] EUR")
	f(`"metrics":["spend"],"filters":[{"dimension":"campaign","op":"ne","values":["2"]}]`, 200, "map[spend:1] USD")
	f(`"metrics":["spend","cpm","impressions"],"dimensions":["currency"]`, 200, "map[cpm:<nil> impressions:7 spend:<nil>] <nil>")
}

func TestFreshness(t *testing.T) {
	chServer := testkit.StartClickHouse(t)
	b := &ledger{writer: testkit.Open(t, chServer.AsWriter), reader: testkit.Open(t, chServer.AsReader)}
	cfg := testConfig()
	server := New(cfg, b.reader, newFixedKeys(), zerolog.Nop(), metrics.NewSet())
	url, _ := serveUntil(t.Context(), t, server)
	now := time.Now().UTC().Truncate(time.Millisecond)
	f := func(through string, waiting string, positions string) {
		t.Helper()
		<-server.versions.turn // a reading that began before does not count any more
		server.versions.mu.Lock()
		server.versions.readAt = time.Time{} // the last reading is too old to be used again
		server.versions.mu.Unlock()
		server.versions.turn <- struct{}{}
		_, tenants := call(t, "GET", url+"/v1/freshness", "report", "")
		if bytes.Contains(tenants, []byte("partition")) || !bytes.Contains(tenants, []byte("complete_through")) {
			t.Errorf("a key without the scope admin sees %s", tenants)
		}
		res, text := call(t, "GET", url+"/v1/freshness", "one", "")
		got := freshness{logPositions: &logPositions{}}
		if err := json.Unmarshal(text, &got); err != nil || res.status != http.StatusOK {
			t.Fatalf("%d %s", res.status, text)
		}
		var counted []string
		for _, p := range got.Partitions {
			counted = append(counted, fmt.Sprintf("%d@%d", p.Partition, p.Position))
		}
		have := strings.Join(counted, " ")
		gotThrough := ""
		if got.CompleteThrough != nil {
			gotThrough = got.CompleteThrough.Format(time.RFC3339)
		}
		if gotThrough != through || fmt.Sprint(got.Waiting) != waiting || have != positions {
			t.Errorf("got %s, want %s %s %s", text, through, waiting, positions)
		}
		_, report := post(t, url, "one", reports.Body(``))
		if meta := fmt.Sprint(report["meta"].(map[string]any)["complete_through"]); meta != orNil(through) {
			t.Errorf("meta says %s, want %s", meta, orNil(through))
		}
	}
	f("", "[]", "") // no topic yet
	b.Ledger = testkit.NewLedger(t, b.writer, 3)
	through := func(t time.Time) string { return t.Add(-cfg.Skew).Truncate(time.Second).Format(time.RFC3339) }
	b.Block(t, now, testkit.Span{Partition: 0, LAT: now.Add(-time.Minute)})
	f("", "[1 2]", "0@1")
	b.Block(t, now.AddDate(0, 0, -40), testkit.Span{Partition: 1})
	b.Block(t, now, testkit.Span{Partition: 2})
	f(through(now.AddDate(0, 0, -40)), "[]", "0@1 1@1 2@1")
	b.cut(t, b.compactor(t, nil)) // there is nothing to add up, so no cut
	b.Block(t, now.AddDate(0, 0, -39), testkit.Span{Partition: 1, Rows: []entry{{Advertiser: 7, Minute: testLAT, Type: 1, Net: 1}}})
	f(through(now.AddDate(0, 0, -39)), "[]", "0@1 1@3 2@1")
	b.cut(t, b.compactor(t, nil))
	f(through(now.AddDate(0, 0, -39)), "[]", "0@1 1@3 2@1")
	b.Block(t, now, testkit.Span{Partition: 1})
	f(through(now.Add(-time.Minute)), "[]", "0@1 1@4 2@1")
	// A broker's clock that goes back takes nothing back.
	b.Block(t, now, testkit.Span{Partition: 1, LAT: now.Add(-time.Hour)})
	f(through(now.Add(-time.Minute)), "[]", "0@1 1@5 2@1")
	// Marks of other lineages do not count.
	b.Lineage = 2
	b.Block(t, now, testkit.Span{Partition: 0})
	f(through(now.Add(-time.Minute)), "[]", "0@1 1@5 2@1")
}

func orNil(through string) string {
	if through == "" {
		return "<nil>"
	}
	return through
}
