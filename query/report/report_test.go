package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/testkit/reports"
)

func mustReport(t *testing.T, grant access.Grant, body string) *Report {
	t.Helper()
	req, problem := Decode([]byte(body))
	if problem != nil {
		t.Fatalf("decode %s: %v", body, problem)
	}
	r, problem := New(req, grant, reports.Account)
	if problem != nil {
		t.Fatalf("check %s: %v", body, problem)
	}
	return r
}

func TestNewReportSuccess(t *testing.T) {
	f := func(grant access.Grant, more, start, end, zone string) {
		t.Helper()
		r := mustReport(t, grant, reports.Body(more))
		got := fmt.Sprint(r.Start.Format("2006-01-02T15:04"), " ", r.End.Format("2006-01-02T15:04"), " ", r.Zone)
		if want := start + " " + end + " " + zone; got != want {
			t.Errorf("%s: got %s, want %s", more, got, want)
		}
	}
	f(reports.OneAdvertiser, ``, "2026-11-01T00:00", "2026-11-08T00:00", "UTC")
	// The account's zone, unless the request names one.
	f(reports.TwoAdvertisers, `"advertiser":8`, "2026-10-31T18:15", "2026-11-07T18:15", "Asia/Kathmandu")
	f(reports.TwoAdvertisers, `"advertiser":"8","timezone":"UTC"`, "2026-11-01T00:00", "2026-11-08T00:00", "UTC")
	// The day on which clocks go back has 25 hours.
	f(reports.OneAdvertiser, `"timezone":"America/New_York","start":"2026-11-01","end":"2026-11-02"`,
		"2026-11-01T04:00", "2026-11-02T05:00", "America/New_York")
	f(reports.Everyone, `"advertiser":1,"start":"2026-11-01T10:30:00+05:45","end":"2026-11-01T05:00:00Z"`,
		"2026-11-01T04:45", "2026-11-01T05:00", "UTC")
	f(reports.OneAdvertiser, `"start":"2024-02-29","end":"2029-02-28"`, "2024-02-29T00:00", "2029-02-28T00:00", "UTC")
	f(reports.OneAdvertiser, `"granularity":"minute","start":"2026-01-01","end":"2026-02-01"`, "2026-01-01T00:00", "2026-02-01T00:00", "UTC")
	f(reports.OneAdvertiser, `"cursor":"","as_of":"","require":"any","order_by":[],"filters":[]`, "2026-11-01T00:00", "2026-11-08T00:00", "UTC")
}

