package query

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/dashboard"
	"github.com/adtally/adtally/query/report"
)

// apiCall is one request to an operation of the document.
type apiCall struct {
	operation, method, path, body string
	status                        int
	header                        []string
}

// apiDriver sends requests to a server and holds them and the answers against the
// document that it serves.
type apiDriver struct {
	*testing.T

	url    string
	doc    *openapi3.T
	router routers.Router
	driven map[string]bool
	// exportsDir is where the server's exports are.
	exportsDir string
}

func newAPIDriver(t *testing.T, url string) *apiDriver {
	t.Helper()
	_, text := call(t, "GET", url+"/openapi.json", "", "")
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: url}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		openapi3filter.RegisterBodyDecoder(format, openapi3filter.FileBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder("application/json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/problem+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/graphql-response+json", openapi3filter.JSONBodyDecoder)
	return &apiDriver{T: t, url: url, doc: doc, router: router, driven: map[string]bool{}}
}

// do sends one request. A status or an answer that the document does not have for
// the operation is an error.
func (d *apiDriver) do(c apiCall) (http.Header, []byte) {
	d.Helper()
	d.driven[c.operation] = true
	req, err := http.NewRequestWithContext(d.Context(), c.method, d.url+c.path, strings.NewReader(c.body))
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer one")
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(c.header); i += 2 {
		req.Header.Set(c.header[i], c.header[i+1])
	}
	route, params, err := d.router.FindRoute(req)
	if err != nil || route.Operation.OperationID != c.operation {
		d.Fatalf("%s %s is not %s: %v", c.method, c.path, c.operation, err)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateRequest(d.Context(), input); err != nil && c.status < 400 {
		d.Fatalf("%s: the document refuses what is taken: %v", c.operation, err)
	}
	req.Body = io.NopCloser(strings.NewReader(c.body))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != c.status {
		d.Fatalf("%s %s: %d %s, want %d", c.method, c.path, res.StatusCode, answer, c.status)
	}
	if kind := res.Header.Get("Content-Type"); c.status >= 400 && kind != "application/problem+json" {
		d.Errorf("%s %s: %d is %s", c.method, c.path, c.status, kind)
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: res.StatusCode, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(answer)), Options: input.Options,
	}
	if err := openapi3filter.ValidateResponse(d.Context(), output); err != nil {
		d.Errorf("%s %s: the answer is not what the document says: %v\n%s", c.method, c.path, err, answer)
	}
	return res.Header, answer
}

// get is do for a GET with a key.
func (d *apiDriver) get(operation, path, key string, status int, header ...string) (http.Header, []byte) {
	d.Helper()
	return d.do(apiCall{operation, "GET", path, "", status, append([]string{"Authorization", "Bearer " + key}, header...)})
}

// TestOpenAPIIsTrue drives every operation of the served document, and checks
// requests and answers against it.
func TestOpenAPIIsTrue(t *testing.T) {
	b, _ := small(t)
	addVariants(t, b)
	closeAndChange(t, b)
	cfg := testConfig()
	cfg.Jobs, cfg.ExportsDir = testJobs(t), t.TempDir()
	keys := newFixedKeys()
	keys.grants["eight"] = access.Grant{KeyID: "eight", Scopes: access.AllScopes, Advertisers: []uint64{8}}
	set := metrics.NewSet()
	server := New(cfg, b.reader, keys, zerolog.Nop(), set)
	server.UseReceipts(fixedReceipts{})
	ctx, cancel := context.WithCancel(context.Background())
	url, ended := serveUntil(ctx, t, server)
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	d := newAPIDriver(t, url)
	d.exportsDir = cfg.ExportsDir
	d.driveReports()
	d.driveJobs()
	d.driveExports()
	d.driveBooks()
	for path, item := range d.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !d.driven[op.OperationID] {
				t.Errorf("%s %s is in the document and was not driven", method, path)
			}
			d.driveRefusals(method, path, op)
		}
	}
	d.checkRoutes(set)
	var names []string
	for _, name := range d.doc.Components.Schemas["Metric"].Value.Enum {
		names = append(names, name.(string))
	}
	if !slices.Equal(names, report.MetricNames()) {
		t.Errorf("the document names the metrics %v", names)
	}
}

