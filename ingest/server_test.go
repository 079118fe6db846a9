package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/testkit/wait"
	"github.com/adtally/adtally/proto"
)

// raw sends text on a connection of its own and returns the answers until the
// server closes the connection.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.WriteString(c, text) }()
	got, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		r.t.Fatalf("%v after %q; sent %.80q", err, got, text)
	}
	return string(got)
}

// TestRequestsThatAreNotHTTP is rows 12, 13, 15 and 32.
func TestRequestsThatAreNotHTTP(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	pixel := "GET /i/" + r.sign(nil) + " HTTP/1.1\r\nHost: h\r\n\r\n"
	body := `[{"token":"` + r.sign(nil) + `","type":"click"}]`
	f := func(head, body string, status int) {
		t.Helper()
		// Whatever was smuggled behind the request must not be answered.
		got := r.raw(head + "\r\n\r\n" + body + pixel)
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%q: got %q, want one answer %d and a close", head, got, status)
		}
		if !strings.Contains(got, "Connection: close") {
			t.Errorf("%q: no Connection: close in %q", head, got)
		}
	}
	post := "POST /e HTTP/1.1\r\nHost: h\r\n"
	n := len(body)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, body)
	f(post+"Transfer-Encoding: chunked", chunked, 411)
	f(post+"Transfer-Encoding: chunked", "0\r\n\r\n", 411)
	f(post+"tRANSFER-eNCODING: chunked", chunked, 411)
	f(post+"Transfer-Encoding: identity", "", 411)
	f(post+fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: identity", n), body, 411)
	f(post+fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked", n), body, 411)
	f(post+fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d", n), body, 411)
	f(post+"Transfer-Encoding: xchunked", chunked, 411)
	f(post+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked, 411)
	f("POST /e HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked", chunked, 411)
	f("GET /i/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity", "", 411)
	f(post+fmt.Sprintf("Content-Length: %d\r\nContent-Length: %d", n, n), body, 400)
	f(post+fmt.Sprintf("Content-Length: %d\r\nContent-Length: 5", n), body, 400)
	f(post+fmt.Sprintf("Content-Length: +%d", n), body, 400)
	f(post+fmt.Sprintf("Content-Length: %d,%d", n, n), body, 400)
	f(post+"Content-Length: 21000000000000000000", body, 400)
	f(post+"Content-Length: -1", body, 400)
	f(post+fmt.Sprintf("Content-Length : %d", n), body, 400)
	f(post+fmt.Sprintf("X-A: b\r\n folded\r\nContent-Length: %d", n), body, 400)
	f("GET /i/x\r\nHost: h", "", 400) // HTTP/0.9
	f("GET /i/x HTTP/1.1\r\nA: b\nHost: h", "", 400)
	f("GET /i/x HTTP/1.1\r\nHost: h\nA: b", "", 400)
	f(post+fmt.Sprintf("A: b\nContent-Length: %d", n), body, 400)
	f("PRI * HTTP/2.0\r\n\r\nSM", "", 400)
	f("GET /i/x HTTP/1.1\r\nHost: a\r\nHost: b", "", 400)
	f("GET /i/x HTTP/1.1\r\nHost: h\r\nX: a\x00b", "", 400)
	f("GET /i/"+strings.Repeat("a", 9000)+" HTTP/1.1\r\nHost: h", "", 431)
	f("GET /i/x HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("a", 9000), "", 431)
	f("GET /i/x HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("X: y\r\n", 10000)+"Z: z", "", 431)
	f(post+"Content-Length: 131073", strings.Repeat(" ", 131073), 413)
	f(post+"Content-Length: 4294967296\r\nExpect: 100-continue", "", 413)
	f(post+"Transfer-Encoding: chunked\r\nExpect: 100-continue", "", 411)
	if n := r.stored(); n != 0 {
		t.Errorf("%d records, want 0", n)
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	body := `[{"token":"` + r.sign(nil) + `","type":"click"}]`
	got := r.raw(fmt.Sprintf("POST /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ") {
		t.Errorf("got %q", got)
	}
}

// TestAbsoluteFormAndForeignHost is row 33.
func TestAbsoluteFormAndForeignHost(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	got := r.raw("GET http://evil.example/i/" + r.sign(nil) + " HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || r.stored() != 1 {
		t.Errorf("got %q, %d records", got, r.stored())
	}
}

// TestSlowClientsAreCut is row 14.
func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.ReadTimeout, c.IdleTimeout = 150*time.Millisecond, 200*time.Millisecond })
	drip := func(head string) {
		t.Helper()
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		begin := time.Now()
		_, _ = io.WriteString(c, head)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_, _ = io.WriteString(c, "a")
				}
			}
		})
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := io.ReadAll(c)
		close(stop)
		wg.Wait()
		if took := time.Since(begin); took > 5*time.Second || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: closed after %v with %v and %q", head, took, err, got)
		}
	}
	drip("")
	drip("GET /i/x HTTP/1.1\r\nHost: h\r\nX: ")
	drip("POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
	// A connection that asked once and then idles.
	got := r.raw("GET /i/x HTTP/1.1\r\nHost: h\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("got %q", got)
	}
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.MaxConnsPerIP = 2 })
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		held = append(held, c)
	}
	if got := r.raw("GET /i/" + r.sign(nil) + " HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 429 ") {
		t.Errorf("third connection got %q", got)
	}
	_ = held[0].Close()
	wait.Until(t, 10*time.Second, "a free place", func() bool {
		return strings.HasPrefix(r.raw("GET /i/"+r.sign(nil)+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ")
	})
}

// TestBodiesDoNotMix sends different bodies at once and one after the other on
// the same connections: what Kafka holds must be what was sent.
func TestBodiesDoNotMix(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	const workers, rounds = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			answers := bufio.NewReader(c)
			for i := range rounds {
				id := w*rounds + i + 1
				body := fmt.Sprintf(`[{"type":"click","id":"id-%d","advertiser_id":%d,"campaign_id":%d,"variant":"v-%d","region":"\u0041-%d"}]`, id, id, id, id, id)
				request := fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				tok := r.ringSign(&proto.Token{AdvertiserId: uint64(id), CampaignId: uint64(id), ImpressionId: fmt.Sprintf("id-%d", id), Variant: fmt.Sprintf("v-%d", id), LandingUrl: fmt.Sprintf("https://h/%d", id)})
				request += "GET /c/" + tok + " HTTP/1.1\r\nHost: h\r\n\r\n" // pipelined
				if _, err := io.WriteString(c, request); err != nil {
					t.Error(err)
					return
				}
				for _, want := range []int{202, 302} {
					res, err := http.ReadResponse(answers, nil)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if res.StatusCode != want || want == 302 && res.Header.Get("Location") != fmt.Sprintf("https://h/%d", id) {
						t.Errorf("status %d, headers %v", res.StatusCode, res.Header)
					}
				}
			}
		})
	}
	wg.Wait()
	seen := map[uint64]int{}
	for _, e := range r.events(2 * workers * rounds) {
		id := e.AdvertiserId
		seen[id]++
		if e.CampaignId != id || e.Variant != fmt.Sprintf("v-%d", id) {
			t.Errorf("mixed: %v", e)
		}
		if e.Region != "" && (e.Region != fmt.Sprintf("A-%d", id) || e.EventID() != hash(id, fmt.Sprintf("id-%d", id))) {
			t.Errorf("mixed: %v", e)
		}
	}
	for id, n := range seen {
		if n != 2 {
			t.Errorf("advertiser %d has %d events", id, n)
		}
	}
}