func TestNewReportFailure(t *testing.T) {
	f := func(grant access.Grant, body string, status int, code, field string) {
		t.Helper()
		req, problem := Decode([]byte(body))
		if problem == nil {
			_, problem = New(req, grant, reports.Account)
		}
		if problem == nil {
			t.Errorf("%.200s: taken", body)
			return
		}
		if problem.Status != status || problem.Code != code || problem.Field != field {
			t.Errorf("%.200s: got %d %s %q (%s), want %d %s %q",
				body, problem.Status, problem.Code, problem.Field, problem.Detail, status, code, field)
		}
	}
	bad := func(more, code, field string) {
		t.Helper()
		f(reports.OneAdvertiser, reports.Body(more), 400, code, field)
	}

	// JSON.
	f(reports.OneAdvertiser, ``, 400, "invalid_json", "")
	f(reports.OneAdvertiser, `{`, 400, "invalid_json", "")
	f(reports.OneAdvertiser, `{"start":`, 400, "invalid_json", "start")
	f(reports.OneAdvertiser, `[]`, 400, "invalid_type", "")
	f(reports.OneAdvertiser, `null`, 400, "invalid_type", "")
	f(reports.OneAdvertiser, `{} {}`, 400, "invalid_json", "")
	f(reports.OneAdvertiser, "{\"start\":\"\xff\"}", 400, "invalid_json", "")
	f(reports.OneAdvertiser, strings.Repeat(`[`, 100_000), 400, "invalid_type", "")
	f(reports.OneAdvertiser, `{"filters":[{"values":`+strings.Repeat(`[`, 100_000), 400, "invalid_type", "filters[0].values[0]")
	bad(`"Limit":1`, "unknown_field", `"Limit"`)
	bad(`"advertiser":7,"advertiser":8`, "duplicate_field", "advertiser")
	bad(`"tenant":8`, "unknown_field", `"tenant"`)
	bad(`"start":1`, "invalid_type", "start")
	bad(`"metrics":"clicks"`, "invalid_type", "metrics")
	bad(`"dimensions":[null]`, "invalid_type", "dimensions[0]")
	bad(`"filters":[{"dimension":"country","op":"in","values":[true]}]`, "invalid_type", "filters[0].values[0]")
	bad(`"order_by":{}`, "invalid_type", "order_by")
	bad(`"start":null`, "invalid_type", "start")
	bad(`"dimensions":"campaign"`, "invalid_type", "dimensions")
	bad(`"filters":[{"dimension":"country","ops":"in"}]`, "unknown_field", `filters[0]."ops"`)
	bad(`"filters":[{"dimension":"country","op":"in","values":[true]}]`, "invalid_type", "filters[0].values[0]")
	bad(`"limit":"5"`, "invalid_type", "limit")
	bad(`"limit":1e400`, "invalid_type", "limit")

	// The tenant.
	f(reports.TwoAdvertisers, reports.Body(``), 400, "advertiser_required", "advertiser")
	f(reports.Everyone, reports.Body(``), 400, "advertiser_required", "advertiser")
	f(access.Grant{}, reports.Body(``), 400, "advertiser_required", "advertiser")
	f(access.Grant{}, reports.Body(`"advertiser":7`), 404, "advertiser_not_found", "advertiser")
	f(reports.OneAdvertiser, reports.Body(`"advertiser":8`), 404, "advertiser_not_found", "advertiser")
	f(reports.TwoAdvertisers, reports.Body(`"advertiser":9`), 404, "advertiser_not_found", "advertiser")
	f(reports.Everyone, reports.Body(`"advertiser":0`), 400, "invalid_advertiser", "advertiser")
	f(reports.Everyone, reports.Body(`"advertiser":-1`), 400, "invalid_advertiser", "advertiser")
	f(reports.Everyone, reports.Body(`"advertiser":1.0`), 400, "invalid_advertiser", "advertiser")
	f(reports.Everyone, reports.Body(`"advertiser":"18446744073709551616"`), 400, "invalid_advertiser", "advertiser")
	f(reports.Everyone, reports.Body(`"advertiser":"7 OR 1=1"`), 400, "invalid_advertiser", "advertiser")

	// Names.
	bad(`"dimensions":["campaign); DROP TABLE x;--"]`, "unknown_dimension", "dimensions[0]")
	bad("\"dimensions\":[\"`campaign`\"]", "unknown_dimension", "dimensions[0]")
	bad(`"dimensions":["tenant"]`, "unknown_dimension", "dimensions[0]")
	bad(`"dimensions":["_part"]`, "unknown_dimension", "dimensions[0]")
	bad(`"dimensions":["campaign","campaign"]`, "duplicate_dimension", "dimensions[1]")
	bad(`"metrics":["users"]`, "unknown_metric", "metrics[0]")
	bad(`"metrics":["impressions_orphan"]`, "unknown_metric", "metrics[0]")
	bad(`"metrics":["clicks","clicks"]`, "duplicate_metric", "metrics[1]")
	bad(`"metrics":[]`, "missing_field", "metrics")
	bad(`"granularity":"fortnight"`, "unknown_granularity", "granularity")
	bad(`"filters":[{"dimension":"mark_lat","op":"in","values":["1"]}]`, "unknown_dimension", "filters[0].dimension")
	bad(`"filters":[{"dimension":"country","op":"like","values":["%"]}]`, "unknown_op", "filters[0].op")
	bad(`"filters":[{"dimension":"country","op":"in","values":[]}]`, "invalid_values", "filters[0].values")
	bad(`"filters":[{"dimension":"country","op":"eq","values":["a","b"]}]`, "invalid_values", "filters[0].values")
	bad(`"filters":[{"dimension":"campaign","op":"eq","values":["0x1"]}]`, "invalid_id", "filters[0].values[0]")
	bad(`"filters":[{"dimension":"campaign","op":"eq","values":[-1]}]`, "invalid_id", "filters[0].values[0]")
	bad(`"filters":[{"dimension":"country","op":"in","values":["`+strings.Repeat("a", 1<<20)+`"]}]`, "value_too_long", "filters[0].values[0]")
	bad(`"filters":[{"dimension":"country","op":"in","values":["a"`+strings.Repeat(`,"a"`, 1000)+`]}]`, "invalid_values", "filters[0].values")
	one := `{"dimension":"country","op":"in","values":["a"]}`
	bad(`"filters":[`+one+strings.Repeat(","+one, 32)+`]`, "too_many_filters", "filters")
	bad(`"order_by":[{"field":"spend"}]`, "unknown_order", "order_by[0].field")
	bad(`"order_by":[{"field":"clicks","direction":"down"}]`, "unknown_direction", "order_by[0].direction")
	bad(`"order_by":[{"field":"clicks"},{"field":"clicks"}]`, "duplicate_order", "order_by[1].field")

	// Times and bounds.
	bad(`"start":""`, "missing_field", "start")
	bad(`"start":"2026-02-30"`, "invalid_time", "start")
	bad(`"start":"2026-11-01T00:00:00"`, "invalid_time", "start")
	bad(`"start":"2026-11-01T00:00:30Z"`, "invalid_time", "start")
	bad(`"start":"2026-11-01T00:00:00.5Z"`, "invalid_time", "start")
	bad(`"start":"1970-01-01"`, "invalid_time", "start")
	bad(`"end":"2106-02-07"`, "invalid_time", "end")
	bad(`"start":"2026-11-08"`, "empty_range", "end")
	bad(`"start":"2026-11-09"`, "empty_range", "end")
	bad(`"start":"2000-01-01","end":"2050-01-01"`, "range_too_long", "end")
	bad(`"start":"2024-02-29","end":"2029-03-02"`, "range_too_long", "end")
	bad(`"granularity":"minute","start":"2026-01-01","end":"2026-02-02"`, "range_too_long", "end")
	bad(`"granularity":"quarter","start":"2024-01-01","end":"2026-02-02"`, "range_too_long", "end")
	bad(`"timezone":"../../etc/passwd"`, "unknown_timezone", "timezone")
	bad(`"timezone":"Local"`, "unknown_timezone", "timezone")
	bad(`"timezone":"CEST+1"`, "unknown_timezone", "timezone")
	bad(`"limit":0`, "invalid_limit", "limit")
	bad(`"limit":-1`, "invalid_limit", "limit")
	bad(`"limit":1000000000`, "invalid_limit", "limit")

	// What comes later.
	bad(`"as_of":"412 OR 1=1"`, "invalid_as_of", "as_of")
	bad(`"as_of":"`+strings.Repeat("1", maxAsOf+1)+`"`, "invalid_as_of", "as_of")
	bad(`"require":"most"`, "unknown_require", "require")
}

