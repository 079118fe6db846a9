package aggregate

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/proto"
)

const testTopic = "events"

type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	topic   Topic
	client  *kgo.Client
	sent    int64
	unique  map[uint64]struct{}
}

func newBench(t *testing.T, partitions int32) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, testTopic),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	details, err := kadm.NewClient(client).ListTopics(t.Context(), testTopic)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		t: t, cluster: cluster, client: client, unique: make(map[uint64]struct{}),
		topic: Topic{Name: testTopic, ID: uuid.UUID(details[testTopic].ID), Partitions: partitions, Spread: 4, Scheme: proto.PartitionScheme},
	}
}

// send produces n events, of which some repeat earlier ids.
func (b *bench) send(r *rand.Rand, n int) {
	b.t.Helper()
	var key proto.IDKey
	var recs []*kgo.Record
	for range n {
		id := r.Uint64N(uint64(3 * n))
		ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: 1, CampaignId: id % 5, TimeUs: time.Now().UnixMicro()}
		ev.SetEventID(key.Hash(id, nil))
		ev.SetImpressionID(ev.EventID())
		value, err := ev.MarshalVT()
		if err != nil {
			b.t.Fatal(err)
		}
		b.unique[id] = struct{}{}
		recs = append(recs, &kgo.Record{Topic: testTopic, Partition: proto.Partition(ev, 4, uint32(b.topic.Partitions)), Value: value})
	}
	if err := b.client.ProduceSync(b.t.Context(), recs...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
	b.sent += int64(n)
}

func testConfig() Config {
	return Config{
		Group: "g", SessionTimeout: 6 * time.Second,
		Rules:         Rules{Horizon: time.Hour, DoubleClick: 2 * time.Second, MaxClicks: 10, JoinWindow: 15 * time.Minute, MaxTuples: 100_000},
		FlushInterval: 5 * time.Millisecond, TickInterval: 20 * time.Millisecond,
		MaxRows: 1000, MaxEvents: 500, MaxQueued: 700,
		MaxFlushInterval: 50 * time.Millisecond, CheckInterval: 100 * time.Millisecond,
	}
}

