package window

import "slices"

// Other stands for the texts of tuples beyond the limit of their advertiser.
const Other = "__other__"

// flood admits tuples of dimensions: of each advertiser the first limit ones of
// a bucket of broker time. That is a function of the bucket's records before,
// so a restart admits the same.
type flood struct {
	limit  uint32
	length int64 // milliseconds
	// buckets are those that a record may still fall into; mostly one.
	buckets []*bucket
}

type bucket struct {
	number      int64
	tuples      set
	advertisers map[uint64]uint32
}

func newFlood(cfg Config) *flood {
	return &flood{limit: uint32(min(cfg.MaxTuples, 1<<31)), length: cfg.bucketMillis()}
}

// admit reports whether a tuple of the advertiser counts under its own name.
func (f *flood) admit(number int64, advertiser, tuple uint64) bool {
	b := f.bucket(number)
	if b.tuples.has(tuple) {
		return true
	}
	n := b.advertisers[advertiser]
	if n >= f.limit {
		return false
	}
	b.advertisers[advertiser] = n + 1
	b.tuples.add(tuple)
	return true
}

func (f *flood) bucket(number int64) *bucket {
	for _, b := range slices.Backward(f.buckets) {
		if b.number == number {
			return b
		}
	}
	b := &bucket{number: number, advertisers: make(map[uint64]uint32)}
	f.buckets = append(f.buckets, b)
	return b
}

// advance forgets the buckets that ended before the skew of lat.
func (f *flood) advance(lat int64) {
	kept := f.buckets[:0]
	for _, b := range f.buckets {
		if (b.number+1)*f.length > lat-skewMillis {
			kept = append(kept, b)
		}
	}
	clear(f.buckets[len(kept):])
	f.buckets = kept
}

// set is a set of hashes: open addressing, 8 bytes a slot. The zero set is ready
// to use.
type set struct {
	slots []uint64
	used  int
}

func (s *set) has(h uint64) bool {
	if len(s.slots) == 0 {
		return false
	}
	h = max(h, 1) // 0 is a free slot
	mask := uint64(len(s.slots) - 1)
	for at := h; s.slots[at&mask] != 0; at++ {
		if s.slots[at&mask] == h {
			return true
		}
	}
	return false
}

// add adds a hash that s does not have.
func (s *set) add(h uint64) {
	if 4*(s.used+1) > 3*len(s.slots) {
		old := s.slots
		s.slots = make([]uint64, max(2*len(old), minSlots))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
	s.put(max(h, 1))
	s.used++
}

func (s *set) put(h uint64) {
	mask := uint64(len(s.slots) - 1)
	at := h
	for s.slots[at&mask] != 0 {
		at++
	}
	s.slots[at&mask] = h
}
