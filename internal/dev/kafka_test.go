package dev

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topic = "events"

func newClient(tb testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}, opts...)...)
	ok(tb, err)
	tb.Cleanup(cl.Close)
	return cl
}

func createTopic(tb testing.TB, cl *kgo.Client, partitions int32) kadm.TopicID {
	tb.Helper()
	_, err := kadm.NewClient(cl).CreateTopic(tb.Context(), partitions, 1, nil, topic)
	ok(tb, err)
	return topicID(tb, cl)
}

func topicID(tb testing.TB, cl *kgo.Client) kadm.TopicID {
	tb.Helper()
	topics, err := kadm.NewClient(cl).ListTopics(tb.Context(), topic)
	ok(tb, err)
	ok(tb, topics.Error())
	return topics[topic].ID
}

// produceN sends values [from, from+n) and returns when all are acknowledged.
func produceN(tb testing.TB, cl *kgo.Client, partitions, from, n int) {
	tb.Helper()
	records := make([]*kgo.Record, 0, n)
	for i := from; i < from+n; i++ {
		records = append(records, &kgo.Record{
			Partition: int32(i % partitions),
			Value:     []byte(strconv.Itoa(i)),
			Timestamp: time.UnixMilli(int64(i) * 1000), // the broker knows better
		})
	}
	ok(tb, cl.ProduceSync(tb.Context(), records...).FirstErr())
}

// consume reads the whole topic and checks what each record must be: dense
// offsets and the broker's own time, not before since.
func consume(tb testing.TB, addr string, partitions int32, since time.Time) map[string]int {
	tb.Helper()
	cl := newClient(tb, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(tb.Context(), topic)
	ok(tb, err)
	ok(tb, ends.Error())
	next := make([]int64, partitions)
	seen := map[string]int{}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	for more := true; more; {
		fetches := cl.PollFetches(ctx)
		ok(tb, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				tb.Errorf("partition %d: offset %d after %d", r.Partition, r.Offset, next[r.Partition]-1)
			}
			if r.Timestamp.Before(since.Truncate(time.Millisecond)) {
				tb.Fatalf("record at %d has time %s", r.Offset, r.Timestamp)
			}
			next[r.Partition] = r.Offset + 1
			seen[string(r.Value)]++
		})
		more = false
		for p, at := range next {
			end, _ := ends.Lookup(topic, int32(p))
			more = more || at < end.Offset
		}
	}
	return seen
}

// want checks that each of the values [from, to) is there at least once, and
// not more than most times.
func want(tb testing.TB, seen map[string]int, from, to, most int) {
	tb.Helper()
	var missing, repeated int
	for i := from; i < to; i++ {
		switch got := seen[strconv.Itoa(i)]; {
		case got == 0:
			missing++
		case got > most:
			repeated++
		}
	}
	if missing+repeated > 0 {
		tb.Errorf("of the records %d to %d, %d are missing and %d are repeated", from, to, missing, repeated)
	}
}

func TestKafkaSurvivesKill(t *testing.T) {
	const partitions, n = 3, 3000
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	mode := fmt.Sprintf("kafka %s %d", dir, port)
	since := time.Now()

	broker := startHelper(t, mode)
	cl := newClient(t, loopback(port))
	id := createTopic(t, cl, partitions)
	produceN(t, cl, partitions, 0, n)
	broker.kill(t)

	broker = startHelper(t, mode)
	want(t, consume(t, loopback(port), partitions, since), 0, n, 1)
	if got := topicID(t, cl); got != id {
		t.Errorf("topic id %s became %s", id, got)
	}
	// The producer that saw the broker die goes on. The broker no longer knows
	// its sequence numbers, so it may take a batch before the one that precedes
	// it; the producer then sends both again under a new epoch.
	produceN(t, cl, partitions, n, n)
	broker.kill(t)
	tearTail(t, dir)

	broker = startHelper(t, mode)
	produceN(t, newClient(t, loopback(port)), partitions, 2*n, n) // a new process's producer
	broker.kill(t)

	for range 2 { // after kill -9, and after an orderly end
		broker = startHelper(t, mode)
		seen := consume(t, loopback(port), partitions, since)
		want(t, seen, 0, n, 1)
		want(t, seen, n, 2*n, 2)
		want(t, seen, 2*n, 3*n, 1)
		broker.stop(t)
	}
}

func TestKafkaStampsEveryCodec(t *testing.T) {
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	mode := fmt.Sprintf("kafka %s %d", dir, port)
	since := time.Now()
	broker := startHelper(t, mode)
	admin := newClient(t, loopback(port))
	createTopic(t, admin, 1)
	n := 0
	for _, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		produceN(t, newClient(t, loopback(port), kgo.ProducerBatchCompression(codec)), 1, n, 500)
		n += 500
	}
	broker.kill(t)
	startHelper(t, mode) // checksums are checked here
	want(t, consume(t, loopback(port), 1, since), 0, n, 1)
}

