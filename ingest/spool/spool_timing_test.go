package spool

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// timedDisk keeps how long each fsync of a file took, and adds delay to it.
type timedDisk struct {
	disk
	delay time.Duration
	mu    sync.Mutex
	took  []time.Duration
}

type timedFile struct {
	file
	d *timedDisk
}

func (d *timedDisk) Open(name string, create bool) (file, error) {
	f, err := d.disk.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &timedFile{f, d}, nil
}

func (f *timedFile) Sync() error {
	start := time.Now()
	err := f.file.Sync()
	if f.d.delay > 0 {
		time.Sleep(f.d.delay)
	}
	took := time.Since(start)
	f.d.mu.Lock()
	f.d.took = append(f.d.took, took)
	f.d.mu.Unlock()
	return err
}

// BenchmarkAppend is the path of an event while Kafka is down: from Append to
// the answer after the fsync, with callers that each wait for theirs.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 32, 512} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("callers=%d/batch=%d", callers, batch), func(b *testing.B) { benchAppend(b, callers, batch, 0) })
		}
	}
	// A network volume is slower than a local disk.
	b.Run("callers=512/batch=1/delay=5ms", func(b *testing.B) { benchAppend(b, 512, 1, 5*time.Millisecond) })
}

func benchAppend(b *testing.B, callers, batch int, delay time.Duration) {
	b.Helper()
	dir, err := openDisk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	d := &timedDisk{disk: dir, delay: delay}
	cfg := Config{Dir: "-", SegmentBytes: 64 << 20, MaxBytes: 1 << 40, MaxAge: time.Hour, AppendTimeout: time.Minute}
	s, err := open(cfg, d, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		b.Fatal(err)
	}
	r := &bench{Spool: s, out: &sink{fail: errors.New("kafka is down")}}
	defer r.start(b)()
	entries := make([]Entry, batch)
	for i := range entries {
		entries[i] = Entry{Partition: int32(i), Data: make([]byte, 250)}
	}
	if err := r.Append(entries); err != nil { // the first segment is there
		b.Fatal(err)
	}
	d.mu.Lock()
	d.took = d.took[:0]
	d.mu.Unlock()
	b.ReportAllocs()
	b.SetBytes(int64(250 * batch))
	b.SetParallelism(max(callers/runtime.GOMAXPROCS(0), 1))
	if callers == 1 {
		for b.Loop() {
			if err := r.Append(entries); err != nil {
				b.Fatal(err)
			}
		}
	} else {
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := r.Append(entries); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.StopTimer()
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.took)
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.N*batch)/float64(len(d.took)), "events/fsync")
	b.ReportMetric(float64(d.took[len(d.took)/2].Microseconds()), "fsync-p50-µs")
	b.ReportMetric(float64(d.took[len(d.took)*99/100].Microseconds()), "fsync-p99-µs")
}
