package query

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/report"
)

// reply is the head of an answer.
type reply struct {
	status int
	header http.Header
}

// call sends one request and returns the answer and its body.
func call(t *testing.T, method, url, key, body string, header ...string) (reply, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: res.StatusCode, header: res.Header}, text
}

// deadConn answers every query with an error; other methods must not be called.
type deadConn struct {
	clickhouse.Conn

	err   error
	block chan struct{}
}

func (c *deadConn) Query(ctx context.Context, _ string, _ ...any) (clickhouse.Rows, error) {
	if c.block != nil {
		select {
		case <-c.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, c.err
}

// Blocks implements clickhouse.Conn.
func (c *deadConn) Blocks(ctx context.Context, _ clickhouse.BlockQuery) error {
	_, err := c.Query(ctx, "")
	return err
}

func TestHTTPErrors(t *testing.T) {
	var logs bytes.Buffer
	keys := newFixedKeys()
	secret := "DB::Exception: /secret/path"
	url := serve(t, testConfig(), &deadConn{err: &clickhouse.Exception{Code: 60, Message: secret}}, keys, zerolog.New(&logs))
	f := func(method, path, key, body string, status int, code string, header ...string) http.Header {
		t.Helper()
		res, text := call(t, method, url+path, key, body, header...)
		if res.status != status {
			t.Fatalf("%s %s: %d %s, want %d", method, path, res.status, text, status)
		}
		if got := res.header.Get("Content-Type"); got != "application/problem+json" {
			t.Fatalf("%s %s: content type %s", method, path, got)
		}
		problem := parse(t, text)
		if problem["code"] != code || problem["type"] != "urn:adtally:problem:"+code || problem["title"] != http.StatusText(status) {
			t.Fatalf("%s %s: %s, want %s", method, path, text, code)
		}
		if id := res.header.Get("X-Request-Id"); id == "" || problem["request_id"] != id {
			t.Fatalf("%s %s: request id %q, in the body %v", method, path, id, problem["request_id"])
		}
		if bytes.Contains(text, []byte("secret")) {
			t.Fatalf("%s %s: %s", method, path, text)
		}
		return res.header
	}
	good := reports.Body(``)

	// Paths and methods.
	f("GET", "/nothing", "one", "", 404, "not_found")
	f("GET", "/debug/pprof/", "one", "", 404, "not_found")
	f("GET", "/metrics", "one", "", 404, "not_found")
	f("GET", "/v1/%2e%2e/reports", "one", "", 404, "not_found")
	f("GET", "/v1/reports%2fschema", "one", "", 404, "not_found")
	if res, _ := call(t, "GET", url+"//v1/../v1/reports", "one", ""); res.status != http.StatusTemporaryRedirect || res.header.Get("Location") != "/v1/reports" {
		t.Errorf("a path that is not clean: %d %s", res.status, res.header.Get("Location"))
	}
	f("POST", "/", "one", "", 405, "method_not_allowed")
	f("PURGE", "/v1/reports", "one", "", 405, "method_not_allowed")
	f("TRACE", "/v1/reports", "one", "", 405, "method_not_allowed")
	if allow := f("DELETE", "/v1/reports", "one", "", 405, "method_not_allowed").Get("Allow"); allow != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", allow)
	}

	// Keys.
	if h := f("POST", "/v1/reports", "", good, 401, "missing_key"); h.Get("WWW-Authenticate") != `Bearer realm="adtally"` {
		t.Errorf("WWW-Authenticate: %s", h.Get("WWW-Authenticate"))
	}
	f("POST", "/v1/reports", "nobody", good, 401, "unknown_key")
	f("POST", "/v1/reports", "ONE", good, 401, "unknown_key")
	f("POST", "/v1/reports", "", good, 401, "invalid_authorization", "Authorization", "Basic b25lOg==")
	f("GET", "/v1/reports?key=one&start=2026-11-01", "", "", 401, "missing_key")
	f("GET", "/v1/freshness", "", "", 401, "missing_key")
	f("POST", "/v1/reports", "ingest", good, 403, "missing_scope")
	f("GET", "/v1/freshness", "ingest", "", 403, "missing_scope")

	// Bodies.
	f("POST", "/v1/reports", "one", "{", 400, "invalid_json")
	f("POST", "/v1/reports", "one", strings.Repeat(" ", maxBodyBytes+1), 413, "body_too_large")
	f("POST", "/v1/reports?advertiser=8", "one", good, 400, "unexpected_query")
	f("POST", "/v1/reports", "one", good, 406, "not_acceptable", "Accept", "application/xml")

	// Another tenant, by body and URL.
	f("POST", "/v1/reports", "one", reports.Body(`"advertiser":8`), 404, "advertiser_not_found")
	f("GET", "/v1/reports?advertiser=8&start=2026-11-01&end=2026-11-02&metrics=clicks", "one", "", 404, "advertiser_not_found")
	f("GET", "/v1/reports?advertiser=7&advertiser=8", "one", "", 400, "duplicate_field")

	// ClickHouse.
	f("POST", "/v1/reports", "one", good, 502, "storage_failed")
	f("GET", "/v1/freshness", "one", "", 502, "storage_failed")
	if !strings.Contains(logs.String(), "secret") {
		t.Error("the log does not tell what ClickHouse said")
	}
	if strings.Contains(logs.String(), "key=one") || strings.Contains(logs.String(), "Bearer") {
		t.Errorf("the log holds a key: %s", logs.String())
	}
	keys.notReady = true
	if h := f("POST", "/v1/reports", "one", good, 503, "starting"); h.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
}

func TestStorageAway(t *testing.T) {
	f := func(conn clickhouse.Conn, cfg Config, code string) {
		t.Helper()
		url := serve(t, cfg, conn, newFixedKeys(), zerolog.Nop())
		res, text := call(t, "POST", url+"/v1/reports", "one", reports.Body(``))
		if res.status != http.StatusServiceUnavailable || parse(t, text)["code"] != code || res.header.Get("Retry-After") == "" {
			t.Errorf("got %d %s, want %s", res.status, text, code)
		}
	}
	f(&deadConn{err: io.ErrUnexpectedEOF}, testConfig(), "storage_unavailable")
	cfg := testConfig()
	cfg.Timeout = 50 * time.Millisecond
	f(&deadConn{block: make(chan struct{})}, cfg, "report_timeout")
}

func TestTooManyReportsOfOneKey(t *testing.T) {
	conn := &deadConn{err: io.EOF, block: make(chan struct{})}
	cfg := testConfig()
	cfg.MaxReports, cfg.MaxWaiting = 3, 0
	url := serve(t, cfg, conn, newFixedKeys(), zerolog.Nop())
	codes := make(chan int, 20)
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			res, _ := call(t, "POST", url+"/v1/reports", "one", reports.Body(``))
			codes <- res.status
		})
	}
	for range 17 {
		if code := <-codes; code != 429 {
			t.Errorf("got %d, want 429", code)
		}
	}
	// Another key has its own share.
	running.Go(func() {
		res, _ := call(t, "POST", url+"/v1/reports", "all", reports.Body(`"advertiser":1`))
		codes <- res.status
	})
	close(conn.block)
	running.Wait()
	for range 4 {
		if code := <-codes; code != 503 {
			t.Errorf("got %d, want 503", code)
		}
	}
}

