package window

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// traffic is a stream of encoded events with fresh ids: mostly impressions,
// with viewables, video steps, clicks on recent impressions, repeats and
// invalid traffic, uniformly over a number of cells.
type traffic struct {
	values [][]byte
	kinds  []kind
	batch  []Record
	n      uint64 // events given out
	lat    int64
}

// kind says how an event gets its ids.
type kind uint8

const (
	fresh  kind = iota // an id of its own, which is its impression id
	repeat             // the id of an event before it
	onPast             // an id of its own, on the impression before it
)

const (
	trafficEvents = 1 << 20
	// With 5 ms of broker time to an event, a horizon of 6 h holds 4.3 million.
	millisPerEvent = 5
	steadyEvents   = 5 << 20
)

func newTraffic(tb testing.TB, events, keys int) *traffic {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, uint64(keys)))
	t := &traffic{lat: 1_790_000_000_000, batch: make([]Record, 1024)}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for range events {
		cell := r.IntN(keys)
		shape := rand.New(rand.NewPCG(uint64(cell), 7)) // the dimensions of a cell are always the same
		of := func(list ...string) string { return list[shape.IntN(len(list))] }
		ev := &proto.Event{
			Type: proto.EventType_EVENT_TYPE_IMPRESSION, EventIdHi: 1, EventIdLo: 1, ImpressionIdHi: 1, ImpressionIdLo: 1,
			TimeUs: t.lat * 1000, ReceivedUs: t.lat*1000 + 1000,
			AdvertiserId: uint64(cell%250) + 1, CampaignId: uint64(cell%5000) + 1, AdGroupId: uint64(cell%20_000) + 1,
			CreativeId: uint64(cell) + 1, PlacementId: shape.Uint64N(1000) + 1, PublisherId: shape.Uint64N(300) + 1,
			Country: of("US", "DE", "FR", "BR", "IN", "JP"), Region: of("US-CA", "DE-BE", "", "BR-SP"),
			Device: of("mobile", "desktop", "tablet", "tv"), Os: of("ios", "android", "windows", "macos"),
			Browser: of("safari", "chrome", "firefox"), Variant: of("", "a", "b"),
			UserHash: r.Uint64(), PriceNanos: 2_500_000, Pricing: proto.Pricing_PRICING_CPM, Currency: "USD",
			Consent: proto.Consent_CONSENT_FULL,
		}
		k := fresh
		switch n := r.IntN(100); {
		case n < 15:
			ev.Type = proto.EventType_EVENT_TYPE_VIEWABLE
		case n < 25:
			ev.Type = proto.EventType_EVENT_TYPE_VIDEO_START
		case n < 28:
			ev.Type, k = proto.EventType_EVENT_TYPE_CLICK, onPast
		case n < 31:
			k = repeat
		case n < 34:
			ev.InvalidFlags = uint32(proto.FlagCrawler)
			ev.Votes = []*proto.ListVote{{Flag: 1, List: "crawlers", Version: pick("1.2.3", "1.2.4")}}
		}
		value, err := ev.MarshalVT()
		if err != nil {
			tb.Fatal(err)
		}
		t.values, t.kinds = append(t.values, value), append(t.kinds, k)
	}
	return t
}

// next returns a batch. Every id is fresh, and broker time passes.
func (t *traffic) next() []Record {
	for i := range t.batch {
		at := t.n % uint64(len(t.values))
		value, id, impression := t.values[at], t.n, t.n
		switch t.kinds[at] {
		case fresh:
		case repeat:
			id, impression = t.n-1, t.n-1
		case onPast:
			impression = t.n - 1
		}
		// An encoded event begins with its type (2 bytes) and four fixed64.
		setID(value[2:], id)
		setID(value[20:], impression)
		t.n++
		t.batch[i] = Record{Value: value, LAT: t.lat + int64(t.n*millisPerEvent)}
	}
	return t.batch
}

func setID(b []byte, n uint64) {
	binary.LittleEndian.PutUint64(b[1:], mix(n^secret0, secret1))
	binary.LittleEndian.PutUint64(b[10:], mix(n^secret2, secret3))
}

// meter measures the processor time of a benchmark's loop, which other programs
// on the machine disturb less than its duration.
type meter struct {
	b     *testing.B
	began time.Duration
}

func newMeter(b *testing.B) meter {
	b.Helper()
	return meter{b, cpuTime(b)}
}

