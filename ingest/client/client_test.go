package client_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/ingest"
	"github.com/adtally/adtally/ingest/client"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// anyKey lets every key send for every advertiser but 9.
type anyKey struct{}

func (anyKey) Lookup(context.Context, string) (ingest.Grant, error) { return anyKey{}, nil }
func (anyKey) Allows(string) bool                                   { return true }
func (anyKey) Covers(advertiser uint64) bool                        { return advertiser != 9 }

// server is a beacon server on a broker of its own.
type server struct {
	url     string
	cluster *kfake.Cluster
	stop    func()
}

// startServer runs one until stop is called.
func startServer() (*server, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "events"))
	if err != nil {
		return nil, err
	}
	var cfg ingest.Config
	parser, err := kong.New(&cfg)
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(nil); err != nil {
		return nil, err
	}
	set := metrics.NewSet()
	sink, err := produce.NewKafka(cfg.ProduceOptions, produce.Topic{Name: "events", Partitions: 2, Spread: 1}, zerolog.Nop(), set, kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		return nil, err
	}
	ring, err := token.NewKeyring("k1", []token.Key{{ID: "k1", Secret: []byte(strings.Repeat("s", 32))}})
	if err != nil {
		return nil, err
	}
	tokens := new(atomic.Pointer[token.Keyring])
	tokens.Store(ring)
	srv, err := ingest.New(cfg, ingest.Deps{Sink: sink, Tokens: tokens, Keys: anyKey{}, IDKey: proto.IDKey{1}, Log: zerolog.Nop(), Metrics: set})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, ln) }()
	return &server{url: "http://" + ln.Addr().String(), cluster: cluster, stop: func() { cancel(); <-ended; cluster.Close() }}, nil
}

// stored returns how often each event is in the topic, by its id.
func (s *server) stored(t *testing.T) map[[2]uint64]int {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	total := int64(0)
	for p := range int32(2) {
		total += s.cluster.PartitionInfo("events", p).HighWatermark
	}
	seen := make(map[[2]uint64]int)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for total > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var e proto.Event
			if err := e.UnmarshalVT(r.Value); err != nil {
				t.Fatal(err)
			}
			seen[[2]uint64{e.EventIdHi, e.EventIdLo}]++
			total--
		})
	}
	return seen
}

// noisy is a way to the server that fails: every third request is refused, and
// of every third one the answer is lost.
func noisy(t *testing.T, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ModifyResponse = func(*http.Response) error {
		if n.Load()%3 == 2 {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%3 == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(way.Close)
	return way.URL
}

func start(t *testing.T, cfg client.Config) (c *client.Client, drain func() error) {
	t.Helper()
	cfg.Key = "any"
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(cancel)
	return c, func() error { cancel(); return <-ended }
}

func impression(i int) client.Event {
	return client.Event{Type: "impression", ImpressionID: "i" + strconv.Itoa(i), AdvertiserID: 1, CampaignID: 2, Price: "1.5", Pricing: "cpm", Currency: "EUR"}
}

func TestEverythingArrivesOverABadWay(t *testing.T) {
	t.Parallel()
	s, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	var mu sync.Mutex
	var rejected []client.Rejection
	c, drain := start(t, client.Config{
		URL: noisy(t, s.url), Batch: 7, Queue: 20, Linger: time.Millisecond, Drain: time.Minute,
		OnRejected: func(r client.Rejection) { mu.Lock(); defer mu.Unlock(); rejected = append(rejected, r) },
	})
	const events = 200
	for i := range events {
		if err := c.Send(t.Context(), impression(i)); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 { // of an advertiser that the key does not cover
			if err := c.Send(t.Context(), client.Event{Type: "click", ID: fmt.Sprintf("c%d", i), AdvertiserID: 9}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	if seen := s.stored(t); len(seen) != events {
		t.Errorf("%d different events arrived, want %d", len(seen), events)
	}
	ids := make(map[string]bool)
	for _, r := range rejected {
		ids[r.ID] = true
		if r.Reason != "forbidden" || r.Field != "advertiser_id" {
			t.Errorf("rejected %+v", r)
		}
	}
	if len(ids) != events/50 {
		t.Errorf("rejected %v", ids)
	}
	if err := c.Send(t.Context(), impression(0)); err != client.ErrClosed { //nolint:errorlint // it is returned as it is
		t.Errorf("after the end: %v", err)
	}
}

func TestAFullQueueWaits(t *testing.T) {
	t.Parallel()
	c, drain := start(t, client.Config{URL: "http://127.0.0.1:1", Queue: 3, Batch: 1, Senders: 1, Drain: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	sent := 0
	var err error
	for ; err == nil && sent < 100; sent++ {
		err = c.Send(ctx, impression(sent))
	}
	if err == nil || !strings.Contains(err.Error(), "queue is full") || sent < 4 || sent > 5 {
		t.Errorf("%d sent, then %v", sent, err)
	}
	if err := drain(); err == nil || !strings.Contains(err.Error(), " events were not sent") {
		t.Errorf("drain: %v", err)
	}
}

func TestEventsAreGivenUp(t *testing.T) {
	t.Parallel()
	gone := make(chan client.Rejection, 1)
	c, _ := start(t, client.Config{URL: "http://127.0.0.1:1", MaxRetry: time.Nanosecond, OnRejected: func(r client.Rejection) { gone <- r }})
	if err := c.Send(t.Context(), impression(1)); err != nil {
		t.Fatal(err)
	}
	if r := <-gone; r.ID != "i1" || r.Reason != "gave_up" {
		t.Errorf("%+v", r)
	}
}

func TestALargeBatchIsSplit(t *testing.T) {
	t.Parallel()
	s, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	c, drain := start(t, client.Config{URL: s.url, Batch: 1000, Queue: 1000, Linger: 100 * time.Millisecond, Senders: 1})
	for i := range 450 { // the server takes 200
		if err := c.Send(t.Context(), impression(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := drain(); err != nil {
		t.Fatal(err)
	}
	if seen := s.stored(t); len(seen) != 450 {
		t.Errorf("%d events arrived", len(seen))
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, cfg := range []client.Config{{}, {URL: "b.example.com", Key: "k"}, {URL: "https://b.example.com"}} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	c, err := client.New(client.Config{URL: "https://b.example.com", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	long := impression(1)
	long.UserAgent = strings.Repeat("x", 200_000)
	for _, e := range []client.Event{{}, {Type: "click"}, {AdvertiserID: 1}, long} {
		if err := c.Send(t.Context(), e); err == nil {
			t.Errorf("%.100v is taken", e)
		}
	}
}

func Example() {
	server, err := startServer() // yours is at https://b.example.com
	if err != nil {
		panic(err)
	}
	defer server.stop()

	c, err := client.New(client.Config{
		URL: server.url, Key: "the key with scope ingest",
		OnRejected: func(r client.Rejection) { fmt.Println("not counted:", r.ID, r.Reason, r.Field) },
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()

	for _, e := range []client.Event{
		{Type: "impression", ImpressionID: "imp-1", AdvertiserID: 1, CampaignID: 2, Country: "US", Price: "2.50", Pricing: "cpm", Currency: "USD"},
		{Type: "click", ID: "clk-1", ImpressionID: "imp-1", AdvertiserID: 1, CampaignID: 2, Country: "US"},
		{Type: "applause", ID: "clap-1", AdvertiserID: 1, CampaignID: 2},
	} {
		if err := c.Send(ctx, e); err != nil {
			fmt.Println(err)
		}
	}
	stop() // sends what waits
	fmt.Println(<-done)
	// Output:
	// not counted: clap-1 unknown_type type
	// <nil>
}
