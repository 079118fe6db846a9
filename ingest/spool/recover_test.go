package spool

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// threeSegments returns a disk as a kill leaves it: three segments of four groups
// each, the last one still active. ends are the ends of its groups.
func threeSegments(tb testing.TB) (d *memDisk, groups [][]string, ends [][]int64) {
	tb.Helper()
	d = newMemDisk(1)
	b := openMem(tb, small(), d)
	for seg := range 3 {
		ends = append(ends, nil)
		for g := range 4 {
			var entries []Entry
			var names []string
			for e := range g + 1 {
				names = append(names, fmt.Sprintf("s%dg%de%d", seg, g, e))
				entries = append(entries, event(names[e], 3*e+g))
			}
			b.mustPut(tb, entries...)
			groups = append(groups, names)
			ends[seg] = append(ends[seg], b.writer.seg.end)
		}
		if seg < 2 {
			b.seal()
		}
	}
	return d.clone(), groups, ends
}

func recoverAll(tb testing.TB, d *memDisk) *bench {
	tb.Helper()
	b := openMem(tb, small(), d)
	b.drain(tb)
	return b
}

// wholeGroups says how many groups of was are still in b. A CRC may end in zeros.
func wholeGroups(ends []int64, b, was []byte) (n int) {
	for n < len(ends) && int64(len(b)) >= ends[n] && bytes.Equal(b[:ends[n]], was[:ends[n]]) {
		n++
	}
	return n
}

func flat(groups [][]string) []string { return slices.Concat(groups...) }

// TestTruncateLast is row 12 of the fault matrix: the last segment ends at each
// of its bytes. No earlier commit is lost, nothing panics, nothing else appears.
func TestTruncateLast(t *testing.T) {
	d, groups, ends := threeSegments(t)
	last := d.names(segmentSuffix)[2]
	f := func(n int64, b []byte) {
		t.Helper()
		c := d.clone()
		c.set(last, b)
		whole := 8 + wholeGroups(ends[2], b, d.live[last].data)
		r := recoverAll(t, c)
		if got, want := r.out.got(), flat(groups[:whole]); !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got %v, want %v", n, got, want)
		}
		damaged := 0
		if n < headerSize {
			damaged = 1 // a segment has a name only with its header
		}
		if got := r.counter(t, "adtally_spool_damaged_segments_total"); got != damaged {
			t.Fatalf("cut at %d: %d damaged segments, want %d", n, got, damaged)
		}
		// It goes on in a new segment.
		r.mustPut(t, event("new", 1))
		r.drain(t)
		if got := r.out.got(); got[len(got)-1] != "new" {
			t.Fatalf("cut at %d: new event is not drained", n)
		}
	}
	data := d.live[last].data
	for n := range ends[2][3] + 100 {
		f(n, data[:n])
		zeroed := make([]byte, len(data)) // the size was durable, the rest was not
		copy(zeroed, data[:n])
		if n >= headerSize {
			f(n, zeroed)
		}
	}
	f(int64(len(data)), data)
}

// TestBitFlip is row 11: one bit of each byte of the older segments is flipped.
// The segment is kept and reported with what it lost, all other groups drain,
// and no event is drained that is not exactly one that was appended.
func TestBitFlip(t *testing.T) {
	d, groups, ends := threeSegments(t)
	for seg, name := range d.names(segmentSuffix)[:2] {
		data := d.live[name].data
		for at := range ends[seg][3] {
			c := d.clone()
			broken := slices.Clone(data)
			broken[at] ^= 1 << (at % 8)
			c.set(name, broken)

			want, lost := slices.Clone(groups), 0
			for g := range 4 {
				start := int64(headerSize)
				if g > 0 {
					start = ends[seg][g-1]
				}
				salt := at >= 24 && at < 32
				if salt || at >= start && at < ends[seg][g] {
					lost += len(want[4*seg+g])
					want[4*seg+g] = nil
				}
			}
			b := recoverAll(t, c)
			if got := b.out.got(); !slices.Equal(got, flat(want)) {
				t.Fatalf("segment %d, byte %d: got %v, want %v", seg, at, got, flat(want))
			}
			if n := b.counter(t, "adtally_spool_lost_events_total"); n != lost {
				t.Fatalf("segment %d, byte %d: %d events reported lost, want %d", seg, at, n, lost)
			}
			if b.counter(t, "adtally_spool_damaged_segments_total") != 1 || len(c.names(damagedSuffix)) != 1 || b.Stats().Damaged != 1 {
				t.Fatalf("segment %d, byte %d: the damaged segment is not kept", seg, at)
			}
			if !slices.Equal(c.live[c.names(damagedSuffix)[0]].data, broken) {
				t.Fatalf("segment %d, byte %d: the damaged segment is not kept as it was", seg, at)
			}
		}
	}
}

