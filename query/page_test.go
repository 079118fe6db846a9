package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit/reports"
)

// pages reads all pages of a report and returns their rows.
func pages(t *testing.T, url, key string, req map[string]any) (rows []any, totals string) {
	t.Helper()
	for n := 0; ; n++ {
		body, _ := json.Marshal(req)
		status, got := post(t, url, key, string(body))
		if status != 200 {
			t.Fatalf("%s: %d %v", body, status, got)
		}
		rows = append(rows, got["rows"].([]any)...)
		if n > 0 && totals != fmt.Sprint(got["totals"]) {
			t.Fatalf("%s: page %d has other totals: %v, first %s", body, n, got["totals"], totals)
		}
		totals = fmt.Sprint(got["totals"])
		next, more := got["meta"].(map[string]any)["next_cursor"].(string)
		if !more {
			return rows, totals
		}
		req["cursor"] = next
	}
}

func TestPagesAreTheWholeReport(t *testing.T) {
	b := newLedger(t, 1)
	rnd := rand.New(rand.NewPCG(7, 8))
	entries := randomEntries(rnd, 3000)
	b.insert(t, entries...)
	url := serve(t, testConfig(), b.reader, newFixedKeys(), zerolog.Nop())
	for _, shape := range []string{
		`"dimensions":["campaign","browser"]`,
		`"granularity":"month","dimensions":["country"]`,
		`"dimensions":["campaign","variant"],"order_by":[{"field":"ctr","direction":"desc"}]`,
		`"dimensions":["campaign","variant"],"order_by":[{"field":"ctr"},{"field":"variant","direction":"desc"}]`,
		`"dimensions":["currency","campaign","variant"],"order_by":[{"field":"spend","direction":"desc"},{"field":"cpm"}]`,
		`"granularity":"hour","timezone":"Australia/Lord_Howe","order_by":[{"field":"hour","direction":"desc"}]`,
	} {
		var req map[string]any
		if err := json.Unmarshal([]byte(reports.Body(`"start":"2025-01-01","end":"2027-01-01","metrics":["impressions","clicks","ctr"],`+shape)), &req); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(shape, "spend") {
			req["metrics"] = []string{"spend", "cpm", "impressions"}
		}
		req["limit"] = 100_000
		whole, totals := pages(t, url, "one", req)
		req["limit"] = max(1, len(whole)/(3+rnd.IntN(5)))
		delete(req, "cursor")
		paged, pagedTotals := pages(t, url, "one", req)
		if fmt.Sprint(paged) != fmt.Sprint(whole) || totals != pagedTotals {
			t.Errorf("%s: %d rows in pages, %d at once", shape, len(paged), len(whole))
		}
		if len(whole) < 8 {
			t.Errorf("%s: only %d rows", shape, len(whole))
		}
	}
}

// Pages over rollups and rows behind the cut are the same rows, with those in memory
// and with the ledger.
func TestPagesOfRowsInMemory(t *testing.T) {
	b := newLedger(t, 1)
	rnd := rand.New(rand.NewPCG(9, 10))
	b.insert(t, randomEntries(rnd, 1500)...)
	b.cut(t, b.compactor(t, nil))
	b.insert(t, randomEntries(rnd, 600)...)
	conn := &sender{Conn: b.reader}
	server := New(testConfig(), conn, newFixedKeys(), zerolog.Nop(), metrics.NewSet())
	url, _ := serveUntil(t.Context(), t, server)
	look := func() {
		t.Helper()
		<-server.versions.turn
		defer func() { server.versions.turn <- struct{}{} }()
		if err := server.versions.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, shape := range []string{
		`"dimensions":["campaign","browser"]`,
		`"dimensions":["invalid_reason","country"],"filters":[{"dimension":"campaign","op":"ne","values":["1"]}]`,
		`"dimensions":["campaign","variant"],"order_by":[{"field":"ctr","direction":"desc"}]`,
		`"granularity":"week","timezone":"Asia/Kathmandu","order_by":[{"field":"clicks","direction":"desc"}]`,
		`"granularity":"hour","timezone":"Australia/Lord_Howe","order_by":[{"field":"hour","direction":"desc"}]`,
	} {
		var req map[string]any
		if err := json.Unmarshal([]byte(reports.Body(`"start":"2025-01-01","end":"2027-01-01","metrics":["impressions","clicks","ctr"],`+shape)), &req); err != nil {
			t.Fatal(err)
		}
		look()
		before := conn.sent.Load()
		req["limit"] = 100_000
		whole, totals := pages(t, url, "one", req)
		look()
		req["limit"] = 1 + len(whole)/4
		paged, pagedTotals := pages(t, url, "one", req)
		if conn.sent.Load() < before+5 {
			t.Errorf("%s: %d statements got rows from memory", shape, conn.sent.Load()-before)
		}
		// Another server has looked at nothing.
		other := serve(t, testConfig(), b.reader, newFixedKeys(), zerolog.Nop())
		delete(req, "cursor")
		req["limit"] = 100_000
		ledger, ledgerTotals := pages(t, other, "one", req)
		if fmt.Sprint(paged) != fmt.Sprint(whole) || fmt.Sprint(ledger) != fmt.Sprint(whole) || totals != pagedTotals || totals != ledgerTotals {
			t.Errorf("%s: %d rows in pages, %d at once, %d from the ledger", shape, len(paged), len(whole), len(ledger))
		}
	}
}

func TestCursorIsBound(t *testing.T) {
	b, url := small(t)
	cfg := testConfig()
	cfg.Secret = []byte("01234567890123456789012345678901")
	first := serve(t, cfg, b.reader, newFixedKeys(), zerolog.Nop())
	second := serve(t, cfg, b.reader, newFixedKeys(), zerolog.Nop())
	request := `"advertiser":7,"dimensions":["campaign"],"limit":1`
	_, got := post(t, first, "two", reports.Body(request))
	next := got["meta"].(map[string]any)["next_cursor"].(string)
	f := func(url, key, more, cursor string, want int) {
		t.Helper()
		status, got := post(t, url, key, reports.Body(more+`,"cursor":"`+cursor+`"`))
		if status != want || want == 400 && (got["code"] != "invalid_cursor" || got["field"] != "cursor") {
			t.Errorf("%s %s: %d %v", more, cursor, status, got)
		}
	}
	f(first, "two", request, next, 200)
	f(second, "two", request, next, 200) // another instance with the same secret
	f(second, "one", request, next, 200) // another key of the same advertiser
	f(url, "two", request, next, 400)    // another secret
	f(first, "two", strings.Replace(request, "7", "8", 1), next, 400)
	f(first, "two", strings.Replace(request, `"limit":1`, `"limit":2`, 1), next, 400)
	f(first, "two", request+`,"timezone":"Asia/Tokyo"`, next, 400)
	f(first, "two", request+`,"filters":[{"dimension":"country","op":"eq","values":["US"]}]`, next, 400)
	f(first, "two", request, next[1:], 400)
	f(first, "two", request, next+"AA", 400)
	f(first, "two", request, "x", 400)
	f(first, "two", request, "!", 400)
	raw, _ := base64.RawURLEncoding.DecodeString(next)
	for i := range raw {
		edited := append([]byte(nil), raw...)
		edited[i] ^= 1
		f(first, "two", request, base64.RawURLEncoding.EncodeToString(edited), 400)
	}
}
