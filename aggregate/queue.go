package aggregate

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queue hands fetched records from the poll loop to the owner of a partition.
// Its bound is soft: the poll loop never blocks, which would hold up rebalances
// of every partition, but pauses fetching a partition whose queue is over the
// limit and resumes it when the queue is half empty.
type queue struct {
	mu      sync.Mutex
	batches [][]*kgo.Record
	records int
	// ready holds a token while there is something to pop.
	ready chan struct{}
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push adds recs.
func (q *queue) push(recs []*kgo.Record) {
	q.mu.Lock()
	q.batches = append(q.batches, recs)
	q.records += len(recs)
	q.mu.Unlock()
	q.signal()
}

// waiting is the number of records in the queue.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.records
}

// pop takes the oldest batch. The receiver of a token from ready must pop.
func (q *queue) pop() []*kgo.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return nil
	}
	recs := q.batches[0]
	q.batches[0] = nil
	q.batches = q.batches[1:]
	q.records -= len(recs)
	if len(q.batches) > 0 {
		q.signal()
	}
	return recs
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
