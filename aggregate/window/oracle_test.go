package window

import (
	"cmp"
	"slices"
	"time"

	"github.com/adtally/adtally/proto"
)

// The oracle states every rule by looking at all earlier records. It knows the
// Config, but shares no code with the core.

// booking is what one record counts, and the record that settles it.
type booking struct {
	by  int
	row Row
}

type oracle struct {
	cfg Config
	log []logged
	// local is what can be said of each record alone.
	local []local
}

type local struct {
	valid        bool
	step, bucket int64
	key          Key
}

func newOracle(cfg Config, log []logged) *oracle {
	o := &oracle{cfg: cfg, log: log}
	step := (cfg.Horizon.Milliseconds() + 2*60_000 + 119) / 120
	bucket := min(cfg.Horizon, time.Hour).Milliseconds()
	for _, r := range log {
		at, flags := r.ev.TimeUs, proto.Flag(r.ev.InvalidFlags)
		if at > (r.lat+5*60_000)*1000 {
			at, flags = r.lat*1000, flags|proto.FlagFutureTime
		}
		o.local = append(o.local, local{
			valid: flags == 0, step: r.lat / step, bucket: r.lat / bucket,
			key: Key{
				Advertiser: r.ev.AdvertiserId, Campaign: r.ev.CampaignId, AdGroup: r.ev.AdGroupId,
				Country: r.ev.Country, Variant: r.ev.Variant, Currency: r.ev.Currency,
				Minute: at / 60_000_000, Type: r.ev.Type, Flags: flags,
			},
		})
	}
	return o
}

// within reports whether record i lies in the horizon of record n.
func (o *oracle) within(i, n int) bool {
	step := (o.cfg.Horizon.Milliseconds() + 2*60_000 + 119) / 120
	return o.local[i].step >= o.local[n].step-(o.cfg.Horizon.Milliseconds()+step-1)/step
}

// shadows reports whether the validity of record i lets it shadow record n.
func (o *oracle) shadows(i, n int) bool { return o.local[i].valid || !o.local[n].valid }

func (o *oracle) any(n int, match func(i int) bool) bool {
	for i := range n {
		if match(i) {
			return true
		}
	}
	return false
}

// bookings judges every record of the log.
func (o *oracle) bookings() []booking {
	var out []booking
	for n, r := range o.log {
		if r.ev.Type == proto.EventType_EVENT_TYPE_TICK {
			continue
		}
		l := o.local[n]
		named := r.ev.Type == proto.EventType_EVENT_TYPE_CLICK && !r.ev.ImpressionID().IsZero()
		row := Row{Key: l.key}
		if o.overflows(n) {
			row.AdGroup, row.Country, row.Region, row.Device, row.OS, row.Browser, row.Variant = 0, Other, Other, Other, Other, Other, Other
		}
		by := n
		switch {
		case o.duplicate(n) || named && o.repeat(n):
			row.Duplicate = 1
		case !l.valid:
			row.Invalid = 1
		case named && o.capped(n):
			row.Flags |= proto.FlagClickCap
			row.Invalid = 1
		case named && !o.joined(n):
			settled, net := o.settled(n)
			if settled < 0 {
				continue
			}
			by = settled
			if row.Orphan = 1; net {
				row.Net, row.Orphan = 1, 0
			}
		default:
			row.Net = 1
		}
		row.Gross = 1
		if row.Net == 1 && r.ev.Pricing.Bills(r.ev.Type) {
			row.SpendNanos = r.ev.PriceNanos
		}
		out = append(out, booking{by, row})
	}
	return out
}

func (o *oracle) duplicate(n int) bool {
	return o.any(n, func(i int) bool {
		a, b := o.log[i].ev, o.log[n].ev
		return a.Type == b.Type && a.EventID() == b.EventID() && o.shadows(i, n) && o.within(i, n)
	})
}

func (o *oracle) sameClick(i, n int) bool {
	a, b := o.log[i].ev, o.log[n].ev
	return a.Type == proto.EventType_EVENT_TYPE_CLICK && a.ImpressionID() == b.ImpressionID()
}

func (o *oracle) repeat(n int) bool {
	return o.any(n, func(i int) bool {
		return o.sameClick(i, n) && o.shadows(i, n) && o.log[i].lat > o.log[n].lat-o.cfg.DoubleClick.Milliseconds()
	})
}

func (o *oracle) capped(n int) bool {
	others := make(map[proto.ID]bool)
	for i := range n {
		id := o.log[i].ev.EventID()
		if o.sameClick(i, n) && o.local[i].valid && id != o.log[n].ev.EventID() && o.log[i].lat > o.log[n].lat-o.cfg.Horizon.Milliseconds() {
			others[id] = true
		}
	}
	return len(others) >= o.cfg.MaxClicks
}

func (o *oracle) isImpression(i int, id proto.ID) bool {
	return o.log[i].ev.Type == proto.EventType_EVENT_TYPE_IMPRESSION && o.log[i].ev.EventID() == id
}

func (o *oracle) joined(n int) bool {
	return o.any(n, func(i int) bool { return o.isImpression(i, o.log[n].ev.ImpressionID()) && o.within(i, n) })
}

// settled returns the record that ends the wait of click n, or -1.
func (o *oracle) settled(n int) (by int, net bool) {
	for i := n + 1; i < len(o.log); i++ {
		if o.log[i].lat > o.log[n].lat+o.cfg.JoinWindow.Milliseconds() {
			return i, false
		}
		if o.isImpression(i, o.log[n].ev.ImpressionID()) {
			return i, true
		}
	}
	return -1, false
}

// overflows reports whether the tuple of record n is beyond the limit.
func (o *oracle) overflows(n int) bool {
	admitted := make(map[Key]bool)
	for i := range n + 1 {
		k := o.local[i].key
		if o.log[i].ev.Type == proto.EventType_EVENT_TYPE_TICK || k.Advertiser != o.local[n].key.Advertiser || o.local[i].bucket != o.local[n].bucket {
			continue
		}
		k.Minute, k.Type, k.Flags = 0, 0, 0
		if len(admitted) < o.cfg.MaxTuples {
			admitted[k] = true
		}
		if i == n {
			return !admitted[k]
		}
	}
	return false
}

// books adds the bookings up that the records in [from, to) settle.
func books(all []booking, from, to int) []Row {
	var rows []Row
	for _, b := range all {
		if b.by >= from && b.by < to {
			rows = append(rows, b.row)
		}
	}
	return sumRows(rows)
}

// sumRows adds rows of equal keys up and sorts them.
func sumRows(rows []Row) []Row {
	sum := make(map[Key]Row)
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
	out := make([]Row, 0, len(sum))
	for _, r := range sum {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign),
			cmp.Compare(a.AdGroup, b.AdGroup), cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Country, b.Country), cmp.Compare(a.Variant, b.Variant), cmp.Compare(a.Currency, b.Currency))
	})
	return out
}
