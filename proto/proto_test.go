package proto

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestParsePrice(t *testing.T) {
	f := func(text string, model Pricing, nanos int64) {
		t.Helper()
		got, err := ParsePrice(text, model)
		if err != nil || got != nanos {
			t.Errorf("ParsePrice(%q, %s) = %d, %v, want %d", text, model.Name(), got, err, nanos)
		}
	}
	f("2.50", Pricing_PRICING_CPM, 2_500_000)
	f("0.000001", Pricing_PRICING_CPM, 1)
	f("0.000001", Pricing_PRICING_CPC, 1_000)
	f("1", Pricing_PRICING_CPA, 1_000_000_000)
	f("1000000", Pricing_PRICING_FLAT, 1_000_000_000_000_000)
	f("007.5", Pricing_PRICING_CPC, 7_500_000_000)

	bad := func(text string) {
		t.Helper()
		if got, err := ParsePrice(text, Pricing_PRICING_CPC); err == nil {
			t.Errorf("ParsePrice(%q) = %d, want an error", text, got)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0x1", " 1", "1.0000001", "1000000.000001", "1000001", "9223372036854775808", "99999999999999999999", "NaN", "１"} {
		bad(text)
	}
}

func TestPricesSurviveTheRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		micros := r.Int64N(MaxPrice * 1_000_000)
		text := strconv.FormatInt(micros/1_000_000, 10) + "." + strconv.FormatInt(1_000_000+micros%1_000_000, 10)[1:]
		perEvent, err := ParsePrice(text, Pricing_PRICING_CPC)
		if err != nil || perEvent != micros*1000 {
			t.Fatalf("%s is %d nano-units (%v)", text, perEvent, err)
		}
		perThousand, err := ParsePrice(text, Pricing_PRICING_CPM)
		if err != nil || perThousand*1000 != perEvent {
			t.Fatalf("%s per thousand is %d nano-units (%v)", text, perThousand, err)
		}
		again, err := ParsePrice(FormatNanos(perEvent), Pricing_PRICING_CPC)
		if err != nil || again != perEvent {
			t.Fatalf("%s is written as %s", text, FormatNanos(perEvent))
		}
	}
}

func TestFormatNanos(t *testing.T) {
	f := func(nanos int64, want string) {
		t.Helper()
		if got := FormatNanos(nanos); got != want {
			t.Errorf("FormatNanos(%d) = %s, want %s", nanos, got, want)
		}
	}
	f(0, "0")
	f(1, "0.000000001")
	f(-1_500_000_000, "-1.5")
	f(1_250_000_000, "1.25")
	f(-9223372036854775808, "-9223372036.854775808")
}

func TestBills(t *testing.T) {
	for _, typ := range EventTypes() {
		bills := map[Pricing]bool{
			Pricing_PRICING_CPM:  typ == EventType_EVENT_TYPE_IMPRESSION,
			Pricing_PRICING_CPC:  typ == EventType_EVENT_TYPE_CLICK,
			Pricing_PRICING_CPA:  typ == EventType_EVENT_TYPE_CONVERSION,
			Pricing_PRICING_FLAT: true,
		}
		for _, p := range []Pricing{Pricing_PRICING_UNSPECIFIED, Pricing_PRICING_CPM, Pricing_PRICING_CPC, Pricing_PRICING_CPA, Pricing_PRICING_FLAT} {
			if got := p.Bills(typ); got != bills[p] {
				t.Errorf("%s bills %s: %t", p.Name(), typ.Name(), got)
			}
		}
	}
	if Pricing_PRICING_FLAT.Bills(EventType_EVENT_TYPE_TICK) {
		t.Error("a tick is billed")
	}
}

func TestEveryTypeHasAName(t *testing.T) {
	for number, name := range EventType_name {
		typ := EventType(number)
		counted := typ != EventType_EVENT_TYPE_UNSPECIFIED && typ != EventType_EVENT_TYPE_TICK
		parsed, ok := ParseEventType(typ.Name())
		if counted != (ok && parsed == typ) {
			t.Errorf("%s has the name %q", name, typ.Name())
		}
	}
}

// An impression, its repeats and its clicks must share a partition, a campaign
// must stay on few, and the rule must not change: it is part of the format.
func TestPartition(t *testing.T) {
	const spread, partitions = 4, 64
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		campaign := r.Uint64()
		used := make(map[int32]bool)
		for range 100 {
			impression := ID{Hi: r.Uint64(), Lo: r.Uint64()}
			view := &Event{CampaignId: campaign}
			view.SetEventID(impression)
			view.SetImpressionID(impression)
			click := &Event{CampaignId: campaign}
			click.SetEventID(ID{Hi: r.Uint64(), Lo: r.Uint64()})
			click.SetImpressionID(impression)
			p := Partition(view, spread, partitions)
			if p < 0 || p >= partitions || p != Partition(click, spread, partitions) {
				t.Fatalf("impression on %d, its click on %d", p, Partition(click, spread, partitions))
			}
			used[p] = true
		}
		if len(used) > spread {
			t.Fatalf("campaign %d is on %d partitions", campaign, len(used))
		}
	}
	frozen := &Event{CampaignId: 42, ImpressionIdHi: 1, ImpressionIdLo: 7}
	if got := Partition(frozen, 4, 8); got != frozenPartition {
		t.Errorf("the partition rule has changed: %d, was %d", got, frozenPartition)
	}
}

// frozenPartition was computed by the first version of the rule.
const frozenPartition = 4

func TestIDsDependOnKeyAdvertiserAndText(t *testing.T) {
	key, other := IDKey{1}, IDKey{2}
	base := key.Hash(1, []byte("abc"))
	for what, id := range map[string]ID{
		"key": other.Hash(1, []byte("abc")), "advertiser": key.Hash(2, []byte("abc")), "text": key.Hash(1, []byte("abd")), "length": key.Hash(1, []byte("abc\x00")),
	} {
		if id == base {
			t.Errorf("another %s gives the same id", what)
		}
	}
	if key.Hash(1, []byte("abc")) != base || base.IsZero() {
		t.Error("the same input gives another id")
	}
	if n := testing.AllocsPerRun(100, func() { key.Hash(1, []byte("0123456789abcdef0123456789abcdef")) }); n > 0 {
		t.Errorf("hashing an id allocates %v times", n)
	}
}

func TestFlagNames(t *testing.T) {
	if got := (FlagCrawler | FlagFutureTime).String(); got != "crawler,future_time" {
		t.Errorf("flags are written %q", got)
	}
	if Flag(0).String() != "" {
		t.Error("no flags have a name")
	}
}
