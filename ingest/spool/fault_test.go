package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// failing returns a fault that fails the next n calls of op on segments.
func failing(op string, n int, err error) func(op, name string) error {
	return func(o, name string) error {
		if o == op && n > 0 && strings.HasSuffix(name, segmentSuffix) {
			n--
			return err
		}
		return nil
	}
}

// TestPoison is row 10: a write or an fsync fails once. The callers of the group
// are answered from a new segment, and a crash right after the answer loses
// nothing: the failed file was not trusted again.
func TestPoison(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		for seed := range uint64(50) {
			d := newMemDisk(seed)
			b := openMem(t, small(), d)
			b.mustPut(t, event("before", 700))
			d.fault = failing(op, 1, syscall.EIO)
			for i, err := range b.put([]Entry{event("x", 700)}, []Entry{event("y", 700)}) {
				if err != nil {
					t.Fatalf("%s: caller %d got %v", op, i, err)
				}
			}
			if b.counter(t, "adtally_spool_poisoned_segments_total") != 1 || len(d.names(segmentSuffix)) != 2 {
				t.Fatalf("%s: segments %v", op, d.names(segmentSuffix))
			}
			b.mustPut(t, event("after", 700))
			r := recoverAll(t, d.crash())
			if got, want := r.out.got(), []string{"before", "x", "y", "after"}; !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, want %v", op, got, want)
			}
			if r.counter(t, "adtally_spool_damaged_segments_total") != 0 {
				t.Fatalf("%s: the rest of a failed write was taken for damage", op)
			}
		}
	}
}

