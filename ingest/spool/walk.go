package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// walker reads the groups of one segment. It belongs to one goroutine.
type walker struct {
	f   io.ReaderAt
	key key
	// off is where the next group is expected, end is where reading stops.
	off, end int64

	window []byte // bytes of the file from base on
	base   int64
}

// at returns the bytes from off on: all that the window has, and at least n
// unless the segment ends before. They are valid until the next call that has to
// read.
func (w *walker) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.end-off))
	if skip := off - w.base; skip >= 0 && skip+int64(n) <= int64(len(w.window)) {
		have := w.window[skip:]
		return have[:min(int64(len(have)), w.end-off)], nil
	}
	size := int(min(int64(max(n, drainWindow)), w.end-off))
	if cap(w.window) < size {
		w.window = make([]byte, size)
	}
	got, err := w.f.ReadAt(w.window[:size], off)
	w.base, w.window = off, w.window[:got]
	if errors.Is(err, io.EOF) {
		w.end, err = min(w.end, off+int64(got)), nil
	}
	if err != nil {
		w.window = w.window[:0]
		return nil, fmt.Errorf("read segment at %d: %w", off, err)
	}
	return w.window, nil
}

// next appends the entries of the next whole group to dst; they live until the
// next call. Where no group is, it goes on to one, and skipped says how many
// bytes it left out. At the end it returns io.EOF.
func (w *walker) next(dst []Entry) (_ []Entry, g group, skipped int64, err error) {
	start := w.off
	for w.off < w.end {
		var skip int
		dst, g, skip, err = w.try(dst)
		if err == nil {
			return dst, g, g.off - start, nil
		}
		if !errors.Is(err, errNoGroup) {
			return dst, g, 0, err
		}
		if w.off, err = w.search(w.off + int64(skip)); err != nil {
			return dst, g, 0, err
		}
	}
	w.off = start // the rest has no group; the caller knows where it began
	return dst, g, 0, io.EOF
}

// peek is next without reading from the file and without leaving out anything.
// It says whether there was such a group.
func (w *walker) peek(dst []Entry) (_ []Entry, g group, ok bool) {
	skip := w.off - w.base
	if skip < 0 || skip >= int64(len(w.window)) {
		return dst, g, false
	}
	b := w.window[skip:]
	dst, g, _, err := w.key.parse(dst, b[:min(int64(len(b)), w.end-w.off)], w.off)
	if err != nil {
		return dst, g, false
	}
	w.off = g.end
	return dst, g, true
}

// try parses the group at off, with as large a window as it needs.
func (w *walker) try(dst []Entry) (_ []Entry, g group, skip int, err error) {
	for _, size := range [...]int{headSize, drainWindow, maxGroup} {
		var b []byte
		if b, err = w.at(w.off, size); err != nil {
			return dst, g, 0, err
		}
		dst, g, skip, err = w.key.parse(dst, b, w.off)
		if err == nil {
			w.off = g.end
		}
		if !errors.Is(err, errShort) {
			return dst, g, skip, err
		}
	}
	return dst, g, skip, errNoGroup // it ends behind the segment
}

// search returns where after off the next data frame may begin, or the end.
func (w *walker) search(off int64) (int64, error) {
	var want [4]byte
	order.PutUint32(want[:], kindData)
	for off < w.end {
		b, err := w.at(off, headSize)
		if err != nil {
			return off, err
		}
		if i := bytes.Index(b, want[:]); i >= 0 {
			return off + int64(i), nil
		}
		if int64(len(b)) >= w.end-off {
			break
		}
		off += int64(max(len(b)-len(want)+1, 1))
	}
	return w.end, nil
}
