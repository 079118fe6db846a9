package produce

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/testkit/wait"
)

func TestRejectsAreWritten(t *testing.T) {
	t.Parallel()
	const topic = "events-rejected"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	seeds := kgo.SeedBrokers(cluster.ListenAddrs()...)
	set := metrics.NewSet()
	k, err := NewRejects(topic, zerolog.Nop(), set, seeds)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMicro(1_795_168_800_000_001)
	body := []byte("{\"id\":\"\xff\"}")
	k.Put(&Rejected{Received: at, Route: "server_batch", Reason: "bad_value", Field: "id", Detail: "too long", Advertiser: 1<<64 - 1, KeyID: "k1", Body: body})
	body[0] = 'x' // it is not kept
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want := rejectedRecord{
		Received: at.UTC(), Route: "server_batch", Reason: "bad_value", Field: "id", Detail: "too long",
		Advertiser: "18446744073709551615", KeyID: "k1", Body: "{\"id\":\"\ufffd\"}",
	}
	if got := rejectedRecords(t, topic, 1, seeds)[0]; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if n := k.sent.Get(); n != 1 {
		t.Errorf("%d sent", n)
	}
}

// TestRejectsNeverBlock fills the buffer while the brokers are away.
func TestRejectsNeverBlock(t *testing.T) {
	t.Parallel()
	k, err := NewRejects("x", zerolog.Nop(), metrics.NewSet(), kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range maxRejectRecords + 100 {
		k.Put(&Rejected{Reason: "bad_value", Body: []byte("{}")})
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	wait.Until(t, 20*time.Second, "overflow is counted", func() bool { return k.dropped.Get() == 100 })
	ctx, stop := context.WithCancel(context.Background())
	stop()
	began = time.Now()
	if err := k.Run(ctx); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("ended after %v with %v", time.Since(began), err)
	}
}

// rejectedRecords reads n records of the rejected topic.
func rejectedRecords(tb testing.TB, topic string, n int, opts ...kgo.Opt) (out []rejectedRecord) {
	tb.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		tb.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(out) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			tb.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			var r rejectedRecord
			if err := json.Unmarshal(rec.Value, &r); err != nil {
				tb.Fatal(err)
			}
			out = append(out, r)
		})
	}
	return out
}
