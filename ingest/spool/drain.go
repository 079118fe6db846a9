package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Drain takes events out of the spool. Both methods return nil only when all
// entries are acknowledged; with an error the same entries come again. They may
// keep nothing of entries after they have returned. They are called by one
// goroutine, and their ctx ends drainGrace after the spool was told to stop.
type Drain interface {
	// Produce writes entries to the topic.
	Produce(ctx context.Context, entries []Entry) error
	// Side writes entries that are too old to be recognised as duplicates: they
	// must not be counted without a look.
	Side(ctx context.Context, entries []Entry) error
}

// reader is the part of Run that drains. It belongs to Run's goroutine.
type reader struct {
	spool  *Spool
	cursor cursor

	seg     *segment // what file and walk are open on, or nil
	file    file
	walk    walker
	index   int64 // events of seg up to walk.off
	entries []Entry
	readErr int // in a row
}

// outcome says what the drain does next.
type outcome uint8

const (
	again outcome = iota // there may be more
	empty                // nothing to drain
	idle                 // nothing to drain in an active segment that has events
)

// run drains until the spool closes.
func (r *reader) run(ctx context.Context, d Drain) {
	s := r.spool
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{})
	defer close(ended)
	wg.Go(func() {
		<-s.closing // the run ends with nothing else
		grace := time.NewTimer(drainGrace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			cancel()
		}
	})
	wait := time.Duration(0)
	for !s.isClosing() {
		out, err := r.step(ctx, d)
		if err == nil {
			if wait > 0 {
				s.log.Info().Msg("spool drains again")
			}
			wait = 0
			r.rest(out)
			continue
		}
		if wait == 0 {
			s.log.Warn().Err(err).Int64("events", s.Stats().Events).Msg("spool cannot drain, it will go on trying")
		}
		wait = min(max(2*wait, firstBackoff), lastBackoff)
		s.sleep(wait)
	}
}

// step drains one batch, or gives up one segment that is drained.
func (r *reader) step(ctx context.Context, d Drain) (outcome, error) {
	s := r.spool
	s.mu.Lock()
	var seg *segment
	var end int64
	var sealed bool
	if len(s.segments) > 0 {
		seg = s.segments[0]
		end, sealed = seg.end, seg.sealed
	}
	s.mu.Unlock()
	if seg == nil {
		return empty, nil
	}
	if err := r.open(seg, end); err != nil {
		return again, r.unreadable(err, end)
	}
	if r.walk.off < end {
		return again, r.batch(ctx, d, end)
	}
	switch {
	case sealed:
		return again, r.retire()
	case end > headerSize:
		return idle, nil
	}
	return empty, nil
}

// open makes seg the segment that is read, up to end.
func (r *reader) open(seg *segment, end int64) error {
	if r.seg == seg && (r.file != nil || r.walk.off >= end) {
		r.walk.end = end
		return nil
	}
	r.close()
	off, index := int64(headerSize), int64(0)
	if c := r.cursor; c.seq == seg.seq && c.salt == seg.salt {
		off, index = c.off, c.index
	}
	r.seg, r.index = seg, index
	r.walk = walker{key: key{headSeed(seg.salt), seg.seq}, off: off, end: end, window: r.walk.window[:0]}
	f, err := r.spool.disk.Open(fileName(seg.seq, segmentSuffix), false)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	r.file, r.walk.f = f, f
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		closeQuietly(r.file)
	}
	r.seg, r.file = nil, nil
}

// batch drains the next groups before end: as many as were read at once.
func (r *reader) batch(ctx context.Context, d Drain, end int64) error {
	entries, g, skipped, err := r.walk.next(r.entries[:0])
	if errors.Is(err, io.EOF) {
		r.abandon(end)
		return nil
	}
	if err != nil {
		return r.unreadable(err, end)
	}
	r.readErr = 0
	if skipped > 0 || g.first != r.index {
		r.damage(skipped, g.first-r.index)
	}
	from, before := g.off, g.first
	r.index = g.first + g.entries
	for more := true; more && len(entries) < drainEntries; {
		if entries, g, more = r.walk.peek(entries); more {
			r.index += g.entries
		}
	}
	r.entries = entries
	s := r.spool
	s.mu.Lock()
	s.oldest = entries[0].At
	s.mu.Unlock()
	if err := r.hand(ctx, d, entries); err != nil {
		r.walk.off, r.index = from, before
		return err
	}
	r.advance(int64(len(entries)))
	return nil
}

