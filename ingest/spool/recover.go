package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// found is a segment file that Open has found.
type found struct {
	*segment
	name      string
	header    header
	headerErr error
	// What the header of the next segment says of this one; -1 if it says
	// nothing.
	wantEnd, wantCount int64
	lastFile           bool
}

// recover learns what is in the directory.
func (s *Spool) recover() error {
	files, cur, err := s.look()
	if err != nil {
		return err
	}
	s.reader.cursor = s.place(files, cur)
	for i := range files {
		f := &files[i]
		if f.seq < s.reader.cursor.seq { // its delete was lost in a crash
			if s.remove(f.name, 0) {
				continue
			}
		}
		s.scan(f)
		s.segments = append(s.segments, f.segment)
	}
	if st := s.Stats(); st.Events > 0 || st.Damaged > 0 {
		s.log.Info().Int("segments", st.Segments).Int64("events", st.Events).Dur("age", st.Age).
			Int("damaged", st.Damaged).Msg("spool recovered")
	}
	return nil
}

// look lists the files and reads their headers. It removes what an earlier
// process left half made, but not before it knows all versions.
func (s *Spool) look() ([]found, cursor, error) {
	names, err := s.disk.List()
	if err != nil {
		return nil, cursor{}, fmt.Errorf("list spool: %w", err)
	}
	slices.Sort(names) // by number
	var files []found
	for _, name := range names {
		if seq, ok := parseName(name, segmentSuffix); ok {
			f := found{segment: &segment{seq: seq, sealed: true}, name: name, wantEnd: -1, wantCount: -1}
			for range readTries {
				if err := s.readHeader(&f); err != nil {
					return nil, cursor{}, err
				}
				if f.headerErr == nil || errors.Is(f.headerErr, errHeader) {
					break
				}
			}
			files = append(files, f)
			s.writer.seq = max(s.writer.seq, seq)
		}
		if seq, ok := parseName(name, damagedSuffix); ok {
			s.damaged++
			s.keep(s.sizeOf(name))
			s.writer.seq = max(s.writer.seq, seq)
		}
	}
	s.link(files)
	for _, name := range names {
		if strings.HasSuffix(name, spareSuffix) || name == cursorTemp {
			s.remove(name, 0)
		}
	}
	cur, err := readCursor(s.disk)
	if err != nil {
		s.log.Warn().Err(err).Msg("spool drains from its oldest segment again")
	}
	s.writer.seq = max(s.writer.seq, cur.seq) + 1
	return files, cur, nil
}

// link tells each segment what the header of the next one says of it.
func (s *Spool) link(files []found) {
	for i := range files {
		f := &files[i]
		f.lastFile = i == len(files)-1
		h := &f.header
		if i == 0 || f.headerErr != nil || h.prevEnd < headerSize || h.prevCount < 0 || h.prevSeq < files[0].seq {
			continue // the one before it was drained, or there was none
		}
		prev := slices.IndexFunc(files[:i], func(f found) bool { return f.seq == h.prevSeq })
		if prev >= 0 {
			files[prev].wantEnd, files[prev].wantCount = h.prevEnd, h.prevCount
			continue
		}
		s.metrics.damaged.Inc()
		s.log.Error().Uint64("segment", h.prevSeq).Int64("events", h.prevCount).
			Msg("spool segment is missing; what was not drained of it is lost")
	}
}

// readHeader fails only if another version of the program is needed.
func (s *Spool) readHeader(f *found) error {
	f.headerErr = errHeader
	f.salt = 0
	file, err := s.disk.Open(f.name, false)
	if err != nil {
		f.headerErr = err
		return nil
	}
	defer closeQuietly(file)
	b := make([]byte, headerSize)
	n, err := file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.headerErr = err
		return nil
	}
	f.header, f.headerErr = parseHeader(b[:n])
	if errors.Is(f.headerErr, ErrVersion) {
		return fmt.Errorf("open %s: %w", f.name, f.headerErr)
	}
	if f.headerErr == nil && f.header.seq != f.seq {
		f.headerErr = fmt.Errorf("%w: it says segment %d", errHeader, f.header.seq)
	}
	f.salt = f.header.salt
	return nil
}

func (s *Spool) sizeOf(name string) int64 {
	f, err := s.disk.Open(name, false)
	if err != nil {
		return 0
	}
	defer closeQuietly(f)
	size, err := f.Size()
	if err != nil {
		return 0
	}
	return size
}

// place returns where the drain begins. A cursor that does not fit to a segment
// is one of a segment that is gone: all that is left comes after it.
func (s *Spool) place(files []found, cur cursor) cursor {
	for i := range files {
		if f := &files[i]; f.seq == cur.seq && f.salt == cur.salt && cur.off >= headerSize {
			return cur
		}
	}
	return cursor{}
}

