package ingest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	tenantShards = 64
	// maxTenants bounds the buckets; an idle bucket gives its place up.
	maxTenants   = 1 << 16
	shardTenants = maxTenants / tenantShards
	sweepEvery   = int64(time.Second)
)

// bucket admits events at a steady rate and in bursts. It is one number, the
// time at which it will be as good as new (the generic cell rate algorithm of
// ATM Forum Traffic Management 4.0), so it needs no lock.
type bucket struct{ idle atomic.Int64 } // in unix nanoseconds

// take takes what costs the rate cost nanoseconds, or returns how long to wait.
func (b *bucket) take(now, cost, burst int64) (wait int64) {
	for {
		idle := b.idle.Load()
		next := max(idle, now) + cost
		if over := next - now - burst; over > 0 {
			return over
		}
		if b.idle.CompareAndSwap(idle, next) {
			return 0
		}
	}
}

// tenants holds the bucket of every advertiser that sent events lately. When
// there are more of them than buckets, those without one share.
type tenants struct {
	interval, burst int64 // nanoseconds an event, and of events at once
	shards          [tenantShards]tenantShard
}

type tenantShard struct {
	mu     sync.RWMutex
	byID   map[uint64]*bucket
	shared bucket
	swept  int64
}

func newTenants(rate, burst int) *tenants {
	t := &tenants{interval: max(int64(time.Second)/int64(rate), 1)}
	t.burst = t.interval * int64(burst)
	for i := range t.shards {
		t.shards[i].byID = make(map[uint64]*bucket)
	}
	return t
}

// bucket returns the bucket of an advertiser.
func (t *tenants) bucket(advertiser uint64, now int64) *bucket {
	// The high bits of a product with the golden ratio: ids that follow each
	// other fall into different shards.
	sh := &t.shards[advertiser*0x9e3779b97f4a7c15>>58]
	sh.mu.RLock()
	b := sh.byID[advertiser]
	sh.mu.RUnlock()
	if b != nil {
		return b
	}
	return sh.make(advertiser, now)
}

func (sh *tenantShard) make(advertiser uint64, now int64) *bucket {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b := sh.byID[advertiser]; b != nil {
		return b
	}
	if len(sh.byID) >= shardTenants && now-sh.swept >= sweepEvery {
		sh.swept = now
		for id, b := range sh.byID {
			if b.idle.Load() <= now {
				delete(sh.byID, id)
			}
		}
	}
	if len(sh.byID) >= shardTenants {
		return &sh.shared
	}
	b := new(bucket)
	sh.byID[advertiser] = b
	return b
}

func (t *tenants) len() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		n += len(sh.byID)
		sh.mu.RUnlock()
	}
	return n
}

// charge is how many events of a request one advertiser has.
type charge struct {
	advertiser uint64
	events     int64
	bucket     *bucket
}

// charge notes an event of an advertiser. Most requests have those of one.
func (sc *scratch) charge(advertiser uint64) {
	for i := range sc.charges {
		if c := &sc.charges[i]; c.advertiser == advertiser {
			c.events++
			return
		}
	}
	sc.charges = append(sc.charges, charge{advertiser: advertiser, events: 1})
}

// admit takes the events of a request from the buckets of their advertisers:
// all of them, or none, and then it returns how long to wait.
func (s *Server) admit(sc *scratch) time.Duration {
	t := s.tenants
	if t == nil {
		return 0
	}
	now := sc.visit.now.UnixNano()
	for i := range sc.charges {
		c := &sc.charges[i]
		c.bucket = t.bucket(c.advertiser, now)
		wait := c.bucket.take(now, c.events*t.interval, t.burst)
		if wait == 0 {
			continue
		}
		for _, paid := range sc.charges[:i] {
			paid.bucket.idle.Add(-paid.events * t.interval)
		}
		return time.Duration(wait)
	}
	return 0
}

// refuseLimited says when to come back, in whole seconds.
func (s *Server) refuseLimited(ctx *fasthttp.RequestCtx, wait time.Duration) {
	s.refuse(ctx, errLimited)
	seconds := int((wait + time.Second - 1) / time.Second)
	ctx.Response.Header.SetBytesV("Retry-After", fasthttp.AppendUint(nil, seconds))
}
