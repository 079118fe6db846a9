package window

import (
	"runtime"

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

	report Reporter
	ahead  [lookAhead]prepared
	ids    [lookAhead]fingerprint
	cells  [lookAhead]uint64
	// sink keeps the compiler from dropping reads that only fill the cache.
	sink uint64
}

// lookAhead is the number of records whose lines of memory are read before the
// first of them is judged: the waits for memory then overlap.
const lookAhead = 32

// prepared is a record with everything that depends on it alone.
type prepared struct {
	event
	err          error
	id           fingerprint // of a valid record
	texts, tuple uint64      // hashes
	cell         uint64      // hash of its key
	key          key         // texts is set once the record is judged
	payload      uint16
	step, bucket int64
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
	for first := 0; first < len(records); first += lookAhead {
		batch := records[first:min(first+lookAhead, len(records))]
		for i := range batch {
			s.prepare(&s.ahead[i], &batch[i])
			s.ids[i], s.cells[i] = s.ahead[i].id, s.ahead[i].cell
		}
		s.touch(len(batch), d)
		for i := range batch {
			s.take(first+i, &s.ahead[i], batch[i].LAT, d)
		}
	}
	if d != nil {
		d.totals.Pending = int64(s.pending.open)
	}
	// Pointers into their memory do not keep it.
	runtime.KeepAlive(s)
	runtime.KeepAlive(d)
}

// touch reads the lines that the first n records will look at. The loops are so
// short that many reads are under way at once.
func (s *State) touch(n int, d *Delta) {
	sum := uint64(0)
	for i := range s.ids[:n] {
		sum += s.seen.touch(s.ids[i])
	}
	if d != nil {
		for _, h := range s.cells[:n] {
			sum += d.index.touch(h)
		}
		for _, h := range s.cells[:n] {
			sum += d.touch(h)
		}
	}
	for i := range s.ahead[:n] {
		if p := &s.ahead[i]; d == nil || !d.admitted(s.cells[i], p.bucket) {
			sum += s.flood.touch(p.bucket, p.tuple)
		}
	}
	s.sink += sum
}

// prepare decodes a record and hashes what will be looked at.
func (s *State) prepare(p *prepared, r *Record) {
	p.err = p.decode(r.Value)
	if p.err == nil {
		p.err = p.check()
	}
	if p.err != nil || p.typ == proto.EventType_EVENT_TYPE_TICK {
		return
	}
	p.clampFuture(r.LAT)
	p.step, p.bucket = floorDiv(r.LAT, s.stepMillis), floorDiv(r.LAT, s.bucketMillis)
	p.id = fingerprintOf(p.event.id, p.typ, true)
	p.payload = payload(&p.event)
	p.place()
}

// place sets the hashes and the key of p's dimensions.
func (p *prepared) place() {
	p.texts = hashTexts(p.event.texts, p.currency)
	p.tuple = hashTuple(&p.event, p.texts)
	p.key = key{ids: p.ids, minute: uint32(p.timeUs / microsPerMinute), flags: p.flags, typ: uint8(p.typ)}
	p.cell = hashKey(p.tuple, &p.key)
}

// take judges a record of the batch.
func (s *State) take(record int, p *prepared, lat int64, d *Delta) {
	s.advance(lat, d)
	tick := p.err == nil && p.typ == proto.EventType_EVENT_TYPE_TICK
	if p.err == nil && !tick {
		s.fold(record, p, lat, d)
	}
	if d == nil {
		return
	}
	d.totals.Records++
	switch {
	case p.err != nil:
		d.totals.Poison++
		s.report.Poison(record, p.err)
	case tick:
		d.totals.Ticks++
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

// fold judges an event and books it.
func (s *State) fold(record int, p *prepared, lat int64, d *Delta) {
	repeated, synthetic := s.seen.record(p.id, &p.event, p.step, p.payload)
	if synthetic && d != nil {
		d.totals.Synthetic++
		s.report.Synthetic(record)
	}
	named := false
	switch p.typ {
	case proto.EventType_EVENT_TYPE_CLICK:
		p.user = 0
		if named = !p.impression.IsZero(); !named {
			break
		}
		again, capped := s.clicks.record(p.impression, p.event.id, lat, p.flags == 0)
		repeated = repeated || again
		if capped && !repeated {
			p.flags |= proto.FlagClickCap
			p.place()
		}
	case proto.EventType_EVENT_TYPE_IMPRESSION:
		s.pending.settle(p.event.id, d)
	default:
		p.user = 0
	}
	as := counted
	if repeated {
		as = duplicate
	}
	waits := named && as == counted && p.flags == 0 && !s.seen.impression(p.impression, p.step)
	s.book(p, lat, as, waits, d)
}

// book adds the event to its cell, or lets it wait.
func (s *State) book(p *prepared, lat int64, as int, waits bool, d *Delta) {
	spend := int64(0)
	if as == counted && p.flags == 0 && p.pricing.Bills(p.typ) {
		spend = p.price
	}
	row := -1
	if d != nil && !waits {
		p.key.texts = d.texts.code(p.texts, p.event.texts, p.currency)
		if row = d.find(p.cell, &p.key); row >= 0 && d.at(row).admitted == uint32(p.bucket+1) {
			d.add(row, as, spend, p.user)
			return
		}
	}
	if !s.flood.admit(p.bucket, p.ids[advertiser], p.tuple) {
		row = -1
		p.overflow(d)
	}
	switch {
	case waits:
		w := waiting{impression: p.impression, tuple: p.tuple, spend: spend, key: p.key}
		s.pending.add(w, lat, p.texts, &p.event)
	case d != nil:
		if row < 0 {
			row = d.row(p.cell, &p.key)
		}
		d.at(row).admitted = uint32(p.bucket + 1)
		d.add(row, as, spend, p.user)
	}
}

// overflow moves an event whose tuple is not admitted to the one that stands
// for all of its campaign.
func (p *prepared) overflow(d *Delta) {
	for i := adGroup; i < numIDs; i++ {
		p.ids[i] = 0
	}
	p.event.texts = otherTexts
	p.bucket = -1 // admitted in no bucket
	p.place()
	if d != nil {
		d.totals.Overflowed++
		p.key.texts = d.texts.code(p.texts, p.event.texts, p.currency)
	}
}

// payload is a fingerprint of what a repeat must have in common with its first:
// what the token or the server states, not what the request's way adds.
func payload(e *event) uint16 {
	h := mix(e.ids[campaign]^secret0, e.ids[adGroup]^secret1)
	h = mix(h^e.ids[creative], e.ids[placement]^secret2)
	h = mix(h^e.ids[publisher], uint64(e.price)^secret3)
	h = mix(h^uint64(e.pricing), hashID(e.impression))
	h = hashBytes(h, e.currency)
	h = hashBytes(h, e.variant)
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

// Close gives the memory of s back. s must not be used any more.
func (s *State) Close() { s.seen.close() }
