package main

import (
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/adtally/adtally/proto"
)

// shape describes a log.
type shape struct {
	// events is the length of the log, roughly.
	events int
	// cells is the number of different ledger rows that a window over all of it
	// has; each lives on one partition.
	cells int
	// tenants is the number of advertisers.
	tenants    int
	partitions int32
	// zipf is the exponent of the popularity of cells; 0 makes all alike, the
	// worst case for caches.
	zipf float64
	// span is the broker time that the log covers up to now.
	span time.Duration
}

// Of the cells of impressions every clickEvery-th also has clicks, one for each
// impression; every flagEvery-th is invalid traffic; of the events every
// repeatEvery-th comes twice.
const (
	clickEvery  = 32
	flagEvery   = 64
	repeatEvery = 100
	spread      = 4
	campaigns   = 5003
)

var (
	countries = []string{"US", "DE", "GB", "FR", "JP", "BR", "IN", "CA", "AU", "ES", "IT", "MX"}
	regions   = []string{"US-CA", "DE-BE", "GB-LND", "FR-IDF", "JP-13", "BR-SP", "IN-MH", "CA-ON", "AU-NSW", "ES-MD", "IT-25", "MX-CMX"}
	devices   = []string{"mobile", "desktop", "tablet"}
	systems   = []string{"android", "windows", "ios"}
	browsers  = []string{"chrome", "safari", "firefox", "edge"}
	variants  = []string{"control", "treatment"}
)

// totals are the figures of a log that its counting must come to.
type totals struct {
	Gross, Net, Duplicate, Invalid, Spend int64
	// Weighted is the sum over the cells of gross times a weight that depends
	// on every dimension: it differs if one event is in a wrong cell.
	Weighted uint64
}

// traffic makes the events of a shape, always the same ones, and counts what
// they must come to. It does so from what it draws, not from what it encodes.
type traffic struct {
	shape
	want  totals
	rand  *rand.Rand
	zipfs *rand.Zipf
	event proto.Event
	// repeat holds an event of each partition that may come again.
	repeat []drawn
	// impressions is the number of cells of impressions.
	impressions int
	begin       int64
	made        int
}

// drawn is an event as bytes with what it counts.
type drawn struct {
	value  []byte
	weight uint64
}

func newTraffic(s shape, now time.Time) *traffic {
	t := &traffic{
		shape: s, rand: rand.New(rand.NewPCG(1, 2)),
		repeat:      make([]drawn, s.partitions),
		impressions: s.cells * clickEvery / (clickEvery + 1),
		begin:       now.Add(-s.span).UnixMilli(),
	}
	if s.zipf > 0 {
		t.zipfs = rand.NewZipf(t.rand, s.zipf, 1, uint64(t.impressions-1))
	}
	return t
}

// emit receives one record; value is valid until it returns.
type emit func(partition int32, lat int64, value []byte) error

// run makes all events.
func (t *traffic) run(out emit) error {
	buf := make([]byte, 0, 1024)
	for t.made < t.events {
		cell := t.cell()
		weight := t.impression(cell)
		partition := proto.Partition(&t.event, spread, uint32(t.partitions))
		var err error
		if buf, err = t.send(out, buf, partition, weight); err != nil {
			return err
		}
		if cell%clickEvery == 0 {
			if buf, err = t.send(out, buf, partition, t.click()); err != nil {
				return err
			}
		}
	}
	return nil
}

// cell draws the cell of an impression. Popular cells lie anywhere.
func (t *traffic) cell() int {
	if t.zipfs != nil {
		return int(t.zipfs.Uint64() * 7919 % uint64(t.impressions))
	}
	return t.rand.IntN(t.impressions)
}

