package ingest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/testkit/wait"
	"github.com/adtally/adtally/proto"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	var b bucket
	const interval, burst = 10, 50 // five at once, then one every 10
	now := int64(1000)
	for i := range 5 {
		if wait := b.take(now, interval, burst); wait != 0 {
			t.Fatalf("event %d waits %d", i, wait)
		}
	}
	if wait := b.take(now, interval, burst); wait != 10 {
		t.Errorf("the sixth waits %d, want 10", wait)
	}
	if wait := b.take(now+10, interval, burst); wait != 0 {
		t.Errorf("after the wait it waits %d", wait)
	}
	if wait := b.take(now+10, 3*interval, burst); wait != 30 {
		t.Errorf("three wait %d, want 30", wait)
	}
	if wait := b.take(now+1_000_000, 5*interval, burst); wait != 0 {
		t.Errorf("a rested bucket waits %d", wait)
	}
}

func TestBucketInParallel(t *testing.T) {
	t.Parallel()
	var b bucket
	var wg sync.WaitGroup
	taken := make([]int, 8)
	for w := range taken {
		wg.Go(func() {
			for range 1000 {
				if b.take(1, 1, 500) == 0 {
					taken[w]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range taken {
		sum += n
	}
	if sum != 500 {
		t.Errorf("%d taken of 500", sum)
	}
}

func TestTenantsAreBounded(t *testing.T) {
	t.Parallel()
	tn := newTenants(10, 20)
	const now = int64(1_000_000_000_000)
	for id := range uint64(3 * maxTenants) {
		tn.bucket(id, now).take(now, tn.interval, tn.burst)
	}
	if n := tn.len(); n > maxTenants {
		t.Errorf("%d buckets, want at most %d", n, maxTenants)
	}
	// A tenant that has one keeps it, and the others are limited together.
	first := tn.bucket(0, now)
	if again := tn.bucket(0, now); again != first || again == &tn.shards[0].shared {
		t.Error("a tenant lost its bucket")
	}
	extra := uint64(4 * maxTenants)
	for range 30 {
		tn.bucket(extra, now).take(now, tn.interval, tn.burst)
	}
	if tn.bucket(extra, now).take(now, tn.interval, tn.burst) == 0 {
		t.Error("a tenant without a bucket of its own is not limited")
	}
	// When they rest, they give their places up.
	later := now + int64(time.Hour)
	for id := range uint64(10 * tenantShards) {
		tn.bucket(extra+id, later)
	}
	if n := tn.len(); n > 10*tenantShards {
		t.Errorf("%d buckets after a rest", n)
	}
}

func TestTenantLimit(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.TenantRate, c.TenantBurst, c.MaxBatch = 1, 10, 10 })
	as := func(advertiser uint64) string {
		return r.sign(func(tk *proto.Token) { tk.AdvertiserId = advertiser })
	}
	event := func(advertiser int) string {
		return fmt.Sprintf(`{"type":"conversion","id":"x","advertiser_id":%d,"campaign_id":2}`, advertiser)
	}
	limited := func(a answer) {
		t.Helper()
		a.want(t, 429, `"code":"rate_limited"`)
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 20 {
			t.Errorf("Retry-After: %s", a.header.Get("Retry-After"))
		}
	}
	r.post("/v1/events", "["+strings.Repeat(event(1)+",", 9)+event(1)+"]").want(t, 202, `"accepted":10`)
	limited(r.do("GET", "/i/"+as(1), ""))
	limited(r.post("/e", `[{"token":"`+as(1)+`","type":"click"}]`))
	limited(r.post("/v1/events", "["+event(1)+"]"))
	click := r.do("GET", "/c/"+as(1), "")
	click.want(t, 302)
	if click.header.Get("Location") == "" {
		t.Error("the user was not redirected")
	}
	r.wantMetric(`adtally_ingest_clicks_lost_total{reason="rate_limited"}`, "1")
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="rate_limited"}`, "4")
	// HEAD, bad signatures and the doctor cost nothing.
	r.do("HEAD", "/i/"+as(2), "").want(t, 200)
	for range 20 {
		r.do("GET", "/i/"+flip(as(2), 9), "").want(t, 400)
		r.do("POST", "/doctor", r.url+"/i/"+as(2), "Content-Type: text/plain").want(t, 200)
	}
	// A batch counts as a whole or not at all, and then costs nobody anything.
	limited(r.post("/v1/events", "["+strings.Repeat(event(2)+",", 8)+event(1)+"]"))
	r.post("/v1/events", "["+strings.Repeat(event(2)+",", 9)+event(2)+"]").want(t, 202, `"accepted":10`)
	if n := r.stored(); n != 20 {
		t.Errorf("%d records, want 20", n)
	}
	r.wantMetric("adtally_ingest_limited_advertisers", "2")
	wait.Until(t, 10*time.Second, "the bucket fills", func() bool { return r.do("GET", "/i/"+as(1), "").status == 200 })
}
