package query

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/export"
)

// pinned asks for a report as of a version.
func pinned(t *testing.T, url, key, asOf, more string) (int, map[string]any) {
	t.Helper()
	return post(t, url, key, reports.Body(`"as_of":"`+asOf+`",`+more))
}

func TestAsOf(t *testing.T) {
	l := newLedger(t, 2)
	url := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	at := time.Date(2026, 11, 2, 10, 7, 0, 0, time.UTC)
	arrive := func(advertiser uint64, net int64) {
		l.Block(t, testLAT, testkit.Span{Partition: int32(advertiser % 2), Rows: []entry{{Advertiser: advertiser, Minute: at, Type: 1, Net: net}}})
	}
	ask := `"metrics":["impressions"]`
	arrive(7, 1)
	_, got := post(t, url, "one", reports.Body(ask))
	first := got["meta"].(map[string]any)["as_of"].(string)
	arrive(7, 2)
	arrive(8, 4)
	c := l.compactor(t, nil)
	l.cut(t, c)
	arrive(7, 8)

	f := func(key, asOf, more, want string) {
		t.Helper()
		status, got := pinned(t, url, key, asOf, more)
		if status != http.StatusOK || fmt.Sprint(got["totals"]) != "map[impressions:"+want+"]" {
			t.Errorf("as of %s: %d %v, want %s", asOf, status, got, want)
			return
		}
		if meta := got["meta"].(map[string]any); meta["as_of"] != asOf {
			t.Errorf("as of %s: the answer is as of %v", asOf, meta["as_of"])
		}
	}
	f("one", first, ask, "1")
	f("one", "1", ask, "3")
	f("one", "0", ask, "0")
	f("one", "1", ask+`,"granularity":"minute"`, "3")
	f("one", "1", ask+`,"start":"2026-11-02T10:07:00Z","end":"2026-11-02T10:08:00Z"`, "3")
	// The version of another tenant's answer is the same books, read as oneself.
	f("two", first, ask+`,"advertiser":8`, "0")
	f("two", "1", ask+`,"advertiser":8`, "4")

	bad := func(asOf string, status int, code string) {
		t.Helper()
		got, problem := pinned(t, url, "one", asOf, ask)
		if got != status || problem["code"] != code || problem["field"] != "as_of" {
			t.Errorf("as of %s: %d %v, want %d %s", asOf, got, problem, status, code)
		}
	}
	bad("2", 400, "unknown_as_of")
	bad("01", 400, "unknown_as_of")
	bad("-1", 400, "unknown_as_of")
	bad(first+"AA", 400, "unknown_as_of")
	bad("1'; DROP", 400, "invalid_as_of")
	// What the first version needs of the ledger is dropped.
	l.exec(t, "ALTER TABLE ledger DROP PARTITION '"+testLAT.Format(time.DateOnly)+"'")
	l.exec(t, "ALTER TABLE cuts UPDATE kept_until = created WHERE true SETTINGS mutations_sync = 2")
	fresh := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	status, problem := pinned(t, fresh, "one", first, ask)
	if status != http.StatusGone || problem["code"] != "as_of_gone" {
		t.Errorf("a version whose ledger is dropped: %d %v", status, problem)
	}
	if status, got := pinned(t, fresh, "one", "1", ask); status != http.StatusOK || fmt.Sprint(got["totals"]) != "map[impressions:3]" {
		t.Errorf("a version that is all rolled up: %d %v", status, got)
	}
}

