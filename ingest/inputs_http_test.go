package ingest

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestFraming is row 12, for a request that follows: what is refused for its
// framing closes the connection, and the next connection is served.
func TestFraming(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	pixel := "GET /i/" + r.sign(nil) + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	f := func(status int, request string) {
		t.Helper()
		got := r.raw(request + pixel)
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%q: %q", request, got)
		}
		if r.stored() != 0 {
			t.Fatalf("%q: the request behind it was counted", request)
		}
	}
	post := "POST /e HTTP/1.1\r\nHost: h\r\n"
	f(411, post+"Transfer-Encoding: chunked\r\n\r\n2;\nx\r\n[]\r\n0\r\n\r\n") // a chunk extension with a line break
	f(411, post+"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n[]\r\n0\r\nX: y\r\n\r\n")
	f(411, post+"Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n\r\n[]")
	f(411, post+"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")
	f(411, "POST /e HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") // row 32
	f(400, post+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[] ")
	f(400, post+"Content-Length: 5,5\r\n\r\n[]   ")
	f(400, post+"Content-Length: 0x2\r\n\r\n[]")
	f(400, post+"Content-Length: 2 2\r\n\r\n[]")
	f(400, post+"Content-Length:\r\n 2\r\n\r\n[]")
	f(400, post+"Content-Length\t: 2\r\n\r\n[]")
	f(400, "POST /e HTTP/1.1\nHost: h\nContent-Length: 2\n\n[]")
	if got := r.raw(pixel); !strings.HasPrefix(got, "HTTP/1.1 200 ") || r.stored() != 1 {
		t.Errorf("%q, %d records", got, r.stored())
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLargeRequestsCostNoMemory is rows 13 and 15, and the 10 MiB number of row
// 16. It runs alone: it looks at the memory of the process.
func TestLargeRequestsCostNoMemory(t *testing.T) { //nolint:paralleltest // it measures the process
	r := start(t, nil)
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
	head := "POST /v1/events HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer all\r\n"
	bomb := pack(strings.Repeat("\x00", 100<<20)) // 100 KiB
	var deflated, zipped bytes.Buffer
	w, _ := flate.NewWriter(&deflated, 9)
	_, _ = w.Write([]byte("[]"))
	_ = w.Close()
	z := zlib.NewWriter(&zipped)
	_, _ = z.Write([]byte("[]"))
	_ = z.Close()
	body := func(headers, body string) string {
		return fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", head, headers, len(body), body)
	}
	gz := "Content-Encoding: gzip\r\n"
	for _, in := range []struct {
		status  int
		request string
	}{
		{431, "GET /i/x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 8193) + "\r\n\r\n"},
		{431, "GET /i/x HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 10_000) + "\r\n"},
		{431, "GET /i/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: h\r\n\r\n"},
		{413, body("", strings.Repeat(" ", 128<<10+1))},
		{413, head + "Expect: 100-continue\r\nContent-Length: 4294967296\r\n\r\n"},
		{413, head + "Content-Length: 4294967296\r\n\r\n"},
		{413, body(gz, bomb)},
		{400, body(gz, pack(pack("[]")))},
		{400, body(gz, deflated.String())},
		{400, body(gz, zipped.String())},
		{413, body("", `[{"x":`+strings.Repeat("9", 10<<20)+`}]`)},
		{400, body("", `[{"x":`+strings.Repeat("9", 100_000)+`}]`)},
	} {
		before := heap()
		for range 20 {
			got := r.raw(in.request)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", in.status)) {
				t.Fatalf("%.80q: %.200q, want %d", in.request, got, in.status)
			}
		}
		if grown := heap() - before; grown > 8<<20 {
			t.Errorf("%.80q: the heap grew by %d bytes", in.request, grown)
		}
	}
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}

// TestIdleConnections is row 14: thousands that say nothing, or say it slowly,
// are closed in time and keep nobody else waiting. See TestSlowClientsAreCut for
// each way of being slow.
func TestIdleConnections(t *testing.T) { //nolint:paralleltest // it takes most of the file descriptors
	r := start(t, func(c *Config) { c.ReadTimeout = 2 * time.Second })
	const n = 5000
	conns := make([]net.Conn, 0, n)
	for range n {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatalf("after %d: %v", len(conns), err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "G")
		conns = append(conns, c)
	}
	began := time.Now()
	for range 50 {
		r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("50 beacons took %v", took)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(began.Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("%v: %v", time.Since(began), err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closed after %v", took)
	}
}

// TestOtherMethodsAndVersions is row 32.
func TestOtherMethodsAndVersions(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	text := r.sign(nil)
	f := func(status int, request string) {
		t.Helper()
		got := r.raw(request)
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%q: %q", request, got)
		}
	}
	for _, method := range []string{"OPTIONS", "TRACE", "PURGE", "POST", "PUT", "DELETE", "PATCH", "get", "CONNECT"} {
		f(405, method+" /i/"+text+" HTTP/1.1\r\nHost: h\r\n\r\n")
	}
	f(405, "TRACE /e HTTP/1.1\r\nHost: h\r\nX-Secret: s\r\n\r\n")
	f(200, "HEAD /i/"+text+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	f(400, "GET /i/"+text+"\r\n\r\n")
	f(400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	f(400, "GET /i/"+text+" HTTP/3.0\r\nHost: h\r\n\r\n")
	f(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") // TLS
	if r.stored() != 0 {
		t.Errorf("%d records, want 0", r.stored())
	}
	f(200, "GET /i/"+text+" HTTP/1.0\r\n\r\n")
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}

// TestOddPaths is row 33, and row 36: what an administrator sees is not here.
func TestOddPaths(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	text := r.sign(nil)
	payload, mac, _ := strings.Cut(text, ".")
	f := func(status int, target, host string) {
		t.Helper()
		got := r.raw("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			t.Errorf("%s at %s: %q", target, host, got)
		}
	}
	f(404, "//i/"+text, "h")
	f(404, "/x/../i/"+text, "h")
	f(404, "/%2e%2e/i/"+text, "h")
	f(404, "/./i/"+text, "h")
	f(404, "/i%2F"+text, "h")
	f(404, `/i\`+text, "h")
	f(404, "/I/"+text, "h")
	f(400, "/i/"+text+"/", "h")
	f(400, "/i/"+text+"%2F", "h")
	f(400, "/i/"+payload+"%2e"+mac, "h")
	f(400, "/i/"+payload+"%2F."+mac, "h")
	f(400, "/i//"+text, "h")
	f(404, "http://evil.example/x/"+text, "evil.example")
	for _, path := range []string{
		"/metrics", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/livez", "/readyz", "/healthz", "/admin", "/v1/reports", "/graphql", "/server-status", "/.env", "/",
	} {
		f(404, path, "h")
	}
	if r.stored() != 0 {
		t.Errorf("%d records, want 0", r.stored())
	}
	f(200, "/i/"+text, "evil.example")
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}

// A client that is still sending when it is refused hears why. Without that its
// answer is often lost to a reset.
func TestARefusalIsHeardWhileSending(t *testing.T) {
	r := start(t, nil)
	body := bytes.Repeat([]byte(" "), 512<<10)
	for range 200 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/events", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer all")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // of no interest
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("answered %d", resp.StatusCode)
		}
	}
}
