package aggregate

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/proto"
)

// partition owns one partition: its memory of the log and the span that is
// being built. All of it belongs to the goroutine in run; the rest of the
// program talks to it through the queue and the channels.
type partition struct {
	id    int32
	cfg   Config
	queue *queue
	// seal asks for the span built so far; the answer is nil without one.
	seal chan chan *Span
	// free brings back spans that are in the ledger, for their memory.
	free chan *Span
	quit chan struct{}
	done chan struct{}
	// full is called when the span is large enough to be flushed early, tick
	// when the partition is idle, pause and resume to stop and start fetching.
	full, tick, pause, resume func()
	fail                      func(error)
	log                       zerolog.Logger
	count                     *counters

	// rebuilding is true until the position is reached; for readiness.
	rebuilding atomic.Bool
	// paused is true while fetching is paused; pausing guards it.
	pausing sync.Mutex
	paused  bool

	state  *window.State
	event  proto.Event
	span   *Span
	events int
	// rest are the records of the batch in hand that are not folded yet.
	rest []*kgo.Record
	// next is the offset that must come next; countFrom is the position: what
	// lies before it is counted already and only remembered. So is what lies in
	// counted, beyond a gap of the ledger.
	next, countFrom int64
	counted         []Range

	// proven is set once a block of this ownership was read back; it belongs to
	// the flusher.
	proven bool
}

// run folds what is queued until quit is closed.
func (p *partition) run() {
	defer close(p.done)
	idle := time.NewTimer(p.cfg.TickInterval)
	defer idle.Stop()
	for {
		ready := p.queue.ready
		switch {
		case p.spanFull(), p.spanOver():
			ready = nil // back-pressure: the queue fills, then fetching pauses
		case len(p.rest) > 0:
			ready = always
		}
		select {
		case <-p.quit:
			return
		case reply := <-p.seal:
			reply <- p.takeSpan()
		case <-ready:
			if err := p.fold(); err != nil {
				p.fail(fmt.Errorf("partition %d: %w", p.id, err))
				return
			}
			idle.Reset(p.cfg.TickInterval)
		case <-idle.C:
			if !p.rebuilding.Load() {
				p.tick()
			}
			idle.Reset(p.cfg.TickInterval)
		}
	}
}

// always is ready.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// spanOver tells that the span must be written before the next record is
// folded, because that is counted already.
func (p *partition) spanOver() bool {
	return len(p.rest) > 0 && p.span != nil && p.isCounted(p.rest[0].Offset)
}

// isCounted tells whether the ledger has the offset. Offsets must not decrease
// from call to call.
func (p *partition) isCounted(offset int64) bool {
	for len(p.counted) > 0 && offset >= p.counted[0].To {
		p.counted = p.counted[1:]
	}
	return offset < p.countFrom || len(p.counted) > 0 && offset >= p.counted[0].From
}

func (p *partition) spanFull() bool {
	return p.span != nil && (len(p.span.Delta.Rows()) >= p.cfg.MaxRows || p.events >= p.cfg.MaxEvents)
}

// fold takes one batch of records off the queue, or what is left of the last.
func (p *partition) fold() error {
	if len(p.rest) == 0 {
		p.rest = p.queue.pop()
	}
	for ; len(p.rest) > 0 && !p.spanOver(); p.rest = p.rest[1:] {
		if err := p.record(p.rest[0]); err != nil {
			return err
		}
	}
	if p.spanFull() || p.spanOver() {
		p.full()
	}
	p.regulate()
	return nil
}

// regulate pauses fetching when the queue is over its limit and resumes it when
// the queue is half empty. The poll loop and the owner call it, each after its
// change of the queue: whoever comes last sees the queue as it is.
func (p *partition) regulate() {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	switch n := p.queue.waiting(); {
	case !p.paused && n > p.cfg.MaxQueued:
		p.paused = true
		p.count.pauses.Inc()
		p.pause()
	case p.paused && n <= p.cfg.MaxQueued/2:
		p.paused = false
		p.resume()
	}
}

// record folds one record. The topic is not transactional and not compacted, so
// offsets are dense; a hole means that records were lost or skipped.
func (p *partition) record(r *kgo.Record) error {
	if r.Offset != p.next {
		return fmt.Errorf("offset %d follows %d: %d records are missing from the log; restore the topic, or start a new generation of it",
			r.Offset, p.next-1, r.Offset-p.next)
	}
	p.next++
	if p.next >= p.countFrom {
		p.rebuilding.Store(false)
	}
	lat := r.Timestamp.UnixMilli()
	delta := p.delta(r, lat)
	if !p.decode(r) {
		if delta != nil {
			p.span.Poison++
		}
		return nil
	}
	if delta != nil && p.event.Type == proto.EventType_EVENT_TYPE_TICK {
		p.span.Ticks++
	}
	p.state.Fold(&p.event, lat, delta)
	return nil
}

// delta returns where r counts, or nil before the position.
func (p *partition) delta(r *kgo.Record, lat int64) *window.Delta {
	if p.isCounted(r.Offset) {
		p.count.rebuilt.Inc()
		return nil
	}
	p.count.folded.Inc()
	if p.span == nil {
		p.span = p.newSpan()
		p.span.Start, p.span.FirstLAT, p.span.LastLAT = r.Offset, lat, lat
	}
	p.events++
	p.span.End = r.Offset + 1
	p.span.LastLAT = max(p.span.LastLAT, lat)
	p.span.Epoch = r.LeaderEpoch
	return &p.span.Delta
}

// maxTimeUs is the end of ClickHouse's DateTime (year 2106).
const maxTimeUs = (1<<32 - 1) * 1_000_000

// decode reads r into p.event, whose strings then alias r's bytes. A record
// that no ingest of ours can have written is counted as poison and passed over;
// the partition goes on.
func (p *partition) decode(r *kgo.Record) bool {
	p.event.Reset()
	err := p.event.UnmarshalVTUnsafe(r.Value)
	switch {
	case err == nil && p.event.Type == proto.EventType_EVENT_TYPE_TICK:
		return true
	case err == nil && p.event.Type > 0 && p.event.Type < proto.EventType_EVENT_TYPE_TICK &&
		p.event.AdvertiserId > 0 && p.event.TimeUs >= 0 && p.event.TimeUs < maxTimeUs:
		return true
	}
	p.count.poison.Inc()
	p.log.Error().Err(err).Int64("offset", r.Offset).Msg("record is not an event; passed over")
	return false
}

func (p *partition) newSpan() *Span {
	select {
	case s := <-p.free:
		s.Delta.Reset()
		s.Ticks, s.Poison = 0, 0
		return s
	default:
		return &Span{Partition: p.id}
	}
}

func (p *partition) takeSpan() *Span {
	s := p.span
	p.span, p.events = nil, 0
	return s
}

// sealed returns the span built so far, or nil: none, or the owner has ended.
func (p *partition) sealed() *Span {
	reply := make(chan *Span, 1)
	select {
	case p.seal <- reply:
		return <-reply
	case <-p.done:
		return nil
	}
}

// stop ends the owner and waits for it. What it holds is dropped.
func (p *partition) stop() {
	close(p.quit)
	<-p.done
}
