package demo

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/ingest"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// oneKey is the API key of the test.
type oneKey struct{}

func (oneKey) Lookup(_ context.Context, bearer string) (ingest.Grant, error) {
	if bearer != testKey {
		return nil, ingest.ErrUnknownKey
	}
	return oneKey{}, nil
}
func (oneKey) Allows(scope string) bool { return scope == "ingest" }
func (oneKey) Covers(uint64) bool       { return true }

// startIngest serves the real endpoints on a broker in this process. It
// returns their URL and a client that reads the topic.
func startIngest(t *testing.T, ring *token.Keyring) (string, *kgo.Client) {
	t.Helper()
	const topic, partitions = "events", 4
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	seeds := kgo.SeedBrokers(broker.ListenAddrs()...)
	cfg := ingest.Config{
		PathPrefix: "/p/", AckTimeout: 5 * time.Second, MaxBatch: 200, MaxBody: 128 << 10, MaxEventAge: 31 * 24 * time.Hour,
		FutureBound: 5 * time.Minute, MaxHeader: 8 << 10, MaxConns: 1000, MaxConnReqs: 10_000,
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, DrainTimeout: 5 * time.Second,
		ProduceOptions: produce.Config{Linger: time.Millisecond, Compression: "none", MaxRecords: 100_000, MaxBytes: 128 << 20},
	}
	set := metrics.NewSet()
	sink, err := produce.NewKafka(cfg.ProduceOptions, produce.Topic{Name: topic, Partitions: partitions, Spread: 4}, zerolog.Nop(), set, seeds)
	if err != nil {
		t.Fatal(err)
	}
	var tokens atomic.Pointer[token.Keyring]
	tokens.Store(ring)
	server, err := ingest.New(cfg, ingest.Deps{Sink: sink, Tokens: &tokens, Keys: oneKey{}, Log: zerolog.Nop(), Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	reader, err := kgo.NewClient(seeds, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	return "http://" + ln.Addr().String() + cfg.PathPrefix, reader
}

// TestRealIngest sends history and live traffic to the real endpoints and reads
// what they wrote.
func TestRealIngest(t *testing.T) {
	at, reader := startIngest(t, newRing(t))
	var logs syncBuffer
	d := newDemo(t, Config{IngestURL: at, Rate: 100, FirstStart: true, BackfillEvents: 5000, Seed: 7}, zerolog.New(&logs))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	sendRare(t, d)
	if logs.count("not taken") > logs.count("not taken", "queue") { // a machine that stalls is no fault of ours
		t.Errorf("logged: %s", logs.text.String())
	}
	types, flags := map[proto.EventType]int{}, proto.Flag(0)
	total := 0
	for {
		poll, done := context.WithTimeout(t.Context(), time.Second)
		fetches := reader.PollFetches(poll)
		done()
		if fetches.NumRecords() == 0 {
			break
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var e proto.Event
			if err := e.UnmarshalVT(r.Value); err != nil {
				t.Fatal(err)
			}
			types[e.Type]++
			flags |= proto.Flag(e.InvalidFlags)
			total++
		})
	}
	if total < 4000 || types[proto.EventType_EVENT_TYPE_CLICK] == 0 {
		t.Errorf("the topic holds %d events: %v", total, types)
	}
	if wrong := flags & (proto.FlagExpiredToken | proto.FlagFutureTime); wrong != 0 {
		t.Errorf("events are flagged %s", wrong)
	}
	if want := proto.FlagPrefetch | proto.FlagUnexpandedMacro; flags&want != want {
		t.Errorf("events are flagged %s only", flags)
	}
}

// sendRare shows one ad of each kind that a short run may lack.
func sendRare(t *testing.T, d *Demo) {
	t.Helper()
	r := randomFor("test", 7, 0)
	missing := map[string]func(*visit) bool{
		"prefetch": func(v *visit) bool { return v.kind == prefetch },
		"macro":    func(v *visit) bool { return v.macro != "" },
		"late":     func(v *visit) bool { return v.held > 0 },
	}
	for len(missing) > 0 {
		v := arrival{at: time.Now(), by: &d.traffic.runners[0]}.visit(r)
		v.postpone(r)
		for name, is := range missing {
			if is(v) {
				delete(missing, name)
				v.signed = string(d.cfg.Keyring.Sign(nil, v.token))
				d.out.once(t.Context(), v.plan()[0])
			}
		}
	}
}
