package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// realDir opens a spool on the file system of the machine.
func realDir(tb testing.TB, dir string) *bench {
	tb.Helper()
	set := metrics.NewSet()
	s, err := Open(Config{Dir: dir, SegmentBytes: 1 << 20, MaxBytes: 1 << 30, MaxAge: time.Hour, AppendTimeout: time.Minute}, zerolog.Nop(), set)
	if err != nil {
		tb.Fatal(err)
	}
	return &bench{s, set, &sink{}}
}

// TestConcurrent appends from many goroutines while Kafka comes and goes, twice
// on the same directory. For the race detector, and for the real system calls.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir() + "/new/spool"
	const callers, each = 64, 50
	want := map[string]bool{}
	got := map[string]bool{}
	for life := range 2 {
		b := realDir(t, dir)
		if life == 0 {
			b.out.fail = errors.New("kafka is down")
		}
		b.out.took = make(chan struct{}, 1)
		stop := b.start(t)
		var wg sync.WaitGroup
		errs := make(chan error, callers*each)
		for c := range callers {
			for i := range each {
				want[fmt.Sprintf("l%dc%di%d", life, c, i)] = true
			}
			wg.Go(func() {
				for i := range each {
					e := event(fmt.Sprintf("l%dc%di%d", life, c, i), (c*i)%700)
					errs <- b.Append([]Entry{e})
					clear(e.Data)
				}
			})
		}
		wg.Wait()
		for range callers * each {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if life == 1 {
			for len(b.out.got()) < 2*callers*each {
				<-b.out.took
			}
		}
		stop()
		for _, id := range b.out.got() {
			got[id] = true
		}
		if n := b.counter(t, "adtally_spool_appended_events_total"); n != callers*each {
			t.Errorf("counted %d appended events", n)
		}
		wantErr(t, b.Append([]Entry{event("late", 1)}), ErrClosed)
	}
	for id := range want {
		if !got[id] {
			t.Fatalf("%s is lost", id)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events drained, %d appended", len(got), len(want))
	}
}

// TestLocked: one process, one directory; and Close without Run gives it up.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	b := realDir(t, dir)
	_, err := Open(b.cfg, zerolog.Nop(), metrics.NewSet())
	wantErr(t, err, ErrLocked)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, b.Append([]Entry{event("e", 1)}), ErrClosed)
	if err := b.Run(t.Context(), b.out); err == nil {
		t.Fatal("ran after Close")
	}
	if err := realDir(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestIdle: what was drained from the active segment gives its bytes back when
// nothing comes for a while, down to the spare.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk(1)
		b := openMem(t, small(), d)
		defer b.start(t)()
		for i := range 10 {
			if err := b.Append([]Entry{event(fmt.Sprint("e", i), 10)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := len(b.out.got()); got != i+1 {
				t.Fatalf("%d of %d events drained", got, i+1)
			}
			if n := len(d.names(segmentSuffix)); n != 1 {
				t.Fatalf("%d segments while events come", n)
			}
			time.Sleep(idleAfter / 2)
		}
		time.Sleep(idleAfter)
		synctest.Wait()
		if st := b.Stats(); st.Segments != 0 || st.Bytes != 4096 || st.Events != 0 {
			t.Fatalf("left: %+v", st)
		}
	})
}

// TestKafkaDown is rows 5 and 6: Kafka is down for ten minutes. The drain does
// not spin, appends go on, and all is drained within one backoff of the end.
func TestKafkaDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openMem(t, small(), newMemDisk(1))
		b.out.fail = errors.New("kafka is down")
		defer b.start(t)()
		var want []string
		for i := range 600 {
			want = append(want, fmt.Sprint("e", i))
			if err := b.Append([]Entry{event(want[i], 100)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if calls := b.out.count(); calls > 140 || calls < 110 {
			t.Errorf("%d calls in 600 s", calls)
		}
		if st := b.Stats(); st.Events != 600 || st.Age < 595*time.Second || st.Age > 605*time.Second {
			t.Errorf("while down: %+v", st)
		}
		b.out.set(nil)
		time.Sleep(lastBackoff + time.Second)
		synctest.Wait()
		if got := b.out.got(); !slices.Equal(got, want) {
			t.Fatalf("%d of %d events drained", len(got), len(want))
		}
	})
}

