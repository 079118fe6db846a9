package window

import (
	"math"
	"math/bits"
	"slices"

	"github.com/adtally/adtally/proto"
)

// never is the time of what has not been seen.
const never = math.MinInt64

// seen remembers the ids of the last horizon, counted in whole steps, in 16
// bytes each: an exact set with the latest step of each id and a fingerprint of
// its last payload. Ids are kept a little longer than they can matter; what
// decides is the step.
//
// The set is 64 segments by hash, so that growing one needs little memory beside
// it. A segment is open addressing over lines of four entries in
// the order of the hash. An entry that has expired is overwritten by the next
// one that comes by; it is never emptied, as walks go on until an empty entry.
type seen struct {
	horizon, keep int64 // in steps: how long ids matter, how long they are kept
	newest        int64 // step
	base          int64 // newest, modulo stampCycle
	// expired says which stamps may be overwritten: the empty one and those of
	// entries that no longer matter.
	expired  [1 << stampBits]bool
	segments [segments]segment
	// swept is the segment whose expired entries were marked last.
	swept int
	// spare is an empty table: the next segment that grows moves into it and
	// leaves its own.
	spare table
	// filled is how many entries each line of a table has that is being filled.
	filled []uint8
}

// entry is an id that was seen: 104 bits of its fingerprint, of which the
// segment has 6 more; 16 bits of payload; and the step, modulo 254, plus one.
type entry struct{ a, b uint64 }

// line is a cache line of entries. They fill from the left.
type line [lineEntries]entry

const (
	segments    = 64
	lineEntries = 4 // a cache line
	stampBits   = 8
	payloadBits = 16
	idShift     = stampBits + payloadBits
	stampCycle  = 254
	dead        = 255 // the stamp of an entry that expired long ago
)

// fingerprint is a mixed id. Two ids in one segment are one if a and the bits of
// b from idShift on agree; among a billion ids that happens to some pair with a
// chance of 4 in 10^16.
type fingerprint struct {
	a, b    uint64
	segment uint32
}

// segment is a part of the set.
type segment struct {
	table
	lines uint32 // in use of mem
	used  int    // entries that are not empty
}

// table is memory for lines; those that are not in use are empty.
type table struct {
	mem    []line
	memory *mapping
}

func newTable(n int) (t table) {
	t.mem, t.memory = allocate[line](n)
	return t
}

func newSeen(cfg Config) *seen {
	horizon := cfg.horizonSteps()
	return &seen{horizon: horizon, keep: horizon + skewMillis/cfg.stepMillis() + 2, newest: never}
}

// fingerprintOf mixes id, type and validity: an id that was seen valid and
// invalid has two entries. Each line is a bijection of 128 bits, so that ids
// which are no hashes are spread as well.
func fingerprintOf(id proto.ID, typ proto.EventType, valid bool) fingerprint {
	kind := uint64(typ) << 1
	if valid {
		kind |= 1
	}
	lo := (id.Lo ^ kind*secret0) * secret1
	hi := (id.Hi ^ bits.RotateLeft64(lo, 32)) * secret3
	lo ^= bits.RotateLeft64(hi, 32)
	hi ^= lo * secret2 >> 7
	return fingerprint{a: lo, b: hi << idShift, segment: uint32(hi >> (64 - 6))}
}

// home is the line at which the walk for a fingerprint begins.
func (g *segment) home(a uint64) uint32 {
	return uint32(a >> 32 * uint64(g.lines) >> 32)
}

// touch reads the lines of a fingerprint, so that they are in the cache when they
// are looked at. Most walks end in the first two.
func (s *seen) touch(f fingerprint) uint64 {
	g := &s.segments[f.segment]
	if g.lines == 0 {
		return 0
	}
	at := int(g.home(f.a))
	return g.mem[at][0].a + g.mem[min(at+1, len(g.mem)-1)][0].a
}

// find returns the entry of f, or where it may be put: an expired entry on the
// way or the first empty one at its end.
func (s *seen) find(f fingerprint) (e *entry, known bool) {
	g := &s.segments[f.segment]
	if g.lines == 0 {
		return nil, false
	}
	home := g.home(f.a)
	at := home
	for {
		l := &g.mem[at]
		if l[0].a == f.a || l[1].a == f.a || l[2].a == f.a || l[3].a == f.a {
			for i := range l {
				if l[i].a == f.a && l[i].b>>idShift == f.b>>idShift && l[i].b != 0 {
					return &l[i], true
				}
			}
		}
		if l[lineEntries-1].b == 0 { // lines are never emptied
			break
		}
		if at++; at == g.lines {
			at = 0
		}
	}
	return s.free(g, home, at), false
}

// free returns the first entry from the line home to last that has expired or is
// empty.
func (s *seen) free(g *segment, home, last uint32) *entry {
	for at := home; ; {
		l := &g.mem[at]
		for i := range l {
			if s.expired[uint8(l[i].b)] {
				return &l[i]
			}
		}
		if at == last {
			panic("BUG: the walk ended at a full line")
		}
		if at++; at == g.lines {
			at = 0
		}
	}
}

// age is how many steps e lies back.
func (s *seen) age(e *entry) int64 {
	stamp := int64(uint8(e.b))
	if stamp == dead {
		return math.MaxInt64
	}
	age := s.base - (stamp - 1)
	if age < 0 {
		age += stampCycle
	}
	return age
}