// TestOlderCut is row 11 for other damage: an older segment is shorter than it
// was, at each byte, or zeros from there on. Without the next header a cut
// between two groups would not show.
func TestOlderCut(t *testing.T) {
	d, groups, ends := threeSegments(t)
	name := d.names(segmentSuffix)[1]
	data := d.live[name].data
	for n := int64(headerSize); n < ends[1][3]; n++ {
		for _, tail := range []int64{0, int64(len(data)) - n} {
			c := d.clone()
			c.set(name, append(slices.Clone(data[:n]), make([]byte, tail)...))
			whole := wholeGroups(ends[1], c.live[name].data, data)
			if whole == 4 {
				continue // the bytes were zeros before
			}
			want := slices.Concat(groups[:4], groups[4:4+whole], groups[8:])
			lost := len(flat(groups)) - len(flat(want))
			b := recoverAll(t, c)
			if got := b.out.got(); !slices.Equal(got, flat(want)) {
				t.Fatalf("cut at %d: got %v, want %v", n, got, flat(want))
			}
			if got := b.counter(t, "adtally_spool_lost_events_total"); got != lost || b.Stats().Damaged != 1 {
				t.Fatalf("cut at %d: %d lost in %d damaged segments, want %d in 1", n, got, b.Stats().Damaged, lost)
			}
		}
	}
}

// TestDamageInLast: a broken group with a whole one behind it was not torn by a
// crash. It is reported, not cut off.
func TestDamageInLast(t *testing.T) {
	d, groups, ends := threeSegments(t)
	name := d.names(segmentSuffix)[2]
	d.live[name].data[ends[2][1]+30] ^= 4
	b := recoverAll(t, d)
	want := slices.Concat(groups[:10], groups[11:])
	if got := b.out.got(); !slices.Equal(got, flat(want)) {
		t.Fatalf("got %v, want %v", got, flat(want))
	}
	if got := b.counter(t, "adtally_spool_lost_events_total"); got != 3 || b.Stats().Damaged != 1 {
		t.Fatalf("%d lost in %d damaged segments, want 3 in 1", got, b.Stats().Damaged)
	}
}

// TestMissingSegment: a segment between two others is gone.
func TestMissingSegment(t *testing.T) {
	d, groups, _ := threeSegments(t)
	delete(d.live, d.names(segmentSuffix)[1])
	b := recoverAll(t, d)
	if got, want := b.out.got(), flat(slices.Concat(groups[:4], groups[8:])); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if b.counter(t, "adtally_spool_damaged_segments_total") != 1 {
		t.Fatal("the missing segment is not reported")
	}
}

