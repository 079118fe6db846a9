package window

import "github.com/adtally/adtally/proto"

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

// Totals are the control totals of a Delta. Every record is accounted for:
// Records = Ticks + Poison + Gross + what Pending grew by.
type Totals struct {
	Rows int
	// Records are all records of the span; Ticks and Poison are those that are
	// no events.
	Records, Ticks, Poison int64
	// Gross = Net + Duplicate + Invalid + Orphan.
	Gross, Net, Duplicate, Invalid, Orphan, SpendNanos int64
	// Synthetic are duplicates with another payload than what they repeat.
	Synthetic int64
	// Overflowed are events that are booked under Other.
	Overflowed int64
	// Pending is the number of clicks that wait for their impression after the
	// last record of the span.
	Pending int64
}

// Delta holds what one span of offsets adds to the books. The zero Delta is
// ready to use. A Delta belongs to one goroutine.
type Delta struct {
	chunks [][]cell
	len    int
	index  index
	texts  texts
	users  []UserOf
	totals Totals
}

// UserOf is the user of a net impression.
type UserOf struct {
	// Row is the row in which the impression is counted.
	Row int32
	// User is the keyed hash of the user.
	User uint64
}

// cell is a row in the making. A cell without flags counts net events, one with
// flags invalid ones.
type cell struct {
	key
	spend  int64
	counts [3]uint32
	row    int32
	// admitted is the bucket in which the tuple was last admitted.
	admitted int64
}

// Places in cell.counts.
const (
	counted = iota
	duplicate
	orphan
)

// key is a Key with its texts coded.
type key struct {
	ids    [numIDs]uint64
	texts  uint32
	minute uint32
	flags  proto.Flag
	typ    proto.EventType
}

// chunkCells is the number of cells that memory is taken for at a time.
const chunkCells = 256

// Len returns the number of rows.
func (d *Delta) Len() int { return d.len }

// Row sets r to row i; rows stand in the order in which their cells were first
// touched.
func (d *Delta) Row(i int, r *Row) {
	c := d.at(i)
	t := d.texts.unpacked(c.texts)
	*r = Row{
		Key: Key{
			Advertiser: c.ids[advertiser], Campaign: c.ids[campaign], AdGroup: c.ids[adGroup],
			Creative: c.ids[creative], Placement: c.ids[placement], Publisher: c.ids[publisher],
			Country: t[country], Region: t[region], Device: t[device], OS: t[system],
			Browser: t[browser], Variant: t[variant], Currency: t[currency],
			Minute: int64(c.minute), Type: c.typ, Flags: c.flags,
		},
		Duplicate: int64(c.counts[duplicate]), Orphan: int64(c.counts[orphan]), SpendNanos: c.spend,
	}
	if c.flags == 0 {
		r.Net = int64(c.counts[counted])
	} else {
		r.Invalid = int64(c.counts[counted])
	}
	r.Gross = r.Net + r.Duplicate + r.Invalid + r.Orphan
}

// Users lists the users of net impressions, an entry for each impression whose
// user is known. It belongs to d and is valid until its next change.
func (d *Delta) Users() []UserOf { return d.users }

// Totals returns the control totals.
func (d *Delta) Totals() Totals {
	t := d.totals
	t.Rows = d.len
	return t
}

// Reset empties d and keeps its memory.
func (d *Delta) Reset() {
	d.len = 0
	d.index.reset()
	d.users = d.users[:0]
	d.totals = Totals{}
	if len(d.texts.blob) > maxTexts {
		d.texts = texts{}
	}
}

func (d *Delta) at(i int) *cell { return &d.chunks[i/chunkCells][i%chunkCells] }

// find returns the cell of k, whose hash is h, or nil.
func (d *Delta) find(h uint64, k *key) *cell {
	p := d.index.seek(h)
	for at := d.index.next(&p); at >= 0; at = d.index.next(&p) {
		if c := d.at(at); c.key == *k {
			return c
		}
	}
	return nil
}

// cell returns the cell of k, whose hash is h.
func (d *Delta) cell(h uint64, k *key) *cell {
	if c := d.find(h, k); c != nil {
		return c
	}
	return d.grow(h, k)
}

// add books one event in c. user is 0 for all but impressions.
func (d *Delta) add(c *cell, as int, spend int64, user uint64) {
	c.counts[as]++
	t := &d.totals
	t.Gross++
	switch {
	case as == duplicate:
		t.Duplicate++
	case as == orphan:
		t.Orphan++
	case c.flags != 0:
		t.Invalid++
	default:
		c.spend += spend
		t.Net++
		t.SpendNanos += spend
		if user != 0 {
			d.users = append(d.users, UserOf{Row: c.row, User: user})
		}
	}
}

// grow adds a cell for k, whose hash is h.
func (d *Delta) grow(h uint64, k *key) *cell {
	if d.len == len(d.chunks)*chunkCells {
		d.chunks = append(d.chunks, make([]cell, chunkCells))
	}
	c := d.at(d.len)
	*c = cell{key: *k, row: int32(d.len), admitted: never}
	d.index.insert(h, d.len)
	d.len++
	return c
}