func TestProblemNamesWhatIsAllowed(t *testing.T) {
	req, _ := Decode([]byte(reports.Body(`"metrics":["users"]`)))
	_, problem := New(req, reports.OneAdvertiser, reports.Account)
	for _, want := range []string{"impressions", "impressions_gross", "clicks_orphan", "duplicates", "video_q1", "video_fullscreen_invalid", "spend", "ctr", "cpa"} {
		if !slices.Contains(problem.Allowed, want) {
			t.Errorf("allowed metrics lack %s", want)
		}
	}
	for _, not := range []string{"impressions_orphan", "users"} {
		if slices.Contains(problem.Allowed, not) {
			t.Errorf("allowed metrics hold %s", not)
		}
	}
}

func TestCatalogueIsDescribed(t *testing.T) {
	for _, d := range Dimensions {
		if d.Description == "" {
			t.Errorf("dimension %s has no description", d.Name)
		}
	}
	names := append(DimensionNames(), MetricNames()...)
	names = append(names, granularityNames()...)
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("a name stands for two columns: %v", names)
	}
}

func TestRequestFromURL(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		req, problem := FromURL(query)
		if problem != nil {
			t.Errorf("%s: %v", query, problem)
			return
		}
		got := fmt.Sprintf("%s %s %v %v %v %v", req.Start, req.End, req.Dimensions, req.Metrics, req.Filters, req.OrderBy)
		if req.Limit != nil {
			got += fmt.Sprint(" ", *req.Limit)
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
		}
	}
	f("start=2026-11-01&end=2026-11-08&metrics=clicks", "2026-11-01 2026-11-08 [] [clicks] [] []")
	f("dimensions=campaign,country&metrics=clicks&metrics=spend,ctr&order_by=spend:desc,campaign&limit=5",
		"  [campaign country] [clicks spend ctr] [] [{spend desc} {campaign }] 5")
	f("filter=country:in:US,CA&filter=variant:eq:a,b:c&dimensions=", "  [] [] [{country in [US CA]} {variant eq [a,b:c]}] []")
}

func TestRequestFromURLFailure(t *testing.T) {
	f := func(query, code, field string) {
		t.Helper()
		_, problem := FromURL(query)
		if problem == nil || problem.Code != code || problem.Field != field {
			t.Errorf("%s: got %v, want %s %s", query, problem, code, field)
		}
	}
	f("%zz", "invalid_query", "")
	f("advertiser=1&advertiser=2", "duplicate_field", "advertiser")
	f("key=adtally_x", "unknown_field", `"key"`)
	f("filter=country", "invalid_filter", "filter[0]")
	f("filter=country:in:US&filter=country:US", "invalid_filter", "filter[1]")
	f("limit=5x", "invalid_type", "limit")
	f("limit=", "invalid_type", "limit")
}