// TestForgedFrames: an event whose bytes are frames is not taken for frames,
// although the search for a whole group comes across it. With the salt, which
// no client knows, it would be.
func TestForgedFrames(t *testing.T) {
	f := func(know uint64, want ...string) {
		t.Helper()
		d := newMemDisk(1)
		b := openMem(t, small(), d)
		b.mustPut(t, event("a", 10))
		start := b.writer.seg.end
		k := key{headSeed(b.salt + know), b.writer.seg.seq}
		e := event("forged", 5)
		b.mustPut(t, Entry{Data: k.appendCommit(appendEntry(nil, &e, time.Now().UnixMicro(), k.head), start+headSize, 1, 1)})
		d.live[d.names(segmentSuffix)[0]].data[start] ^= 1 // the true head
		if got := recoverAll(t, d.clone()).out.got(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(1, "a")
	f(0, "a", "forged")
}

// TestUnknownVersion: a spool of a later version is refused and left as it is.
func TestUnknownVersion(t *testing.T) {
	d, _, _ := threeSegments(t)
	name := d.names(segmentSuffix)[1]
	order.PutUint32(d.live[name].data[8:], version+1)
	order.PutUint32(d.live[name].data[12:], headerCRC(d.live[name].data))
	d.set("7"+spareSuffix, []byte("left"))
	before := d.clone()
	_, err := tryOpen(small(), d)
	wantErr(t, err, ErrVersion)
	if !strings.Contains(err.Error(), name) {
		t.Errorf("error %q does not name the segment", err)
	}
	same := func(a, b *memFile) bool { return slices.Equal(a.data, b.data) }
	if !maps.EqualFunc(before.live, d.live, same) {
		t.Error("the directory changed")
	}
	if d.held {
		t.Error("the directory is still locked")
	}
}

// TestLeftovers: what a kill leaves half made is removed and hinders nothing.
func TestLeftovers(t *testing.T) {
	d, groups, _ := threeSegments(t)
	d.set("1"+spareSuffix, make([]byte, 4096))
	d.set(cursorTemp, []byte("half"))
	d.set("README", []byte("not ours"))
	b := recoverAll(t, d)
	b.mustPut(t, event("new", 1))
	b.drain(t)
	if got, want := b.out.got(), append(flat(groups), "new"); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	got := slices.Sorted(maps.Keys(d.live))
	if want := []string{"README", cursorName}; !slices.Equal(got, want) {
		t.Fatalf("files %v, want %v", got, want)
	}
}

// TestUnreadable: a segment that cannot be read holds up only itself. When Open
// could read it and the drain cannot, its losses are counted then.
func TestUnreadable(t *testing.T) {
	for _, atOpen := range []bool{true, false} {
		for _, op := range []string{"open", "read"} {
			d, groups, _ := threeSegments(t)
			bad := d.names(segmentSuffix)[1]
			fault := func(o, name string) error {
				if o == op && name == bad {
					return syscall.EIO
				}
				return nil
			}
			if atOpen {
				d.fault = fault
			}
			b := openMem(t, small(), d)
			d.fault = fault
			for range 100 {
				if out, _ := b.reader.step(t.Context(), b.out); out == empty {
					break
				}
			}
			want := flat(slices.Concat(groups[:4], groups[8:]))
			if got := b.out.got(); !slices.Equal(got, want) {
				t.Fatalf("%s at open %v: got %v, want %v", op, atOpen, got, want)
			}
			lost := len(flat(groups[4:8]))
			if got := b.counter(t, "adtally_spool_lost_events_total"); got != lost || b.Stats().Damaged != 1 {
				t.Fatalf("%s at open %v: %d lost in %d segments, want %d in 1", op, atOpen, got, b.Stats().Damaged, lost)
			}
			if st := b.Stats(); st.Events != 0 || st.Segments != 0 {
				t.Fatalf("left: %+v", st)
			}
		}
	}
}

// TestCursor is the loss of the cursor: missing, cut or flipped at each byte, it
// costs duplicates only. A good one costs none.
func TestCursor(t *testing.T) {
	d, groups, ends := threeSegments(t)
	b := openMem(t, small(), d)
	for _, end := range ends[0][:2] { // so that the cursor is inside a segment
		if err := b.reader.open(b.segments[0], end); err != nil {
			t.Fatal(err)
		}
		if err := b.reader.batch(t.Context(), b.out, end); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.out.got(); !slices.Equal(got, flat(groups[:2])) {
		t.Fatalf("first drain got %v", got)
	}
	cur := slices.Clone(d.live[cursorName].data)
	f := func(cursor []byte, want [][]string) {
		t.Helper()
		c := d.clone()
		c.set(cursorName, cursor)
		if cursor == nil {
			delete(c.live, cursorName)
		}
		r := openMem(t, small(), c)
		if got := r.Stats().Events; got != int64(len(flat(want))) {
			t.Fatalf("%d events pending, want %d", got, len(flat(want)))
		}
		r.drain(t)
		if got := r.out.got(); !slices.Equal(got, flat(want)) {
			t.Fatalf("got %v, want %v", got, flat(want))
		}
	}
	f(cur, groups[2:])
	f(nil, groups)
	for i := range cur {
		f(cur[:i], groups)
		broken := slices.Clone(cur)
		broken[i] ^= 1 << (i % 8)
		f(broken, groups)
	}
	// One that is whole but points between two groups.
	c, err := parseCursor(cur)
	if err != nil {
		t.Fatal(err)
	}
	c.off += 3
	f(c.encode(), groups)
	c.off, c.salt = c.off-3, c.salt+1 // of another segment with this number
	f(c.encode(), groups)
}

// TestAge is row 14: what is older than MaxAge goes to the side, after a restart
// and in one batch with younger events.
func TestAge(t *testing.T) {
	d := newMemDisk(1)
	b := openMem(t, small(), d)
	now := time.Now()
	b.putAt(now.Add(-4*time.Hour), []Entry{event("old1", 1), event("old2", 1)})
	b.putAt(now.Add(-100*time.Minute), []Entry{event("old3", 1)})
	b.putAt(now.Add(-80*time.Minute), []Entry{event("new1", 1)})
	b.putAt(now.Add(-2*time.Hour), []Entry{event("old4", 1)}) // the clock was set back
	b.putAt(now.Add(time.Hour), []Entry{event("new2", 1)})    // and forward
	r := openMem(t, small(), d.clone())
	if age := r.Stats().Age; age < 4*time.Hour || age > 5*time.Hour {
		t.Errorf("age is %v", age)
	}
	r.drain(t)
	if got, want := r.out.got(), []string{"new1", "new2"}; !slices.Equal(got, want) {
		t.Errorf("produced %v, want %v", got, want)
	}
	if got, want := ids(r.out.side), []string{"old1", "old2", "old3", "old4"}; !slices.Equal(got, want) {
		t.Errorf("side got %v, want %v", got, want)
	}
	if n, m := r.counter(t, "adtally_spool_side_events_total"), r.counter(t, "adtally_spool_drained_events_total"); n != 4 || m != 2 {
		t.Errorf("counted %d to the side and %d drained", n, m)
	}
	if got := r.out.side[0].At; got.Sub(now.Add(-4*time.Hour)).Abs() > time.Microsecond {
		t.Errorf("appended at %v", got)
	}
}
