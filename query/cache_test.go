package query

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit/reports"
)

func TestAnswersAreKeptPerTenantAndVersion(t *testing.T) {
	b, _ := small(t)
	cfg := testConfig()
	cfg.CacheBytes = 1 << 20
	url := serve(t, cfg, b.reader, newFixedKeys(), zerolog.Nop())
	ask := func(key, more, etag string) (int, string, string) {
		t.Helper()
		res, text := call(t, "POST", url+"/v1/reports", key, reports.Body(`"dimensions":["campaign"],"metrics":["impressions"],`+more), "If-None-Match", etag)
		return res.status, string(text), res.header.Get("ETag")
	}
	status, body, etag := ask("two", `"advertiser":7`, "")
	if status != 200 || etag == "" {
		t.Fatalf("%d %s", status, body)
	}
	if status, again, same := ask("two", `"advertiser":7`, ""); status != 200 || again != body || same != etag {
		t.Errorf("again: %d %s", status, again)
	}
	if status, text, _ := ask("one", `"advertiser":7`, `"x", `+etag); status != http.StatusNotModified || text != "" {
		t.Errorf("what the client has: %d %s", status, text)
	}
	// Another tenant has neither the answer nor the tag.
	status, other, otherTag := ask("two", `"advertiser":8,"timezone":"UTC"`, etag)
	if status != 200 || otherTag == etag || other == body {
		t.Errorf("another tenant: %d %s", status, other)
	}
	// Another format has another tag.
	res, _ := call(t, "POST", url+"/v1/reports", "two", reports.Body(`"dimensions":["campaign"],"metrics":["impressions"],"advertiser":7`), "Accept", "text/csv", "If-None-Match", etag)
	if res.status != 200 || res.header.Get("ETag") == etag {
		t.Errorf("another format: %d", res.status)
	}
	// New rows come with new positions, and are seen.
	b.insert(t, entry{Advertiser: 7, Minute: at("2026-11-03T10:00:00Z"), Type: 1, IDs: [5]uint64{55}, Net: 5})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, fresh, tag := ask("two", `"advertiser":7`, etag)
		if status == 200 && tag != etag {
			if rows := fmt.Sprint(parse(t, []byte(fresh))["rows"]); rows == fmt.Sprint(parse(t, []byte(body))["rows"]) {
				t.Errorf("new rows are not there: %s", rows)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the tag stays: %d", status)
		}
	}
}
