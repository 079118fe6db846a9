package window

// index finds the places of a slab by hash: open addressing, 8 bytes a slot.
// The slab holds the keys, so the owner compares; the tag only spares most of
// the wrong looks, and says where a slot goes when the index grows. The zero
// index is ready to use.
type index struct {
	slots []slot
	used  int
}

// slot is a place plus one, so that the zero slot is free, and hash bits.
type slot struct{ tag, place uint32 }

const minSlots = 16

// probe is a walk over the places that may hold a key.
type probe struct{ tag, at uint32 }

// seek begins the walk for hash h.
func (x *index) seek(h uint64) probe {
	tag := uint32(h >> 32)
	return probe{tag: tag, at: tag}
}

// touch reads the slot at which the walk for h begins, so that it is in the
// cache when it is looked at.
func (x *index) touch(h uint64) uint64 { return uint64(x.first(h).tag) }

// first returns the slot at which the walk for h begins.
func (x *index) first(h uint64) slot {
	if len(x.slots) == 0 {
		return slot{}
	}
	return x.slots[uint32(h>>32)&uint32(len(x.slots)-1)]
}

// next returns the next place that may hold the key, or -1.
func (x *index) next(p *probe) int {
	if len(x.slots) == 0 {
		return -1
	}
	mask := uint32(len(x.slots) - 1)
	for {
		s := x.slots[p.at&mask]
		if s.place == 0 {
			return -1
		}
		p.at++
		if s.tag == p.tag {
			return int(s.place - 1)
		}
	}
}

// insert adds a place under hash h.
func (x *index) insert(h uint64, place int) {
	if 4*(x.used+1) > 3*len(x.slots) {
		x.grow()
	}
	x.put(slot{tag: uint32(h >> 32), place: uint32(place) + 1})
	x.used++
}

func (x *index) put(s slot) {
	mask := uint32(len(x.slots) - 1)
	at := s.tag
	for x.slots[at&mask].place != 0 {
		at++
	}
	x.slots[at&mask] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, max(2*len(old), minSlots))
	for _, s := range old {
		if s.place != 0 {
			x.put(s)
		}
	}
}

// reset empties x and keeps its memory.
func (x *index) reset() {
	clear(x.slots)
	x.used = 0
}
