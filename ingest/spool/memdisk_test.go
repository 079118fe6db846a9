package spool

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// errCrashed is what a memDisk answers after its crash.
var errCrashed = errors.New("the machine is off")

const pageSize = 512 // small, so that small groups tear

// memDisk is a disk in memory that keeps what is durable apart from what is not:
// a file's content becomes durable with its Sync, a name with the Sync of the
// directory. It can fail, fill up and crash.
type memDisk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	live    map[string]*memFile // what the process sees
	durable map[string]*memFile // what a crash leaves for certain
	journal []func(map[string]*memFile)
	held    bool

	ops     int // calls so far
	crashAt int // 0 is never
	// fault may fail the call op ("open", "write", "sync", ...) of the named
	// file. A failed write has written a part.
	fault func(op, name string) error
	// room is how many bytes fit in all; 0 is no limit. Sparse says that
	// Allocate takes none, as on a file system that copies on write.
	room   int64
	sparse bool
}

type memFile struct {
	data   []byte // what the process sees
	synced []byte
	dirty  map[int]bool // pages that the next Sync makes durable
}

type memHandle struct {
	d *memDisk
	f *memFile
}

// name follows renames. The caller holds mu.
func (h *memHandle) name() string {
	for name, f := range h.d.live {
		if f == h.f {
			return name
		}
	}
	return ""
}

func newMemDisk(seed uint64) *memDisk {
	return &memDisk{rng: rand.New(rand.NewPCG(seed, 1)), live: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// call counts a call and says whether it fails. The caller holds mu.
func (d *memDisk) call(op, name string) error {
	d.ops++
	if d.crashAt > 0 && d.ops >= d.crashAt {
		return errCrashed
	}
	if d.fault != nil {
		return d.fault(op, name)
	}
	return nil
}

// crash returns the disk as the next start of the machine finds it: of what was
// not synced, any part may be there.
func (d *memDisk) crash() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk(d.rng.Uint64())
	next.room, next.sparse = d.room, d.sparse
	names := maps.Clone(d.durable)
	for _, op := range d.journal[:d.rng.IntN(len(d.journal)+1)] {
		op(names)
	}
	for name, f := range names {
		b := slices.Clone(f.synced)
		for page := range f.dirty {
			start := page * pageSize
			end := min(start+pageSize, len(f.data))
			if d.rng.IntN(2) == 0 || start >= end {
				continue
			}
			if len(b) < end {
				b = append(b, make([]byte, end-len(b))...)
			}
			copy(b[start:end], f.data[start:end])
		}
		if len(f.data) < len(b) && d.rng.IntN(2) == 0 {
			b = b[:len(f.data)] // an unsynced truncation may be durable too
		}
		next.set(name, b)
	}
	return next
}

// set puts a durable file.
func (d *memDisk) set(name string, b []byte) {
	f := &memFile{data: slices.Clone(b), synced: slices.Clone(b), dirty: map[int]bool{}}
	d.live[name], d.durable[name] = f, f
}

// clone returns a disk with the same files, all durable.
func (d *memDisk) clone() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk(d.rng.Uint64())
	for name, f := range d.live {
		next.set(name, f.data)
	}
	return next
}

