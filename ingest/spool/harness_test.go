package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// small is a Config with segments of a few groups. Open would refuse it.
func small() Config {
	return Config{Dir: "mem", SegmentBytes: 4096, MaxBytes: 1 << 20, MaxAge: 90 * time.Minute, AppendTimeout: 2 * time.Second}
}

// bench is a spool with its metrics and what it drained. Without Run its parts
// are called one after the other, so that a test says what happens when.
type bench struct {
	*Spool
	set *metrics.Set
	out *sink
}

// sink is a Drain that keeps what it is given.
type sink struct {
	mu             sync.Mutex
	produced, side []Entry
	calls          int
	fail           error
	before         func(ctx context.Context) error // called first
	took           chan struct{}                   // a signal after a call, if there is room
}

func (k *sink) Produce(ctx context.Context, entries []Entry) error {
	return k.take(ctx, &k.produced, entries)
}

func (k *sink) Side(ctx context.Context, entries []Entry) error {
	return k.take(ctx, &k.side, entries)
}

func (k *sink) take(ctx context.Context, to *[]Entry, entries []Entry) error {
	if k.before != nil {
		if err := k.before(ctx); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	defer notify(k.took)
	k.calls++
	if k.fail != nil {
		return k.fail
	}
	for _, e := range entries {
		e.Data = bytes.Clone(e.Data)
		*to = append(*to, e)
	}
	return nil
}

func (k *sink) set(err error) {
	k.mu.Lock()
	k.fail = err
	k.mu.Unlock()
}

func (k *sink) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

// got returns the produced events in their order.
func (k *sink) got() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ids(k.produced)
}

func ids(entries []Entry) []string {
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		all = append(all, idOf(e))
	}
	return all
}

// event returns an event that can be checked: its id, and bytes and a partition
// that follow from it.
func event(id string, size int) Entry {
	return Entry{Partition: int32(len(id)*7 + size), Data: []byte(fmt.Sprintf("%s/%d/%s", id, size, strings.Repeat(id[:1], size)))}
}

// idOf checks that e is just what event made, and returns its id.
func idOf(e Entry) string {
	id, rest, _ := strings.Cut(string(e.Data), "/")
	var size int
	if _, err := fmt.Sscanf(rest, "%d/", &size); err == nil && id != "" {
		if want := event(id, size); bytes.Equal(want.Data, e.Data) && want.Partition == e.Partition {
			return id
		}
	}
	return fmt.Sprintf("WRONG partition %d %q", e.Partition, e.Data)
}

func openMem(tb testing.TB, cfg Config, d disk) *bench {
	tb.Helper()
	b, err := tryOpen(cfg, d)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func tryOpen(cfg Config, d disk) (*bench, error) {
	set := metrics.NewSet()
	s, err := open(cfg, d, zerolog.Nop(), set)
	return &bench{s, set, &sink{}}, err
}

// put appends each of the batches as a caller of its own, all in one group.
func (b *bench) put(batches ...[]Entry) []error { return b.putAt(time.Now(), batches...) }

func (b *bench) putAt(now time.Time, batches ...[]Entry) []error {
	reqs := make([]*request, 0, len(batches))
	errs := make([]error, len(batches))
	for i, batch := range batches {
		r := newRequest()
		if errs[i] = r.encode(batch, now, b.seed, b.limit); errs[i] == nil {
			reqs = append(reqs, r)
			b.queue <- r
		}
	}
	b.writer.peers, b.writer.retryAt = 0, time.Time{} // no waiting, no throttle
	for b.writer.carry != nil || len(b.queue) > 0 {
		r := b.writer.carry
		if b.writer.carry = nil; r == nil {
			r = <-b.queue
		}
		b.writer.handle(r)
	}
	at := 0
	for i := range errs {
		if errs[i] == nil {
			errs[i] = <-reqs[at].done
			at++
		}
	}
	return errs
}

func (b *bench) mustPut(tb testing.TB, entries ...Entry) {
	tb.Helper()
	if err := b.put(entries)[0]; err != nil {
		tb.Fatalf("append: %v", err)
	}
}

func (b *bench) seal() { b.writer.seal() }

// drain drains everything, the active segment too.
func (b *bench) drain(tb testing.TB) {
	tb.Helper()
	for range 100_000 {
		out, err := b.reader.step(context.Background(), b.out)
		if err != nil {
			tb.Fatalf("drain: %v", err)
		}
		switch out {
		case idle:
			b.seal()
		case empty:
			return
		case again:
		}
	}
	tb.Fatal("the drain does not end")
}

// counter returns the value of a metric.
func (b *bench) counter(tb testing.TB, name string) int {
	tb.Helper()
	var buf bytes.Buffer
	b.set.WritePrometheus(&buf)
	for line := range strings.Lines(buf.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				tb.Fatal(err)
			}
			return int(v)
		}
	}
	tb.Fatalf("no metric %s", name)
	return 0
}

// start runs b and returns what ends it and waits.
func (b *bench) start(tb testing.TB) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, b.out) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("run: %v", err)
		}
	})
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("got error %v, want %v", err, want)
	}
}