// TestBrokenDisk is row 10 without a way out: every fsync fails. Nobody gets an
// answer from the disk, it does not fill up with what failed, and when it heals
// the spool does too.
func TestBrokenDisk(t *testing.T) {
	d := newMemDisk(1)
	b := openMem(t, small(), d)
	b.mustPut(t, event("before", 1))
	d.fault = func(op, _ string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	}
	for i := range 200 {
		err := b.put([]Entry{event(fmt.Sprint("no", i), 1)})[0]
		wantErr(t, err, ErrPoisoned)
		wantErr(t, err, syscall.EIO)
	}
	wantErr(t, b.Ready(), ErrPoisoned)
	if st := b.Stats(); st.Bytes > 2*4096 || len(d.live) > 1 {
		t.Fatalf("the broken disk fills up: %+v, %d files", st, len(d.live))
	}
	d.fault = nil
	b.mustPut(t, event("after", 1))
	if err := b.Ready(); err != nil {
		t.Fatalf("not ready: %v", err)
	}
	b.drain(t)
	if got, want := b.out.got(), []string{"before", "after"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestRotationFails: each call that makes a segment fails once, in turn. An
// event is refused or kept, and what was kept survives.
func TestRotationFails(t *testing.T) {
	for _, op := range []string{"open", "allocate", "sync", "write", "rename", "syncdir"} {
		d := newMemDisk(1)
		b := openMem(t, small(), d)
		b.mustPut(t, event("first", 3000))
		left := 1
		d.fault = func(o, name string) error {
			if o == op && left > 0 && (strings.HasSuffix(name, spareSuffix) || name == "") {
				left--
				return syscall.EIO
			}
			return nil
		}
		wantErr(t, b.put([]Entry{event("refused", 3000)})[0], ErrPoisoned)
		b.mustPut(t, event("second", 3000))
		if n := len(d.names(segmentSuffix)); n != 2 {
			t.Errorf("%s: %d segments", op, n)
		}
		r := recoverAll(t, d.crash())
		if got, want := r.out.got(), []string{"first", "second"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", op, got, want)
		}
		if st := b.Stats(); st.Bytes > 3*4096 {
			t.Errorf("%s: bytes are counted twice: %+v", op, st)
		}
	}
}

// TestDiskFull is row 9: the volume fills up. With preallocation it shows at
// rotation; on a file system that copies on write it shows within a batch, with
// a short write. Either way the events are refused with ErrFull, what was
// acknowledged survives a crash, and the spool takes events again when there is
// room, without a restart.
func TestDiskFull(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		for seed := range uint64(20) {
			d := newMemDisk(seed)
			d.room, d.sparse = 20_000, sparse
			b := openMem(t, small(), d)
			var acked []string
			var err error
			for i := 0; err == nil && i < 1000; i++ {
				id := fmt.Sprint("e", i)
				if err = b.put([]Entry{event(id, 300)})[0]; err == nil {
					acked = append(acked, id)
				}
			}
			wantErr(t, err, ErrFull)
			wantErr(t, b.Ready(), ErrFull)
			if len(acked) < 30 {
				t.Fatalf("only %d events fit", len(acked))
			}
			if got := recoverAll(t, d.crash()).out.got(); !slices.Equal(got, acked) {
				t.Fatalf("sparse %v: after a crash got %v, want %v", sparse, got, acked)
			}
			d.room *= 2
			b.mustPut(t, event("more", 300))
			if err := b.Ready(); err != nil {
				t.Fatalf("not ready: %v", err)
			}
			if got := recoverAll(t, d.crash()).out.got(); !slices.Equal(got, append(acked, "more")) {
				t.Fatalf("sparse %v: got %v", sparse, got)
			}
		}
	}
}

// TestByteCap is row 6: the spool stops at MaxBytes, and goes on when the drain
// has given bytes back.
func TestByteCap(t *testing.T) {
	d := newMemDisk(1)
	cfg := small()
	cfg.MaxBytes = 4 * cfg.SegmentBytes
	b := openMem(t, cfg, d)
	var acked []string
	for i := range 100 {
		id := fmt.Sprint("e", i)
		err := b.put([]Entry{event(id, 500)})[0]
		if err == nil {
			acked = append(acked, id)
		} else {
			wantErr(t, err, ErrFull)
		}
		if st := b.Stats(); st.Bytes > cfg.MaxBytes {
			t.Fatalf("%d bytes on disk, the cap is %d", st.Bytes, cfg.MaxBytes)
		}
	}
	if len(acked) != 4*7 {
		t.Fatalf("%d events fit", len(acked))
	}
	for range 2 {
		if _, err := b.reader.step(t.Context(), b.out); err != nil {
			t.Fatal(err)
		}
	}
	b.mustPut(t, event("more", 500))
	b.drain(t)
	if got := b.out.got(); !slices.Equal(got, append(acked, "more")) {
		t.Fatalf("got %v", got)
	}
	if st := b.Stats(); st.Bytes != 0 || st.Events != 0 || st.Age != 0 {
		t.Fatalf("left: %+v", st)
	}
}

// TestReserve: the spool leaves the volume its reserve, but no more than a
// twentieth of it.
func TestReserve(t *testing.T) {
	d := newMemDisk(1)
	d.room = 100_000
	cfg := small()
	cfg.ReserveBytes = 1 << 30
	b := openMem(t, cfg, d)
	var err error
	for i := 0; err == nil; i++ {
		err = b.put([]Entry{event("e", 3000)})[0]
	}
	wantErr(t, err, ErrFull)
	if left := d.room - d.used(); left < 5000 || left > 5000+2*4096 {
		t.Fatalf("%d bytes left of %d", left, d.room)
	}
}

// TestAckThenCrash is row 13: the machine stops at each call that the cursor
// makes after Kafka's ack. The events are drained again, or not; none is lost.
func TestAckThenCrash(t *testing.T) {
	for at := 1; ; at++ {
		d := newMemDisk(uint64(at))
		b := openMem(t, small(), d)
		b.mustPut(t, event("a", 1), event("b", 1))
		b.mustPut(t, event("c", 1))
		if _, err := b.reader.step(t.Context(), b.out); err != nil {
			t.Fatal(err)
		}
		b.mustPut(t, event("d", 1))
		b.out.before = func(context.Context) error {
			d.crashAt = d.ops + at
			return nil
		}
		_, err := b.reader.step(t.Context(), b.out)
		if err != nil {
			t.Fatalf("step: %v", err) // the cursor may fail, the drain does not
		}
		crashed := d.ops >= d.crashAt
		got := recoverAll(t, d.crash()).out.got()
		if !slices.Equal(got, []string{"d"}) && len(got) != 0 {
			t.Fatalf("crash at call %d: drained again %v", at, got)
		}
		if at == 1 && len(got) != 1 {
			t.Fatal("the first cursor does not protect the first events")
		}
		if !crashed {
			if len(got) != 0 {
				t.Fatalf("drained again without a crash: %v", got)
			}
			return
		}
	}
}

// TestTooLarge: what can never be taken is said to be so, and does no harm.
func TestTooLarge(t *testing.T) {
	b := openMem(t, small(), newMemDisk(1))
	errs := b.put([]Entry{event("a", 5000)}, []Entry{event("b", 10)}, []Entry{event("c", 3000), event("d", 2000)})
	wantErr(t, errs[0], ErrTooLarge)
	wantErr(t, errs[2], ErrTooLarge)
	if errs[1] != nil {
		t.Fatal(errs[1])
	}
	// The largest that fits, and the next group in a new segment.
	largest := Entry{Data: make([]byte, b.limit-headSize)}
	b.mustPut(t, largest)
	b.mustPut(t, event("e", 10))
	b.drain(t)
	if len(b.out.produced) != 3 || len(b.out.produced[1].Data) != len(largest.Data) {
		t.Fatalf("drained %d events", len(b.out.produced))
	}
	cfg := small()
	cfg.SegmentBytes, cfg.MaxBytes = 64<<20, 1<<30
	l := openMem(t, cfg, newMemDisk(1))
	wantErr(t, l.put([]Entry{{Data: make([]byte, maxEntry+1)}})[0], ErrTooLarge)
	l.mustPut(t, slices.Repeat([]Entry{{Data: make([]byte, maxEntry)}}, 7)...)
	l.mustPut(t, slices.Repeat([]Entry{{Data: []byte("x")}}, 200_000)...)
	wantErr(t, l.put(slices.Repeat([]Entry{{Data: make([]byte, maxEntry)}}, 8))[0], ErrTooLarge)
	l.drain(t)
	if len(l.out.produced) != 200_007 {
		t.Fatalf("drained %d events", len(l.out.produced))
	}
}

// TestDrainFails: what Kafka has not acknowledged comes again, with the cursor
// where it was.
func TestDrainFails(t *testing.T) {
	b := openMem(t, small(), newMemDisk(1))
	b.putAt(time.Now().Add(-3*time.Hour), []Entry{event("old", 1)})
	b.mustPut(t, event("a", 1), event("b", 1))
	b.out.fail = errors.New("kafka is down")
	for range 3 {
		if _, err := b.reader.step(t.Context(), b.out); !errors.Is(err, b.out.fail) {
			t.Fatalf("step: %v", err)
		}
	}
	if st := b.Stats(); st.Events != 3 {
		t.Fatalf("pending %+v", st)
	}
	b.out.fail = nil
	b.drain(t)
	if got := b.out.got(); !slices.Equal(got, []string{"a", "b"}) || len(b.out.side) != 1 {
		t.Fatalf("got %v and %v", got, ids(b.out.side))
	}
}
