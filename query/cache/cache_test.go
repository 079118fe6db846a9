package cache

import (
	"bytes"
	"strconv"
	"testing"
)

func TestCacheIsBounded(t *testing.T) {
	c := New(64 << 10)
	for i := range 1000 {
		c.Put(NewKey(strconv.Itoa(i)), &Entry{Body: bytes.Repeat([]byte{byte(i)}, i%5000)})
		if c.Bytes() > 64<<10 {
			t.Fatalf("%d bytes after %d entries", c.Bytes(), i)
		}
	}
	if e := c.Get(NewKey("999")); e == nil || len(e.Body) != 999 {
		t.Errorf("the last entry: %v", e)
	}
	if c.Get(NewKey("0")) != nil {
		t.Error("the first entry is still there")
	}
	c.Put(NewKey("999"), &Entry{Body: []byte("x")})
	if e := c.Get(NewKey("999")); len(e.Body) != 1 {
		t.Error("an entry is not replaced")
	}
	c.Put(NewKey("large"), &Entry{Body: make([]byte, 9<<10)})
	if c.Get(NewKey("large")) != nil {
		t.Error("an answer that is too large is kept")
	}
	none := New(0)
	none.Put(NewKey("a"), &Entry{})
	none.Put(NewKey("b"), &Entry{Body: []byte("b")})
	if none.Bytes() > overhead || none.Get(NewKey("b")) != nil {
		t.Error("a cache of no bytes keeps something")
	}
}

func TestKeysDoNotRunIntoEachOther(t *testing.T) {
	seen := map[Key]bool{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"a", "b"}, {"ab"}, {"ab", ""}, {"", "ab"}} {
		key := NewKey(parts...)
		if seen[key] || seen[NewKey(append(parts, "x")...)] {
			t.Errorf("%q has the key of another list", parts)
		}
		seen[key] = true
	}
}
