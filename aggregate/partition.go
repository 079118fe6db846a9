package aggregate

import (
	"context"
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
	// told is log, sampled: for what records cause.
	told  zerolog.Logger
	count *counters

	// rebuilding is true until the position is reached; for readiness.
	rebuilding atomic.Bool
	// paused is true while fetching is paused; pausing guards it.
	pausing sync.Mutex
	paused  bool

	rejects *rejects
	// users takes the users of what was counted.
	users func(*window.Delta)

	state  *window.State
	span   *Span
	events int
	// batch is what is being folded, and counting the records in it that count.
	batch    []window.Record
	counting []*kgo.Record
	// rest are the records of the batch in hand that are not folded yet.
	rest []*kgo.Record
	// next is the offset that must come next; countFrom is the position: what
	// lies before it is counted already and only remembered. So is what lies in
	// counted, beyond a gap of the ledger.
	next, countFrom int64
	counted         []Range
	// usersFrom is the broker time of the first record whose user is told again.
	usersFrom int64

	// proven is set once a block of this ownership was read back; it belongs to
	// the flusher.
	proven bool
}

// run folds what is queued until quit is closed.
func (p *partition) run() {
	defer close(p.done)
	defer p.state.Close()
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
	return p.span != nil && (p.span.Delta.Len() >= p.cfg.MaxRows || p.events >= p.cfg.MaxEvents)
}

// fold takes one batch of records off the queue, or what is left of the last.
func (p *partition) fold() error {
	if len(p.rest) == 0 {
		p.rest = p.queue.pop()
	}
	for len(p.rest) > 0 && !p.spanOver() {
		if err := p.stretch(); err != nil {
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

// stretch folds the next records that either all count or are all counted
// already. The topic is not transactional and not compacted, so offsets are
// dense; a hole means that records were lost or skipped.
func (p *partition) stretch() error {
	counted := p.isCounted(p.next)
	n := 0
	for ; n < len(p.rest) && p.isCounted(p.next) == counted; n++ {
		if at := p.rest[n].Offset; at != p.next {
			return fmt.Errorf("offset %d follows %d: %d records are missing from the log; restore the topic, or start a new generation of it",
				at, p.next-1, at-p.next)
		}
		p.next++
	}
	recs := p.rest[:n]
	p.rest = p.rest[n:]
	if counted {
		p.remember(recs)
	} else {
		p.tally(recs)
	}
	if p.next >= p.countFrom {
		p.rebuilding.Store(false)
	}
	return nil
}

// remember folds records that are counted already. The users of the last of them
// are told again: the last owner may not have written them yet.
func (p *partition) remember(recs []*kgo.Record) {
	p.count.rebuilt.Add(len(recs))
	old := 0
	for old < len(recs) && recs[old].Timestamp.UnixMilli() < p.usersFrom {
		old++
	}
	p.state.FoldBatch(p.batchOf(recs[:old]), nil)
	if recs = recs[old:]; len(recs) > 0 {
		var again window.Delta
		p.state.FoldBatch(p.batchOf(recs), &again)
		p.users(&again)
	}
	clear(p.batch) // lets go of the fetch
}

// tally folds records that count.
func (p *partition) tally(recs []*kgo.Record) {
	p.count.folded.Add(len(recs))
	first, last := recs[0], recs[len(recs)-1]
	if p.span == nil {
		p.span = p.newSpan()
		p.span.Start, p.span.FirstLAT, p.span.LastLAT = first.Offset, first.Timestamp.UnixMilli(), first.Timestamp.UnixMilli()
	}
	p.span.End, p.span.Epoch = last.Offset+1, last.LeaderEpoch
	batch := p.batchOf(recs)
	for i := range batch {
		p.span.LastLAT = max(p.span.LastLAT, batch[i].LAT)
	}
	p.counting = recs
	p.state.FoldBatch(batch, &p.span.Delta)
	p.counting = nil
	clear(batch) // lets go of the fetch
	p.events += len(recs)
}

func (p *partition) batchOf(recs []*kgo.Record) []window.Record {
	p.batch = p.batch[:0]
	for _, r := range recs {
		p.batch = append(p.batch, window.Record{Value: r.Value, LAT: r.Timestamp.UnixMilli()})
	}
	return p.batch
}

// Poison implements window.Reporter. The record is counted as such and passed
// over; the partition goes on.
func (p *partition) Poison(record int, err error) {
	if p.counting == nil {
		return // told before
	}
	r := p.counting[record]
	p.count.poison.Inc()
	p.told.Error().Err(err).Int64("offset", r.Offset).Msg("record is not an event; passed over")
	p.rejects.poison(r, err)
}

// Synthetic implements window.Reporter.
func (p *partition) Synthetic(record int) {
	if p.counting == nil {
		return // told before
	}
	r := p.counting[record]
	p.count.synthetic.Inc()
	p.told.Warn().Int64("offset", r.Offset).Msg("an id came again with another payload; the first one counts")
	p.rejects.synthetic(r)
}

func (p *partition) newSpan() *Span {
	select {
	case s := <-p.free:
		s.Delta.Reset()
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

// ticker returns a function that writes one tick to the partition, unless the
// last one is still on its way.
func (a *Aggregator) ticker(id int32) func() {
	value, err := (&proto.Event{Type: proto.EventType_EVENT_TYPE_TICK}).MarshalVT()
	if err != nil {
		panic("BUG: a tick does not encode: " + err.Error())
	}
	under := make(chan struct{}, 1)
	return func() {
		select {
		case under <- struct{}{}:
		default:
			return
		}
		rec := &kgo.Record{Topic: a.topic.Name, Partition: id, Value: value}
		a.client.TryProduce(context.Background(), rec, func(_ *kgo.Record, err error) {
			<-under
			if err == nil {
				a.count.ticks.Inc()
			}
		})
	}
}
