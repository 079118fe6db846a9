package window

import "github.com/adtally/adtally/proto"

// clicks remembers the clicks on each impression. Like an event id, a click is
// shadowed by valid ones only if it is valid itself.
type clicks struct {
	double, horizon, keep int64 // milliseconds
	limit                 int
	newest                int64

	slab   []clicked
	memory *mapping // of slab
	index  index
	// recent holds blocks of limit clicks for impressions with more than one.
	recent []click
	free   []int32
}

// clicked is an impression and the clicks on it.
type clicked struct {
	impression proto.ID
	any, valid int64    // LAT of the latest click
	only       [1]click // the only valid click, while there is no block
	block      int32    // in recent, or -1
	n          int32    // distinct valid clicks that are remembered
}

// click is a valid click: the latest LAT of its id.
type click struct {
	lat int64
	id  uint64
}

const minClicked = 64

func newClicks(cfg Config) *clicks {
	return &clicks{
		double:  cfg.DoubleClick.Milliseconds(),
		horizon: cfg.Horizon.Milliseconds(),
		keep:    cfg.Horizon.Milliseconds() + skewMillis,
		limit:   cfg.MaxClicks,
		newest:  never,
	}
}

// record notes a click with the given event id on an impression. It reports
// whether it repeats another within the double-click window, and whether there
// were already limit valid clicks with other ids within the horizon.
func (c *clicks) record(impression, id proto.ID, lat int64, valid bool) (repeat, capped bool) {
	c.newest = max(c.newest, lat)
	at := c.find(impression)
	if at == nil {
		c.add(impression, id, lat, valid)
		return false, false
	}
	earlier := at.any
	if valid {
		earlier = at.valid
	}
	repeat = earlier != never && earlier > lat-c.double
	at.any = max(at.any, lat)
	if !valid {
		return repeat, false
	}
	at.valid = max(at.valid, lat)
	return repeat, c.count(at, click{lat: lat, id: id.Lo})
}

// count adds a valid click to the limit latest ones and reports whether those
// before it already reach the limit.
func (c *clicks) count(at *clicked, one click) (capped bool) {
	if at.block < 0 && at.n > 0 && at.only[0].id != one.id {
		at.block = c.takeBlock()
		c.recent[int(at.block)*c.limit] = at.only[0]
	}
	list := c.list(at)
	before, oldest, own := 0, 0, -1
	for i := range list {
		switch {
		case list[i].id == one.id:
			own = i
		case list[i].lat > one.lat-c.horizon:
			before++
		}
		if list[i].lat < list[oldest].lat {
			oldest = i
		}
	}
	switch {
	case own >= 0:
		list[own].lat = max(list[own].lat, one.lat)
	case at.n == 0:
		at.only[0], at.n = one, 1
	case int(at.n) < c.limit:
		at.n++
		c.list(at)[at.n-1] = one
	case one.lat > list[oldest].lat:
		list[oldest] = one
	}
	return before >= c.limit
}

// list returns the distinct valid clicks that are remembered.
func (c *clicks) list(at *clicked) []click {
	if at.block < 0 {
		return at.only[:at.n]
	}
	from := int(at.block) * c.limit
	return c.recent[from : from+int(at.n)]
}

func (c *clicks) takeBlock() int32 {
	if n := len(c.free); n > 0 {
		block := c.free[n-1]
		c.free = c.free[:n-1]
		return block
	}
	c.recent = append(c.recent, make([]click, c.limit)...)
	return int32(len(c.recent)/c.limit - 1)
}

func (c *clicks) find(impression proto.ID) *clicked {
	p := c.index.seek(hashID(impression))
	for at := c.index.next(&p); at >= 0; at = c.index.next(&p) {
		if c.slab[at].impression == impression {
			return &c.slab[at]
		}
	}
	return nil
}

func (c *clicks) add(impression, id proto.ID, lat int64, valid bool) {
	if len(c.slab) == cap(c.slab) {
		c.forget()
	}
	at := clicked{impression: impression, any: lat, valid: never, block: -1}
	if valid {
		at.valid, at.only[0], at.n = lat, click{lat: lat, id: id.Lo}, 1
	}
	c.index.insert(hashID(impression), len(c.slab))
	c.slab = append(c.slab, at)
}

// forget drops the impressions whose clicks can no longer matter, and takes more
// memory if few do.
func (c *clicks) forget() {
	kept := c.slab[:0]
	for _, at := range c.slab {
		switch {
		case at.any > c.newest-c.keep:
			kept = append(kept, at)
		case at.block >= 0:
			c.free = append(c.free, at.block)
		}
	}
	if 4*len(kept) >= 3*cap(kept) {
		grown, memory := allocate[clicked](max(minClicked, cap(kept)+cap(kept)/2))
		kept = grown[:copy(grown, kept)]
		c.memory.free()
		c.memory = memory
	}
	c.slab = kept
	c.index.reset()
	for i := range c.slab {
		c.index.insert(hashID(c.slab[i].impression), i)
	}
}