// impression makes an impression of a cell and returns its weight.
func (t *traffic) impression(cell int) uint64 {
	campaign, rest := cell%campaigns, cell/campaigns
	take := func(n int) int {
		digit := rest % n
		rest /= n
		return digit
	}
	place, device, variant, browser := take(len(countries)), take(len(devices)), take(len(variants)), take(len(browsers))
	creative := take(4)
	minute := t.lat()/60_000 - 2
	e := &t.event
	*e = proto.Event{
		Type: proto.EventType_EVENT_TYPE_IMPRESSION, EventIdHi: t.rand.Uint64(),
		// The spread within the campaign follows the cell.
		EventIdLo: t.rand.Uint64()&^(spread-1) | uint64(cell>>3)%spread,
		TimeUs:    minute*60_000_000 + t.rand.Int64N(60_000_000), ReceivedUs: minute*60_000_000 + 60_000_000,
		AdvertiserId: uint64(100_000 + campaign%t.tenants), CampaignId: uint64(2_000_000 + campaign),
		AdGroupId: uint64(30_000_000 + campaign*8 + rest), CreativeId: uint64(40_000_000 + campaign*8 + creative),
		PlacementId: uint64(5_000_000 + campaign%997), PublisherId: uint64(600_000 + campaign%499),
		Country: countries[place], Region: regions[place], Device: devices[device], Os: systems[device],
		Browser: browsers[browser], Variant: variants[variant], UserHash: t.rand.Uint64(),
		PriceNanos: int64(1_000_000 + campaign*1000), Pricing: proto.Pricing_PRICING_CPM, Currency: "USD",
		Consent: proto.Consent_CONSENT_FULL,
	}
	e.ImpressionIdHi, e.ImpressionIdLo = e.EventIdHi, e.EventIdLo
	if campaign%2 == 1 {
		e.Pricing = proto.Pricing_PRICING_CPC
	}
	if cell%flagEvery == 1 {
		e.InvalidFlags = uint32(proto.FlagCrawler)
		e.Votes = []*proto.ListVote{{Flag: e.InvalidFlags, List: "crawlers", Version: "2026-11-01"}}
	}
	return t.weight()
}

// lat is the broker time of the next event.
func (t *traffic) lat() int64 {
	return t.begin + t.span.Milliseconds()*int64(t.made)/int64(t.events)
}

// click makes the click on the impression that was made last.
func (t *traffic) click() uint64 {
	e := &t.event
	e.Type = proto.EventType_EVENT_TYPE_CLICK
	e.EventIdHi, e.EventIdLo = t.rand.Uint64(), t.rand.Uint64()
	return t.weight()
}

// weight depends on all dimensions of the event; weightSQL says the same.
func (t *traffic) weight() uint64 {
	e := &t.event
	text := func(s string) uint64 { return uint64(crc32.ChecksumIEEE([]byte(s))) }
	return e.AdvertiserId*1_000_003 + e.CampaignId*7919 + e.AdGroupId*104_729 + e.CreativeId*1_299_709 +
		e.PlacementId*15_485_863 + e.PublisherId*32_452_843 + uint64(e.TimeUs/60_000_000)*86_028_121 +
		uint64(e.Type)*49_979_687 + uint64(e.InvalidFlags)*67_867_967 +
		text(e.Country)*3 + text(e.Region)*5 + text(e.Device)*7 + text(e.Os)*11 + text(e.Browser)*13 + text(e.Variant)*17 + text(e.Currency)*19
}

// weightSQL is weight over the columns of the ledger.
const weightSQL = `advertiser*1000003 + campaign*7919 + ad_group*104729 + creative*1299709 +
placement*15485863 + publisher*32452843 + toUInt64(intDiv(toUnixTimestamp(minute), 60))*86028121 +
toUInt64(event_type)*49979687 + toUInt64(invalid_flags)*67867967 +
toUInt64(CRC32(country))*3 + toUInt64(CRC32(region))*5 + toUInt64(CRC32(device))*7 + toUInt64(CRC32(os))*11 +
toUInt64(CRC32(browser))*13 + toUInt64(CRC32(variant))*17 + toUInt64(CRC32(currency))*19`

// send encodes the event, counts it, and sometimes sends an earlier one again.
func (t *traffic) send(out emit, buf []byte, partition int32, weight uint64) ([]byte, error) {
	buf, err := appendEvent(buf[:0], &t.event)
	if err != nil {
		return buf, err
	}
	t.count(weight)
	lat := t.lat()
	t.made++
	if err := out(partition, lat, buf); err != nil {
		return buf, err
	}
	again := &t.repeat[partition]
	switch t.rand.IntN(repeatEvery) {
	case 0:
		if again.value == nil {
			return buf, nil
		}
		t.want.Gross++
		t.want.Duplicate++
		t.want.Weighted += again.weight
		t.made++
		return buf, out(partition, lat, again.value)
	case 1:
		again.value = append(again.value[:0], buf...)
		again.weight = weight
	}
	return buf, nil
}

func (t *traffic) count(weight uint64) {
	t.want.Gross++
	t.want.Weighted += weight
	switch e := &t.event; {
	case e.InvalidFlags != 0:
		t.want.Invalid++
	default:
		t.want.Net++
		if (e.Pricing == proto.Pricing_PRICING_CPC) == (e.Type == proto.EventType_EVENT_TYPE_CLICK) {
			t.want.Spend += e.PriceNanos
		}
	}
}

// appendEvent appends the encoding of e.
func appendEvent(buf []byte, e *proto.Event) ([]byte, error) {
	n, size := len(buf), e.SizeVT()
	buf = append(buf, make([]byte, size)...)
	_, err := e.MarshalToSizedBufferVT(buf[n:])
	return buf, err
}
