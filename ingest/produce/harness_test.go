package produce

import (
	"context"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/proto"
)

const (
	testTopic      = "events"
	testPartitions = 8
)

// rig is a Kafka on a kfake cluster of its own.
type rig struct {
	t       testing.TB
	kafka   *Kafka
	cluster *kfake.Cluster
}

// start makes one; change edits its settings first.
func start(tb testing.TB, change func(*Config)) *rig {
	tb.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(testPartitions, testTopic))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cluster.Close)
	cfg := Config{Linger: 2 * time.Millisecond, Compression: "none", MaxRecords: 1000, MaxBytes: 16 << 20}
	if change != nil {
		change(&cfg)
	}
	log := zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.WarnLevel)
	k, err := NewKafka(cfg, Topic{Name: testTopic, Partitions: testPartitions, Spread: 4}, log, metrics.NewSet(),
		kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = k.Close(ctx)
	})
	return &rig{t: tb, kafka: k, cluster: cluster}
}

// append brings n events to the partition, in a batch that is not used again.
func (r *rig) append(n int, partition int32, wait time.Duration) Outcome {
	b := NewBatch(0, func() {})
	for i := range n {
		e := &proto.Event{Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: 1, CampaignId: uint64(i + 1)}
		b.Add(e, partition)
	}
	defer b.Release()
	return r.kafka.Append(b, wait)
}

func (r *rig) want(n int, partition int32, wait time.Duration, want Outcome) {
	r.t.Helper()
	if got := r.append(n, partition, wait); got != want {
		r.t.Errorf("%d events for partition %d: outcome %d, want %d", n, partition, got, want)
	}
}

// stored returns how many records are in the topic.
func (r *rig) stored() int {
	n := 0
	for _, p := range r.cluster.PartitionInfos(testTopic) {
		n += int(p.HighWatermark)
	}
	return n
}
