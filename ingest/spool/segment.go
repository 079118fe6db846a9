package spool

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	segmentSuffix = ".seg"
	damagedSuffix = ".damaged"
	spareSuffix   = ".spare"
	cursorName    = "cursor"
	cursorTemp    = "cursor.tmp"
)

func fileName(seq uint64, suffix string) string { return fmt.Sprintf("%016x%s", seq, suffix) }

// parseName returns the number of a file of ours with that suffix.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	seq, err := strconv.ParseUint(digits, 16, 64)
	return seq, ok && err == nil && fileName(seq, suffix) == name
}

// room sees to an active segment with room for size bytes.
func (w *writer) room(size int) error {
	if w.seg != nil && w.seg.end+int64(size) <= w.spool.cfg.SegmentBytes {
		return nil
	}
	w.seal()
	f, spareName, err := w.spool.spare.take()
	if err != nil {
		return err
	}
	w.seq++
	seg := &segment{seq: w.seq - 1, salt: w.spool.salt, end: headerSize, size: w.spool.cfg.SegmentBytes}
	if err := w.name(f, spareName, seg); err != nil {
		closeQuietly(f)
		// One of them exists. If it stays, the next Open finds no event in it.
		w.spool.remove(spareName, 0)
		w.spool.remove(fileName(seg.seq, segmentSuffix), 0)
		return err
	}
	w.file, w.seg = f, seg
	w.spool.mu.Lock()
	w.spool.segments = append(w.spool.segments, seg)
	w.spool.mu.Unlock()
	notify(w.spool.kick)
	return nil
}

// name makes the spare file f the segment seg, durably.
func (w *writer) name(f file, spareName string, seg *segment) error {
	h := header{seq: seg.seq, salt: seg.salt, created: time.Now().UnixMicro()}
	w.spool.mu.Lock()
	if n := len(w.spool.segments); n > 0 {
		prev := w.spool.segments[n-1]
		h.prevSeq, h.prevEnd, h.prevCount = prev.seq, prev.end, prev.count
	}
	w.spool.mu.Unlock()
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return fmt.Errorf("write segment header: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment header: %w", err)
	}
	if err := w.spool.disk.Rename(spareName, fileName(seg.seq, segmentSuffix)); err != nil {
		return fmt.Errorf("name segment: %w", err)
	}
	if err := w.spool.disk.Sync(); err != nil {
		return fmt.Errorf("sync spool directory: %w", err)
	}
	return nil
}

// seal ends the active segment. It gives back what was allocated beyond its end;
// if that fails, the drain gives it back later.
func (w *writer) seal() {
	if w.seg == nil {
		return
	}
	err := w.file.Truncate(w.seg.end)
	closeQuietly(w.file)
	w.spool.mu.Lock()
	w.seg.sealed = true
	if err == nil {
		w.seg.size = w.seg.end
	}
	w.spool.mu.Unlock()
	w.file, w.seg = nil, nil
	notify(w.spool.wake)
}

// poison ends the active segment after a failed write or fsync. The file is not
// touched again: what the kernel holds of it and what is on disk may differ now.
// What was committed before is on disk; a segment without any is removed, so
// that a broken disk does not use up the bytes of the spool.
func (w *writer) poison(err error) {
	s, seg := w.spool, w.seg
	s.metrics.poison.Inc()
	s.log.Error().Err(err).Uint64("segment", seg.seq).Int64("committed", seg.end).Msg("spool segment is poisoned")
	closeQuietly(w.file)
	w.file, w.seg = nil, nil
	empty := seg.end == headerSize && s.remove(fileName(seg.seq, segmentSuffix), 0)
	s.mu.Lock()
	seg.sealed = true
	if empty {
		s.segments = s.segments[:len(s.segments)-1]
	}
	s.mu.Unlock()
	notify(s.wake)
}

// remove deletes a file and says whether it is gone. Size was counted as kept.
func (s *Spool) remove(name string, size int64) bool {
	if s.disk.Remove(name) != nil {
		return false
	}
	// If the name comes back after a crash, it is only drained again.
	if err := s.disk.Sync(); err != nil {
		s.log.Warn().Err(err).Str("file", name).Msg("sync of the spool directory failed after a delete")
	}
	s.keep(-size)
	return true
}

func (s *Spool) keep(size int64) {
	s.mu.Lock()
	s.kept += size
	s.mu.Unlock()
}

// spare holds the file of the next segment: allocated before it is needed, so
// that a full disk shows between two groups and not within one.
type spare struct {
	spool *Spool

	mu   sync.Mutex
	file file
	name string
	made int // files so far: no name is used again
}

// run makes a spare whenever one was taken.
func (p *spare) run() {
	for {
		p.mu.Lock()
		if p.file == nil {
			var err error
			if p.file, p.name, err = p.make(); err != nil {
				p.spool.log.Warn().Err(err).Msg("spool has no spare segment")
			}
		}
		p.mu.Unlock()
		select {
		case <-p.spool.kick:
		case <-p.spool.closing:
			return
		}
	}
}

// take returns the spare, or makes one. The file belongs to the caller.
func (p *spare) take() (file, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, name := p.file, p.name
	if p.file = nil; f == nil {
		var err error
		if f, name, err = p.make(); err != nil {
			return nil, "", err
		}
	}
	p.spool.keep(-p.spool.cfg.SegmentBytes)
	return f, name, nil
}

// make allocates a file and counts it as kept. The caller holds mu.
func (p *spare) make() (file, string, error) {
	s, size := p.spool, p.spool.cfg.SegmentBytes
	if err := s.fits(size); err != nil {
		return nil, "", err
	}
	p.made++
	name := strconv.Itoa(p.made) + spareSuffix
	f, err := s.disk.Open(name, true)
	if err != nil {
		return nil, "", fmt.Errorf("create segment: %w", err)
	}
	s.keep(size)
	if err = f.Allocate(size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		closeQuietly(f)
		if !s.remove(name, size) {
			s.keep(-size)
		}
		return nil, "", fmt.Errorf("allocate segment: %w", err)
	}
	return f, name, nil
}

// discard removes the spare at the end of Run.
func (p *spare) discard() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		return nil
	}
	err := errors.Join(p.file.Close(), p.spool.disk.Remove(p.name))
	p.file = nil
	return err
}

// fits says whether size more bytes keep the cap and the reserve.
func (s *Spool) fits(size int64) error {
	s.mu.Lock()
	have := s.bytes()
	s.mu.Unlock()
	if have+size > s.cfg.MaxBytes {
		return fmt.Errorf("%w: a segment more would take %d bytes of %d", ErrFull, have+size, s.cfg.MaxBytes)
	}
	if s.cfg.ReserveBytes == 0 {
		return nil // fallocate will tell
	}
	free, total, err := s.disk.Space()
	if err != nil {
		return err
	}
	if reserve := min(uint64(s.cfg.ReserveBytes), total/reserveShare); free < uint64(size)+reserve {
		return fmt.Errorf("%w: the volume has %d bytes free, of which %d are reserved", ErrFull, free, reserve)
	}
	return nil
}
