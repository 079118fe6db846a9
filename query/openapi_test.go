package query

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/rs/zerolog"
)

// apiCall is one request to an operation of the document.
type apiCall struct {
	operation, method, path, body string
	status                        int
	header                        []string
}

// TestOpenAPIIsTrue drives every operation of the served document, and checks
// requests and answers against it.
func TestOpenAPIIsTrue(t *testing.T) {
	b, _ := small(t)
	addVariants(t, b)
	cfg := testConfig()
	cfg.Jobs = testJobs(t)
	url := serve(t, cfg, b.reader, newFixedKeys(), zerolog.Nop())
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

	driven := map[string]bool{}
	do := func(c apiCall) []byte {
		t.Helper()
		driven[c.operation] = true
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer one")
		if c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		route, params, err := router.FindRoute(req)
		if err != nil || route.Operation.OperationID != c.operation {
			t.Fatalf("%s %s is not %s: %v", c.method, c.path, c.operation, err)
		}
		input := &openapi3filter.RequestValidationInput{
			Request: req, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil && c.status < 400 {
			t.Fatalf("%s: the document refuses what is taken: %v", c.operation, err)
		}
		req.Body = io.NopCloser(strings.NewReader(c.body))
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != c.status {
			t.Fatalf("%s %s: %d %s, want %d", c.method, c.path, res.StatusCode, answer, c.status)
		}
		output := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: res.StatusCode, Header: res.Header,
			Body: io.NopCloser(bytes.NewReader(answer)), Options: input.Options,
		}
		if err := openapi3filter.ValidateResponse(t.Context(), output); err != nil {
			t.Errorf("%s %s: the answer is not what the document says: %v\n%s", c.method, c.path, err, answer)
		}
		return answer
	}

	report := with(`"granularity":"day","dimensions":["campaign","browser"],"metrics":["impressions","spend","cpc"],"limit":1,"filters":[{"dimension":"campaign","op":"ne","values":[5]}]`)
	do(apiCall{"index", "GET", "/", "", 200, []string{"Accept", "application/json"}})
	do(apiCall{"openapi", "GET", "/openapi.json", "", 200, nil})
	do(apiCall{"getSession", "GET", "/v1/session", "", 200, nil})
	do(apiCall{"getAudit", "GET", "/v1/audit", "", 200, nil})
	do(apiCall{"getAudit", "GET", "/v1/audit", "", 403, []string{"Authorization", "Bearer ingest"}})
	do(apiCall{"getSchema", "GET", "/v1/reports/schema", "", 200, nil})
	do(apiCall{"getFreshness", "GET", "/v1/freshness", "", 200, nil})
	do(apiCall{"getFreshness", "GET", "/v1/freshness", "", 401, []string{"Authorization", "Bearer nobody"}})
	do(apiCall{"getFreshness", "GET", "/v1/freshness", "", 403, []string{"Authorization", "Bearer ingest"}})
	for _, format := range formats {
		do(apiCall{"postReport", "POST", "/v1/reports", report, 200, []string{"Accept", format}})
	}
	do(apiCall{"postReport", "POST", "/v1/reports", report, 406, []string{"Accept", "application/xml"}})
	do(apiCall{"postReport", "POST", "/v1/reports", with(`"metrics":["nothing"]`), 400, nil})
	do(apiCall{"postReport", "POST", "/v1/reports", with(`"advertiser":8`), 404, nil})
	do(apiCall{"getReport", "GET", "/v1/reports?start=2026-11-01&end=2026-11-08&metrics=impressions,ctr&dimensions=campaign&filter=country:in:US,CA&order_by=impressions:desc&limit=1", "", 200, nil})

	var job jobAnswer
	first := do(apiCall{"postReportJob", "POST", "/v1/report-jobs", report, 202, []string{"Idempotency-Key", "a"}})
	if err := json.Unmarshal(first, &job); err != nil {
		t.Fatal(err)
	}
	waitForJob(t, url, "one", job.ID)
	do(apiCall{"postReportJob", "POST", "/v1/report-jobs", report, 200, []string{"Idempotency-Key", "a"}})
	do(apiCall{"getReportJob", "GET", "/v1/report-jobs/" + job.ID, "", 200, nil})
	do(apiCall{"getReportJob", "GET", "/v1/report-jobs/nothing", "", 404, nil})
	do(apiCall{"getReportJobResult", "GET", "/v1/report-jobs/" + job.ID + "/result", "", 200, nil})
	do(apiCall{"getReportJobResult", "GET", "/v1/report-jobs/nothing/result", "", 404, nil})

	do(apiCall{"postExperiment", "POST", "/v1/experiments", `{"campaign":77,"start":"2026-11-01","end":"2026-11-08","metric":"ctr"}`, 200, nil})
	do(apiCall{"postExperiment", "POST", "/v1/experiments", `{"campaign":77,"start":"2026-11-01","end":"2026-11-08","metric":"cpm"}`, 400, nil})
	do(apiCall{"graphql", "POST", "/graphql", `{"query":"{ freshness { completeThrough topic } account { timezone } }"}`, 200, nil})

	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !driven[op.OperationID] {
				t.Errorf("%s %s is in the document and was not driven", method, path)
			}
		}
	}
	// What is served is in the document, and the document names what can be asked.
	for _, e := range endpoints {
		if item := doc.Paths.Find(e["path"]); item == nil || item.GetOperation(e["method"]) == nil {
			t.Errorf("%s %s is not in the document", e["method"], e["path"])
		}
	}
	var metrics []string
	for _, name := range doc.Components.Schemas["Metric"].Value.Enum {
		metrics = append(metrics, name.(string))
	}
	if !slices.Equal(metrics, reports.metricNames()) {
		t.Errorf("the document names the metrics %v", metrics)
	}
}
