package demo

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/proto"
)

func newDemo(t *testing.T, cfg Config, log zerolog.Logger) *Demo {
	t.Helper()
	if cfg.IngestURL == "" {
		cfg.IngestURL = "http://ingest.test"
	}
	cfg.Keyring, cfg.ServerKey = newRing(t), testKey
	d, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// runFor runs d in the bubble of a test, against an endpoint without network.
func runFor(t *testing.T, d *Demo, via http.RoundTripper, span time.Duration) {
	t.Helper()
	d.out.client.Transport = via
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

func (e *endpoint) check(t *testing.T) {
	t.Helper()
	for _, p := range e.problems[:min(5, len(e.problems))] {
		t.Error(p)
	}
}

// TestLiveTraffic sends three hours of traffic within seconds and looks at what
// arrived.
func TestLiveTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, span = 4.0, 2 * time.Hour
		e := &endpoint{ring: newRing(t)}
		var logs bytes.Buffer
		d := newDemo(t, Config{Rate: rate, Seed: 3}, zerolog.New(&logs))
		start := time.Now()
		runFor(t, d, e, span)
		e.check(t)
		if logs.Len() > 0 {
			t.Errorf("logged: %s", logs.String())
		}
		want := 0.0 // of impressions and all that comes of them
		for at := start; at.Before(start.Add(span)); at = at.Add(time.Minute) {
			for _, a := range d.traffic.runners {
				want += 60 * rate * a.share / 100 * dayShape(localHour(at, a.zone))
			}
		}
		near(t, "events", float64(len(e.told)), want, 0.03)
		checkStream(t, e.told)
	})
}

func checkStream(t *testing.T, events []told) {
	t.Helper()
	var robots, prefetched, macros, late, repeats, impressions float64
	routes, types := map[route]float64{}, map[string]float64{}
	seen, shown := map[string]bool{}, map[string]bool{}
	for _, one := range events {
		if one.typ == "impression" {
			impressions++
			shown[one.impression] = true
		}
		if seen[one.key] {
			repeats++
		}
		seen[one.key] = true
		routes[one.route]++
		types[one.typ]++
		if strings.Contains(strings.ToLower(one.userAgent), "bot") || strings.Contains(one.userAgent, "Headless") || !strings.HasPrefix(one.userAgent, "Mozilla") {
			robots++
		}
		if one.prefetch {
			prefetched++
		}
		if one.macro {
			macros++
		}
		if one.arrived.Sub(one.at) > 59*time.Minute {
			late++
		}
	}
	for _, one := range events {
		if one.typ != "conversion" && !shown[one.impression] && time.Since(one.arrived) > time.Minute {
			t.Fatalf("%+v refers to nothing", one)
		}
	}
	n := float64(len(events))
	near(t, "repeats", repeats/n, repeatShare, 0.1)
	near(t, "robots of impressions", robots/impressions, robotShare*(1+robotClicks), 0.15)
	near(t, "prefetches of impressions", prefetched/impressions, 0.01, 0.3)
	near(t, "late", late/n, lateShare, 0.3)
	if macros == 0 {
		t.Error("no unexpanded macro")
	}
	for _, r := range []route{beacon, clientBatch, serverEvent} {
		if routes[r] < n/20 {
			t.Errorf("only %v of %v events by route %d", routes[r], n, r)
		}
	}
	for _, name := range []string{"impression", "viewable", "click", "conversion", "video_start", "video_q1", "video_mid", "video_q3", "video_complete"} {
		if types[name] == 0 {
			t.Errorf("no %s", name)
		}
	}
}

func TestBackfill(t *testing.T) {
	e := &endpoint{ring: newRing(t)}
	s := httptest.NewServer(e)
	defer s.Close()
	d := newDemo(t, Config{IngestURL: s.URL + "/", FirstStart: true, Seed: 4, BackfillEvents: 10_000}, zerolog.Nop())
	send := func(now time.Time) {
		if err := d.backfill(t.Context(), t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	send(start)
	e.check(t)
	near(t, "events", float64(len(e.told)), 10_000, 0.1)
	if full := len(e.told) / maxBatch; e.requests < full || e.requests > full*5/4+1 {
		t.Errorf("%d events came in %d requests", len(e.told), e.requests)
	}
	known := map[string]time.Time{}
	oldest := start
	for _, one := range e.told {
		known[one.key] = one.at
		if one.at.Before(oldest) {
			oldest = one.at
		}
		if one.at.After(start) {
			t.Fatalf("%+v is of the future", one)
		}
	}
	if age := start.Sub(oldest); age < 47*time.Hour || age > 49*time.Hour {
		t.Errorf("history goes back %v", age)
	}
	e.told = nil
	send(start)
	for _, one := range e.told {
		if at, ok := known[one.key]; !ok || !at.Equal(one.at) {
			t.Fatalf("the second history has %+v", one)
		}
	}
}

// TestOutage takes ingest away for ten minutes: beacons are lost as a browser
// would lose them, server events are not, and nothing spins.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tries atomic.Int64
		away := func(w http.ResponseWriter, r *http.Request) bool {
			after := time.Since(start)
			if after < time.Minute || after > 11*time.Minute {
				return false
			}
			if r.URL.Path == "/v1/events" {
				tries.Add(1)
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		e := &endpoint{ring: newRing(t), fail: away}
		var logs syncBuffer
		d := newDemo(t, Config{Rate: 4, Seed: 5}, zerolog.New(&logs))
		runFor(t, d, e, 15*time.Minute)
		e.check(t)
		if n := tries.Load(); n < 30 || n > 120 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		during := map[route]int{}
		for _, one := range e.told {
			if at := one.at.Sub(start); at > 2*time.Minute && at < 10*time.Minute {
				during[one.route]++
			}
		}
		if during[beacon] > 0 || during[serverEvent] < 200 {
			t.Errorf("of the outage came %d beacons and %d server events", during[beacon], during[serverEvent])
		}
		for _, what := range []string{"beacons", "client batches", "server events"} {
			for _, text := range []string{"is not taken", "is taken again"} {
				if n := logs.count(what, text); n != 1 {
					t.Errorf("%s: %d lines say that demo traffic %s", what, n, text)
				}
			}
		}
		if n := logs.count(""); n != 6 {
			t.Errorf("%d lines:\n%s", n, logs.text.String())
		}
	})
}

// hanging never answers.
type hanging struct{ requests atomic.Int64 }

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.requests.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestDrain stops in front of a server that never answers, in live traffic and
// in the history.
func TestDrain(t *testing.T) {
	for name, cfg := range map[string]Config{"live": {Rate: 50}, "history": {FirstStart: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := new(hanging)
				start := time.Now()
				runFor(t, newDemo(t, cfg, zerolog.Nop()), h, time.Minute)
				if took := time.Since(start); took > time.Minute+drainTimeout+time.Second {
					t.Errorf("ended after %v", took)
				}
				if h.requests.Load() == 0 {
					t.Error("nothing was tried")
				}
			})
		})
	}
}