// start runs an aggregator and returns a function that stops it and waits.
func (b *bench) start(store Books) (stop func() error) {
	b.t.Helper()
	a, err := New(testConfig(), b.topic, store, []kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	b.t.Cleanup(func() { _ = stop() })
	return stop
}

func (b *bench) waitCounted(l *faultyLedger) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		gross, net := l.sums()
		if gross == b.sent && net == int64(len(b.unique)) {
			return
		}
		if gross > b.sent || time.Now().After(deadline) {
			b.t.Fatalf("ledger has gross %d net %d, want %d and %d", gross, net, b.sent, len(b.unique))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCountsOnceThroughLostAnswersAndRestarts(t *testing.T) {
	b := newBench(t, 4)
	r := rand.New(rand.NewPCG(1, 2))
	ledger := &faultyLedger{t: t, fail: func(attempt int) fault { return fault(attempt % 4) }}
	for range 3 {
		stop := b.start(ledger)
		for range 3 {
			b.send(r, 2000)
		}
		b.waitCounted(ledger)
		b.send(r, 2000)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	b.start(ledger)
	b.waitCounted(ledger)
}

func TestStopWritesWhatWasRead(t *testing.T) {
	b := newBench(t, 2)
	ledger := &faultyLedger{t: t}
	stop := b.start(ledger)
	b.send(rand.New(rand.NewPCG(3, 4)), 1000)
	b.waitCounted(ledger)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	positions, err := ledger.Positions(t.Context(), b.topic, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := positions[0].Next + positions[1].Next; n < 1000 {
		t.Errorf("positions add up to %d, want at least 1000", n)
	}
}

func TestMembersShareAndHandOver(t *testing.T) {
	b := newBench(t, 8)
	r := rand.New(rand.NewPCG(5, 6))
	ledger := &faultyLedger{t: t, fail: func(attempt int) fault { return fault(attempt % 3) }}
	first := b.start(ledger)
	b.send(r, 2000)
	second := b.start(ledger)
	b.send(r, 2000)
	b.waitCounted(ledger)
	if err := first(); err != nil {
		t.Fatal(err)
	}
	b.send(r, 2000)
	b.waitCounted(ledger)
	if err := second(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignBlockStopsTheInstance(t *testing.T) {
	b := newBench(t, 1)
	ledger := new(foreignLedger)
	a, err := New(testConfig(), b.topic, ledger, []kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	b.send(rand.New(rand.NewPCG(7, 8)), 10)
	if err := a.Run(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("Run ends with %v, want ErrForeign", err)
	}
	if n := ledger.inserts.Load(); n != 1 {
		t.Errorf("%d blocks were tried, want the one that was foreign and none after it", n)
	}
}

// foreignLedger has another owner's block wherever we insert.
type foreignLedger struct {
	noOwners
	inserts atomic.Int32
}

func (*foreignLedger) OpenTopic(_ context.Context, t Topic) (Topic, error) {
	t.Lineage = 1
	return t, nil
}

func (*foreignLedger) Positions(_ context.Context, _ Topic, ids []int32) (map[int32]Position, error) {
	return map[int32]Position{ids[0]: {Epoch: -1}}, nil
}

func (l *foreignLedger) Insert(context.Context, *Block) error {
	l.inserts.Add(1)
	return ErrForeign
}

func TestReadyAgainWithNothingNew(t *testing.T) {
	b := newBench(t, 2)
	ledger := &faultyLedger{t: t}
	stop := b.start(ledger)
	b.send(rand.New(rand.NewPCG(13, 14)), 500)
	b.waitCounted(ledger)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.TickInterval = time.Hour // nothing new comes, not even a tick
	a, err := New(cfg, b.topic, ledger, []kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); a.Ready() != nil; {
		if time.Now().After(deadline) {
			t.Fatal(a.Ready())
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A partition that is paused when it is given up, and comes back, is fetched
// again: the client remembers pauses.
func TestPausedPartitionComesBack(t *testing.T) {
	b := newBench(t, 1)
	var stuck atomic.Bool
	stuck.Store(true)
	ledger := &faultyLedger{t: t, fail: func(int) fault {
		if stuck.Load() {
			return loses
		}
		return works
	}}
	b.start(ledger)
	r := rand.New(rand.NewPCG(15, 16))
	for range 5 { // more than a span and the queue hold
		b.send(r, 1000)
	}
	second := b.start(ledger) // the partition may move, or be given out anew
	stuck.Store(false)
	b.waitCounted(ledger)
	if err := second(); err != nil {
		t.Fatal(err)
	}
	b.send(r, 1000)
	b.waitCounted(ledger)
}

func TestLogStartBeyondThePositionIsRefused(t *testing.T) {
	b := newBench(t, 1)
	b.send(rand.New(rand.NewPCG(9, 10)), 100)
	adm := kadm.NewClient(b.client)
	offsets := make(kadm.Offsets)
	offsets.AddOffset(testTopic, 0, 50, -1)
	if _, err := adm.DeleteRecords(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	a, err := New(testConfig(), b.topic, &faultyLedger{t: t}, []kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	var refused *refusal
	if err := a.Run(t.Context()); !errors.As(err, &refused) {
		t.Errorf("Run ends with %v, want a refusal", err)
	}
}

func TestPoisonRecordIsPassedOver(t *testing.T) {
	b := newBench(t, 1)
	poison := &kgo.Record{Topic: testTopic, Value: []byte("\xff\xff not an event")}
	future := &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1, TimeUs: 1 << 62}
	value, err := future.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.client.ProduceSync(t.Context(), poison, &kgo.Record{Topic: testTopic, Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ledger := &faultyLedger{t: t}
	b.start(ledger)
	b.send(rand.New(rand.NewPCG(11, 12)), 100)
	b.waitCounted(ledger)
}

func TestIdlePartitionsAreTicked(t *testing.T) {
	b := newBench(t, 3)
	ledger := &faultyLedger{t: t}
	b.start(ledger)
	started := time.Now().UnixMilli()
	deadline := time.Now().Add(30 * time.Second)
	for {
		positions, err := ledger.Positions(t.Context(), b.topic, []int32{0, 1, 2})
		if err != nil {
			t.Fatal(err)
		}
		oldest, known := oldestLAT(positions)
		if known && positions[0].Known && positions[1].Known && positions[2].Known && oldest > started+100 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("positions do not move: %v", positions)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
