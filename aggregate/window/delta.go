package window

import (
	"strings"

	"github.com/adtally/adtally/proto"
)

// Key is one cell of the books: a minute of event time under all dimensions.
type Key struct {
	Advertiser, Campaign, AdGroup, Creative, Placement, Publisher uint64

	Country, Region, Device, OS, Browser, Variant, Currency string

	// Minute is the event minute, counted since 1970 UTC.
	Minute int64
	Type   proto.EventType
	Flags  proto.Flag
}

// Row is what a Delta adds to one cell. Gross = Net + Duplicate + Invalid +
// Orphan.
type Row struct {
	Key
	Gross, Net, Duplicate, Invalid, Orphan int64
	// SpendNanos is the price of the net events, in nano-units of the currency.
	SpendNanos int64
}

// Totals are the control totals of a Delta.
type Totals struct {
	Rows                       int
	Gross, Net, SpendNanos     int64
	Duplicate, Invalid, Orphan int64
}

// Delta holds what one span of offsets adds to the books. The zero Delta is
// ready to use. A Delta belongs to one goroutine.
type Delta struct {
	index map[Key]int32
	rows  []Row
}

// Rows returns the rows in the order in which their cells were first touched.
// They belong to d and are valid until its next change.
func (d *Delta) Rows() []Row { return d.rows }

// Totals adds the rows up.
func (d *Delta) Totals() Totals {
	t := Totals{Rows: len(d.rows)}
	for i := range d.rows {
		t.Gross += d.rows[i].Gross
		t.Net += d.rows[i].Net
		t.SpendNanos += d.rows[i].SpendNanos
		t.Duplicate += d.rows[i].Duplicate
		t.Invalid += d.rows[i].Invalid
		t.Orphan += d.rows[i].Orphan
	}
	return t
}

// Reset empties d and keeps its memory.
func (d *Delta) Reset() {
	clear(d.index)
	clear(d.rows) // lets go of the strings
	d.rows = d.rows[:0]
}

// cell returns the row of ev's cell. It stays valid until the next call.
func (d *Delta) cell(ev *proto.Event) *Row {
	k := Key{
		Advertiser: ev.AdvertiserId,
		Campaign:   ev.CampaignId,
		AdGroup:    ev.AdGroupId,
		Creative:   ev.CreativeId,
		Placement:  ev.PlacementId,
		Publisher:  ev.PublisherId,
		Country:    ev.Country,
		Region:     ev.Region,
		Device:     ev.Device,
		OS:         ev.Os,
		Browser:    ev.Browser,
		Variant:    ev.Variant,
		Currency:   ev.Currency,
		Minute:     floorMinute(ev.TimeUs),
		Type:       ev.Type,
		Flags:      proto.Flag(ev.InvalidFlags),
	}
	i, ok := d.index[k]
	if !ok {
		i = d.grow(k)
	}
	return &d.rows[i]
}

// grow adds a cell. The strings of k may alias a record's bytes, so the copy
// that is kept owns its own.
func (d *Delta) grow(k Key) int32 {
	if d.index == nil {
		d.index = make(map[Key]int32)
	}
	for _, s := range []*string{&k.Country, &k.Region, &k.Device, &k.OS, &k.Browser, &k.Variant, &k.Currency} {
		*s = strings.Clone(*s)
	}
	i := int32(len(d.rows))
	d.index[k] = i
	d.rows = append(d.rows, Row{Key: k})
	return i
}

// floorMinute rounds towards the past, also before 1970.
func floorMinute(us int64) int64 {
	const minute = 60_000_000
	m := us / minute
	if us%minute < 0 {
		m--
	}
	return m
}
