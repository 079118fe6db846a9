package oracle

import (
	"math/rand/v2"
	"time"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/proto"
)

// skewMillis is how far the broker's clock may step back.
const skewMillis = 2 * 60_000

// RandomConfig returns rules under which a short log meets every one of them.
func RandomConfig(r *rand.Rand) window.Config {
	cfg := window.Config{
		Horizon:     time.Duration(1+r.IntN(20)) * time.Minute,
		DoubleClick: time.Duration(r.IntN(3)) * time.Second,
		MaxClicks:   1 + r.IntN(4),
		MaxTuples:   1 + r.IntN(12),
	}
	cfg.JoinWindow = time.Duration(r.Int64N(int64(cfg.Horizon)))
	return cfg
}

// RandomLog returns a log in which every rule has much to do: repeats, invalid
// records, clicks before and without their impressions, floods of dimensions,
// and a broker clock that steps back by less than the skew allows.
func RandomLog(r *rand.Rand, n int, cfg window.Config) []Record {
	var key proto.IDKey
	lat, newest := int64(1_790_000_000_000), int64(0)
	stride := []int64{100, 3_000, cfg.Horizon.Milliseconds() / 20}[r.IntN(3)]
	log := make([]Record, 0, n)
	for range n {
		lat += r.Int64N(stride)
		newest = max(newest, lat)
		if r.IntN(50) == 0 {
			lat = newest - r.Int64N(skewMillis)
		}
		if r.IntN(20) == 0 {
			log = append(log, Record{&proto.Event{Type: proto.EventType_EVENT_TYPE_TICK}, lat})
			continue
		}
		log = append(log, Record{randomEvent(r, &key, lat), lat})
	}
	return log
}

func randomEvent(r *rand.Rand, key *proto.IDKey, lat int64) *proto.Event {
	types := []proto.EventType{
		proto.EventType_EVENT_TYPE_IMPRESSION, proto.EventType_EVENT_TYPE_IMPRESSION, proto.EventType_EVENT_TYPE_CLICK,
		proto.EventType_EVENT_TYPE_CLICK, proto.EventType_EVENT_TYPE_VIEWABLE, proto.EventType_EVENT_TYPE_CONVERSION,
	}
	ev := &proto.Event{
		Type:         types[r.IntN(len(types))],
		AdvertiserId: 1 + uint64(r.IntN(2)), CampaignId: uint64(r.IntN(3)), AdGroupId: uint64(r.IntN(2)),
		Country: []string{"", "DE", "US"}[r.IntN(3)],
		TimeUs:  (lat - r.Int64N(100_000)) * 1000,
		Pricing: proto.Pricing(r.IntN(5)), PriceNanos: int64(r.IntN(1000)), Currency: "USD",
	}
	if r.IntN(5) == 0 {
		ev.InvalidFlags = uint32(proto.FlagCrawler)
	}
	if r.IntN(30) == 0 {
		ev.TimeUs = (lat + 6*60_000) * 1000
	}
	impression := key.Hash(ev.AdvertiserId, []byte{byte(r.IntN(40))})
	ev.SetImpressionID(impression)
	ev.SetEventID(impression)
	if ev.Type == proto.EventType_EVENT_TYPE_CLICK {
		ev.SetEventID(key.Hash(ev.AdvertiserId, []byte{1, byte(r.IntN(60))}))
		if r.IntN(10) == 0 {
			ev.SetImpressionID(proto.ID{})
		}
	}
	return ev
}

// Encode returns the records as the broker has them.
func Encode(log []Record) []window.Record {
	records := make([]window.Record, len(log))
	for i, r := range log {
		value, err := r.Event.MarshalVT()
		if err != nil {
			panic("BUG: an event does not encode: " + err.Error())
		}
		records[i] = window.Record{Value: value, LAT: r.LAT}
	}
	return records
}
