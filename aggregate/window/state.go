package window

import (
	"github.com/adtally/adtally/proto"
)

// Record is one record of the log.
type Record struct {
	// Value is an encoded proto.Event. It is not kept.
	Value []byte
	// LAT is the time at which the broker appended it, in milliseconds since
	// 1970 UTC.
	LAT int64
}

// Reporter is told about records that people should look at. They are named by
// their place in the batch that is folded, and told while it is.
type Reporter interface {
	// Poison is told about a record that no ingest can have written.
	Poison(record int, err error)
	// Synthetic is told about a duplicate with another payload than the record
	// that it repeats.
	Synthetic(record int)
}

// State is what the core remembers of one partition's log. It belongs to one
// goroutine.
type State struct {
	stepMillis, bucketMillis int64

	seen    *seen
	clicks  *clicks
	pending *pending
	flood   *flood
	newest  int64

	report  Reporter
	event   event
	scratch []byte
}

// NewState returns the state before the first record. What happens is told to
// report, except in records that are only remembered.
func NewState(cfg Config, report Reporter) *State {
	return &State{
		stepMillis: cfg.stepMillis(), bucketMillis: cfg.bucketMillis(),
		seen: newSeen(cfg), clicks: newClicks(cfg), pending: newPending(cfg), flood: newFlood(cfg),
		newest: never, report: report,
	}
}

// FoldBatch takes the next records of the log. It adds what they count to d, or
// only remembers them when d is nil, as when rebuilding.
func (s *State) FoldBatch(records []Record, d *Delta) {
	for i := range records {
		r := &records[i]
		s.advance(r.LAT, d)
		err := s.event.decode(r.Value)
		if err == nil {
			err = s.event.check()
		}
		if err == nil && s.event.typ != proto.EventType_EVENT_TYPE_TICK {
			s.fold(i, r.LAT, d)
		}
		if d == nil {
			continue
		}
		d.totals.Records++
		switch {
		case err != nil:
			d.totals.Poison++
			s.report.Poison(i, err)
		case s.event.typ == proto.EventType_EVENT_TYPE_TICK:
			d.totals.Ticks++
		}
	}
	if d != nil {
		d.totals.Pending = int64(s.pending.open)
	}
}

// advance moves time to lat: clicks that waited too long are orphans, and what
// can no longer matter is forgotten.
func (s *State) advance(lat int64, d *Delta) {
	s.pending.expire(lat, d)
	if lat <= s.newest {
		return
	}
	s.newest = lat
	s.seen.advance(floorDiv(lat, s.stepMillis))
	s.flood.advance(lat)
}

// fold judges s.event and books it.
func (s *State) fold(record int, lat int64, d *Delta) {
	e := &s.event
	e.clampFuture(lat)
	valid := e.flags == 0
	step := floorDiv(lat, s.stepMillis)
	textsHash, tuple := s.hash(e)
	duplicated, synthetic := s.seen.record(seenKey{e.id, e.typ, valid}, step, payload(e))
	if synthetic && d != nil {
		d.totals.Synthetic++
		s.report.Synthetic(record)
	}
	named := e.typ == proto.EventType_EVENT_TYPE_CLICK && !e.impression.IsZero()
	if named {
		repeat, capped := s.clicks.record(e.impression, e.id, lat, valid)
		duplicated = duplicated || repeat
		if capped && !duplicated {
			e.flags |= proto.FlagClickCap
		}
	}
	if e.typ == proto.EventType_EVENT_TYPE_IMPRESSION {
		s.pending.settle(e.id, d)
	} else {
		e.user = 0
	}
	as := counted
	if duplicated {
		as = duplicate
	}
	waits := named && as == counted && e.flags == 0 && !s.seen.impression(e.impression, step)
	s.book(e, lat, place{texts: textsHash, tuple: tuple, as: as, waits: waits}, d)
}

// place is where and how an event is booked.
type place struct {
	texts, tuple uint64
	as           int
	waits        bool
}

// book adds the event to its cell, or lets it wait.
func (s *State) book(e *event, lat int64, p place, d *Delta) {
	bucket := floorDiv(lat, s.bucketMillis)
	k := key{ids: e.ids, minute: uint32(e.timeUs / microsPerMinute), flags: e.flags, typ: e.typ}
	spend := int64(0)
	if p.as == counted && e.flags == 0 && e.pricing.Bills(e.typ) {
		spend = e.price
	}
	var c *cell
	if d != nil && !p.waits {
		k.texts = d.texts.code(p.texts, s.scratch)
		if c = d.find(hashKey(p.tuple, &k), &k); c != nil && c.admitted == bucket {
			d.add(c, p.as, spend, e.user)
			return
		}
	}
	if !s.flood.admit(bucket, e.ids[advertiser], p.tuple) {
		c = nil
		s.overflow(e, &k, &p, d)
		bucket = never
	}
	switch {
	case p.waits:
		s.pending.add(waiting{impression: e.impression, tuple: p.tuple, spend: spend, key: k}, lat, p.texts, s.scratch)
	case d != nil:
		if c == nil {
			c = d.cell(hashKey(p.tuple, &k), &k)
		}
		c.admitted = bucket
		d.add(c, p.as, spend, e.user)
	}
}

// overflow moves an event whose tuple is not admitted to the one that stands
// for all of its campaign.
func (s *State) overflow(e *event, k *key, p *place, d *Delta) {
	for i := adGroup; i < numIDs; i++ {
		e.ids[i] = 0
	}
	for i := range e.texts {
		if i != currency {
			e.texts[i] = otherText
		}
	}
	k.ids = e.ids
	p.texts, p.tuple = s.hash(e)
	if d != nil {
		d.totals.Overflowed++
		k.texts = d.texts.code(p.texts, s.scratch)
	}
}

var otherText = []byte(Other)

// hash packs the texts of e into s.scratch and returns their hash and that of
// the tuple.
func (s *State) hash(e *event) (texts, tuple uint64) {
	s.scratch = packTexts(s.scratch[:0], e)
	texts = hashBytes(0, s.scratch)
	return texts, hashTuple(e, texts)
}

// payload is a fingerprint of what a repeat must have in common with its first:
// what the token or the server states, not what the request's way adds.
func payload(e *event) uint16 {
	h := mix(e.ids[campaign]^secret0, e.ids[adGroup]^secret1)
	h = mix(h^e.ids[creative], e.ids[placement]^secret2)
	h = mix(h^e.ids[publisher], uint64(e.price)^secret3)
	h = mix(h^uint64(e.pricing), hashID(e.impression))
	h = hashBytes(h, e.texts[currency])
	h = hashBytes(h, e.texts[variant])
	return uint16(h)
}

const microsPerMinute = 60_000_000

// clampFuture sets an event from too far ahead to its append time and flags it.
// Ingest does so too; this holds for whoever wrote the record.
func (e *event) clampFuture(lat int64) {
	if e.timeUs > (lat+futureMillis)*1000 {
		e.timeUs = min(max(lat, 0)*1000, maxMicros-1)
		e.flags |= proto.FlagFutureTime
	}
}

// IDs returns the number of ids that are remembered.
func (s *State) IDs() int { return s.seen.len() }

// Pending returns the number of clicks that wait for their impression.
func (s *State) Pending() int { return s.pending.open }
