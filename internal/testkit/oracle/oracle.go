// Package oracle says what a log must add to the books, for tests: it states
// every rule of package window by looking at all earlier records, and shares no
// code with it.
package oracle

import (
	"cmp"
	"slices"
	"time"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/proto"
)

// Record is one record of a log, with its append time in milliseconds.
type Record struct {
	Event *proto.Event
	LAT   int64
}

// Booking is what one record counts, and the place of the record that settles
// it.
type Booking struct {
	By  int
	Row window.Row
}

type judge struct {
	cfg window.Config
	log []Record
	// local is what can be said of each record alone.
	local []local
}

type local struct {
	valid        bool
	step, bucket int64
	key          window.Key
}

// Judge returns the bookings of a whole log. Clicks that still wait have none.
func Judge(cfg window.Config, log []Record) []Booking {
	j := &judge{cfg: cfg, log: log}
	bucket := min(cfg.Horizon, time.Hour).Milliseconds()
	for _, r := range log {
		at, flags := r.Event.TimeUs, proto.Flag(r.Event.InvalidFlags)
		if at > (r.LAT+5*60_000)*1000 {
			at, flags = r.LAT*1000, flags|proto.FlagFutureTime
		}
		j.local = append(j.local, local{
			valid: flags == 0, step: r.LAT / j.step(), bucket: r.LAT / bucket,
			key: window.Key{
				Advertiser: r.Event.AdvertiserId, Campaign: r.Event.CampaignId, AdGroup: r.Event.AdGroupId,
				Country: r.Event.Country, Variant: r.Event.Variant, Currency: r.Event.Currency,
				Minute: at / 60_000_000, Type: r.Event.Type, Flags: flags,
			},
		})
	}
	var out []Booking
	for n := range log {
		if b, ok := j.booking(n); ok {
			out = append(out, b)
		}
	}
	return out
}

// step is the grain of the horizon.
func (j *judge) step() int64 { return (j.cfg.Horizon.Milliseconds() + 2*60_000 + 119) / 120 }

func (j *judge) booking(n int) (Booking, bool) {
	ev, l := j.log[n].Event, j.local[n]
	named := ev.Type == proto.EventType_EVENT_TYPE_CLICK && !ev.ImpressionID().IsZero()
	row := window.Row{Key: l.key, Gross: 1}
	if j.overflows(n) {
		row.AdGroup = 0
		for _, text := range []*string{&row.Country, &row.Region, &row.Device, &row.OS, &row.Browser, &row.Variant} {
			*text = window.Other
		}
	}
	by := n
	switch {
	case ev.Type == proto.EventType_EVENT_TYPE_TICK:
		return Booking{}, false
	case j.duplicate(n) || named && j.repeat(n):
		row.Duplicate = 1
	case !l.valid:
		row.Invalid = 1
	case named && j.capped(n):
		row.Flags |= proto.FlagClickCap
		row.Invalid = 1
	case named && !j.joined(n):
		settled, net := j.settled(n)
		if settled < 0 {
			return Booking{}, false
		}
		by = settled
		if row.Orphan = 1; net {
			row.Net, row.Orphan = 1, 0
		}
	default:
		row.Net = 1
	}
	if row.Net == 1 && ev.Pricing.Bills(ev.Type) {
		row.SpendNanos = ev.PriceNanos
	}
	return Booking{by, row}, true
}

// within reports whether record i lies in the horizon of record n.
func (j *judge) within(i, n int) bool {
	horizon := (j.cfg.Horizon.Milliseconds() + j.step() - 1) / j.step()
	return j.local[i].step >= j.local[n].step-horizon
}

// shadows reports whether the validity of record i lets it shadow record n.
func (j *judge) shadows(i, n int) bool { return j.local[i].valid || !j.local[n].valid }

func (j *judge) before(n int, match func(i int) bool) bool {
	for i := range n {
		if match(i) {
			return true
		}
	}
	return false
}

