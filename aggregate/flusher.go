package aggregate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// maxBlockRows bounds a block; ClickHouse would split one of over a million
// rows, and it would no longer be atomic.
const maxBlockRows = 400_000

// flusher writes the spans of all partitions to the ledger, one block at a
// time. Its goroutine is run; drop may be called from others.
type flusher struct {
	cfg    Config
	store  Store
	topic  Topic
	owned  func() []*partition
	landed func([]*Span)
	fail   func(error)
	// fence tells whether we still own what we are about to write.
	fence func() error
	log   zerolog.Logger
	count *counters
	pace  pace
	// last is the time of the last flush.
	last time.Time

	// early asks for a flush before the interval is over.
	early chan struct{}
	// now asks for a flush and is answered when it is over.
	now chan chan struct{}
	// stop ends run after the flush in progress.
	stop chan struct{}
	done chan struct{}

	// attempt is held during each attempt; lost is guarded by it. So once drop
	// returns, no attempt with the dropped partitions runs or will.
	attempt sync.Mutex
	lost    map[*partition]struct{}

	// over is set when somebody else owns what we count: nothing is written any
	// more, as it would not follow what is in the ledger.
	over atomic.Bool
	// doubtful is set while a block is in doubt.
	doubtful atomic.Bool
}

// clean tells whether everything that was sent is known to have landed or not.
func (f *flusher) clean() bool { return !f.over.Load() && !f.doubtful.Load() }

func (f *flusher) run() {
	defer close(f.done)
	next := time.NewTimer(f.pace.wait())
	defer next.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-next.C:
			next.Reset(f.pace.wait()) // from here, so that the insert is part of the interval
			if !f.pace.holds(time.Since(f.last), f.backlog()) {
				f.flush()
			}
		case <-f.early:
			f.flush()
		case reply := <-f.now:
			f.flush()
			close(reply)
		}
	}
}

// flushNow flushes what the partitions hold and waits for it, but not longer
// than the context.
func (f *flusher) flushNow(ctx context.Context) {
	reply := make(chan struct{})
	select {
	case f.now <- reply:
	case <-f.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-reply:
	case <-f.done:
	case <-ctx.Done():
	}
}

// hurry asks for an early flush.
func (f *flusher) hurry() {
	select {
	case f.early <- struct{}{}:
	default:
	}
}

// drop takes partitions out of every later attempt. It waits for the attempt
// in flight.
func (f *flusher) drop(parts []*partition) {
	f.attempt.Lock()
	defer f.attempt.Unlock()
	for _, p := range parts {
		f.lost[p] = struct{}{}
	}
}

// held is a span and the partition that it was taken from.
type held struct {
	span *Span
	from *partition
}

// backlog tells whether records wait to be counted.
func (f *flusher) backlog() bool {
	return slices.ContainsFunc(f.owned(), func(p *partition) bool { return p.queue.waiting() > 0 })
}

// flush writes everything that the partitions hold now.
func (f *flusher) flush() {
	if f.over.Load() {
		return
	}
	f.last = time.Now()
	// Partitions that were dropped before this line are not owned any more.
	f.attempt.Lock()
	clear(f.lost)
	f.attempt.Unlock()
	var spans []held
	for _, p := range f.owned() {
		if s := p.sealed(); s != nil {
			spans = append(spans, held{s, p})
		}
	}
	for len(spans) > 0 {
		n := blockEnd(spans)
		if !f.commit(spans[:n]) {
			return
		}
		spans = spans[n:]
	}
}

// blockEnd returns how many of the first spans fit one block: one day of broker
// time, and a bounded number of rows.
func blockEnd(spans []held) int {
	day := latDay(spans[0].span.FirstLAT)
	rows := 0
	for i, h := range spans {
		rows += h.span.Delta.Len() + 1
		if i > 0 && (rows > maxBlockRows || !latDay(h.span.FirstLAT).Equal(day)) {
			return i
		}
	}
	return len(spans)
}

