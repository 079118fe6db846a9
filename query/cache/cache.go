// Package cache keeps whole answers, bounded by their bytes. Whoever makes a key
// puts the tenant, the request and the version of the books into it.
package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Key names an answer. Keys of different tenants never agree.
type Key [sha256.Size]byte

// NewKey hashes the parts, each with its length, so that no two lists of parts
// read alike.
func NewKey(parts ...string) Key {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		for i := range length {
			length[i] = byte(len(part) >> (8 * i))
		}
		_, _ = h.Write(length[:]) // a hash takes all
		_, _ = h.Write([]byte(part))
	}
	return Key(h.Sum(nil))
}

// ETag is the key as HTTP shows it.
func (k Key) ETag() string {
	return `"` + base64.RawURLEncoding.EncodeToString(k[:18]) + `"`
}

// Entry is one answer. Nobody changes it.
type Entry struct {
	// Header are the headers that belong to the body.
	Header http.Header
	// Body is the answer as it was sent.
	Body []byte
}

// Cache is safe for concurrent use.
type Cache struct {
	most int

	mu    sync.Mutex
	lru   *simplelru.LRU[Key, *Entry]
	bytes int
}

// overhead is what an entry costs beside its body.
const overhead = 1024

// New returns a Cache of at most so many bytes; 0 keeps nothing.
func New(most int) *Cache {
	c := &Cache{most: most}
	lru, err := simplelru.NewLRU(1+most/overhead, func(_ Key, e *Entry) { c.bytes -= len(e.Body) + overhead })
	if err != nil {
		panic("BUG: a cache of positive size: " + err.Error())
	}
	c.lru = lru
	return c
}

// Most is how large a body may be to be kept: one answer takes an eighth at most.
func (c *Cache) Most() int { return c.most / 8 }

// Get returns an answer, or nil.
func (c *Cache) Get(key Key) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, _ := c.lru.Get(key)
	return e
}

// Put keeps an answer, and lets those go that were not asked for longest.
func (c *Cache) Put(key Key, e *Entry) {
	if len(e.Body) > c.Most() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(key)
	c.bytes += len(e.Body) + overhead
	c.lru.Add(key, e)
	for c.bytes > c.most {
		c.lru.RemoveOldest()
	}
}

// Bytes is what the cache holds.
func (c *Cache) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
