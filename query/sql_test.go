package query

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/adtally/adtally/internal/access"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func (s *statement) text() string {
	lines := []string{s.sql, "", "-- parameters"}
	for _, name := range sortedKeys(s.params) {
		lines = append(lines, "-- "+name+" = "+s.params[name])
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestStatementGolden(t *testing.T) {
	f := func(name, more string) {
		t.Helper()
		golden(t, name+".sql", newStatement(mustReport(t, oneAdvertiser, with(more))).text())
	}
	f("total", ``)
	f("total_by_campaign", `"dimensions":["campaign"],"limit":5`)
	f("minute", `"granularity":"minute","timezone":"Asia/Kathmandu"`)
	f("quarter_kathmandu", `"granularity":"quarter","timezone":"Asia/Kathmandu"`)
	f("hour_utc", `"granularity":"hour"`)
	f("hour_berlin_over_change", `"granularity":"hour","timezone":"Europe/Berlin","start":"2026-10-20","end":"2026-10-30"`)
	f("hour_kathmandu", `"granularity":"hour","timezone":"Asia/Kathmandu"`)
	f("hour_lord_howe_over_change", `"granularity":"hour","timezone":"Australia/Lord_Howe","start":"2026-04-01","end":"2026-04-10"`)
	f("day_utc", `"granularity":"day"`)
	f("day_new_york_over_change", `"granularity":"day","timezone":"America/New_York"`)
	f("week", `"granularity":"week","timezone":"America/St_Johns"`)
	f("month_over_changes", `"granularity":"month","timezone":"Europe/Berlin","start":"2025-01-01","end":"2026-12-31"`)
	f("spend", `"metrics":["spend"]`)
	f("spend_by_currency", `"dimensions":["currency"],"metrics":["impressions","spend","cpm"]`)
	f("every_metric", `"metrics":["`+strings.Join(reports.metricNames(), `","`)+`"]`)
	f("every_dimension", `"dimensions":["`+strings.Join(reports.dimensionNames(), `","`)+`"]`)
	f("filters", `"filters":[
		{"dimension":"country","op":"in","values":["US","CA"]},
		{"dimension":"campaign","op":"not_in","values":[1,"2"]},
		{"dimension":"variant","op":"eq","values":["' OR 1=1 --"]},
		{"dimension":"browser","op":"ne","values":["{x:String}\\\u0000é"]}]`)
	f("order", `"granularity":"day","dimensions":["campaign","country"],"metrics":["clicks","ctr","cpm","spend"],
		"order_by":[{"field":"ctr","direction":"desc"},{"field":"country"},{"field":"spend","direction":"desc"}]`)
	f("order_by_bucket", `"granularity":"day","dimensions":["campaign"],"order_by":[{"field":"day","direction":"desc"}]`)
	golden(t, "currencies.sql", currenciesStatement(mustReport(t, oneAdvertiser, with(`"metrics":["spend"]`))).text())
}

// words are everything that a statement may be made of, besides numbers and the
// names of dimensions and measures.
var words = strings.Fields(`SELECT DISTINCT AS FROM ledger WHERE AND IN NOT GROUP BY WITH TOTALS HAVING ORDER DESC NULLS LAST LIMIT
	advertiser minute start end limit bucket currency event_type spend_nanos gross net duplicate invalid orphan
	first_currency last_currency m_spend utc_offset local_day changed sum sumIf minIf maxIf toInt128 toInt256 toInt64 intDiv intDivOrZero toUnixTimestamp
	multiIf if greatest toStartOfMonth toDate NULL UInt64 Int32 DateTime UTC Array String`)

// signs are what stands between the words.
const signs = " \n(){}:,.*+-/%=<>!'"

var (
	token     = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[^A-Za-z0-9_]`)
	number    = regexp.MustCompile(`^[0-9]+$`)
	parameter = regexp.MustCompile(`^[foz][0-9]+$`)
)

func checkVocabulary(t *testing.T, sql string) {
	t.Helper()
	for _, word := range token.FindAllString(sql, -1) {
		measure, isMeasure := strings.CutPrefix(word, "m_")
		switch {
		case slices.Contains(words, word), parameter.MatchString(word), number.MatchString(word) && len(word) < 20,
			strings.Contains(signs, word),
			reports.dimension(word) != nil, isMeasure && reports.metric(measure) != nil:
		default:
			t.Fatalf("the statement holds %q:\n%s", word, sql)
		}
	}
}

func FuzzReportRequest(f *testing.F) {
	f.Add(with(``), "")
	f.Add(with(`"granularity":"hour","timezone":"Asia/Kathmandu","dimensions":["campaign","country"],"metrics":["ctr","spend"],
		"filters":[{"dimension":"country","op":"in","values":["US","' OR 1=1 --"]}],"order_by":[{"field":"ctr","direction":"desc"}],"limit":10`), "")
	f.Add(with(`"advertiser":"7","granularity":"month","filters":[{"dimension":"campaign","op":"ne","values":[1]}]`), "")
	f.Add(`{"start":`, "start=2026-11-01&end=2026-11-08&metrics=clicks&filter=country:in:US,CA&order_by=clicks:desc&limit=3")
	f.Add("", "start=2026-11-01T00:00:00%2B05:45&end=2026-11-02&metrics=clicks&timezone=Europe/Berlin&granularity=day")
	f.Fuzz(func(t *testing.T, body, query string) {
		fromBody, problem := decodeRequest([]byte(body))
		if problem == nil {
			checkRequest(t, fromBody)
		}
		fromURL, problem := requestFromURL(query)
		if problem == nil {
			checkRequest(t, fromURL)
		}
	})
}

func checkRequest(t *testing.T, req Request) {
	t.Helper()
	for _, grant := range []access.Grant{oneAdvertiser, everyone} {
		r, problem := NewReport(req, grant, testAccount)
		if problem != nil {
			if problem.Code == "" || problem.Status < 400 || problem.Detail == "" {
				t.Fatalf("%+v: problem without a name: %+v", req, problem)
			}
			continue
		}
		s := newStatement(r)
		checkVocabulary(t, s.sql)
		checkVocabulary(t, currenciesStatement(r).sql)
		if !strings.Contains(s.sql, "WHERE advertiser = {advertiser:UInt64} AND advertiser > 0\n") {
			t.Fatalf("no tenant in\n%s", s.sql)
		}
	}
}
