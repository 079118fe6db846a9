//go:build !race

package window

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// TestAFloodOfPlacementsIsBilled is row 19 of the bad inputs: an advertiser whose
// events have a placement of their own each. What does not fit is booked under
// Other, and billed there.
func TestAFloodOfPlacementsIsBilled(t *testing.T) {
	t.Parallel()
	const (
		events = 10_000_000
		price  = 2_500_000
		batch  = 1000
		hour   = 3_600_000
	)
	cfg := Defaults()
	cfg.MaxTuples = 10_000
	cfg.Horizon = time.Hour // which is also how long tuples are counted together
	start := int64(1_790_000_000_000) / hour * hour
	ev := &proto.Event{
		Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: 7, CampaignId: 1, Country: "DE",
		PriceNanos: price, Pricing: proto.Pricing_PRICING_CPM, Currency: "EUR",
	}
	state := NewState(cfg, &player{t: t})
	random := rand.New(rand.NewPCG(19, 19))
	var (
		d                    Delta
		net, spend, rows     int64
		otherRows, otherNets int64
	)
	records := make([]Record, batch)
	book := func() {
		totals := d.Totals()
		net, spend, rows = net+totals.Net, spend+totals.SpendNanos, rows+int64(totals.Rows)
		for i := range d.Len() {
			var r Row
			if d.Row(i, &r); r.Country == Other {
				otherRows, otherNets = otherRows+1, otherNets+r.Net
			}
		}
		d.Reset()
	}
	for from := 0; from < events; from += batch {
		lat := start + int64(from)*hour/events
		for i := range records {
			ev.EventIdHi, ev.EventIdLo, ev.PlacementId, ev.TimeUs = random.Uint64(), random.Uint64(), uint64(from+i+1), lat*1000
			ev.ImpressionIdHi, ev.ImpressionIdLo = ev.EventIdHi, ev.EventIdLo
			records[i].LAT = lat
			var err error
			if records[i].Value, err = ev.MarshalVT(); err != nil {
				t.Fatal(err)
			}
		}
		if state.FoldBatch(records, &d); d.Len() > cfg.MaxTuples+60 {
			t.Fatalf("%d rows wait after %d events", d.Len(), from+batch)
		}
		if from%(events/10) == 0 {
			book()
		}
	}
	book()
	if net != events || spend != events*price {
		t.Errorf("net %d and spend %d, want %d and %d", net, spend, events, int64(events*price))
	}
	if kept := rows - otherRows; kept != int64(cfg.MaxTuples) || otherNets != events-kept || otherRows > 60+11 {
		t.Errorf("%d rows under their own name, %d under %s with %d events", kept, otherRows, Other, otherNets)
	}
}
