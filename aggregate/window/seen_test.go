package window

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// The set must agree with a map at every size, through growth, expiry, jumps of
// time and clocks that go back.
func TestSeenAgreesWithAMap(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 11))
		cfg := Defaults()
		cfg.Horizon = []time.Duration{time.Second, 10 * time.Minute, 6 * time.Hour}[seed%3]
		agrees(t, r, newSeen(cfg), uint64(1)<<(10+seed))
	}
}

type remembered struct {
	step    int64
	payload uint16
}

func agrees(t *testing.T, r *rand.Rand, s *seen, ids uint64) {
	t.Helper()
	defer s.close()
	known := make(map[uint64]remembered)
	newest := int64(10_000)
	for range 200_000 {
		switch r.IntN(2000) {
		case 0:
			newest += r.Int64N(400) // everything may expire
		case 1, 2, 3, 4, 5, 6, 7, 8, 9:
			newest++
		}
		s.advance(newest)
		step := newest
		if back := s.keep - s.horizon - 2; back > 0 && r.IntN(10) == 0 {
			step -= r.Int64N(back + 1)
		}
		id, payload := r.Uint64N(ids), uint16(r.IntN(3))
		f := fingerprintOf(proto.ID{Hi: 7, Lo: id}, proto.EventType_EVENT_TYPE_CLICK, true)
		want, ok := known[id]
		ok = ok && want.step >= step-s.horizon
		if last, seen := s.look(f, step); seen != ok || seen && last != want.payload {
			t.Fatalf("id %d at step %d: %v with payload %d, want %v and %+v", id, step, seen, last, ok, want)
		}
		s.note(f, step, payload)
		known[id] = remembered{max(step, known[id].step), payload}
	}
}

// Ids that differ in one bit of id, type or validity are different ids, also if
// they are no hashes.
func TestFingerprintsDiffer(t *testing.T) {
	all := make(map[fingerprint]proto.ID)
	add := func(id proto.ID, typ proto.EventType, valid bool) {
		f := fingerprintOf(id, typ, valid)
		f.b >>= idShift
		if old, ok := all[f]; ok {
			t.Errorf("%x and %x have one fingerprint", id, old)
		}
		all[f] = id
	}
	for _, base := range []proto.ID{{}, {Hi: 0x0123456789abcdef, Lo: 0xfedcba9876543210}} {
		add(base, 1, true)
		for bit := range 64 {
			add(proto.ID{Hi: base.Hi ^ 1<<bit, Lo: base.Lo}, 1, true)
			add(proto.ID{Hi: base.Hi, Lo: base.Lo ^ 1<<bit}, 1, true)
		}
		for typ := proto.EventType(2); typ < 255; typ++ {
			add(base, typ, true)
		}
		add(base, 1, false)
	}
}

// len counts the ids that are kept.
func (s *seen) len() int {
	n := 0
	for i := range s.segments {
		mem := s.segments[i].mem
		for at := range mem {
			for _, e := range mem[at] {
				if e.b != 0 && s.age(&e) <= s.keep {
					n++
				}
			}
		}
	}
	return n
}