// perEvent reports what an event cost.
func (m meter) perEvent(events int) {
	m.b.Helper()
	spent := cpuTime(m.b) - m.began
	m.b.ReportMetric(float64(spent.Nanoseconds())/float64(events), "cpu-ns/event")
	m.b.ReportMetric(float64(events)/spent.Seconds()/1e6, "Mevents/cpu-s")
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkFold is the whole of the arithmetic, beside the bare loop that
// decodes and counts in a table of 64-byte lines.
func BenchmarkFold(b *testing.B) {
	for _, keys := range []int{10_000, 388_000, 1_000_000} {
		t := newTraffic(b, trafficEvents, keys)
		b.Run(fmt.Sprintf("bare/keys=%d", keys), func(b *testing.B) {
			bare := bareLoop{lines: make([]bareLine, 1<<bits.Len(uint(4*keys)))}
			for range 2 * trafficEvents / len(t.batch) {
				bare.fold(t.next())
			}
			b.ReportAllocs()
			m := newMeter(b)
			for b.Loop() {
				bare.fold(t.next())
			}
			m.perEvent(b.N * len(t.batch))
		})
		b.Run(fmt.Sprintf("whole/keys=%d", keys), func(b *testing.B) {
			state := NewState(Defaults(), ignore{})
			defer state.Close()
			var d Delta
			for range steadyEvents / len(t.batch) {
				state.FoldBatch(t.next(), &d)
				d.dropUsers()
			}
			b.ReportAllocs()
			m := newMeter(b)
			for b.Loop() {
				state.FoldBatch(t.next(), &d)
				d.dropUsers() // a span of half a second does not have as many
			}
			m.perEvent(b.N * len(t.batch))
			b.ReportMetric(float64(d.Len()), "cells")
		})
	}
}

// BenchmarkRemember reads a log again into an empty state, as after a restart.
func BenchmarkRemember(b *testing.B) {
	const events = 1 << 19
	t := newTraffic(b, trafficEvents, 388_000)
	b.ReportAllocs()
	m := newMeter(b)
	for b.Loop() {
		state := NewState(Defaults(), ignore{})
		for range events / len(t.batch) {
			state.FoldBatch(t.next(), nil)
		}
		state.Close()
	}
	m.perEvent(b.N * events)
}

// bareLoop decodes events and counts them per cell, in batches that touch the
// lines first: the least that any aggregation does.
type bareLoop struct {
	lines []bareLine
	sink  uint64
}

type bareLine struct {
	hash              uint64
	gross, net, spend int64
	_                 [4]uint64
}

func (l *bareLoop) fold(records []Record) {
	const ahead = 32
	mask := uint64(len(l.lines) - 1)
	var e event
	var hashes [ahead]uint64
	var prices [ahead]int64
	var valid [ahead]bool
	for ; len(records) > 0; records = records[ahead:] {
		for i := range ahead {
			if e.decode(records[i].Value) != nil {
				panic("BUG: a benchmark record does not decode")
			}
			h := mix(hashTuple(&e, hashTexts(e.texts, e.currency))^uint64(e.typ)<<32^uint64(e.flags), uint64(e.timeUs/microsPerMinute)^secret2)
			hashes[i], prices[i], valid[i] = max(h, 1), e.price, e.flags == 0
			l.sink += l.lines[h&mask].hash
		}
		for i, h := range hashes {
			at := h & mask
			for l.lines[at].hash != 0 && l.lines[at].hash != h {
				at = (at + 1) & mask
			}
			line := &l.lines[at]
			line.hash = h
			line.gross++
			if valid[i] {
				line.net++
				line.spend += prices[i]
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	t := newTraffic(b, trafficEvents, 10_000)
	var e event
	run := func(name string, decode func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			m := newMeter(b)
			for b.Loop() {
				for _, r := range t.next() {
					if err := decode(r.Value); err != nil {
						b.Fatal(err)
					}
				}
			}
			m.perEvent(b.N * len(t.batch))
		})
	}
	run("walk", e.decode)
	run("generated", e.decodeGenerated)
}

// BenchmarkSeen remembers fresh ids while as many expire, and prints what an id
// costs in memory of the process.
func BenchmarkSeen(b *testing.B) {
	for _, million := range []int{1, 10, 40} {
		b.Run(fmt.Sprintf("ids=%dM", million), func(b *testing.B) {
			debug.FreeOSMemory()
			before := resident(b)
			s := newSeen(Defaults())
			defer s.close()
			ids := million * 1_000_000
			n := uint64(0)
			add := func() {
				s.advance(int64(n) * (s.horizon + 1) / int64(ids))
				id := proto.ID{Hi: mix(n^secret0, secret1), Lo: mix(n^secret2, secret3)}
				s.note(fingerprintOf(id, 1, true), s.newest, 0)
				n++
			}
			for range ids {
				add()
			}
			peak := resident(b) - before
			debug.FreeOSMemory()
			grown := resident(b) - before
			live := s.len()
			m := newMeter(b)
			for b.Loop() {
				for range 1024 {
					add()
				}
			}
			m.perEvent(b.N * 1024)
			b.ReportMetric(float64(grown)/float64(live), "B/id")
			b.ReportMetric(float64(peak)/float64(live), "B/id-peak")
			b.ReportMetric(float64(resident(b)-before)/float64(s.len()), "B/id-steady")
		})
	}
}

// BenchmarkDelta measures the memory of a live cell.
func BenchmarkDelta(b *testing.B) {
	for _, keys := range []int{10_000, 100_000, 1_000_000} {
		t := newTraffic(b, trafficEvents, keys)
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			debug.FreeOSMemory()
			before := resident(b)
			var d Delta
			var e event
			add := func(r Record) {
				if e.decode(r.Value) != nil {
					b.Fatal("a benchmark record does not decode")
				}
				h := hashTexts(e.texts, e.currency)
				k := key{ids: e.ids, minute: uint32(e.timeUs / microsPerMinute), flags: e.flags, typ: uint8(e.typ), texts: d.texts.code(h, e.texts, e.currency)}
				d.add(d.row(hashKey(hashTuple(&e, h), &k), &k), counted, 0, 0)
			}
			for range 8 * keys / len(t.batch) {
				for _, r := range t.next() {
					add(r)
				}
			}
			peak := resident(b) - before
			debug.FreeOSMemory()
			grown := resident(b) - before
			b.ReportAllocs()
			m := newMeter(b)
			for b.Loop() {
				for _, r := range t.next() {
					add(r)
				}
			}
			m.perEvent(b.N * len(t.batch))
			b.ReportMetric(float64(grown)/float64(d.Len()), "B/key")
			b.ReportMetric(float64(peak)/float64(d.Len()), "B/key-peak")
			runtime.KeepAlive(&d)
		})
	}
}

// resident is the memory of the process that is resident, in bytes.
func resident(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		tb.Fatal(err)
	}
	return pages * os.Getpagesize()
}