// An answer of several batches, first read from the ledger and then from rollups
// of different cuts, is the same bytes in every format.
func TestAsOfIsTheSameBytes(t *testing.T) {
	l := newLedger(t, 2)
	rnd := rand.New(rand.NewPCG(3, 4))
	block := func(n int) {
		rows := make([]entry, n)
		for i := range rows {
			rows[i] = entry{
				Advertiser: 7, Minute: time.Date(2026, 11, 1+rnd.IntN(7), rnd.IntN(24), rnd.IntN(60), 0, 0, time.UTC), Type: uint8(1 + 2*rnd.IntN(2)),
				IDs: [5]uint64{1 + rnd.Uint64N(25_000)}, Texts: [7]string{[]string{"US", "DE", "NP", ""}[rnd.IntN(4)]},
				Net: rnd.Int64N(100), Duplicate: 1, Spend: rnd.Int64N(1e9),
			}
		}
		l.Block(t, testLAT, testkit.Span{Partition: rnd.Int32N(2), Rows: rows})
	}
	ask := func(url, asOf, format string) []byte {
		t.Helper()
		body := reports.Body(`"as_of":"` + asOf + `","granularity":"day","dimensions":["campaign","country"],"metrics":["impressions","clicks","ctr","spend"],"limit":500000`)
		res, text := call(t, "POST", url+"/v1/reports", "one", body, "Accept", format)
		if res.status != http.StatusOK || !strings.HasPrefix(res.header.Get("Server-Timing"), "storage;dur=") {
			t.Fatalf("%s: %d %.300s", format, res.status, text)
		}
		return text
	}
	block(60_000)
	block(60_000)
	url := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	_, got := post(t, url, "one", reports.Body(`"metrics":["impressions"]`))
	meta := got["meta"].(map[string]any)
	if meta["query_ms"] == nil {
		t.Errorf("an answer of the newest version does not say how long it took: %v", meta)
	}
	asOf := meta["as_of"].(string)
	first := map[string][]byte{}
	for _, format := range export.Formats {
		first[format] = ask(url, asOf, format)
	}
	if rows := bytes.Count(first[export.CSV], []byte("\n")); rows < 70_000 {
		t.Fatalf("the answer has %d rows, of several batches are wanted", rows)
	}
	c := l.compactor(t, nil)
	for range 3 {
		l.cut(t, c)
		block(5000)
		fresh := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop()) // nothing is cached
		for _, format := range export.Formats {
			if now := ask(fresh, asOf, format); !bytes.Equal(now, first[format]) {
				t.Errorf("%s: the answer has other bytes\nwas %q\nis  %q", format, head(string(first[format]), string(now)), head(string(now), string(first[format])))
			}
		}
	}
}

// Where the ledger keeps minutes no longer, reports come from rollups or say why
// they cannot.
func TestDroppedMinutes(t *testing.T) {
	l := newLedger(t, 1)
	minute := time.Date(2026, 11, 2, 10, 7, 0, 0, time.UTC)
	arrive := func(day int, net int64) {
		l.Block(t, testLAT.AddDate(0, 0, day), testkit.Span{Rows: []entry{{Advertiser: 7, Minute: minute.AddDate(0, 0, day), Type: 1, Net: net}}})
	}
	c := l.compactor(t, nil)
	url := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	arrive(0, 1)
	_, got := post(t, url, "one", reports.Body(`"metrics":["impressions"]`))
	first := got["meta"].(map[string]any)["as_of"].(string)
	arrive(0, 2)
	l.cut(t, c)
	arrive(1, 4)
	l.cut(t, c)
	l.exec(t, "INSERT INTO dropped_days (day, through, cut) SETTINGS async_insert = 0 VALUES ('"+testLAT.Format(time.DateOnly)+"', '"+minute.Format(time.DateTime)+"', 1)")
	l.exec(t, "ALTER TABLE ledger DELETE IN PARTITION '"+testLAT.Format(time.DateOnly)+"' WHERE advertiser > 0 SETTINGS mutations_sync = 1")
	url = serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	f := func(more, want string) {
		t.Helper()
		if status, got := post(t, url, "one", reports.Body(`"metrics":["impressions"],`+more)); status != 200 || fmt.Sprint(got["totals"]) != "map[impressions:"+want+"]" {
			t.Errorf("%s: %d %v, want %s", more, status, got, want)
		}
	}
	f(`"granularity":"quarter"`, "7")
	f(`"granularity":"day","timezone":"Asia/Kathmandu"`, "7")
	f(`"granularity":"minute","start":"2026-11-02T10:08:00Z","end":"2026-11-04"`, "4")
	f(`"start":"2026-11-02T10:15:00Z","end":"2026-11-03T10:08:00Z"`, "4")
	f(`"as_of":"1"`, "3")
	bad := func(more, code, field string) map[string]any {
		t.Helper()
		status, got := post(t, url, "one", reports.Body(`"metrics":["impressions"],`+more))
		if status != http.StatusGone || got["code"] != code || got["field"] != field {
			t.Errorf("%s: %d %v", more, status, got)
		}
		return got
	}
	bad(`"granularity":"minute"`, "minutes_gone", "granularity")
	bad(`"start":"2026-11-02T10:07:00Z","end":"2026-11-04"`, "minutes_gone", "start")
	bad(`"start":"2026-11-02T10:00:00Z","end":"2026-11-02T10:08:00Z"`, "minutes_gone", "start")
	if got := bad(`"as_of":"`+first+`"`, "as_of_gone", "as_of"); fmt.Sprint(got["allowed"]) != "[1]" {
		t.Errorf("the oldest version: %v", got)
	}
	res, text := call(t, "GET", url+"/v1/changes?since=0", "one", "")
	if got := parse(t, text); res.status != http.StatusGone || got["code"] != "as_of_gone" || got["field"] != "since" {
		t.Errorf("changes since before: %d %v", res.status, got)
	}
	if res, text := call(t, "GET", url+"/v1/changes?since=1", "one", ""); res.status != http.StatusOK {
		t.Errorf("changes since then: %d %s", res.status, text)
	}
}

