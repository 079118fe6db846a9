package recent

import (
	"fmt"
	"sync"
	"testing"
)

func newCache(t *testing.T, size int) *Cache[int] {
	t.Helper()
	c, err := New[int](size)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSize(t *testing.T) {
	f := func(size, want int) {
		t.Helper()
		if got := newCache(t, size).Cap(); got != want {
			t.Errorf("size %d: cap is %d, want %d", size, got, want)
		}
	}
	f(1, 4)
	f(4, 4)
	f(5, 8)
	f(1000, 1024)
	f(4096, 4096)
	for _, bad := range []int{0, -1, 1<<28 + 1} {
		if _, err := New[int](bad); err == nil {
			t.Errorf("size %d was accepted", bad)
		}
	}
}

func TestGetReturnsWhatWasPut(t *testing.T) {
	c := newCache(t, 1024)
	for i := range 200 {
		_, hash, ok := c.Get(fmt.Append(nil, i))
		if ok {
			t.Fatalf("%d was there before it was put", i)
		}
		c.Put(hash, i)
	}
	for i := range 200 {
		got, _, ok := c.Get(fmt.Append(nil, i))
		if ok && got != i {
			t.Fatalf("%d: got %d", i, got)
		}
	}
}

// An entry that is read between any two misses outlives all of them.
func TestPopularEntriesStay(t *testing.T) {
	c := newCache(t, 64)
	popular := []byte("popular")
	_, hash, _ := c.Get(popular)
	c.Put(hash, -1)
	for i := range 100_000 {
		if _, _, ok := c.Get(popular); !ok {
			t.Fatalf("gone after %d other keys", i)
		}
		_, hash, ok := c.Get(fmt.Append(nil, i))
		if !ok {
			c.Put(hash, i)
		}
	}
	if c.Len() != c.Cap() {
		t.Errorf("%d of %d entries in use", c.Len(), c.Cap())
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newCache(t, 64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				key := i % 300
				got, hash, ok := c.Get(fmt.Append(nil, key))
				if ok && got != key {
					t.Errorf("%d: got %d", key, got)
					return
				}
				if !ok {
					c.Put(hash, key)
				}
			}
		})
	}
	wg.Wait()
	if c.Len() > c.Cap() {
		t.Errorf("%d entries in a cache of %d", c.Len(), c.Cap())
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	c := newCache(t, 64)
	key := []byte("key")
	_, hash, _ := c.Get(key)
	c.Put(hash, 1)
	if n := testing.AllocsPerRun(1000, func() { c.Get(key) }); n != 0 {
		t.Errorf("%v allocations per hit", n)
	}
}
