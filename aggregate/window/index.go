package window

// index finds the places of a slab by hash: open addressing, 8 bytes a slot.
// The slab holds the keys, so the owner compares; the tag only spares most of
// the wrong looks, and says where a slot goes when the index grows. The zero
// index is ready to use.
type index struct {
	slots  []slot
	memory *mapping
	used   int
}

// slot is a place plus one, so that the zero slot is free, and hash bits.
type slot struct{ tag, place uint32 }

// Open addressing by hash: a table has room for that many hashes before it is
// three quarters full. Then it grows by half, so that it is never less than half
// full for long.
const minSlots = 16

// larger returns the size of a table of hashes for used of them.
func larger(size, used int) int {
	for size = max(size, minSlots); 4*used > 3*size; {
		size += size / 2
	}
	return size
}

// homeOf returns where in a table of that size the walk for a hash begins. It
// grows with the hash, so that a table is read and written forward when it grows.
func homeOf(hash uint32, size int) int { return int(uint64(hash) * uint64(size) >> 32) }

// probe is a walk over the places that may hold a key.
type probe struct {
	tag uint32
	at  int
}

// seek begins the walk for hash h.
func (x *index) seek(h uint64) probe {
	tag := uint32(h >> 32)
	return probe{tag: tag, at: homeOf(tag, len(x.slots))}
}

// touch reads the slot at which the walk for h begins, so that it is in the
// cache when it is looked at.
func (x *index) touch(h uint64) uint64 { return uint64(x.first(h).tag) }

// first returns the slot at which the walk for h begins.
func (x *index) first(h uint64) slot {
	if len(x.slots) == 0 {
		return slot{}
	}
	return x.slots[homeOf(uint32(h>>32), len(x.slots))]
}

// next returns the next place that may hold the key, or -1.
func (x *index) next(p *probe) int {
	if len(x.slots) == 0 {
		return -1
	}
	for {
		s := x.slots[p.at]
		if s.place == 0 {
			return -1
		}
		if p.at++; p.at == len(x.slots) {
			p.at = 0
		}
		if s.tag == p.tag {
			return int(s.place - 1)
		}
	}
}

// insert adds a place under hash h.
func (x *index) insert(h uint64, place int) {
	if size := larger(len(x.slots), x.used+1); size > len(x.slots) {
		x.grow(size)
	}
	x.put(slot{tag: uint32(h >> 32), place: uint32(place) + 1})
	x.used++
}

func (x *index) put(s slot) {
	at := homeOf(s.tag, len(x.slots))
	for x.slots[at].place != 0 {
		if at++; at == len(x.slots) {
			at = 0
		}
	}
	x.slots[at] = s
}

func (x *index) grow(size int) {
	old, memory := x.slots, x.memory
	x.slots, x.memory = allocate[slot](size)
	for _, s := range old {
		if s.place != 0 {
			x.put(s)
		}
	}
	memory.free()
}

// reset empties x and keeps its memory.
func (x *index) reset() {
	clear(x.slots)
	x.used = 0
}
