package window

import (
	"runtime"
	"unsafe"
)

// mapping is memory outside of the heap. There the garbage collector would let
// as much garbage grow beside a table as the table is large, and what a table
// leaves behind when it grows would stay. Pages that are never written take no
// memory. A mapping ends with free, or once nothing refers to it any more: who
// reads its items must keep it alive meanwhile.
type mapping struct {
	bytes []byte
	end   runtime.Cleanup
}

// minMapped is the size in bytes from which memory is taken from the system.
const minMapped = 8 << 10

// allocate returns n zero items, which must be without pointers, and the mapping
// that they lie in. It is nil if they lie in the heap, as few do.
func allocate[T any](n int) ([]T, *mapping) {
	var item T
	size := n * int(unsafe.Sizeof(item))
	if size < minMapped {
		return make([]T, n), nil
	}
	b, err := mapBytes(size)
	if err != nil {
		return make([]T, n), nil
	}
	m := &mapping{bytes: b}
	m.end = runtime.AddCleanup(m, unmapBytes, b)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), m //nolint:gosec // items have no pointers, and a mapping is aligned; BenchmarkSeen pays for it
}

// free gives the memory back.
func (m *mapping) free() {
	if m != nil {
		m.end.Stop()
		unmapBytes(m.bytes)
	}
}
