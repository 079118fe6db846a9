package plan

import (
	"context"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/report"
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

func text(s *Statement) string {
	lines := []string{s.SQL, "", "-- parameters"}
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		lines = append(lines, "-- "+name+" = "+s.Params[name])
	}
	return strings.Join(lines, "\n") + "\n"
}

func mustReport(t *testing.T, grant access.Grant, body string) *report.Report {
	t.Helper()
	req, problem := report.Decode([]byte(body))
	if problem != nil {
		t.Fatalf("decode %s: %v", body, problem)
	}
	r, problem := report.New(req, grant, reports.Account)
	if problem != nil {
		t.Fatalf("check %s: %v", body, problem)
	}
	return r
}

// zoneMaps are the zone maps there are.
type zoneMaps map[uuid.UUID]*books.ZoneMap

func (z zoneMaps) ZoneMap(_ context.Context, id uuid.UUID) (*books.ZoneMap, error) { return z[id], nil }

// planner plans reports over a view of two deltas and a tail. In the second one
// the days of advertiser 7 are those of New York.
type planner struct {
	zones zoneMaps
	view  *books.View
}

func newPlanner() *planner {
	topic := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	vector := func(next uint64) books.Vector {
		return books.Vector{{Topic: topic, Lineage: 1, Partition: 0, Next: next}, {Topic: topic, Lineage: 1, Partition: 1, Next: next + 1}}
	}
	delta := func(digit string, zones *books.ZoneMap) books.Delta {
		id := func(kind string) uuid.UUID { return uuid.MustParse(strings.Repeat(digit, 8) + kind) }
		return books.Delta{ID: id("-aaaa-4aaa-8aaa-aaaaaaaaaaaa"), Day: id("-dddd-4ddd-8ddd-dddddddddddd"), Zones: zones.ID, Upto: 1}
	}
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	utc := books.NewZoneMap(nil)
	york := books.NewZoneMap(map[uint64]*time.Location{7: newYork})
	return &planner{
		zones: zoneMaps{utc.ID: utc, york.ID: york},
		view: &books.View{
			Name: "2.AQE", Cut: 2, To: vector(200), Deltas: books.Cover{delta("1", utc), delta("2", york)},
			Rest: books.Slice{From: vector(100), To: vector(200)}, RestRows: 1,
		},
	}
}

