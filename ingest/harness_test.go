package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

const (
	testTopic      = "events"
	testPartitions = 8
	testSpread     = 4
)

var testIDKey = proto.IDKey{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// rig is a running server on a kfake cluster of its own.
type rig struct {
	t       testing.TB
	url     string
	addr    string
	server  *Server
	cluster *kfake.Cluster
	ring    *token.Keyring
	metrics *metrics.Set
	stop    context.CancelFunc
	ended   chan error
}

// testGrant is a Grant for the tests: scope, and the advertisers it covers.
type testGrant struct {
	scope       string
	advertisers []uint64
}

func (g testGrant) Allows(scope string) bool { return g.scope == scope }

func (g testGrant) Covers(advertiser uint64) bool {
	return len(g.advertisers) == 0 || slices.Contains(g.advertisers, advertiser)
}

// testKeys maps bearer keys to grants. The key "panic" panics.
type testKeys map[string]Grant

func (k testKeys) Lookup(_ context.Context, bearer string) (Grant, error) {
	switch bearer {
	case "panic":
		panic("as the test asked")
	case "away":
		return nil, errors.New("the keys are away, as the test asked")
	}
	if g, ok := k[bearer]; ok {
		return g, nil
	}
	return nil, ErrUnknownKey
}

func defaults(tb testing.TB) Config {
	tb.Helper()
	var cfg Config
	parser, err := kong.New(&cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		tb.Fatal(err)
	}
	return cfg
}

func newRing(tb testing.TB) *token.Keyring {
	tb.Helper()
	ring, err := token.NewKeyring("k1", []token.Key{{ID: "k1", Secret: bytes.Repeat([]byte("s"), 32)}})
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// start runs a server; change edits its settings first.
func start(tb testing.TB, change func(*Config)) *rig {
	tb.Helper()
	return startWith(tb, change, nil)
}

// startWith runs a server; wire edits what it works with.
func startWith(tb testing.TB, change func(*Config), wire func(*Deps)) *rig {
	tb.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(testPartitions, testTopic))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cluster.Close)
	return startWired(tb, cluster, change, wire)
}

func startOn(tb testing.TB, cluster *kfake.Cluster, change func(*Config)) *rig {
	tb.Helper()
	return startWired(tb, cluster, change, nil)
}

func startWired(tb testing.TB, cluster *kfake.Cluster, change func(*Config), wire func(*Deps)) *rig {
	tb.Helper()
	cfg := defaults(tb)
	cfg.DrainTimeout = 2 * time.Second
	if change != nil {
		change(&cfg)
	}
	set := metrics.NewSet()
	log := zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.WarnLevel)
	sink, err := produce.NewKafka(cfg.ProduceOptions, produce.Topic{Name: testTopic, Partitions: testPartitions, Spread: testSpread},
		log, set, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{t: tb, cluster: cluster, ring: newRing(tb), metrics: set, ended: make(chan error, 1)}
	var tokens atomic.Pointer[token.Keyring]
	tokens.Store(r.ring)
	keys := testKeys{
		"all":    testGrant{scope: "ingest"},
		"one":    testGrant{scope: "ingest", advertisers: []uint64{1}},
		"report": testGrant{scope: "report"},
	}
	deps := Deps{Sink: sink, Tokens: &tokens, Keys: keys, IDKey: testIDKey, Log: log, Metrics: set}
	if wire != nil {
		wire(&deps)
	}
	r.server, err = New(cfg, deps)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.addr = cancel, ln.Addr().String()
	r.url = "http://" + r.addr
	go func() { r.ended <- r.server.Run(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

var plainClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// do sends a request; headers come as "Name: value".
func (r *rig) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	res, err := plainClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: string(text)}
}

// post sends a batch as JSON.
func (r *rig) post(path, body string) answer {
	r.t.Helper()
	return r.do("POST", path, body, "Content-Type: application/json", "Authorization: Bearer all")
}

// sign returns the text of a token; nil fields of change keep the defaults.
func (r *rig) sign(change func(*proto.Token)) string {
	t := fullToken()
	if change != nil {
		change(t)
	}
	return string(r.ring.Sign(nil, t))
}

func fullToken() *proto.Token {
	return &proto.Token{
		AdvertiserId: 1, CampaignId: 2, AdGroupId: 3, CreativeId: 4, PlacementId: 5, PublisherId: 6,
		ImpressionId: "imp-1", PriceNanos: 1_250_000, Pricing: proto.Pricing_PRICING_CPM, Currency: "USD", Variant: "a",
		LandingUrl: "https://shop.example/landing?x=1&y=2", Issued: time.Now().Add(-time.Hour).Unix(),
	}
}

// stored returns how many records are in the topic. Answers come after acks,
// so after a 2xx the count is final.
func (r *rig) stored() int {
	n := 0
	for _, p := range r.cluster.PartitionInfos(testTopic) {
		n += int(p.HighWatermark)
	}
	return n
}

// events reads the n records of the topic, which must be all there are, in the
// order of arrival within each partition.
func (r *rig) events(n int) []*proto.Event {
	r.t.Helper()
	if have := r.stored(); have != n {
		r.t.Fatalf("%d records in the topic, want %d", have, n)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.ConsumeTopics(testTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var events []*proto.Event
	for len(events) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			e := new(proto.Event)
			if err := e.UnmarshalVT(rec.Value); err != nil {
				r.t.Fatal(err)
			}
			if want := proto.Partition(e, testSpread, testPartitions); rec.Partition != want {
				r.t.Errorf("record in partition %d, want %d", rec.Partition, want)
			}
			events = append(events, e)
		})
	}
	return events
}

// event reads the only record of the topic.
func (r *rig) event() *proto.Event {
	r.t.Helper()
	return r.events(1)[0]
}

// metric returns the value of a counter or gauge as it is exposed.
func (r *rig) metric(name string) string {
	r.t.Helper()
	var text bytes.Buffer
	r.metrics.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	r.t.Fatalf("no metric %s in\n%s", name, text.String())
	return ""
}

func (r *rig) wantMetric(name, want string) {
	r.t.Helper()
	if got := r.metric(name); got != want {
		r.t.Errorf("%s = %s, want %s", name, got, want)
	}
}

func (a answer) want(tb testing.TB, status int, parts ...string) {
	tb.Helper()
	if a.status != status {
		tb.Errorf("status %d, want %d; body %s", a.status, status, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			tb.Errorf("body %s lacks %s", a.body, part)
		}
	}
}

func hash(advertiser uint64, text string) proto.ID { return testIDKey.Hash(advertiser, []byte(text)) }