func (d *memDisk) names(suffix string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []string
	for name := range d.live {
		if _, ok := parseName(name, suffix); ok {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

func (d *memDisk) Open(name string, create bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("open", name); err != nil {
		return nil, err
	}
	f := d.live[name]
	switch {
	case create && f != nil:
		return nil, fs.ErrExist
	case !create && f == nil:
		return nil, fs.ErrNotExist
	case create:
		f = &memFile{dirty: map[int]bool{}}
		d.change(func(names map[string]*memFile) { names[name] = f })
	}
	return &memHandle{d, f}, nil
}

// change changes the directory, now for the process and later for the disk.
func (d *memDisk) change(op func(map[string]*memFile)) {
	op(d.live)
	d.journal = append(d.journal, op)
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("rename", from); err != nil {
		return err
	}
	f := d.live[from]
	if f == nil {
		return fs.ErrNotExist
	}
	d.change(func(names map[string]*memFile) {
		delete(names, from)
		names[to] = f
	})
	return nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("remove", name); err != nil {
		return err
	}
	if d.live[name] == nil {
		return fs.ErrNotExist
	}
	d.change(func(names map[string]*memFile) { delete(names, name) })
	return nil
}

func (d *memDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.live)), d.call("list", "")
}

func (d *memDisk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("syncdir", ""); err != nil {
		return err
	}
	d.durable, d.journal = maps.Clone(d.live), nil
	return nil
}

func (d *memDisk) Space() (free, total uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room == 0 {
		return 1 << 40, 1 << 41, nil
	}
	return uint64(max(d.room-d.used(), 0)), uint64(d.room), nil
}

func (d *memDisk) used() int64 {
	sum := int64(0)
	for _, f := range d.live {
		if !d.sparse {
			sum += int64(len(f.data))
			continue
		}
		for page := range (len(f.data) + pageSize - 1) / pageSize {
			b := f.data[page*pageSize : min((page+1)*pageSize, len(f.data))]
			if slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
				sum += pageSize
			}
		}
	}
	return sum
}

func (d *memDisk) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held {
		return nil, ErrLocked
	}
	d.held = true
	return memLock{d}, nil
}

type memLock struct{ d *memDisk }

func (l memLock) Close() error {
	l.d.mu.Lock()
	l.d.held = false
	l.d.mu.Unlock()
	return nil
}

func (h *memHandle) Close() error { return nil }

func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.call("read", h.name()); err != nil {
		return 0, err
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	err := h.d.call("write", h.name())
	if err != nil {
		p = p[:h.d.rng.IntN(len(p)+1)]
	}
	before := h.d.room == 0 || h.d.used() <= h.d.room
	end := int(off) + len(p)
	if grow := end - len(h.f.data); grow > 0 {
		h.f.data = append(h.f.data, make([]byte, grow)...)
	}
	old := slices.Clone(h.f.data[off:end])
	copy(h.f.data[off:], p)
	if err == nil && before && h.d.room > 0 && h.d.used() > h.d.room { // short: the first half fits
		copy(h.f.data[int(off)+len(p)/2:], old[len(p)/2:])
		p, err = p[:len(p)/2], syscall.ENOSPC
	}
	for page := int(off) / pageSize; page*pageSize < end; page++ {
		h.f.dirty[page] = true
	}
	return len(p), err
}

func (h *memHandle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), h.d.call("size", h.name())
}

func (h *memHandle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.call("truncate", h.name()); err != nil {
		return err
	}
	h.resize(size)
	return nil
}

func (h *memHandle) resize(size int64) {
	from := min(int(size), len(h.f.data))
	if int(size) < len(h.f.data) {
		h.f.data = h.f.data[:size:size]
	}
	h.f.data = append(h.f.data, make([]byte, int(size)-len(h.f.data))...)
	for page := from / pageSize; page*pageSize < int(size); page++ {
		h.f.dirty[page] = true
	}
}

func (h *memHandle) Allocate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.call("allocate", h.name()); err != nil {
		return err
	}
	if h.d.room > 0 && !h.d.sparse && h.d.used()+size-int64(len(h.f.data)) > h.d.room {
		return syscall.ENOSPC
	}
	h.resize(size)
	return nil
}

// Sync behaves as Linux does on an error: some pages are written, the others are
// dropped and never written again, and the next Sync succeeds.
func (h *memHandle) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	err := h.d.call("sync", h.name())
	if errors.Is(err, errCrashed) {
		return err
	}
	if err == nil {
		h.f.synced = slices.Clone(h.f.data)
	}
	for page := range h.f.dirty {
		start, end := page*pageSize, min((page+1)*pageSize, len(h.f.data))
		if err != nil && end <= len(h.f.synced) && start < end && h.d.rng.IntN(2) == 0 {
			copy(h.f.synced[start:end], h.f.data[start:end])
		}
	}
	clear(h.f.dirty)
	return err
}