func mod(step int64) int64 {
	m := step % stampCycle
	if m < 0 {
		m += stampCycle
	}
	return m
}

// look returns the payload of f if it was seen within the horizon before step.
func (s *seen) look(f fingerprint, step int64) (payload uint16, ok bool) {
	e, known := s.find(f)
	if !known || s.age(e) > s.newest-step+s.horizon {
		return 0, false
	}
	return uint16(e.b >> stampBits), true
}

// note remembers f at step with its payload, and returns what look would have.
func (s *seen) note(f fingerprint, step int64, payload uint16) (last uint16, ok bool) {
	e, known := s.find(f)
	if known {
		age := s.age(e)
		last, ok = uint16(e.b>>stampBits), age <= s.newest-step+s.horizon
		if age < s.newest-step { // the broker's clock went back
			step = s.newest - age
		}
	} else {
		e = s.room(f, e)
		e.a = f.a
	}
	e.b = f.b | uint64(payload)<<stampBits | uint64(mod(step)+1)
	return last, ok
}

// record notes a record and reports whether it is a duplicate, and if so,
// whether it has another payload than the record that it repeats. valid is the
// fingerprint of its id as a valid record; an invalid one has a second.
func (s *seen) record(valid fingerprint, e *event, step int64, payload uint16) (duplicate, synthetic bool) {
	if e.flags == 0 {
		last, known := s.note(valid, step, payload)
		return known, known && last != payload
	}
	last, known := s.look(valid, step)
	if earlier, also := s.note(fingerprintOf(e.id, e.typ, false), step, payload); !known {
		last, known = earlier, also
	}
	return known, known && last != payload
}

// impression reports whether the impression was seen within the horizon before
// step, valid or not.
func (s *seen) impression(id proto.ID, step int64) bool {
	if _, ok := s.look(fingerprintOf(id, proto.EventType_EVENT_TYPE_IMPRESSION, true), step); ok {
		return true
	}
	_, ok := s.look(fingerprintOf(id, proto.EventType_EVENT_TYPE_IMPRESSION, false), step)
	return ok
}

// room returns e, where f may be put, or a place in the segment once it has
// grown.
func (s *seen) room(f fingerprint, e *entry) *entry {
	g := &s.segments[f.segment]
	if e != nil && e.b != 0 {
		return e // an expired one
	}
	if 100*(g.used+1) > fullest*int(g.lines)*lineEntries {
		s.rebuild(g)
		e, _ = s.find(f)
	}
	g.used++
	return e
}

// A segment that is fullest percent full is rebuilt so that it is roomy percent
// full: closer together, ids would take less memory and move more often.
const (
	fullest  = 94
	roomy    = 82
	minLines = 4
)

// rebuild drops what has expired and moves the rest into the spare table. It
// lies nearly in the order of its homes, so reading and writing go forward.
func (s *seen) rebuild(g *segment) {
	old := g.mem[:g.lines]
	g.used = s.kept(old)
	g.lines = uint32(max((g.used+1)*100/(roomy*lineEntries)+1, minLines))
	if len(s.spare.mem) < int(g.lines) {
		s.spare.memory.free()
		s.spare = newTable(2 * int(g.lines))
	}
	g.table, s.spare = s.spare, g.table
	s.fill(g, old)
	clear(old)
}

// kept counts the entries that have not expired.
func (s *seen) kept(lines []line) (n int) {
	for i := range lines {
		for _, e := range lines[i] {
			if !s.expired[uint8(e.b)] {
				n++
			}
		}
	}
	return n
}

// fill puts the entries of old that have not expired into the empty segment g.
func (s *seen) fill(g *segment, old []line) {
	s.filled = slices.Grow(s.filled[:0], int(g.lines))[:g.lines]
	clear(s.filled)
	for i := range old {
		for _, e := range old[i] {
			if s.expired[uint8(e.b)] {
				continue
			}
			at := g.home(e.a)
			for s.filled[at] == lineEntries {
				if at++; at == g.lines {
					at = 0
				}
			}
			g.mem[at][s.filled[at]] = e
			s.filled[at]++
		}
	}
}

// advance moves time to step.
func (s *seen) advance(step int64) {
	if step <= s.newest {
		return
	}
	if s.newest != never {
		passed := step - s.newest
		for range min(passed, segments) {
			s.swept = (s.swept + 1) % segments
			s.sweep(&s.segments[s.swept], passed)
		}
	}
	s.newest, s.base = step, mod(step)
	for stamp := range s.expired {
		s.expired[stamp] = stamp == 0 || s.age(&entry{b: uint64(stamp)}) > s.keep
	}
}

// sweep marks what expires before its stamp would come round again: every
// segment is swept once in 64 steps, and no id is kept for more than 190.
func (s *seen) sweep(g *segment, passed int64) {
	lines := g.mem[:g.lines]
	for i := range lines {
		for j := range lines[i] {
			if e := &lines[i][j]; e.b != 0 && s.age(e) > s.keep-passed {
				e.b = e.b&^(1<<stampBits-1) | dead
			}
		}
	}
}

// close gives the memory back.
func (s *seen) close() {
	for i := range s.segments {
		s.segments[i].memory.free()
		s.segments[i] = segment{}
	}
	s.spare.memory.free()
	s.spare = table{}
}