// plan plans a report; nothing is behind the cut if settled.
func (p *planner) plan(tb testing.TB, r *report.Report, settled bool) *Plan {
	tb.Helper()
	view := *p.view
	if settled {
		view.Deltas, view.To, view.Rest, view.RestRows = view.Deltas[:1], view.Rest.From, books.Slice{From: view.Rest.From, To: view.Rest.From}, 0
	}
	planned, err := New(tb.Context(), p.zones, r, &view, time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	return planned
}

func TestStatementGolden(t *testing.T) {
	p := newPlanner()
	f := func(name, more string) {
		t.Helper()
		golden(t, name+".sql", text(p.plan(t, mustReport(t, reports.OneAdvertiser, reports.Body(more)), true).Rows()))
	}
	tail := func(name, more string) {
		t.Helper()
		golden(t, name+".sql", text(p.plan(t, mustReport(t, reports.OneAdvertiser, reports.Body(more)), false).Rows()))
	}
	tail("tail_total", ``)
	tail("tail_day_new_york", `"granularity":"day","timezone":"America/New_York","dimensions":["campaign"]`)
	tail("tail_hour", `"granularity":"hour","timezone":"Europe/Berlin","start":"2026-10-20","end":"2026-10-30","filters":[{"dimension":"country","op":"in","values":["US"]}]`)
	tail("tail_minute", `"granularity":"minute"`)
	tail("tail_month", `"granularity":"month","start":"2026-01-01","end":"2026-12-31"`)
	f("edges", `"start":"2026-11-01T00:07:00Z","end":"2026-11-03T10:38:00Z"`)
	f("edges_day", `"granularity":"day","start":"2026-11-01T00:07:00Z","end":"2026-11-03T10:30:00Z"`)
	f("within_a_quarter", `"start":"2026-11-01T00:07:00Z","end":"2026-11-01T00:16:00Z"`)
	f("nothing_rolled_up_straddles", `"granularity":"day","timezone":"America/St_Johns","start":"2009-10-30","end":"2009-11-05"`)
	golden(t, "nothing_counted.sql", text((&Plan{Report: mustReport(t, reports.OneAdvertiser, reports.Body(``))}).Rows()))
	golden(t, "tail_currencies.sql", text(p.plan(t, mustReport(t, reports.OneAdvertiser, reports.Body(`"metrics":["spend"]`)), false).Currencies()))
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
	f("every_metric", `"metrics":["`+strings.Join(report.MetricNames(), `","`)+`"]`)
	f("every_dimension", `"dimensions":["`+strings.Join(report.DimensionNames(), `","`)+`"]`)
	f("filters", `"filters":[
		{"dimension":"country","op":"in","values":["US","CA"]},
		{"dimension":"campaign","op":"not_in","values":[1,"2"]},
		{"dimension":"variant","op":"eq","values":["' OR 1=1 --"]},
		{"dimension":"browser","op":"ne","values":["{x:String}\\\u0000é"]}]`)
	f("order", `"granularity":"day","dimensions":["campaign","country"],"metrics":["clicks","ctr","cpm","spend"],
		"order_by":[{"field":"ctr","direction":"desc"},{"field":"country"},{"field":"spend","direction":"desc"}]`)
	f("order_by_bucket", `"granularity":"day","dimensions":["campaign"],"order_by":[{"field":"day","direction":"desc"}]`)
	golden(t, "currencies.sql", text(p.plan(t, mustReport(t, reports.OneAdvertiser, reports.Body(`"metrics":["spend"]`)), true).Currencies()))
}

// words are everything that a statement may be made of, besides numbers and the
// names of dimensions and measures.
var words = strings.Fields(`SELECT DISTINCT AS FROM ledger WHERE AND IN NOT GROUP BY WITH TOTALS HAVING ORDER DESC NULLS LAST LIMIT
	UNION ALL OR true false rollup_quarter rollup_day delta quarter local_day day_of_bucket topic_id lineage kafka_partition b_end UUID UInt32 Date
	advertiser minute limit bucket currency event_type spend_nanos gross net duplicate invalid orphan
	first_currency last_currency m_spend utc_offset changed sum sumIf minIf maxIf reinterpretAsUInt64 toInt128 toInt256 toInt64 intDiv intDivOrZero toUnixTimestamp
	arrayStringConcat arrayMap flag least bitPositionsToArray invalid_flags other multiIf if greatest toStartOfMonth toDate NULL UInt64 Int32 DateTime UTC Array String`)

// signs are what stands between the words.
const signs = " \n(){}[]:,.*+-/%=<>!'"

var (
	token     = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[^A-Za-z0-9_]`)
	number    = regexp.MustCompile(`^[0-9]+$`)
	parameter = regexp.MustCompile(`^([foz][0-9]+|s[0-9]_(start|end|from|to|deltas|topic|lineage)[0-9]*)$`)
)

func checkVocabulary(t *testing.T, sql string) {
	t.Helper()
	for _, word := range token.FindAllString(sql, -1) {
		measure, isMeasure := strings.CutPrefix(word, "m_")
		switch {
		case slices.Contains(words, word), parameter.MatchString(word), number.MatchString(word) && len(word) < 20,
			strings.Contains(signs, word), slices.Contains(proto.FlagNames(), word),
			report.DimensionNamed(word) != nil, isMeasure && report.MetricNamed(measure) != nil:
		default:
			t.Fatalf("the statement holds %q:\n%s", word, sql)
		}
	}
}

func FuzzReportRequest(f *testing.F) {
	f.Add(reports.Body(``), "")
	f.Add(reports.Body(`"granularity":"hour","timezone":"Asia/Kathmandu","dimensions":["campaign","country"],"metrics":["ctr","spend"],
		"filters":[{"dimension":"country","op":"in","values":["US","' OR 1=1 --"]}],"order_by":[{"field":"ctr","direction":"desc"}],"limit":10`), "")
	f.Add(reports.Body(`"advertiser":"7","granularity":"month","filters":[{"dimension":"campaign","op":"ne","values":[1]}]`), "")
	f.Add(`{"start":`, "start=2026-11-01&end=2026-11-08&metrics=clicks&filter=country:in:US,CA&order_by=clicks:desc&limit=3")
	f.Add("", "start=2026-11-01T00:00:00%2B05:45&end=2026-11-02&metrics=clicks&timezone=Europe/Berlin&granularity=day")
	f.Fuzz(func(t *testing.T, body, query string) {
		fromBody, problem := report.Decode([]byte(body))
		if problem == nil {
			checkRequest(t, fromBody)
		}
		fromURL, problem := report.FromURL(query)
		if problem == nil {
			checkRequest(t, fromURL)
		}
	})
}

// tableRead is where a statement reads a table, and what follows its name.
var tableRead = regexp.MustCompile(`FROM [a-z_]+\n(WHERE advertiser = \{advertiser:UInt64\} AND advertiser > 0\n)?`)

// checkTenant checks that every table is read within the tenant.
func checkTenant(t *testing.T, sql string) {
	t.Helper()
	checkVocabulary(t, sql)
	reads := tableRead.FindAllStringSubmatch(sql, -1)
	if len(reads) == 0 {
		t.Fatalf("no table is read in\n%s", sql)
	}
	for _, read := range reads {
		if read[1] == "" {
			t.Fatalf("no tenant behind %q in\n%s", read[0], sql)
		}
	}
}

func checkRequest(t *testing.T, req report.Request) {
	t.Helper()
	p := newPlanner()
	for _, grant := range []access.Grant{reports.OneAdvertiser, reports.Everyone} {
		r, problem := report.New(req, grant, reports.Account)
		if problem != nil {
			if problem.Code == "" || problem.Status < 400 || problem.Detail == "" {
				t.Fatalf("%+v: problem without a name: %+v", req, problem)
			}
			continue
		}
		for _, settled := range []bool{true, false} {
			planned := p.plan(t, r, settled)
			checkTenant(t, planned.Rows().SQL)
			checkTenant(t, planned.Currencies().SQL)
		}
	}
}