// testBatch is a batch of n records of size bytes, each later than the one before.
func testBatch(s *stamper, codec kgo.CompressionCodecType, n, size int) []byte {
	var records []byte
	for i := range n {
		record := []byte{0}
		record = binary.AppendVarint(record, int64(i)*1000)
		record = binary.AppendVarint(record, int64(i))
		record = binary.AppendVarint(record, -1)
		record = binary.AppendVarint(record, int64(size))
		record = append(record, make([]byte, size)...)
		record = binary.AppendVarint(record, 0)
		records = binary.AppendVarint(records, int64(len(record)))
		records = append(records, record...)
	}
	if codec != kgo.CodecNone {
		records, _ = s.compressors[codec].Compress(new(bytes.Buffer), records)
	}
	return sealBatch(s, records, byte(codec))
}

// sealBatch puts a valid header before records.
func sealBatch(s *stamper, records []byte, attrs byte) []byte {
	batch := append(make([]byte, batchRecords), records...)
	batch[batchMagic] = 2
	batch[batchAttributes+1] = attrs
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], s.castagnoli))
	return batch
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte{}, byte(0))
	f.Add([]byte{12, 0, 2, 0, 1, 1, 0}, byte(0))
	f.Add([]byte{14, 0, 0x80, 0x02, 0, 1, 1, 0}, byte(0))
	s, err := newStamper()
	ok(f, err)
	f.Fuzz(func(t *testing.T, records []byte, attrs byte) {
		const now = 1_700_000_000_000
		got := s.stamp(sealBatch(s, records, attrs), now)
		var b kmsg.RecordBatch
		ok(t, b.ReadFrom(got))
		if uint32(b.CRC) != crc32.Checksum(got[batchAttributes:], s.castagnoli) {
			return // refused by the broker
		}
		if b.FirstTimestamp != now || b.MaxTimestamp != now || b.Attributes&attrLogAppendTime != 0 {
			t.Errorf("accepted with times %d and %d, attributes %b", b.FirstTimestamp, b.MaxTimestamp, b.Attributes)
		}
	})
}

// tearTail appends the first half of a batch to each segment, as a write that
// was cut off leaves it.
func tearTail(t *testing.T, dir string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "data", "*", "*", "*.dat"))
	ok(t, err)
	more, err := filepath.Glob(filepath.Join(dir, "data", "*", "*.dat"))
	ok(t, err)
	segments = append(segments, more...)
	if len(segments) == 0 {
		t.Fatal("no segments found")
	}
	for _, name := range segments {
		raw, err := os.ReadFile(name)
		ok(t, err)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		ok(t, err)
		_, err = f.Write(raw[:min(len(raw)/2, 70)])
		ok(t, err)
		ok(t, f.Close())
	}
}

func TestKafkaRefuses(t *testing.T) {
	t.Run("port taken", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		defer ln.Close()
		port := ln.Addr().(*net.TCPAddr).Port
		k, err := NewKafka(KafkaConfig{Dir: t.TempDir(), Port: port}, zerolog.Nop())
		ok(t, err)
		wantError(t, k.Run(t.Context()), "port "+strconv.Itoa(port), "process "+strconv.Itoa(os.Getpid()))
		wantError(t, k.Ready(t.Context()), "port "+strconv.Itoa(port))
	})
	t.Run("directory in use", func(t *testing.T) {
		dir := t.TempDir()
		startHelper(t, "lock "+dir)
		k, err := NewKafka(KafkaConfig{Dir: dir, Port: freePorts(t, 1)[0]}, zerolog.Nop())
		ok(t, err)
		wantError(t, k.Run(t.Context()), dir, "--data")
	})
}

func TestBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Java process")
	}
	script, err := filepath.Abs("../../scripts/kafka.sh")
	ok(t, err)
	since := time.Now()
	b, err := StartBroker(t.Context(), script, t.TempDir(), freePorts(t, 1)[0])
	ok(t, err)
	t.Cleanup(func() { ok(t, b.Kill(context.Background())) })
	cl := newClient(t, b.Addr())
	id := createTopic(t, cl, 2)
	produceN(t, cl, 2, 0, 1000)
	ok(t, b.Kill(t.Context()))
	ok(t, b.Start(t.Context()))
	produceN(t, cl, 2, 1000, 1000)
	want(t, consume(t, b.Addr(), 2, since), 0, 2000, 1)
	if got := topicID(t, cl); got != id {
		t.Errorf("topic id %s became %s", id, got)
	}
	ok(t, b.Stop(t.Context()))
}
