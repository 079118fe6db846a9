package ingest

import (
	"slices"
	"sync/atomic"

	"github.com/adtally/adtally/ingest/spool"
	"github.com/adtally/adtally/proto"
)

// Batch is the events of one request, encoded back to back, on their way into
// the topic. Its memory is pooled: it is free again when everybody who holds
// it has released it.
type Batch struct {
	data    []byte
	spans   []span
	flight  flight
	entries []spool.Entry
	holders atomic.Int32
	free    func()
}

// span is where an event ends in the data, and its partition.
type span struct {
	end       int
	partition int32
}

// Len returns the number of events.
func (b *Batch) Len() int { return len(b.spans) }

// Event returns the encoded event i. It lives as long as b is held.
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

// reset makes b empty and held once.
func (b *Batch) reset() {
	b.data, b.spans = b.data[:0], b.spans[:0]
	b.holders.Store(1)
}

// add encodes e, of which nothing is kept.
func (b *Batch) add(e *proto.Event, partition int32) {
	start, size := len(b.data), e.SizeVT()
	b.data = slices.Grow(b.data, size)[:start+size]
	n, err := e.MarshalToSizedBufferVT(b.data[start:])
	if err != nil || n != size {
		panic("BUG: the size of an event and its encoding differ")
	}
	b.spans = append(b.spans, span{end: start + size, partition: partition})
}