// ringSign signs without the rig's defaults.
func (r *rig) ringSign(t *proto.Token) string { return string(r.ring.Sign(nil, t)) }

func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	a := r.do("POST", "/v1/events", "["+minimal+"]", "Authorization: Bearer panic")
	a.want(t, 500, `"code":"internal"`)
	r.wantMetric("adtally_ingest_panics_total", "1")
	r.wantMetric("adtally_ingest_requests_in_flight", "0")
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
}

func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	before := r.sign(nil)
	k1 := token.Key{ID: "k1", Secret: []byte(strings.Repeat("s", 32))}
	k2 := token.Key{ID: "k2", Secret: []byte(strings.Repeat("t", 32))}
	swap := func(keys ...token.Key) {
		t.Helper()
		ring, err := token.NewKeyring("k2", keys)
		if err != nil {
			t.Fatal(err)
		}
		r.ring = ring
		r.server.deps.Tokens.Store(ring)
	}
	swap(k1, k2)
	r.do("GET", "/i/"+before, "").want(t, 200)
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
	swap(k2) // k1 is retired
	r.do("GET", "/i/"+before, "").want(t, 400, "bad_signature")
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 200)
	if r.stored() != 3 {
		t.Errorf("%d records, want 3", r.stored())
	}
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) {
		c.AckTimeout = 20 * time.Second
		c.DrainTimeout = 20 * time.Second
		c.DrainDelay = 50 * time.Millisecond
	})
	wait.Until(t, 10*time.Second, "readiness", func() bool { return r.server.Ready() == nil })
	g := holdProduce(r.cluster)
	answered := make(chan answer, 1)
	go func() { answered <- r.do("GET", "/i/"+r.sign(nil), "") }()
	<-g.arrived
	r.stop()
	wait.Until(t, 10*time.Second, "readiness off", func() bool { return r.server.Ready() != nil })
	// The load balancer has not noticed yet.
	r.do("GET", "/nothing", "").want(t, 404)
	wait.Until(t, 10*time.Second, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(g.open)
	a := <-answered
	a.want(t, 200)
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.ended <- nil // for the cleanup
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	f := func(want string, change func(*Config, *Deps)) {
		t.Helper()
		cfg := defaults(t)
		var tokens atomic.Pointer[token.Keyring]
		tokens.Store(newRing(t))
		deps := Deps{Sink: discard{}, Tokens: &tokens, Keys: testKeys{}, Log: zerolog.Nop(), Metrics: metrics.NewSet()}
		change(&cfg, &deps)
		_, err := New(cfg, deps)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f("", func(*Config, *Deps) {})
	f("ingest needs", func(_ *Config, d *Deps) { d.Sink = nil })
	f("ingest needs", func(_ *Config, d *Deps) { d.Tokens = new(atomic.Pointer[token.Keyring]) })
	for _, prefix := range []string{"", "x/", "/x", "//", "/a//b/", "/a?b/", "/a b/"} {
		f("path prefix", func(c *Config, _ *Deps) { c.PathPrefix = prefix })
	}
	f("max batch", func(c *Config, _ *Deps) { c.MaxBatch = 0 })
	f("max batch", func(c *Config, _ *Deps) { c.MaxBatch = 10_001 })
	f("max body", func(c *Config, _ *Deps) { c.MaxBody = 1 })
	f("max header", func(c *Config, _ *Deps) { c.MaxHeader = 1 })
	f("max conns", func(c *Config, _ *Deps) { c.MaxConns = 0 })
	f("ack timeout", func(c *Config, _ *Deps) { c.AckTimeout = 0 })
	f("read timeout", func(c *Config, _ *Deps) { c.ReadTimeout = 0 })
	f("future bound", func(c *Config, _ *Deps) { c.FutureBound = -1 })
	f("linger", func(c *Config, _ *Deps) { c.ProduceOptions.Linger = time.Minute })
	f("max records", func(c *Config, _ *Deps) { c.ProduceOptions.MaxRecords = 0 })
	f("trusted proxies", func(c *Config, _ *Deps) { c.TrustedProxies = []string{"10.0.0.0/40"} })
	f("tenant rate", func(c *Config, _ *Deps) { c.TenantRate = -1 })
	f("tenant burst", func(c *Config, _ *Deps) { c.TenantRate, c.TenantBurst = 10, 199 })
	f("", func(c *Config, _ *Deps) { c.TenantRate = 1 })
	f("rejected rate", func(c *Config, _ *Deps) { c.RejectedRate = -1 })
	f("compression", func(c *Config, _ *Deps) { c.ProduceOptions.Compression = "gzip" })
}

// discard is a Sink that acks at once and keeps nothing.
type discard struct{}

func (discard) Partition(*proto.Event) int32                         { return 0 }
func (discard) Append(*produce.Batch, time.Duration) produce.Outcome { return produce.Acked }
func (discard) Ready() error                                         { return nil }
func (discard) Close(context.Context) error                          { return nil }
