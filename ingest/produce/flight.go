package produce

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flight is the sink's part of a batch: its records and who waits for them.
type flight struct {
	sink    *Kafka
	round   *round
	records []kgo.Record
	bytes   int64
	promise func(*kgo.Record, error)
	left    atomic.Int32
	failed  atomic.Bool

	// turn counts the flights that the batch has had, and its lowest bit says
	// that the request of this one waits. Whoever takes that bit off wakes the
	// request, once: the last promise, or the sweep at the deadline. A sweep that
	// comes too late finds another turn.
	turn atomic.Uint64
	// done has room for the one message of a flight, so nobody blocks who sends
	// it: kgo calls promises one after the other.
	done chan struct{}
}

// prepare makes f ready for the events of b.
func (f *flight) prepare(b *Batch) {
	n := b.Len()
	if f.promise == nil {
		f.promise = func(r *kgo.Record, err error) { f.settle(b, r, err) }
		f.done = make(chan struct{}, 1)
	}
	if cap(f.records) < n {
		f.records = make([]kgo.Record, n)
	}
	f.records = f.records[:n]
	f.left.Store(int32(n))
	f.failed.Store(false)
	f.bytes = b.memory()
}

// depart begins a turn and returns it. From here on f belongs to the promises
// until they are all kept.
func (f *flight) depart() uint64 {
	turn := f.turn.Load() + 1 | 1
	f.turn.Store(turn)
	return turn
}

// wake ends the wait of a turn, unless that was done.
func (f *flight) wake(turn uint64) bool {
	if !f.turn.CompareAndSwap(turn, turn+1) {
		return false
	}
	f.done <- struct{}{}
	return true
}

// settle is the promise of every record of b. The last one wakes the request,
// and gives b up.
func (f *flight) settle(b *Batch, r *kgo.Record, err error) {
	k := f.sink
	turn := f.turn.Load()
	k.lanes[r.Partition].settled(err == nil && turn&1 == 1)
	if err != nil {
		f.failed.Store(true)
		k.fault(err)
	}
	if f.left.Add(-1) > 0 {
		return
	}
	k.records.Add(-int64(len(f.records)))
	k.bytes.Add(-f.bytes)
	n := f.round
	if turn&1 == 1 { // the sweep has not been first
		f.wake(turn)
	}
	b.Release() // from here on f may be another request's
	k.rounds.leave(n)
}

// outcome says what became of f after its request was woken.
func (f *flight) outcome() Outcome {
	switch {
	case f.left.Load() > 0:
		return Late
	case f.failed.Load():
		return Refused
	}
	return Acked
}