// hand gives entries to d: those that are too old to its side.
func (r *reader) hand(ctx context.Context, d Drain, entries []Entry) error {
	s := r.spool
	limit := time.Now().Add(-s.cfg.MaxAge)
	young := func(e Entry) bool { return !e.At.Before(limit) }
	// They were appended in the order of time, but for a clock that was set.
	i := slices.IndexFunc(entries, young)
	if i < 0 {
		i = len(entries)
	}
	old, fresh := entries[:i], entries[i:]
	if late := slices.IndexFunc(fresh, func(e Entry) bool { return !young(e) }); late >= 0 {
		old, fresh = split(entries, young)
	}
	if len(old) > 0 {
		if err := d.Side(ctx, old); err != nil {
			return err
		}
		s.metrics.side.Add(len(old))
		s.log.Warn().Int("events", len(old)).Time("oldest", old[0].At).Dur("max_age", s.cfg.MaxAge).
			Msg("spooled events are too old to be counted, they went to the side topic")
	}
	if len(fresh) > 0 {
		if err := d.Produce(ctx, fresh); err != nil {
			return err
		}
		s.metrics.drained.Add(len(fresh))
	}
	return nil
}

// split is for the rare batch that spans a change of the clock.
func split(entries []Entry, young func(Entry) bool) (old, fresh []Entry) {
	for _, e := range entries {
		if young(e) {
			fresh = append(fresh, e)
		} else {
			old = append(old, e)
		}
	}
	return old, fresh
}

// advance notes that Kafka has all events up to walk.off.
func (r *reader) advance(n int64) {
	s := r.spool
	s.mu.Lock()
	s.pending = max(s.pending-n, 0)
	done := r.seg.sealed && r.walk.off >= r.seg.end
	s.mu.Unlock()
	r.cursor = cursor{seq: r.seg.seq, salt: r.seg.salt, off: r.walk.off, index: r.index}
	if done {
		return // that the file is gone will say it
	}
	if err := r.cursor.write(s.disk); err != nil {
		s.log.Warn().Err(err).Msg("drain cursor not written; after a crash these events are drained again")
	}
}

// retire gives up the drained segment: a whole one is deleted, a damaged one is
// kept under another name.
func (r *reader) retire() error {
	s, seg := r.spool, r.seg
	name := fileName(seg.seq, segmentSuffix)
	r.close()
	var err error
	if seg.damaged {
		err = s.disk.Rename(name, fileName(seg.seq, damagedSuffix))
	} else {
		err = s.disk.Remove(name)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.segments = s.segments[1:]
	if seg.damaged {
		s.damaged++
		s.kept += seg.size
	}
	s.mu.Unlock()
	if err := s.disk.Sync(); err != nil {
		s.log.Warn().Err(err).Str("file", name).Msg("sync of the spool directory failed; after a crash the segment is drained again")
	}
	return nil
}

// damage notes that the segment is not whole. What Open has counted is not
// counted again.
func (r *reader) damage(skipped, lost int64) {
	s, seg := r.spool, r.seg
	lost = max(lost, 0)
	s.log.Error().Uint64("segment", seg.seq).Int64("lost_events", lost).Int64("skipped_bytes", skipped).
		Msg("spool segment is damaged here; the file will be kept")
	first := !seg.damaged
	s.mu.Lock()
	seg.damaged = true
	if !seg.counted {
		s.pending = max(s.pending-lost, 0)
	}
	s.mu.Unlock()
	if seg.counted {
		return
	}
	if first {
		s.metrics.damaged.Inc()
	}
	s.metrics.lost.Add(int(lost))
}

// unreadable gives the segment up when it could not be read several times in a
// row, so that those behind it are drained.
func (r *reader) unreadable(err error, end int64) error {
	r.readErr++
	if r.readErr < readTries {
		return err
	}
	r.readErr = 0
	r.spool.log.Error().Err(err).Uint64("segment", r.seg.seq).Msg("spool segment cannot be read")
	r.abandon(end)
	return nil
}

// abandon leaves out the rest of what was committed: it has no whole group.
func (r *reader) abandon(end int64) {
	r.spool.mu.Lock()
	count := r.seg.count
	r.spool.mu.Unlock()
	r.damage(end-r.walk.off, count-r.index)
	r.walk.off, r.index = end, count
	r.cursor = cursor{seq: r.seg.seq, salt: r.seg.salt, off: end, index: count}
}

// rest waits until there may be something to drain. An active segment that is
// drained and idle is sealed, so that its bytes are given back.
func (r *reader) rest(out outcome) {
	s := r.spool
	var timeout <-chan time.Time
	switch out {
	case again:
		return
	case idle:
		t := time.NewTimer(idleAfter)
		defer t.Stop()
		timeout = t.C
	case empty:
	}
	select {
	case <-s.wake:
	case <-s.closing:
	case <-timeout:
		select {
		case s.queue <- &request{seal: r.seg, sealEnd: r.walk.off}:
		default: // appends are coming: it is not idle
		}
	}
}

func (s *Spool) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// sleep waits d, or until the spool closes.
func (s *Spool) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.closing:
	}
}
