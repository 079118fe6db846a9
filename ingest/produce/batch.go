package produce

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/adtally/adtally/ingest/spool"
	"github.com/adtally/adtally/proto"
)

// Batch is the events of one request, encoded back to back, on their way into
// the topic. It belongs to one goroutine but for Hold and Release.
type Batch struct {
	data    []byte
	spans   []span
	flight  flight
	entries []spool.Entry
	holders atomic.Int32
	beside  int
	free    func()
}

// span is where an event ends in the data, and its partition.
type span struct {
	end       int
	partition int32
}

// NewBatch returns an empty batch that is held once. When nobody holds it any
// longer it calls free, which may keep it for another request: Reset comes
// first then. As long as it is held it keeps beside bytes more than its own from
// being used; they count among those that wait for Kafka.
func NewBatch(beside int, free func()) *Batch {
	b := &Batch{beside: beside, free: free}
	b.holders.Store(1)
	return b
}

// Reset makes b empty and held once. Nobody may hold it.
func (b *Batch) Reset() {
	b.data, b.spans = b.data[:0], b.spans[:0]
	b.holders.Store(1)
}

// Add encodes e, of which nothing is kept, for a partition.
func (b *Batch) Add(e *proto.Event, partition int32) {
	start, size := len(b.data), e.SizeVT()
	b.data = slices.Grow(b.data, size)[:start+size]
	n, err := e.MarshalToSizedBufferVT(b.data[start:])
	if err != nil || n != size {
		panic("BUG: the size of an event and its encoding differ")
	}
	b.spans = append(b.spans, span{end: start + size, partition: partition})
}

// Len returns the number of events.
func (b *Batch) Len() int { return len(b.spans) }

// Event returns the encoded event i. Its bytes are those of b: they may be read
// as long as b is held.
func (b *Batch) Event(i int) []byte {
	start := 0
	if i > 0 {
		start = b.spans[i-1].end
	}
	end := b.spans[i].end
	return b.data[start:end:end]
}

// Partition returns the partition of event i.
func (b *Batch) Partition(i int) int32 { return b.spans[i].partition }

// Hold keeps b from being reused until the matching Release.
func (b *Batch) Hold() { b.holders.Add(1) }

// Release ends one hold; the caller must not touch b afterwards.
func (b *Batch) Release() {
	if b.holders.Add(-1) == 0 {
		b.free()
	}
}

// memory returns how many bytes a held batch keeps, in records for Kafka as well.
func (b *Batch) memory() int64 {
	return int64(unsafe.Sizeof(*b)) + int64(b.beside) + int64(cap(b.data)) +
		int64(cap(b.spans))*int64(unsafe.Sizeof(span{})) + int64(cap(b.flight.records))*int64(unsafe.Sizeof(b.flight.records[0]))
}
