package spool

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// writer is the goroutine that all appends go through. It writes one group at a
// time and answers its callers after the fsync.
type writer struct {
	spool *Spool
	// The active segment, or nil.
	file file
	seg  *segment
	seq  uint64 // of the next segment

	frames []byte
	group  []*request
	carry  *request      // came when the group was full
	peers  int           // callers of the last group
	cost   time.Duration // of the last commit
	gather *time.Timer

	failed  error // why there is no active segment
	retryAt time.Time
	probe   *time.Timer
}

func (w *writer) init(s *Spool) {
	w.spool = s
	w.gather, w.probe = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	w.gather.Stop()
	w.probe.Stop()
}

func (w *writer) run() {
	defer close(w.spool.stopped)
	for {
		r := w.carry
		w.carry = nil
		if r == nil {
			select {
			case r = <-w.spool.queue:
			case <-w.probe.C:
				w.recover()
				continue
			case <-w.spool.closing:
				w.finish()
				return
			}
		}
		w.handle(r)
	}
}

// finish commits what is in the queue.
func (w *writer) finish() {
	for w.carry != nil || len(w.spool.queue) > 0 {
		r := w.carry
		if w.carry = nil; r == nil {
			r = <-w.spool.queue
		}
		w.handle(r)
	}
	w.seal()
	w.probe.Stop()
	w.gather.Stop()
}

func (w *writer) handle(r *request) {
	if r.seal != nil {
		if r.seal == w.seg && w.seg.end == r.sealEnd {
			w.seal()
		}
		return
	}
	w.collect(r)
	start := time.Now()
	err := w.commit()
	w.cost = time.Since(start)
	for i, r := range w.group {
		r.done <- err
		w.group[i] = nil
	}
}

// collect makes a group of r and what else is in the queue. A lone caller never
// waits. When the last group had several, their next appends are on the way:
// to wait for them, no longer than a commit takes, halves the commits.
func (w *writer) collect(r *request) {
	w.group, w.frames = append(w.group[:0], r), append(w.frames[:0], r.frames...)
	for w.carry == nil && len(w.spool.queue) > 0 {
		w.take(<-w.spool.queue)
	}
	if w.carry == nil && len(w.group) < w.peers {
		w.await(min(w.cost, maxGather))
	}
	w.peers = len(w.group)
}

func (w *writer) await(limit time.Duration) {
	w.gather.Reset(limit)
	defer w.gather.Stop()
	for len(w.group) < w.peers {
		select {
		case r := <-w.spool.queue:
			if !w.take(r) {
				return
			}
		case <-w.gather.C:
			return
		case <-w.spool.closing:
			return
		}
	}
}

// take adds r to the group, or keeps it for the next one and returns false.
func (w *writer) take(r *request) bool {
	if r.seal != nil || len(w.frames)+len(r.frames) > min(groupTarget, w.spool.limit) {
		w.carry = r
		return false
	}
	w.group, w.frames = append(w.group, r), append(w.frames, r.frames...)
	return true
}

// commit brings the group to disk. If a segment fails, the group goes to a new
// one; only if that fails as well, it fails.
func (w *writer) commit() error {
	if w.failed != nil && time.Now().Before(w.retryAt) {
		return w.failed
	}
	var err error
	for range 2 {
		if err = w.room(len(w.frames) + commitSize); err != nil {
			break
		}
		if err = w.write(); err == nil {
			w.cleared()
			return nil
		}
		w.poison(err)
	}
	return w.fail(err)
}

// write writes the group and its commit frame, and makes them durable.
func (w *writer) write() error {
	s, seg, entries := w.spool, w.seg, 0
	for _, r := range w.group {
		entries += r.entries
	}
	b := key{s.seed, seg.seq}.appendCommit(w.frames, seg.end, entries, seg.count)
	w.frames = b[:len(w.frames)] // without the commit frame, for a second try
	if _, err := w.file.WriteAt(b, seg.end); err != nil {
		return fmt.Errorf("write group: %w", err)
	}
	start := time.Now()
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync group: %w", err)
	}
	s.metrics.sync.UpdateDuration(start)
	s.metrics.group.Update(float64(entries))
	s.metrics.events.Add(entries)
	s.metrics.bytes.Add(len(b))

	s.mu.Lock()
	seg.end += int64(len(b))
	seg.count += int64(entries)
	if s.pending == 0 {
		s.oldest = w.group[0].at
	}
	s.pending += int64(entries)
	s.mu.Unlock()
	notify(s.wake)
	return nil
}

// fail notes that there is no segment to write to, and returns what to answer.
func (w *writer) fail(err error) error {
	switch {
	case errors.Is(err, ErrFull):
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: %w", ErrFull, err)
	default:
		err = fmt.Errorf("%w: %w", ErrPoisoned, err)
	}
	if w.failed == nil {
		st := w.spool.Stats()
		w.spool.log.Error().Err(err).Int64("bytes", st.Bytes).Int("damaged", st.Damaged).Msg("spool refuses events")
	}
	w.failed = err
	w.retryAt = time.Now().Add(retryAfter)
	w.probe.Reset(probeEvery)
	w.spool.failure.Store(&err)
	return err
}

// recover tries to have an active segment again without waiting for an append:
// nobody sends any to a server that is not ready.
func (w *writer) recover() {
	if w.failed == nil {
		return
	}
	if err := w.room(commitSize); err != nil {
		_ = w.fail(err) // it is known to all who ask
		return
	}
	w.cleared()
}

func (w *writer) cleared() {
	if w.failed == nil {
		return
	}
	w.failed = nil
	w.probe.Stop()
	w.spool.failure.Store(nil)
	w.spool.log.Info().Msg("spool takes events again")
}
