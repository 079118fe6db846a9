package window

import "github.com/adtally/adtally/proto"

// pending holds the clicks that wait for their impression. What settles a click
// is taken out of the slab later, when the slab is full.
type pending struct {
	window int64 // milliseconds
	slab   []waiting
	spare  []waiting
	// byImpression has every click of the slab under its impression.
	byImpression index
	// order lists places by the time up to which they wait, from head on.
	order []int32
	head  int
	open  int
	texts texts
}

// waiting is a click and what it will count.
type waiting struct {
	impression proto.ID
	until      int64 // LAT up to which it waits
	tuple      uint64
	spend      int64
	key        key // with the code of pending.texts
	settled    bool
}

const minWaiting = 64

func newPending(cfg Config) *pending { return &pending{window: cfg.JoinWindow.Milliseconds()} }

// add lets w wait from lat on with the texts of e, whose hash is h.
func (p *pending) add(w waiting, lat int64, h uint64, e *event) {
	if len(p.slab) == cap(p.slab) {
		p.forget()
	}
	w.until = lat + p.window
	w.key.texts = p.texts.code(h, e.texts, e.currency)
	p.place(w)
	p.open++
}

func (p *pending) place(w waiting) {
	p.byImpression.insert(hashID(w.impression), len(p.slab))
	i := len(p.order)
	p.order = append(p.order, 0)
	for ; i > p.head && p.slab[p.order[i-1]].until > w.until; i-- { // the broker's clock went back
		p.order[i] = p.order[i-1]
	}
	p.order[i] = int32(len(p.slab))
	p.slab = append(p.slab, w)
}

// settle books the clicks that waited for the impression as net.
func (p *pending) settle(impression proto.ID, d *Delta) {
	if p.open == 0 {
		return
	}
	walk := p.byImpression.seek(hashID(impression))
	for at := p.byImpression.next(&walk); at >= 0; at = p.byImpression.next(&walk) {
		if w := &p.slab[at]; w.impression == impression && !w.settled {
			p.book(w, d, counted)
		}
	}
}

// expire books the clicks that have waited for longer than lat as orphans.
func (p *pending) expire(lat int64, d *Delta) {
	for ; p.head < len(p.order); p.head++ {
		w := &p.slab[p.order[p.head]]
		if !w.settled && w.until >= lat {
			return
		}
		if !w.settled {
			p.book(w, d, orphan)
		}
	}
}

// book ends the wait of w. Before the position, when d is nil, it was booked by
// the span that is in the ledger.
func (p *pending) book(w *waiting, d *Delta, as int) {
	w.settled = true
	p.open--
	if d == nil {
		return
	}
	list, currency := p.texts.set(w.key.texts)
	k := w.key
	k.texts = d.texts.code(hashTexts(list, currency), list, currency)
	d.add(d.row(hashKey(w.tuple, &k), &k), as, w.spend, 0)
}

// forget drops what is settled, and takes more memory if little is.
func (p *pending) forget() {
	size := cap(p.slab)
	if 4*p.open >= 3*size {
		size = max(minWaiting, 2*size)
	}
	old, order, sets := p.slab, p.order[p.head:], p.texts
	if cap(p.spare) < size {
		p.spare = make([]waiting, 0, size)
	}
	p.slab, p.spare = p.spare[:0], nil
	p.order, p.head = make([]int32, 0, size), 0
	p.byImpression.reset()
	p.texts = texts{}
	for _, at := range order {
		if w := old[at]; !w.settled {
			list, currency := sets.set(w.key.texts)
			w.key.texts = p.texts.code(hashTexts(list, currency), list, currency)
			p.place(w)
		}
	}
	if cap(old) >= size {
		p.spare = old[:0]
	}
}
