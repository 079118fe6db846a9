//go:build unix

package window

import (
	"syscall"
	"unsafe"
)

// minMapped is the size in bytes from which memory is taken from the system.
const minMapped = 8 << 10

// makeLines returns n empty lines. A large table lies outside of the heap:
// there the garbage collector would let as much garbage grow beside it, and what
// a table leaves behind when it grows would stay. Pages that are never written
// take no memory.
func makeLines(n int) []line {
	size := n * int(unsafe.Sizeof(line{}))
	if size < minMapped {
		return make([]line, n)
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]line, n)
	}
	return unsafe.Slice((*line)(unsafe.Pointer(unsafe.SliceData(b))), n) //nolint:gosec // lines have no pointers, and a mapping is aligned; BenchmarkSeen pays for it
}

// freeLines gives back what makeLines returned.
func freeLines(lines []line) {
	size := len(lines) * int(unsafe.Sizeof(line{}))
	if size < minMapped {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(lines))), size) //nolint:gosec // see makeLines
	// Memory of the heap, after a failed mapping, is not known as a mapping and
	// left to the collector.
	_ = syscall.Munmap(b)
}