// commit writes spans as one block and tries until it is in the ledger. Only a
// partition that was lost, or the end of the program, stops it.
func (f *flusher) commit(spans []held) bool {
	var t try
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		done, err := f.try(&t, &spans)
		if done {
			return true
		}
		if errors.Is(err, ErrForeign) {
			f.over.Store(true)
			f.fail(err)
			return false
		}
		f.account(err)
		f.log.Warn().Err(err).Int("spans", len(spans)).Dur("retry_in_ms", wait).Msg("block not written yet")
		select {
		case <-time.After(wait):
		case <-f.stop:
			return false
		}
	}
}

// account counts a failed attempt and widens the pace.
func (f *flusher) account(err error) {
	f.count.retries.Inc()
	if errors.Is(err, errNoLease) {
		f.count.fenced.Inc()
	}
	if !errors.Is(err, ErrAbsent) {
		f.count.inDoubt.Inc()
	}
	f.pace.failed()
	f.count.interval.Store(f.pace.now)
	if mergesLag(err) {
		f.count.tooManyParts.Inc()
		f.log.Error().Err(err).Dur("flush_interval_ms", f.pace.now).
			Msg("alarm: the ledger has too many parts; blocks are written less often until its merges have caught up")
	}
}

// try is a block from attempt to attempt.
type try struct {
	block *Block
	// absent says that the block is certainly not in the ledger.
	absent bool
}

// try makes one attempt. The block is the same from attempt to attempt, byte for
// byte, unless it is certainly absent and a partition in it was lost meanwhile:
// then what is left becomes a new block.
func (f *flusher) try(t *try, spans *[]held) (done bool, err error) {
	f.attempt.Lock()
	defer f.attempt.Unlock()
	if t.block == nil || t.absent {
		kept := f.kept(*spans)
		if len(kept) == 0 {
			return true, nil
		}
		if t.block == nil || len(kept) < len(*spans) {
			*spans, t.block = kept, f.block(kept)
		}
	}
	started := time.Now()
	// The insert is owed whatever the state of the caller: it has deadlines of
	// its own.
	err = f.store.Insert(context.Background(), t.block)
	t.absent = errors.Is(err, ErrAbsent)
	f.doubtful.Store(err != nil && !t.absent)
	if err != nil {
		return false, err
	}
	f.count.insertSec.UpdateDuration(started)
	f.pace.wrote(time.Since(started), time.Since(newest(t.block)))
	f.count.interval.Store(f.pace.now)
	f.finish(t.block, *spans)
	return true, nil
}

// newest is the broker time of the newest record in b.
func newest(b *Block) time.Time {
	lat := b.Spans[0].LastLAT
	for _, s := range b.Spans {
		lat = max(lat, s.LastLAT)
	}
	return time.UnixMilli(lat)
}

// kept returns the spans whose partitions are not lost.
func (f *flusher) kept(spans []held) []held {
	var out []held
	for _, h := range spans {
		if _, lost := f.lost[h.from]; !lost {
			out = append(out, h)
		}
	}
	return out
}

func (f *flusher) block(spans []held) *Block {
	b := &Block{ID: uuid.New(), Topic: f.topic, Spans: make([]*Span, len(spans)), Fence: f.fence}
	for i, h := range spans {
		b.Spans[i] = h.span
		b.Prove = b.Prove || !h.from.proven
	}
	return b
}

// finish accounts for a block that is in the ledger and hands its memory back.
func (f *flusher) finish(b *Block, spans []held) {
	f.count.blocks.Inc()
	for _, s := range b.Spans {
		f.count.rows.Add(s.Delta.Len() + 1)
	}
	f.landed(b.Spans)
	if f.cfg.Landed != nil {
		f.cfg.Landed()
	}
	for _, h := range spans {
		h.from.proven = true
		h.from.users(&h.span.Delta)
		select {
		case h.from.free <- h.span:
		default:
		}
	}
}