func (j *judge) duplicate(n int) bool {
	return j.before(n, func(i int) bool {
		a, b := j.log[i].Event, j.log[n].Event
		return a.Type == b.Type && a.EventID() == b.EventID() && j.shadows(i, n) && j.within(i, n)
	})
}

func (j *judge) sameClick(i, n int) bool {
	a, b := j.log[i].Event, j.log[n].Event
	return a.Type == proto.EventType_EVENT_TYPE_CLICK && a.ImpressionID() == b.ImpressionID()
}

func (j *judge) repeat(n int) bool {
	return j.before(n, func(i int) bool {
		return j.sameClick(i, n) && j.shadows(i, n) && j.log[i].LAT > j.log[n].LAT-j.cfg.DoubleClick.Milliseconds()
	})
}

func (j *judge) capped(n int) bool {
	others := make(map[proto.ID]bool)
	for i := range n {
		id := j.log[i].Event.EventID()
		if j.sameClick(i, n) && j.local[i].valid && id != j.log[n].Event.EventID() && j.log[i].LAT > j.log[n].LAT-j.cfg.Horizon.Milliseconds() {
			others[id] = true
		}
	}
	return len(others) >= j.cfg.MaxClicks
}

func (j *judge) isImpression(i int, id proto.ID) bool {
	return j.log[i].Event.Type == proto.EventType_EVENT_TYPE_IMPRESSION && j.log[i].Event.EventID() == id
}

func (j *judge) joined(n int) bool {
	return j.before(n, func(i int) bool { return j.isImpression(i, j.log[n].Event.ImpressionID()) && j.within(i, n) })
}

// settled returns the record that ends the wait of click n, or -1.
func (j *judge) settled(n int) (by int, net bool) {
	for i := n + 1; i < len(j.log); i++ {
		if j.log[i].LAT > j.log[n].LAT+j.cfg.JoinWindow.Milliseconds() {
			return i, false
		}
		if j.isImpression(i, j.log[n].Event.ImpressionID()) {
			return i, true
		}
	}
	return -1, false
}

// overflows reports whether the tuple of record n is beyond the limit.
func (j *judge) overflows(n int) bool {
	admitted := make(map[window.Key]bool)
	for i := range n + 1 {
		k := j.local[i].key
		if j.log[i].Event.Type == proto.EventType_EVENT_TYPE_TICK || k.Advertiser != j.local[n].key.Advertiser || j.local[i].bucket != j.local[n].bucket {
			continue
		}
		k.Minute, k.Type, k.Flags = 0, 0, 0
		if len(admitted) < j.cfg.MaxTuples {
			admitted[k] = true
		}
		if i == n {
			return !admitted[k]
		}
	}
	return false
}

// Books adds up the bookings that the records in [from, to) settle.
func Books(all []Booking, from, to int) []window.Row {
	var rows []window.Row
	for _, b := range all {
		if b.By >= from && b.By < to {
			rows = append(rows, b.Row)
		}
	}
	return Sum(rows)
}

// Rows returns the rows of d.
func Rows(d *window.Delta) []window.Row {
	rows := make([]window.Row, d.Len())
	for i := range rows {
		d.Row(i, &rows[i])
	}
	return rows
}

// Sum adds rows of equal keys up and sorts them.
func Sum(rows []window.Row) []window.Row {
	sum := make(map[window.Key]window.Row)
	for _, r := range rows {
		s := sum[r.Key]
		s.Key = r.Key
		s.Gross += r.Gross
		s.Net += r.Net
		s.Duplicate += r.Duplicate
		s.Invalid += r.Invalid
		s.Orphan += r.Orphan
		s.SpendNanos += r.SpendNanos
		sum[r.Key] = s
	}
	out := make([]window.Row, 0, len(sum))
	for _, r := range sum {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b window.Row) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign),
			cmp.Compare(a.AdGroup, b.AdGroup), cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Country, b.Country), cmp.Compare(a.Variant, b.Variant), cmp.Compare(a.Currency, b.Currency))
	})
	return out
}
