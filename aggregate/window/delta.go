package window

import (
	"iter"
	"runtime"

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
	// users stand in chunks, of which lastUsers is the one that is filled.
	users     [][]UserOf
	lastUsers int
	totals    Totals
	// memory keeps what chunks and users lie in.
	memory []*mapping
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
	// admitted is the bucket in which the tuple was last admitted, plus one.
	admitted uint32
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
	typ    uint8
}

// Memory is taken for so many cells or users at a time, which are whole pages.
const (
	chunkCells = 512
	chunkUsers = 4096
)

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
			Minute: int64(c.minute), Type: proto.EventType(c.typ), Flags: c.flags,
		},
		Duplicate: int64(c.counts[duplicate]), Orphan: int64(c.counts[orphan]), SpendNanos: c.spend,
	}
	if c.flags == 0 {
		r.Net = int64(c.counts[counted])
	} else {
		r.Invalid = int64(c.counts[counted])
	}
	r.Gross = r.Net + r.Duplicate + r.Invalid + r.Orphan
	runtime.KeepAlive(d) // c lies in its memory
}

// Texts returns the number of the set of texts of row i: rows of d with the same
// number have the same texts. Numbers count from 0.
func (d *Delta) Texts(i int) uint32 {
	code := d.at(i).texts
	runtime.KeepAlive(d)
	return code
}

// Users lists the users of net impressions, an entry for each impression whose
// user is known.
func (d *Delta) Users() iter.Seq[UserOf] {
	return func(yield func(UserOf) bool) {
		for _, chunk := range d.users {
			for _, of := range chunk {
				if !yield(of) {
					return
				}
			}
		}
		runtime.KeepAlive(d)
	}
}

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
	d.dropUsers()
	d.totals = Totals{}
	if len(d.texts.blob) > maxTexts {
		d.texts = texts{}
	}
}

func (d *Delta) dropUsers() {
	for i := range d.users {
		d.users[i] = d.users[i][:0]
	}
	d.lastUsers = 0
}

// addUser notes the user of an impression.
func (d *Delta) addUser(of UserOf) {
	if d.lastUsers < len(d.users) && len(d.users[d.lastUsers]) == chunkUsers {
		d.lastUsers++
	}
	if d.lastUsers == len(d.users) {
		chunk, memory := allocate[UserOf](chunkUsers)
		d.users, d.memory = append(d.users, chunk[:0]), append(d.memory, memory)
	}
	last := &d.users[d.lastUsers]
	*last = append(*last, of)
}

func (d *Delta) at(i int) *cell { return &d.chunks[i/chunkCells][i%chunkCells] }

// touch reads the cell that the hash of a key most likely leads to.
func (d *Delta) touch(h uint64) uint64 {
	if s := d.index.first(h); s.place != 0 {
		c := d.at(int(s.place - 1))
		return c.ids[0] + uint64(c.counts[0])
	}
	return 0
}

// admitted reports whether touch has read a cell whose tuple was admitted in the
// bucket.
func (d *Delta) admitted(h uint64, bucket int64) bool {
	s := d.index.first(h)
	return s.place != 0 && d.at(int(s.place-1)).admitted == uint32(bucket+1)
}

// find returns the row of k, whose hash is h, or -1.
func (d *Delta) find(h uint64, k *key) int {
	p := d.index.seek(h)
	for row := d.index.next(&p); row >= 0; row = d.index.next(&p) {
		if d.at(row).key == *k {
			return row
		}
	}
	return -1
}

// row returns the row of k, whose hash is h.
func (d *Delta) row(h uint64, k *key) int {
	if row := d.find(h, k); row >= 0 {
		return row
	}
	return d.grow(h, k)
}

// add books one event in a row. user is 0 for all but impressions.
func (d *Delta) add(row, as int, spend int64, user uint64) {
	c := d.at(row)
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
			d.addUser(UserOf{Row: int32(row), User: user})
		}
	}
}

// grow adds a row for k, whose hash is h.
func (d *Delta) grow(h uint64, k *key) int {
	row := d.len
	if row == len(d.chunks)*chunkCells {
		chunk, memory := allocate[cell](chunkCells)
		d.chunks, d.memory = append(d.chunks, chunk), append(d.memory, memory)
	}
	*d.at(row) = cell{key: *k}
	d.index.insert(h, row)
	d.len++
	return row
}
