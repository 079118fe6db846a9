package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/clickhouse"
)

func graphAsk(t *testing.T, url, key, query string) (data map[string]any, errors string) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"query": query})
	_, text := call(t, "POST", url+"/graphql", key, string(body), "Content-Type", "application/json")
	var got struct {
		Data   map[string]any
		Errors []struct {
			Message    string
			Extensions map[string]any
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var all strings.Builder
	for _, e := range got.Errors {
		fmt.Fprintf(&all, "%v %s;", e.Extensions["code"], e.Message)
	}
	return got.Data, all.String()
}

const graphArgs = `start:"2026-11-01", end:"2026-11-08"`

func TestGraphQL(t *testing.T) {
	_, url := small(t)
	data, errs := graphAsk(t, url, "two", `{
		seven: report(input:{advertiser:7, `+graphArgs+`, dimensions:["campaign"], metrics:["impressions","spend"], orderBy:[{field:"impressions"}], limit:1})
			{ columns { name type } rows totals meta { rows truncated nextCursor currency advertiser } }
		eight: report(input:{advertiser:"8", timezone:"UTC", `+graphArgs+`, metrics:["impressions"]}) { rows }
		campaigns(advertiser:7, `+graphArgs+`) { campaign impressions clicks }
		accounts { advertiser timezone } account(advertiser:8) { name } freshness { topic }
	}`)
	if errs != "" {
		t.Fatal(errs)
	}
	seven := data["seven"].(map[string]any)
	if fmt.Sprint(seven["rows"], seven["totals"]) != "[map[campaign:18446744073709551615 finality:provisional impressions:10 spend:0.000000001]] map[impressions:1010 spend:1.250000001]" ||
		seven["meta"].(map[string]any)["nextCursor"] == nil || seven["meta"].(map[string]any)["advertiser"] != "7" {
		t.Errorf("a report: %v", seven)
	}
	if fmt.Sprint(data["eight"], data["campaigns"], data["accounts"], data["account"]) != "map[rows:[map[finality:provisional impressions:7]]] "+
		"[map[campaign:1 clicks:3 impressions:1000] map[campaign:18446744073709551615 clicks:0 impressions:10]] "+
		"[map[advertiser:7 timezone:UTC] map[advertiser:8 timezone:Asia/Kathmandu]] map[name:Eight]" {
		t.Errorf("got %v", data)
	}
}

func TestGraphQLRefuses(t *testing.T) {
	_, url := small(t)
	f := func(key, query, want string) {
		t.Helper()
		data, errs := graphAsk(t, url, key, query)
		if !strings.Contains(errs, want) || strings.Contains(fmt.Sprint(data), "7 ") {
			t.Errorf("%.100s: %v %s, want %s", query, data, errs, want)
		}
	}
	report := func(alias, advertiser string) string {
		return alias + `: report(input:{advertiser:` + advertiser + `, ` + graphArgs + `, metrics:["impressions"]}) { totals }`
	}
	// An alias is no way to another tenant, nor are its account and campaigns.
	f("one", "{"+report("mine", "7")+report("theirs", "8")+"}", "advertiser_not_found")
	f("one", `{ account(advertiser:8) { name } }`, "advertiser_not_found")
	f("one", `{ campaigns(advertiser:8, `+graphArgs+`) { campaign } }`, "advertiser_not_found")
	f("two", `{ account { name } }`, "advertiser_required")
	f("one", `{ report(input:{`+graphArgs+`, metrics:["nothing"]}) { rows } }`, "unknown_metric")
	f("one", `{ report(input:{`+graphArgs+`, metrics:["clicks"], limit: 20000}) { rows } }`, "invalid_limit")
	f("one", `{ report(input:{`+graphArgs+`, metrics:["clicks"], cursor:"x"}) { rows } }`, "invalid_cursor")
	// Too much in one query.
	var many strings.Builder
	for i := range 20 {
		many.WriteString(report(fmt.Sprintf("a%d", i), "7") + "\n")
	}
	f("one", "{"+many.String()+"}", "COMPLEXITY")
	deep := `{ __schema { types { fields { type { ofType { ofType { ofType { name } } } } } } } }`
	if _, errs := graphAsk(t, url, "one", deep); errs != "" {
		t.Errorf("introspection: %s", errs)
	}
	f("one", "{"+strings.Repeat("a ", 6000)+"}", "token")
	f("one", "{ report", "Expected")
	f("one", "{ ledger }", "Cannot query field")
	for key, want := range map[string]int{"": 401, "nobody": 401, "ingest": 403} {
		if res, _ := call(t, "POST", url+"/graphql", key, `{"query":"{freshness{topic}}"}`, "Content-Type", "application/json"); res.status != want {
			t.Errorf("key %q: %d", key, res.status)
		}
	}
	if res, _ := call(t, "GET", url+"/graphql?query={freshness{topic}}", "one", ""); res.status != 405 {
		t.Errorf("GET: %d", res.status)
	}
	for _, media := range []string{"", "text/plain", "application/graphql", "a/b/c"} {
		res, text := call(t, "POST", url+"/graphql", "one", `{"query":"{freshness{topic}}"}`, "Content-Type", media)
		if got := parse(t, text); res.status != 415 || got["code"] != "unsupported_media_type" || got["field"] != "Content-Type" ||
			fmt.Sprint(got["allowed"]) != "[application/json]" {
			t.Errorf("Content-Type %q: %d %s", media, res.status, text)
		}
	}
	partitions := `{ freshness { partitions { position } } }`
	if data, errs := graphAsk(t, url, "report", partitions); errs != "" || fmt.Sprint(data) != "map[freshness:map[partitions:[]]]" {
		t.Errorf("a key without the scope admin sees %v %s", data, errs)
	}
	if data, errs := graphAsk(t, url, "one", partitions); errs != "" || !strings.Contains(fmt.Sprint(data), "position:") {
		t.Errorf("a key with the scope admin sees %v %s", data, errs)
	}
}

func TestGraphQLHidesTheStorage(t *testing.T) {
	var logs bytes.Buffer
	url := serve(t, testConfig(), &deadConn{err: &clickhouse.Exception{Code: 60, Message: "secret table"}}, newFixedKeys(), zerolog.New(&logs))
	_, errs := graphAsk(t, url, "one", `{ freshness { topic } report(input:{`+graphArgs+`, metrics:["clicks"]}) { rows } }`)
	if !strings.Contains(errs, "storage_failed") || strings.Contains(errs, "secret") {
		t.Errorf("the client sees %s", errs)
	}
	if !strings.Contains(logs.String(), "secret table") {
		t.Error("the log does not tell what happened")
	}
}
