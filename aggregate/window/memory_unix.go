//go:build unix

package window

import (
	"syscall"
	"unsafe"
)

// minMapped is the size in bytes from which memory is taken from the system.
const minMapped = 8 << 10

// makeEntries returns n empty entries. A large table lies outside of the heap:
// there the garbage collector would let as much garbage grow beside it, and what
// a table leaves behind when it grows would stay. Pages that are never written
// take no memory.
func makeEntries(n int) []entry {
	size := n * int(unsafe.Sizeof(entry{}))
	if size < minMapped {
		return make([]entry, n)
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]entry, n)
	}
	return unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(b))), n) //nolint:gosec // entries have no pointers, and a mapping is aligned; BenchmarkSeen pays for it
}

// freeEntries gives back what makeEntries returned.
func freeEntries(entries []entry) {
	size := len(entries) * int(unsafe.Sizeof(entry{}))
	if size < minMapped {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(entries))), size) //nolint:gosec // see makeEntries
	// Memory of the heap, after a failed mapping, is not known as a mapping and
	// left to the collector.
	_ = syscall.Munmap(b)
}