// Reports do not wait for the newest view while they come often.
func TestViewIsKeptFresh(t *testing.T) {
	l := newLedger(t, 1)
	server := New(testConfig(), l.reader, newFixedKeys(), zerolog.Nop(), metrics.NewSet())
	url, _ := serveUntil(t.Context(), t, server)
	want := int64(0)
	for range 3 {
		l.insert(t, entry{Advertiser: 7, Minute: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Type: 1, Net: 1})
		want++
		deadline := time.Now().Add(30 * time.Second)
		for {
			_, got := post(t, url, "one", reports.Body(`"metrics":["impressions"]`))
			if fmt.Sprint(got["totals"]) == fmt.Sprintf("map[impressions:%d]", want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after 30 s the report says %v, want %d", got["totals"], want)
			}
		}
	}
}

// fixedCloses are days that were closed before a cut.
type fixedCloses map[uint64]time.Time

func (c fixedCloses) Through(_ context.Context, _ uint64, _ *time.Location, cut uint64) (time.Time, error) {
	return c[cut], nil
}

func TestFinality(t *testing.T) {
	l := newLedger(t, 1)
	server := New(testConfig(), l.reader, newFixedKeys(), zerolog.Nop(), metrics.NewSet())
	server.closes = fixedCloses{2: time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)}
	url, _ := serveUntil(t.Context(), t, server)
	c := l.compactor(t, nil)
	for day := 1; day <= 2; day++ {
		l.insert(t, entry{Advertiser: 7, Minute: time.Date(2026, 11, 1, 23, 0, 0, 0, time.UTC), Type: 1, Net: 1},
			entry{Advertiser: 7, Minute: time.Date(2026, 11, 3, 1, 0, 0, 0, time.UTC), Type: 1, Net: 1})
		l.cut(t, c)
	}
	f := func(asOf, more, rows, whole string) {
		t.Helper()
		status, got := pinned(t, url, "one", asOf, `"metrics":["impressions"],`+more)
		if status != http.StatusOK {
			t.Fatalf("as of %s: %d %v", asOf, status, got)
		}
		var have []string
		for _, row := range got["rows"].([]any) {
			have = append(have, row.(map[string]any)["finality"].(string)[:1])
		}
		if meta := got["meta"].(map[string]any)["finality"]; strings.Join(have, "") != rows || meta != whole {
			t.Errorf("as of %s %s: rows are %v, the whole %v; want %s %s", asOf, more, have, meta, rows, whole)
		}
	}
	f("2", `"granularity":"day"`, "fp", "provisional")
	f("1", `"granularity":"day"`, "pp", "provisional")
	f("2", `"granularity":"day","end":"2026-11-03"`, "f", "final")
	f("2", `"granularity":"hour"`, "fp", "provisional")
	f("2", `"granularity":"month"`, "p", "provisional")
	f("2", `"end":"2026-11-03"`, "f", "final")
	f("2", `"end":"2026-11-03T00:01:00Z"`, "p", "provisional")
	f("2", `"granularity":"day","timezone":"America/New_York"`, "fp", "provisional")
	f("2", `"granularity":"day","timezone":"America/New_York","end":"2026-11-03"`, "fp", "provisional")
	f("2", `"granularity":"day","require":"final","end":"2026-11-03"`, "f", "final")

	for asOf, want := range map[string]string{"1": "No day is closed", "2": "closed up to 2026-11-03T00:00:00Z"} {
		status, problem := pinned(t, url, "one", asOf, `"require":"final"`)
		if status != http.StatusConflict || problem["code"] != "not_final" || !strings.Contains(fmt.Sprint(problem["detail"]), want) {
			t.Errorf("as of %s: %d %v", asOf, status, problem)
		}
	}
}
