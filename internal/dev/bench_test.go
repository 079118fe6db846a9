package dev

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceMany sends n records of 200 bytes and waits for their acknowledgements.
func produceMany(b *testing.B, addr string, n int) {
	b.Helper()
	cl := newClient(b, addr, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	value := make([]byte, 200)
	var failed atomic.Int64
	for i := range n {
		cl.Produce(context.Background(), &kgo.Record{Partition: int32(i % 4), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Add(1)
			}
		})
	}
	ok(b, cl.Flush(context.Background()))
	if failed.Load() > 0 {
		ok(b, errors.New("records were not acknowledged"))
	}
}

// BenchmarkKafkaProduce measures acknowledged, fsynced records of 200 bytes.
func BenchmarkKafkaProduce(b *testing.B) {
	k, err := NewKafka(KafkaConfig{Dir: b.TempDir(), Port: freePorts(b, 1)[0]}, zerolog.Nop())
	ok(b, err)
	start(b, k)
	createTopic(b, newClient(b, k.Addr()), 4)
	b.SetBytes(200)
	b.ResetTimer()
	produceMany(b, k.Addr(), b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkKafkaRestart measures a start on a million records of 200 bytes that
// follows a kill -9 of the process.
func BenchmarkKafkaRestart(b *testing.B) {
	port := freePorts(b, 1)[0]
	mode := fmt.Sprintf("kafka %s %d", b.TempDir(), port)
	broker := startHelper(b, mode)
	createTopic(b, newClient(b, loopback(port)), 4)
	produceMany(b, loopback(port), 1_000_000)
	for b.Loop() {
		b.StopTimer()
		broker.kill(b)
		b.StartTimer()
		broker = startHelper(b, mode)
	}
}

// BenchmarkClickHouseStart measures a start until both users are answered.
func BenchmarkClickHouseStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		stop := start(b, newBenchClickHouse(b, dir))
		b.StopTimer()
		ok(b, stop())
		b.StartTimer()
	}
}

func newBenchClickHouse(b *testing.B, dir string) *ClickHouse {
	b.Helper()
	ports := freePorts(b, 2)
	c, err := NewClickHouse(ClickHouseConfig{Dir: dir, NativePort: ports[0], HTTPPort: ports[1], Library: library(b)}, zerolog.Nop())
	ok(b, err)
	return c
}

// BenchmarkStamp measures what the broker's time costs per batch of 500 records.
func BenchmarkStamp(b *testing.B) {
	s, err := newStamper()
	ok(b, err)
	for name, codec := range map[string]kgo.CompressionCodecType{"none": kgo.CodecNone, "zstd": kgo.CodecZstd} {
		b.Run(name, func(b *testing.B) {
			batch := testBatch(s, codec, 500, 200)
			b.SetBytes(int64(len(batch)))
			now := time.Now().UnixMilli()
			for b.Loop() {
				s.stamp(batch, now)
			}
		})
	}
}