// tally is what scan finds in a segment.
type tally struct {
	end, count int64 // of the last whole group, and the events up to it
	lost       int64 // events known to be gone
	skipped    int64 // bytes before a whole group that are none
	rest       int64 // bytes behind the last whole group but for zeros
	pending    int64 // events behind the cursor
	oldest     time.Time
	atCursor   bool // a group ends or begins at the cursor
	err        error
}

// scan reads a segment from its beginning, and finds out whether it is whole.
func (s *Spool) scan(f *found) {
	var t tally
	for range readTries {
		if t = s.examine(f); t.err == nil {
			break
		}
	}
	if f.seq == s.reader.cursor.seq && !t.atCursor && t.err == nil {
		s.log.Warn().Err(errCursor).Msg("spool drains the segment of the cursor again")
		s.reader.cursor = cursor{}
		t = s.examine(f)
	}
	f.end, f.count = t.end, t.count
	if s.pending == 0 {
		s.oldest = t.oldest
	}
	s.pending += t.pending
	damaged := f.headerErr != nil || t.skipped > 0 || t.err != nil
	switch {
	case f.wantEnd >= 0:
		t.lost += max(f.wantCount-t.count, 0)
		damaged = damaged || t.end != f.wantEnd
		// The drain tries again what could not be read.
		f.end, f.count = max(t.end, min(f.size, f.wantEnd)), max(t.count, f.wantCount)
	case !f.lastFile:
		damaged = damaged || t.rest > 0
	}
	switch {
	case damaged:
		s.report(f, t)
	case f.lastFile && f.size > f.end:
		s.cut(f, t.rest)
	}
}

// examine walks through all groups of a segment.
func (s *Spool) examine(f *found) tally {
	t := tally{end: headerSize, atCursor: s.reader.cursor.off == headerSize}
	file, err := s.disk.Open(f.name, false)
	if err != nil {
		t.err = err
		return t
	}
	defer closeQuietly(file)
	if f.size, t.err = file.Size(); t.err != nil {
		return t
	}
	end := f.size
	if f.wantEnd >= 0 {
		end = min(end, f.wantEnd)
	}
	w := walker{f: file, key: key{headSeed(f.salt), f.seq}, off: headerSize, end: end}
	var entries []Entry
	for {
		var g group
		var skipped int64
		if entries, g, skipped, err = w.next(entries[:0]); err != nil {
			break
		}
		t.add(g, skipped, s.reader.cursor, f.seq == s.reader.cursor.seq)
	}
	if !errors.Is(err, io.EOF) {
		t.err = err
		return t
	}
	t.rest, t.err = used(file, t.end, f.size)
	return t
}

// add adds a whole group. With here, c is in this segment.
func (t *tally) add(g group, skipped int64, c cursor, here bool) {
	t.skipped += skipped
	t.lost += max(g.first-t.count, 0)
	t.end, t.count = g.end, g.first+g.entries
	t.atCursor = t.atCursor || g.end == c.off || g.off == c.off
	if here && g.off < c.off {
		return
	}
	if t.pending == 0 {
		t.oldest = g.oldest
	}
	t.pending += g.entries
}

// report notes that f is damaged. What is whole in it will be drained.
func (s *Spool) report(f *found, t tally) {
	f.damaged, f.counted = true, true
	s.metrics.damaged.Inc()
	s.metrics.lost.Add(int(t.lost))
	s.log.Error().AnErr("header", f.headerErr).AnErr("read", t.err).Uint64("segment", f.seq).
		Int64("lost_events", t.lost).Int64("skipped_bytes", t.skipped).Int64("whole_until", t.end).Int64("bytes_behind", t.rest).
		Msg("spool segment is damaged; what is whole in it will be drained, and the file kept")
}

// cut takes the torn or unused end off the last segment. If that fails, the
// header of the next segment will say where this one ends.
func (s *Spool) cut(f *found, rest int64) {
	if rest > 0 {
		s.log.Warn().Uint64("segment", f.seq).Int64("bytes", rest).Int64("at", f.end).
			Msg("spool segment ends in a group that was not committed; it is cut off")
	}
	file, err := s.disk.Open(f.name, false)
	if err == nil {
		err = errors.Join(file.Truncate(f.end), file.Sync(), file.Close())
	}
	if err != nil {
		s.log.Error().Err(err).Uint64("segment", f.seq).Msg("spool segment cannot be cut")
		return
	}
	f.size = f.end
}

// used returns how many bytes from off to end are not part of a tail of zeros.
func used(f io.ReaderAt, off, end int64) (int64, error) {
	b := make([]byte, max(min(end-off, drainWindow), 0))
	last := off
	for at := off; at < end; at += int64(len(b)) {
		n, err := f.ReadAt(b[:min(int64(len(b)), end-at)], at)
		for i := n - 1; i >= 0; i-- {
			if b[i] != 0 {
				last = at + int64(i) + 1
				break
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return last - off, fmt.Errorf("read rest of segment: %w", err)
		}
	}
	return last - off, nil
}