// panicKeys panic where a handler would.
type panicKeys struct{ Keys }

func (panicKeys) Lookup(context.Context, string) (access.Grant, error) { panic("secret") }

func TestPanicIsContained(t *testing.T) {
	var logs bytes.Buffer
	url := serve(t, testConfig(), nil, panicKeys{}, zerolog.New(&logs))
	for range 2 { // the server goes on
		res, text := call(t, "POST", url+"/v1/reports", "one", reports.Body(``))
		if res.status != http.StatusInternalServerError || parse(t, text)["code"] != "internal" || bytes.Contains(text, []byte("secret")) {
			t.Errorf("got %d %s", res.status, text)
		}
	}
	if !strings.Contains(logs.String(), "secret") {
		t.Error("the log does not tell what happened")
	}
}

func TestOpenEndpoints(t *testing.T) {
	url := serve(t, testConfig(), nil, newFixedKeys(), zerolog.Nop())
	res, text := call(t, "GET", url+"/", "", "", "Accept", "application/json")
	if res.status != http.StatusOK || !bytes.Contains(text, []byte("/v1/reports/schema")) {
		t.Errorf("index: %d %s", res.status, text)
	}
	if res, text := call(t, "GET", url+"/", "", ""); res.status != http.StatusOK || !bytes.Contains(text, []byte("<!doctype html>")) {
		t.Errorf("front page: %d %s", res.status, text)
	}
	res, text = call(t, "GET", url+"/v1/reports/schema", "", "")
	var got schema
	if err := json.Unmarshal(text, &got); err != nil || res.status != http.StatusOK {
		t.Fatalf("schema: %d %v", res.status, err)
	}
	var names []string
	for _, c := range got.Metrics {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, report.MetricNames()) {
		t.Errorf("schema lists the metrics %v", names)
	}
	if len(got.Dimensions) != len(report.Dimensions) || len(got.Granularities) != len(report.Granularities) {
		t.Errorf("schema lists %d dimensions, %d granularities", len(got.Dimensions), len(got.Granularities))
	}
}

func TestServerDrains(t *testing.T) {
	conn := &deadConn{err: io.EOF, block: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	url, ended := serveUntil(ctx, t, New(testConfig(), conn, newFixedKeys(), zerolog.Nop(), metrics.NewSet()))
	answered := make(chan int, 1)
	go func() {
		res, _ := call(t, "POST", url+"/v1/reports", "one", reports.Body(``))
		answered <- res.status
	}()
	time.Sleep(100 * time.Millisecond) // the report runs
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("the server ended with a report in flight: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(conn.block)
	if code := <-answered; code != 503 {
		t.Errorf("the report in flight got %d", code)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}
