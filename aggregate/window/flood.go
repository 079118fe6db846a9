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
	if n := len(f.buckets); n > 0 { // likely as many as in the bucket before
		b.tuples.reserve(f.buckets[n-1].tuples.used)
	}
	f.buckets = append(f.buckets, b)
	return b
}

// touch reads the place of a tuple, so that it is in the cache when it is looked
// at.
func (f *flood) touch(number int64, tuple uint64) uint64 {
	if n := len(f.buckets); n > 0 && f.buckets[n-1].number == number {
		if slots := f.buckets[n-1].tuples.slots; len(slots) > 0 {
			return slots[homeOf(uint32(tuple>>32), len(slots))]
		}
	}
	return 0
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
	slots  []uint64
	memory *mapping
	used   int
}

func (s *set) has(h uint64) bool {
	if len(s.slots) == 0 {
		return false
	}
	h = max(h, 1) // 0 is a free slot
	for at := homeOf(uint32(h>>32), len(s.slots)); s.slots[at] != 0; {
		if s.slots[at] == h {
			return true
		}
		if at++; at == len(s.slots) {
			at = 0
		}
	}
	return false
}

// reserve makes room for n hashes.
func (s *set) reserve(n int) {
	size := larger(len(s.slots), n)
	if size == len(s.slots) {
		return
	}
	old, memory := s.slots, s.memory
	s.slots, s.memory = allocate[uint64](size)
	for _, h := range old {
		if h != 0 {
			s.put(h)
		}
	}
	memory.free()
}

// add adds a hash that s does not have.
func (s *set) add(h uint64) {
	s.reserve(s.used + 1)
	s.put(max(h, 1))
	s.used++
}

func (s *set) put(h uint64) {
	at := homeOf(uint32(h>>32), len(s.slots))
	for s.slots[at] != 0 {
		if at++; at == len(s.slots) {
			at = 0
		}
	}
	s.slots[at] = h
}