func (d *apiDriver) driveReports() {
	d.Helper()
	report := reports.Body(`"granularity":"day","dimensions":["campaign","browser"],"metrics":["impressions","spend","cpc"],"limit":1,"filters":[{"dimension":"campaign","op":"ne","values":[5]}]`)
	d.get("index", "/", "one", 200, "Accept", "application/json")
	d.get("openapi", "/openapi.json", "one", 200)
	d.get("getSession", "/v1/session", "one", 200)
	d.get("getAudit", "/v1/audit", "one", 200)
	d.get("getOperations", "/v1/operations", "one", 200)
	d.get("getSchema", "/v1/reports/schema", "one", 200)
	d.get("getFreshness", "/v1/freshness", "one", 200)
	for _, format := range formats {
		d.do(apiCall{"postReport", "POST", "/v1/reports", report, 200, []string{"Accept", format}})
	}
	d.do(apiCall{"postReport", "POST", "/v1/reports", report, 406, []string{"Accept", "application/xml"}})
	d.do(apiCall{"postReport", "POST", "/v1/reports", reports.Body(`"metrics":["nothing"]`), 400, nil})
	d.do(apiCall{"postReport", "POST", "/v1/reports", reports.Body(`"advertiser":8`), 404, nil})
	d.get("getReport", "/v1/reports?start=2026-11-01&end=2026-11-08&metrics=impressions,ctr&dimensions=campaign&filter=country:in:US,CA&order_by=impressions:desc&limit=1", "one", 200)
	d.do(apiCall{"postExperiment", "POST", "/v1/experiments", `{"campaign":77,"start":"2026-11-01","end":"2026-11-08","metric":"ctr"}`, 200, nil})
	d.do(apiCall{"postExperiment", "POST", "/v1/experiments", `{"campaign":77,"start":"2026-11-01","end":"2026-11-08","metric":"cpm"}`, 400, nil})
	d.do(apiCall{"graphql", "POST", "/graphql", `{"query":"{ freshness { completeThrough topic } account { timezone } }"}`, 200, nil})
}

func (d *apiDriver) driveJobs() {
	d.Helper()
	body := reports.Body(`"granularity":"day","dimensions":["campaign"]`)
	var job jobAnswer
	_, first := d.do(apiCall{"postReportJob", "POST", "/v1/report-jobs", body, 202, []string{"Idempotency-Key", "a"}})
	if err := json.Unmarshal(first, &job); err != nil {
		d.Fatal(err)
	}
	waitForJob(d.T, d.url, "one", job.ID)
	d.do(apiCall{"postReportJob", "POST", "/v1/report-jobs", body, 200, []string{"Idempotency-Key", "a"}})
	d.get("getReportJob", "/v1/report-jobs/"+job.ID, "one", 200)
	d.get("getReportJob", "/v1/report-jobs/nothing", "one", 404)
	result := "/v1/report-jobs/" + job.ID + "/result"
	d.get("getReportJobResult", result, "one", 200)
	d.get("getReportJobResult", result, "one", 416, "Range", "bytes=1000000-")
	d.get("getReportJobResult", result, "one", 412, "If-Match", `"another"`)
	d.get("getReportJobResult", result, "eight", 404)
	d.get("getReportJobResult", "/v1/report-jobs/nothing/result", "one", 404)
}

// driveRefusals asks as nobody, and with a key that has none of the scopes.
func (d *apiDriver) driveRefusals(method, path string, op *openapi3.Operation) {
	d.Helper()
	if op.Security != nil && len(*op.Security) == 0 {
		return
	}
	path = regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "x")
	body := ""
	if method == http.MethodPost {
		body = "{}"
	}
	d.do(apiCall{op.OperationID, method, path, body, 401, []string{"Authorization", "Bearer nobody"}})
	if op.OperationID != "getSession" { // every key may ask who it is
		d.do(apiCall{op.OperationID, method, path, body, 403, []string{"Authorization", "Bearer ingest"}})
	}
}

// checkRoutes finds every route of the server in the document, but those of the
// dashboard in a browser.
func (d *apiDriver) checkRoutes(set *metrics.Set) {
	d.Helper()
	pages := []string{"GET /assets/{file...}", "POST /v1/session", "DELETE /v1/session"}
	for _, page := range dashboard.Pages {
		pages = append(pages, "GET "+page)
	}
	served := regexp.MustCompile(`^adtally_query_request_seconds\{route="(([A-Z]+) ([^"]+))"`)
	routes := 0
	for _, name := range set.ListMetricNames() {
		match := served.FindStringSubmatch(name)
		if match == nil || slices.Contains(pages, match[1]) {
			continue
		}
		routes++
		path := strings.TrimSuffix(match[3], "{$}")
		if item := d.doc.Paths.Value(path); item == nil || item.GetOperation(match[2]) == nil {
			d.Errorf("%s is served and not in the document", match[1])
		}
	}
	if operations := len(d.driven); routes != operations {
		d.Errorf("%d routes for programs, %d operations in the document", routes, operations)
	}
	for _, e := range endpoints {
		if item := d.doc.Paths.Value(e["path"]); item == nil || item.GetOperation(e["method"]) == nil {
			d.Errorf("%s %s is listed and not in the document", e["method"], e["path"])
		}
	}
}
