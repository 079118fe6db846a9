package window

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// randomLog is a log in which every rule has much to do: repeats, invalid
// records, clicks before and without their impressions, floods of dimensions,
// and a broker clock that steps back by less than the skew allows.
func randomLog(r *rand.Rand, n int, cfg Config) []logged {
	var key proto.IDKey
	lat, newest := int64(1_000_000_000_000), int64(0)
	stride := []int64{100, 3_000, cfg.Horizon.Milliseconds() / 20}[r.IntN(3)]
	log := make([]logged, 0, n)
	for range n {
		lat += r.Int64N(stride)
		newest = max(newest, lat)
		if r.IntN(50) == 0 {
			lat = newest - r.Int64N(skewMillis)
		}
		if r.IntN(20) == 0 {
			log = append(log, logged{&proto.Event{Type: proto.EventType_EVENT_TYPE_TICK}, lat})
			continue
		}
		log = append(log, logged{randomEvent(r, &key, lat), lat})
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

func randomConfig(r *rand.Rand) Config {
	cfg := Config{
		Horizon:     time.Duration(1+r.IntN(20)) * time.Minute,
		DoubleClick: time.Duration(r.IntN(3)) * time.Second,
		MaxClicks:   1 + r.IntN(4),
		MaxTuples:   1 + r.IntN(12),
	}
	cfg.JoinWindow = time.Duration(r.Int64N(int64(cfg.Horizon)))
	return cfg
}

// ignore is a Reporter for tests that look at the books only.
type ignore struct{}

func (ignore) Poison(int, error) {}
func (ignore) Synthetic(int)     {}

// checkSplits compares every span of a log that is folded in random batches and
// spans, with a restart before each span, with the oracle.
func checkSplits(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := randomConfig(r)
	log := randomLog(r, 400, cfg)
	all := newOracle(cfg, log).bookings()
	encoded := encode(t, log)

	state := NewState(cfg, ignore{})
	records, gross := int64(0), int64(0)
	for start := 0; start < len(log); {
		end := min(start+1+r.IntN(60), len(log))
		var d Delta
		for at := start; at < end; {
			to := min(at+1+r.IntN(40), end)
			state.FoldBatch(encoded[at:to], &d)
			at = to
		}
		want := books(all, start, end)
		if got := sumRows(rowsOf(&d)); !slices.Equal(got, want) {
			t.Fatalf("seed %d: books of [%d, %d) are\n%v\nwant\n%v", seed, start, end, got, want)
		}
		if len(want) != d.Len() {
			t.Fatalf("seed %d: %d cells have %d rows", seed, len(want), d.Len())
		}
		restarted := foldRestarted(encoded, start, end, r.IntN(10), cfg)
		if got := sumRows(rowsOf(restarted)); !slices.Equal(got, want) || restarted.Totals() != d.Totals() {
			t.Fatalf("seed %d: books of [%d, %d) after a restart are\n%v %+v\nwant\n%v %+v", seed, start, end, got, restarted.Totals(), want, d.Totals())
		}
		totals := d.Totals()
		records += totals.Records - totals.Ticks - totals.Poison
		gross += totals.Gross
		if totals.Gross != totals.Net+totals.Duplicate+totals.Invalid+totals.Orphan || records != gross+totals.Pending {
			t.Fatalf("seed %d: totals of [%d, %d) do not add up: %+v, %d events and gross %d so far", seed, start, end, totals, records, gross)
		}
		start = end
	}
}

func encode(tb testing.TB, log []logged) []Record {
	tb.Helper()
	records := make([]Record, len(log))
	for i, r := range log {
		value, err := r.ev.MarshalVT()
		if err != nil {
			tb.Fatal(err)
		}
		records[i] = Record{Value: value, LAT: r.lat}
	}
	return records
}

// foldRestarted counts log[start:end] as an owner does that has just taken the
// partition over: it reads again what the look-back asks for, or a little more.
func foldRestarted(log []Record, start, end, more int, cfg Config) *Delta {
	newest := int64(0)
	for _, rec := range log[:start] {
		newest = max(newest, rec.LAT)
	}
	from := start
	for i, rec := range log[:start] {
		if rec.LAT >= newest-cfg.Lookback().Milliseconds() {
			from = max(i-more, 0)
			break
		}
	}
	state := NewState(cfg, ignore{})
	state.FoldBatch(log[from:start], nil)
	d := new(Delta)
	state.FoldBatch(log[start:end], d)
	return d
}

func TestSplitsAndRestartsGiveTheSameBooks(t *testing.T) {
	for seed := range uint64(300) {
		checkSplits(t, seed)
	}
}

func FuzzSplitSpans(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkSplits(t, seed) })
}

func TestIDsAreForgotten(t *testing.T) {
	cfg := Defaults()
	cfg.Horizon, cfg.JoinWindow = 10*time.Minute, time.Minute
	r := rand.New(rand.NewPCG(7, 7))
	state := NewState(cfg, ignore{})
	var key proto.IDKey
	const perMinute = 100
	for minute := range int64(600) {
		for range perMinute {
			ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1}
			ev.SetEventID(key.Hash(r.Uint64(), nil))
			ev.SetImpressionID(ev.EventID())
			fold(state, logged{ev, minute * 60_000}, nil)
		}
	}
	if got, limit := state.IDs(), 14*perMinute; got > limit { // horizon, skew, and a step or two
		t.Errorf("%d ids are remembered, want at most %d", got, limit)
	}
	if got, limit := len(state.clicks.slab), 28*perMinute; got > limit {
		t.Errorf("clicks of %d impressions are remembered, want at most %d", got, limit)
	}
	if got, limit := len(state.pending.slab), 4*perMinute; got > limit {
		t.Errorf("%d clicks are kept that waited, want at most %d", got, limit)
	}
}

func TestFoldDoesNotAllocate(t *testing.T) {
	state := NewState(Defaults(), ignore{})
	var d Delta
	r := rand.New(rand.NewPCG(9, 9))
	log := encode(t, randomLog(r, 2000, Defaults()))
	state.FoldBatch(log, &d)
	if n := testing.AllocsPerRun(10, func() { state.FoldBatch(log[1900:], &d) }); n > 0 {
		t.Errorf("folding events into live cells allocates %v times", n)
	}
}
