package spool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzRecover opens a spool of which one segment or the cursor is any bytes, as
// the only, an older or the last file. It never panics, never ends with an
// error other than ErrVersion, and never loses the events of other segments.
func FuzzRecover(f *testing.F) {
	d, groups, ends := threeSegments(f)
	names := d.names(segmentSuffix)
	for _, name := range names {
		data := d.live[name].data
		for _, end := range []int64{0, 10, headerSize, ends[0][1], ends[0][1] + 30, int64(len(data))} {
			f.Add(uint8(0), data[:min(end, int64(len(data)))])
			f.Add(uint8(1), data[:min(end, int64(len(data)))])
			f.Add(uint8(2), data[:min(end, int64(len(data)))])
		}
	}
	f.Add(uint8(3), cursor{seq: 2, salt: 1, off: 100, index: 3}.encode())
	large := header{seq: 3, salt: 5, prevSeq: 2, prevEnd: 1 << 62, prevCount: -1}
	f.Add(uint8(2), appendHead(large.encode(), kindData, maxEntry, 1, 1, headSeed(5)))
	f.Fuzz(func(t *testing.T, where uint8, data []byte) {
		c := d.clone()
		want := slices.Clone(groups)
		switch where % 4 {
		case 3:
			c.set(cursorName, data)
			want = groups[8:] // the cursor may be a good one
		default:
			at := int(where % 4)
			c.set(names[at], data)
			for g := range 4 {
				want[4*at+g] = nil
			}
		}
		b, err := tryOpen(small(), c)
		if err != nil {
			wantErr(t, err, ErrVersion)
			return
		}
		b.drain(t)
		if n := cap(b.reader.walk.window); n > maxGroup {
			t.Fatalf("a window of %d bytes", n)
		}
		got := strings.Join(append(b.out.got(), ids(b.out.side)...), " ") + " "
		for _, id := range flat(want) {
			if !strings.Contains(got, id+" ") {
				t.Fatalf("%s is lost", id)
			}
		}
		b.mustPut(t, event("new", 1))
	})
}

// TestLargeGroups: groups larger than the window are found, also behind damage.
func TestLargeGroups(t *testing.T) {
	cfg := small()
	cfg.SegmentBytes, cfg.MaxBytes = 32<<20, 1<<30
	d := newMemDisk(1)
	b := openMem(t, cfg, d)
	var want []string
	for i := range 4 {
		var batch []Entry
		for e := range 5 {
			id := fmt.Sprintf("g%de%d", i, e)
			batch = append(batch, event(id, 1_000_000))
			if i != 1 {
				want = append(want, id)
			}
		}
		b.mustPut(t, batch...)
	}
	c := d.clone()
	c.live[c.names(segmentSuffix)[0]].data[5_000_000+2_000_000] ^= 1
	r := openMem(t, cfg, c)
	r.drain(t)
	if got := r.out.got(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if n := cap(r.reader.walk.window); n > maxGroup {
		t.Fatalf("a window of %d bytes", n)
	}
}

// TestTornLargeGroup: the time to recover does not grow with the square of the
// events in a torn group, wherever it is torn.
func TestTornLargeGroup(t *testing.T) {
	cfg := small()
	cfg.SegmentBytes, cfg.MaxBytes = 16<<20, 1<<30
	d := newMemDisk(1)
	b := openMem(t, cfg, d)
	b.mustPut(t, event("a", 1))
	b.mustPut(t, make([]Entry, 300_000)...)
	data := d.live[d.names(segmentSuffix)[0]].data
	end := b.writer.seg.end
	for _, n := range []int64{end - 1, end - commitSize, end - commitSize - 10, end / 2} {
		for _, tail := range []int64{0, 1000} {
			c := d.clone()
			c.set(c.names(segmentSuffix)[0], append(slices.Clone(data[:n]), make([]byte, tail)...))
			start := time.Now()
			r := openMem(t, cfg, c)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("recovery took %v", took)
			}
			r.drain(t)
			if got := r.out.got(); !slices.Equal(got, []string{"a"}) {
				t.Fatalf("%d events", len(got))
			}
		}
	}
}