// TestDrainDelivers checks that what was handed over before the end arrives.
func TestDrainDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{ring: newRing(t)}
		events := make(chan []byte, 10)
		d := newDemo(t, Config{Rate: 1}, zerolog.Nop())
		d.out.client.Transport = e
		past, err := pastHour(1, d.traffic, time.Now().Add(-2*slot))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range past[:10] {
			events <- x.json
		}
		close(events)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		d.out.batches(t.Context(), over, events)
		e.check(t)
		if len(e.told) != 10 {
			t.Errorf("%d events arrived of 10", len(e.told))
		}
	})
}

// TestConnections checks over a real network that connections are used again
// and redirects are not followed.
func TestConnections(t *testing.T) {
	e := &endpoint{ring: newRing(t)}
	s := httptest.NewUnstartedServer(e)
	var conns atomic.Int64
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	d := newDemo(t, Config{IngestURL: s.URL, Rate: 1000, Seed: 6}, zerolog.Nop())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	e.check(t)
	if e.requests < 200 || conns.Load() > 2*workers {
		t.Errorf("%d requests on %d connections", e.requests, conns.Load())
	}
}

func TestKeyNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := &endpoint{ring: newRing(t), fail: func(w http.ResponseWriter, _ *http.Request) bool {
			early := time.Since(start) < 2*time.Second
			if early {
				w.WriteHeader(http.StatusUnauthorized)
			}
			return early
		}}
		var logs bytes.Buffer
		d := newDemo(t, Config{FirstStart: true, BackfillEvents: 1000}, zerolog.New(&logs))
		d.out.client.Transport = e
		time.Sleep(time.Millisecond)
		if err := d.backfill(t.Context(), t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		e.check(t)
		near(t, "events", float64(len(e.told)), 1000, 0.2)
		if strings.Contains(logs.String(), "not taken") {
			t.Errorf("an early start is no news: %s", logs.String())
		}
	})
}

func TestForGood(t *testing.T) {
	for status, want := range map[int]bool{400: true, 413: true, 404: true, 401: false, 429: false, 503: false, 500: false} {
		if got := forGood(&statusError{status: status}); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	if forGood(errors.New("connection refused")) {
		t.Error("a lost connection is for good")
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{IngestURL: "http://127.0.0.1:8080", Keyring: newRing(t), ServerKey: testKey}
	if _, err := New(good, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no URL":         func(c *Config) { c.IngestURL = "" },
		"no scheme":      func(c *Config) { c.IngestURL = "127.0.0.1:8080" },
		"no keyring":     func(c *Config) { c.Keyring = nil },
		"no key":         func(c *Config) { c.ServerKey = "" },
		"negative rate":  func(c *Config) { c.Rate = -1 },
		"too fast":       func(c *Config) { c.Rate = 1e6 },
		"short history":  func(c *Config) { c.Backfill = time.Second },
		"long history":   func(c *Config) { c.Backfill = 32 * 24 * time.Hour },
		"negative count": func(c *Config) { c.BackfillEvents = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c, zerolog.Nop()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSamples(t *testing.T) {
	ring := newRing(t)
	path := SamplePixel(ring)
	var tok proto.Token
	if err := ring.Verify(&tok, []byte(strings.TrimPrefix(path, "/i/"))); err != nil || tok.LandingUrl == "" {
		t.Errorf("%s: %v", path, err)
	}
	if path == SamplePixel(ring) {
		t.Error("two samples are one impression")
	}
	events, err := readList[eventJSON]([]byte(SampleBatch()))
	if err != nil || len(events) != 2 || events[1].ImpressionID != events[0].ID || events[0].Price == "" {
		t.Errorf("%+v: %v", events, err)
	}
	var report struct {
		Advertiser                       uint64
		Start, End, Timezone             string
		Granularity, Dimensions, Metrics any
	}
	// Four hours after midnight in UTC it is still yesterday in New York.
	if err := strictJSON([]byte(SampleReport(monday.Add(4*time.Hour))), &report); err != nil {
		t.Fatal(err)
	}
	if report.Start != "2026-11-15" || report.End != "2026-11-16" || report.Advertiser != 1 {
		t.Errorf("%+v", report)
	}
}
