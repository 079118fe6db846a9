package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/proto"
)

// clickOn returns the impression that the event is a click on, if it is one:
// every sixteenth comes before its impression, another one after.
func clickOn(id int) (impression int, ok bool) {
	switch id % 16 {
	case 7:
		return id + 1, true
	case 15:
		return id - 1, true
	default:
		return 0, false
	}
}

// event is the event with this id; a repeat is the same event.
func (c *counting) event(id int) *proto.Event {
	impression, click := clickOn(id)
	if !click {
		impression = id
	}
	ev := &proto.Event{
		Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: c.advertiser, CampaignId: uint64(impression%13 + 1), CreativeId: uint64(id % 5), Country: "DE",
		TimeUs: 1_790_000_000_000_000 + int64(id)*10_000, Pricing: proto.Pricing_PRICING_CPM, PriceNanos: 1_000 + int64(id%7), Currency: "EUR",
		UserHash: uint64(id%countingUsers) + 1,
	}
	if click {
		ev.Type = proto.EventType_EVENT_TYPE_CLICK
	}
	var key proto.IDKey
	ev.SetEventID(key.Hash(uint64(id), nil))
	ev.SetImpressionID(key.Hash(uint64(impression), nil))
	return ev
}

// produce sends n events of which about every tenth repeats an earlier one.
func (c *counting) produce(n int) {
	c.t.Helper()
	ids := make([]int, n)
	c.mu.Lock()
	for i := range ids {
		ids[i] = c.made
		if c.made > 0 && rand.IntN(10) == 0 {
			ids[i] = rand.IntN(c.made)
		} else {
			c.made++
		}
	}
	c.mu.Unlock()
	c.send(ids)
}

// send sends the events with the ids.
func (c *counting) send(ids []int) {
	c.t.Helper()
	recs := make([]*kgo.Record, len(ids))
	for i, id := range ids {
		ev := c.event(id)
		value, err := ev.MarshalVT()
		if err != nil {
			c.t.Fatal(err)
		}
		recs[i] = &kgo.Record{Topic: c.cfg.Topic, Partition: proto.Partition(ev, c.cfg.Spread, countingPartitions), Value: value, Timestamp: c.lat}
	}
	if err := c.log.ProduceSync(context.WithoutCancel(c.t.Context()), recs...).FirstErr(); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.sent[id]++
	}
}

// flow keeps sending until the returned function is called.
func (c *counting) flow() (stop func()) {
	enough := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-enough:
				return
			case <-time.After(5 * time.Millisecond):
				c.produce(50)
			}
		}
	})
	return sync.OnceFunc(func() { close(enough); wg.Wait() })
}

// sums is what the books say of a campaign.
type sums struct{ Gross, Net, Spend int64 }

// expect adds up by hand.
func (c *counting) expect() map[uint64]sums {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := make(map[uint64]sums)
	for id, times := range c.sent {
		ev := c.event(id)
		s := want[ev.CampaignId]
		s.Gross += int64(times)
		s.Net++
		if ev.Pricing.Bills(ev.Type) {
			s.Spend += ev.PriceNanos
		}
		want[ev.CampaignId] = s
	}
	return want
}

// counted reads the books.
func (c *counting) counted() (map[uint64]sums, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	rows, err := c.conn.Query(ctx, "SELECT campaign, sum(gross), sum(net), sum(spend_nanos) FROM ledger WHERE advertiser = ? AND topic_id = ? GROUP BY campaign", c.advertiser, c.id())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := make(map[uint64]sums)
	for rows.Next() {
		var campaign uint64
		var s sums
		if err := rows.Scan(&campaign, &s.Gross, &s.Net, &s.Spend); err != nil {
			return nil, err
		}
		got[campaign] = s
	}
	return got, rows.Err()
}

// settle waits until the books say what they must, and audits them.
func (c *counting) settle() {
	c.t.Helper()
	if _, waits := clickOn(c.made - 1); waits && c.made%16 == 8 { // for its impression
		c.made++
		c.send([]int{c.made - 1})
	}
	want := c.expect()
	var got map[uint64]sums
	var err error
	deadline := time.Now().Add(patience)
	for {
		if got, err = c.counted(); err == nil && maps.Equal(got, want) {
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the books say %v (%v), want %v", got, err, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if code, text := c.audit(); code != exitDone {
		c.t.Errorf("adtally audit: %d %s", code, text)
	}
}
