// Package recent remembers the results of a pure function for the keys that
// were asked for recently, in a fixed amount of memory.
package recent

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

const ways = 4

// Cache maps keys to values. A key is kept as 128 bits of hash under seeds that
// no client knows: two keys share an entry once in 2^127 pairs of them, and
// nobody can search for such a pair. Keys themselves are not kept.
//
// Keys fall into sets of four entries. A full set gives up an entry that was
// not used since the clock hand last passed it. Reading takes no lock and does
// not allocate. A Cache may be used by any number of goroutines.
type Cache[V any] struct {
	seedA, seedB maphash.Seed
	mask         uint64
	sets         []set[V]
}

type set[V any] struct {
	entries [ways]atomic.Pointer[entry[V]]
	hand    atomic.Uint32
}

type entry[V any] struct {
	key   Key
	used  atomic.Bool
	value V
}

// Key is the hash of a key, good for the cache that returned it.
type Key struct{ a, b uint64 }

// New returns a cache of at least size entries. An empty one takes 10 bytes an
// entry, a full one those and 24 bytes and the value, rounded up to a size
// class of the allocator.
func New[V any](size int) (*Cache[V], error) {
	if size < 1 || size > 1<<28 {
		return nil, fmt.Errorf("cache of %d entries: must be from 1 to %d", size, 1<<28)
	}
	sets := uint64(1) << bits.Len64(uint64(size-1)/ways)
	return &Cache[V]{
		seedA: maphash.MakeSeed(), seedB: maphash.MakeSeed(),
		mask: sets - 1, sets: make([]set[V], sets),
	}, nil
}

// Get returns what was put for key, and the hash with which to put it. It does
// not keep key.
func (c *Cache[V]) Get(key []byte) (value V, hash Key, ok bool) {
	hash = Key{a: maphash.Bytes(c.seedA, key), b: maphash.Bytes(c.seedB, key)}
	s := &c.sets[hash.a&c.mask]
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.key == hash {
			// Written only when it changes: a popular entry stays shared
			// between the caches of all cores.
			if !e.used.Load() {
				e.used.Store(true)
			}
			return e.value, hash, true
		}
	}
	return value, hash, false
}

// Put remembers value. Two goroutines that put the same key at once may fill
// two entries with it; the older one is given up in time.
func (c *Cache[V]) Put(hash Key, value V) {
	s := &c.sets[hash.a&c.mask]
	fresh := &entry[V]{key: hash, value: value}
	for i := range s.entries {
		if s.entries[i].CompareAndSwap(nil, fresh) {
			return
		}
	}
	// After one round every entry is unused, unless readers are as fast as the
	// hand; then the entry under it goes.
	for range ways {
		e := s.entries[s.hand.Load()%ways].Load()
		if !e.used.Swap(false) {
			break
		}
		s.hand.Add(1)
	}
	s.entries[(s.hand.Add(1)-1)%ways].Store(fresh)
}

// Len returns the number of entries in use.
func (c *Cache[V]) Len() (n int) {
	for i := range c.sets {
		for j := range c.sets[i].entries {
			if c.sets[i].entries[j].Load() != nil {
				n++
			}
		}
	}
	return n
}

// Cap returns the number of entries that the cache can hold.
func (c *Cache[V]) Cap() int { return len(c.sets) * ways }
