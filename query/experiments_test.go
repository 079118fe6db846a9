package query

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// addVariants adds campaign 77 of advertiser 7: variant a has 100 clicks of 1000
// impressions, b 130 of 1000, and c none of none.
func addVariants(t *testing.T, b *ledger) {
	t.Helper()
	add := func(advertiser uint64, variant string, eventType uint8, net int64) entry {
		return entry{Advertiser: advertiser, Minute: at("2026-11-03T10:00:00Z"), Type: eventType, IDs: [5]uint64{77}, Texts: [7]string{5: variant}, Net: net}
	}
	b.insert(t, add(7, "a", 1, 1000), add(7, "a", 3, 100), add(7, "b", 1, 1000), add(7, "b", 3, 130), add(7, "c", 4, 1), add(8, "a", 1, 9))
}

func TestExperiments(t *testing.T) {
	b := newLedger(t, 1)
	addVariants(t, b)
	url := serve(t, testConfig(), b.reader, newFixedKeys(), zerolog.Nop())
	ask := func(key, more string) (int, map[string]any) {
		t.Helper()
		if !strings.Contains(more, `"campaign"`) {
			more += `,"campaign":"77"`
		}
		res, text := call(t, "POST", url+"/v1/experiments", key, `{"start":"2026-11-01","end":"2026-11-08"`+more+`}`)
		return res.status, parse(t, text)
	}
	status, got := ask("one", `,"control":"a"`)
	if status != 200 || got["control"] != "a" {
		t.Fatalf("%d %v", status, got)
	}
	variants := got["variants"].([]any)
	text := func(i int) string {
		v := variants[i].(map[string]any)
		short := func(x any) string {
			if x == nil {
				return "-"
			}
			number, _ := x.(json.Number).Float64()
			return strconv.FormatFloat(number, 'f', 4, 64)
		}
		out := fmt.Sprint(v["variant"], " ", v["trials"], " ", v["successes"], " ", short(v["rate"]), " ", short(v["low"]), " ", short(v["high"]))
		if test, ok := v["against_control"].(map[string]any); ok {
			out += " " + short(test["lift"]) + " " + short(test["z"]) + " " + short(test["p_value"])
		}
		return out
	}
	for i, want := range []string{"a 1000 100 0.1000 0.0829 0.1202", "b 1000 130 0.1300 0.1106 0.1523 0.3000 2.1027 0.0355", "c 0 0 - 0.0000 1.0000 - 0.0000 1.0000"} {
		if text(i) != want {
			t.Errorf("variant %d: %s, want %s", i, text(i), want)
		}
	}
	f := func(key, more string, status int, code, field string) {
		t.Helper()
		gotStatus, got := ask(key, more)
		if gotStatus != status || got["code"] != code || fmt.Sprint(got["field"]) != field {
			t.Errorf("%s: %d %v", more, gotStatus, got)
		}
	}
	f("one", `,"control":"z"`, 400, "unknown_variant", "control")
	f("one", `,"metric":"spend"`, 400, "unknown_metric", "metric")
	f("one", `,"confidence":1`, 400, "invalid_confidence", "confidence")
	f("one", `,"campaign":"x"`, 400, "invalid_id", "campaign")
	f("one", `,"advertiser":8`, 404, "advertiser_not_found", "advertiser")
	f("one", `,"tenant":8`, 400, "unknown_field", `"tenant"`)
	f("one", `,"confidence":"x"`, 400, "invalid_type", "confidence")
	f("one", `,"metric":"conversion_rate","control":"c"`, 422, "no_proportion", "<nil>")
	if status, got := ask("two", `,"advertiser":8,"metric":"ctr"`); status != 200 || len(got["variants"].([]any)) != 1 {
		t.Errorf("another tenant: %d %v", status, got)
	}
}
