package window

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// randomLog is a log with many repeats, invalid records, and a broker clock
// that sometimes steps back by less than the skew that the core allows for.
func randomLog(r *rand.Rand, n int, horizon time.Duration) []logged {
	var key proto.IDKey
	lat, newest := int64(1_000_000_000), int64(0)
	log := make([]logged, 0, n)
	for range n {
		lat += r.Int64N(horizon.Milliseconds() / 20)
		newest = max(newest, lat)
		if r.IntN(50) == 0 {
			lat = newest - r.Int64N(skewMillis)
		}
		ev := &proto.Event{
			Type:         proto.EventType(1 + r.IntN(3)),
			AdvertiserId: 1, CampaignId: uint64(r.IntN(3)),
			TimeUs:  (lat - r.Int64N(100_000)) * 1000,
			Pricing: proto.Pricing_PRICING_CPC, PriceNanos: int64(r.IntN(1000)),
		}
		if r.IntN(4) == 0 {
			ev.InvalidFlags = uint32(proto.FlagCrawler)
		}
		ev.SetEventID(key.Hash(1, []byte{byte(r.IntN(40))}))
		log = append(log, logged{ev, lat})
	}
	return log
}

// oracleDuplicate is the rule as the documentation states it, by looking at
// every earlier record.
func oracleDuplicate(log []logged, o int, horizon time.Duration) bool {
	for _, earlier := range log[:o] {
		same := earlier.ev.Type == log[o].ev.Type && earlier.ev.EventID() == log[o].ev.EventID()
		counts := log[o].ev.InvalidFlags != 0 || earlier.ev.InvalidFlags == 0
		if same && counts && earlier.lat > log[o].lat-horizon.Milliseconds() {
			return true
		}
	}
	return false
}

func totalsByKey(deltas ...*Delta) []Row {
	sum := make(map[Key]Row)
	for _, d := range deltas {
		for _, r := range d.Rows() {
			s := sum[r.Key]
			s.Key = r.Key
			s.Gross += r.Gross
			s.Net += r.Net
			s.Duplicate += r.Duplicate
			s.Invalid += r.Invalid
			s.SpendNanos += r.SpendNanos
			sum[r.Key] = s
		}
	}
	rows := make([]Row, 0, len(sum))
	for _, r := range sum {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		for _, c := range []int64{a.Minute - b.Minute, int64(a.Type) - int64(b.Type), int64(a.Campaign) - int64(b.Campaign), int64(a.Flags) - int64(b.Flags)} {
			if c != 0 {
				return int(c)
			}
		}
		return 0
	})
	return rows
}

// checkSplits folds a log once in one piece against the oracle, then in random
// spans with a restart before each: the books must be the same.
func checkSplits(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{Horizon: time.Duration(1+r.IntN(20)) * time.Minute}
	log := randomLog(r, 400, cfg.Horizon)

	var whole Delta
	state := NewState(cfg)
	duplicates := int64(0)
	for o, rec := range log {
		if oracleDuplicate(log, o, cfg.Horizon) {
			duplicates++
		}
		state.Fold(rec.ev, rec.lat, &whole)
		got := int64(0)
		for _, row := range whole.Rows() {
			got += row.Duplicate
		}
		if got != duplicates {
			t.Fatalf("seed %d: after offset %d there are %d duplicates, the oracle says %d", seed, o, got, duplicates)
		}
	}

	var deltas []*Delta
	for start := 0; start < len(log); {
		end := min(start+1+r.IntN(60), len(log))
		deltas = append(deltas, foldRestarted(log, start, end, cfg))
		start = end
	}
	if got, want := totalsByKey(deltas...), totalsByKey(&whole); !slices.Equal(got, want) {
		t.Fatalf("seed %d: books after restarts differ:\n%v\nwant\n%v", seed, got, want)
	}
}

// foldRestarted counts log[start:end] as an owner does that has just taken the
// partition over: it reads again what the look-back asks for, and no more.
func foldRestarted(log []logged, start, end int, cfg Config) *Delta {
	from := start
	newest := int64(0)
	for _, rec := range log[:start] {
		newest = max(newest, rec.lat)
	}
	for i, rec := range log[:start] {
		if rec.lat >= newest-cfg.Lookback().Milliseconds() {
			from = i
			break
		}
	}
	state := NewState(cfg)
	for _, rec := range log[from:start] {
		state.Fold(rec.ev, rec.lat, nil)
	}
	d := new(Delta)
	for _, rec := range log[start:end] {
		state.Fold(rec.ev, rec.lat, d)
	}
	return d
}

func TestSplitsAndRestartsGiveTheSameBooks(t *testing.T) {
	for seed := range uint64(200) {
		checkSplits(t, seed)
	}
}

func FuzzSplitSpans(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkSplits(t, seed) })
}

func TestIDsAreForgotten(t *testing.T) {
	cfg := Config{Horizon: 10 * time.Minute}
	r := rand.New(rand.NewPCG(7, 7))
	state := NewState(cfg)
	var key proto.IDKey
	const perMinute = 100
	for minute := range int64(600) {
		for range perMinute {
			ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1}
			ev.SetEventID(key.Hash(r.Uint64(), nil))
			state.Fold(ev, minute*60_000, nil)
		}
	}
	// Horizon, skew, and a generation or two that has not ended.
	if got, limit := state.IDs(), 14*perMinute; got > limit {
		t.Errorf("%d ids are remembered, want at most %d", got, limit)
	}
}

func TestFoldDoesNotAllocate(t *testing.T) {
	cfg := Config{Horizon: time.Hour}
	state := NewState(cfg)
	var d Delta
	var key proto.IDKey
	ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1, CampaignId: 2, Country: "DE", Browser: "firefox"}
	ev.SetEventID(key.Hash(1, []byte("a")))
	for range 10_000 { // grows the list of ages
		state.Fold(ev, 1000, &d)
	}
	state.seen.ages[state.seen.generation(1000)] = slices.Grow(state.seen.ages[state.seen.generation(1000)], 2000)
	if n := testing.AllocsPerRun(1000, func() { state.Fold(ev, 1000, &d) }); n > 0 {
		t.Errorf("folding an event into a live cell allocates %v times", n)
	}
}