// TestReadyAgain is rows 6 and 9: a full spool recovers without an append, as
// nobody sends any to a server that is not ready.
func TestReadyAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small()
		cfg.MaxBytes = 2 * cfg.SegmentBytes
		b := openMem(t, cfg, newMemDisk(1))
		b.out.fail = errors.New("kafka is down")
		defer b.start(t)()
		var err error
		for n := 0; err == nil; n++ {
			if err = b.Append([]Entry{event("e", 1000)}); n > 20 {
				t.Fatal("no end")
			}
		}
		wantErr(t, err, ErrFull)
		for range 50 { // without asking the disk each time
			wantErr(t, b.Append([]Entry{event("no", 1000)}), ErrFull)
		}
		if n := b.counter(t, `adtally_spool_refused_events_total{reason="full"}`); n != 51 {
			t.Errorf("%d refusals counted", n)
		}
		time.Sleep(time.Minute)
		wantErr(t, b.Ready(), ErrFull)
		b.out.set(nil)
		time.Sleep(lastBackoff + 2*probeEvery)
		if err := b.Ready(); err != nil {
			t.Fatalf("not ready: %v", err)
		}
		if err := b.Append([]Entry{event("yes", 1)}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHungDisk: an fsync that hangs costs a caller AppendTimeout and no more.
// When it comes back, so does the spool; the events may be there or not.
func TestHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &hungDisk{memDisk: newMemDisk(1), release: make(chan struct{})}
		b := openMem(t, small(), d)
		defer b.start(t)()
		if err := b.Append([]Entry{event("a", 1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the spare is made
		d.hang.Store(true)
		var wg sync.WaitGroup
		start := time.Now()
		for i := range queueLength + 100 {
			wg.Go(func() {
				if err := b.Append([]Entry{event(fmt.Sprint("h", i), 1)}); !errors.Is(err, ErrTimeout) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != b.cfg.AppendTimeout {
			t.Errorf("callers waited %v", took)
		}
		d.hang.Store(false)
		close(d.release)
		if err := b.Append([]Entry{event("b", 1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := b.out.got()
		if !slices.Contains(got, "a") || !slices.Contains(got, "b") || slices.ContainsFunc(got, func(id string) bool { return strings.HasPrefix(id, "WRONG") }) {
			t.Fatalf("got %v", got)
		}
	})
}

// TestGroups: what comes during a commit shares the next one.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small()
		cfg.SegmentBytes = 1 << 20
		d := &slowDisk{memDisk: newMemDisk(1)}
		b := openMem(t, cfg, d)
		b.out.fail = errors.New("kafka is down")
		defer b.start(t)()
		if err := b.Append([]Entry{event("first", 1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the spare is made
		d.slow.Store(true)
		start := time.Now()
		if err := b.Append([]Entry{event("second", 1)}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != slowSync {
			t.Errorf("a lone append took %v, an fsync takes %v", took, slowSync)
		}
		start = time.Now()
		var wg sync.WaitGroup
		for c := range 100 {
			wg.Go(func() {
				for i := range 10 {
					if err := b.Append([]Entry{event(fmt.Sprintf("c%di%d", c, i), 1)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		groups := b.counter(t, "adtally_spool_group_events_count") - 2
		if groups > 25 { // 10 at best; without waiting for peers twice as many, one by one 1000
			t.Errorf("1000 appends of 100 callers took %d commits", groups)
		}
		if took := time.Since(start); took > time.Duration(groups)*(slowSync+maxGather) {
			t.Errorf("%d commits took %v", groups, took)
		}
	})
}

// TestStop: the batch in flight is waited for, but not for ever; callers that
// wait are answered; and nothing is started after.
func TestStop(t *testing.T) {
	f := func(answer bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := newMemDisk(1)
			b := openMem(t, small(), d)
			inFlight, finish := make(chan struct{}), make(chan struct{})
			b.out.before = func(ctx context.Context) error {
				close(inFlight)
				select {
				case <-finish:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			stop := b.start(t)
			if err := b.Append([]Entry{event("a", 1)}); err != nil {
				t.Fatal(err)
			}
			<-inFlight
			if err := b.Append([]Entry{event("b", 1)}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			stopped := make(chan struct{})
			go func() { stop(); close(stopped) }()
			synctest.Wait()
			wantErr(t, b.Append([]Entry{event("late", 1)}), ErrClosed)
			time.Sleep(time.Second)
			want := []string{"a", "b"}
			if answer {
				close(finish)
				want = want[1:]
			}
			<-stopped
			if took := time.Since(start); answer != (took == time.Second) || took > drainGrace {
				t.Errorf("stop took %v", took)
			}
			if got := recoverAll(t, d.crash()).out.got(); !slices.Equal(got, want) {
				t.Errorf("left in the spool: %v, want %v", got, want)
			}
			if d.held {
				t.Error("the directory is still locked")
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	f(true)
	f(false)
}

// TestMetricNames keeps the names that dashboards use.
func TestMetricNames(t *testing.T) {
	b := openMem(t, small(), newMemDisk(1))
	b.mustPut(t, event("a", 1))
	var found []string
	for _, name := range b.set.ListMetricNames() {
		name, _, _ = strings.Cut(name, "{")
		found = append(found, strings.TrimPrefix(name, "adtally_spool_"))
	}
	slices.Sort(found)
	want := strings.Fields(`appended_bytes_total appended_events_total bytes damaged_segments damaged_segments_total drained_events_total
		fsync_seconds group_events lost_events_total oldest_age_seconds pending_events poisoned_segments_total refused_events_total
		segments side_events_total`)
	if got := slices.Compact(found); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// TestConfig: what Validate refuses.
func TestConfig(t *testing.T) {
	good := Config{Dir: "d", SegmentBytes: 64 << 20, MaxBytes: 4 << 30, ReserveBytes: 256 << 20, MaxAge: time.Hour, AppendTimeout: time.Second}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	f := func(change func(*Config)) {
		t.Helper()
		c := good
		change(&c)
		if c.Validate() == nil && c.Dir != "" { // without a directory it is switched off
			t.Errorf("%+v is valid", c)
		}
		if _, err := Open(c, zerolog.Nop(), metrics.NewSet()); err == nil {
			t.Errorf("%+v opens", c)
		}
	}
	f(func(c *Config) { c.Dir = "" })
	f(func(c *Config) { c.SegmentBytes = 1000 })
	f(func(c *Config) { c.MaxBytes = c.SegmentBytes })
	f(func(c *Config) { c.ReserveBytes = -1 })
	f(func(c *Config) { c.MaxAge = 0 })
	f(func(c *Config) { c.AppendTimeout = 0 })
}
