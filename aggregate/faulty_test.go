package aggregate

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/ledger"
)

// faultyLedger is a Store in memory that follows the contract of Ledger and
// fails as told: it stores and loses the answer, or does not store.
type faultyLedger struct {
	mu     sync.Mutex
	blocks []storedBlock
	// fail decides what happens to an attempt.
	fail func(attempt int) fault
	// tried counts attempts; frozen holds the shape of a block in doubt.
	tried  int
	frozen map[uuid.UUID]int
	t      *testing.T
	noOwners
}

// noOwners are Owners for whom everybody has ended well.
type noOwners struct{}

func (noOwners) Claimed(context.Context, Topic, []int32) (Claims, error) { return Claims{}, nil }
func (noOwners) EndOthers(context.Context, Topic) error                  { return nil }
func (noOwners) Claim(context.Context, Topic, []int32, Claims) error     { return nil }
func (noOwners) Release(context.Context, Topic, []int32) error           { return nil }
func (noOwners) InsertUsers(context.Context, []Users) error              { return nil }

func (noOwners) Audit(context.Context, Topic) (map[int32]ledger.Partition, error) { return nil, nil }

type fault int

const (
	works fault = iota
	loses       // not stored, and the store knows
	storesButNoAnswer
	unknown // not stored, and nobody knows
)

var errLost = errors.New("connection reset")

func (l *faultyLedger) OpenTopic(_ context.Context, t Topic) (Topic, error) {
	t.Lineage = 1
	return t, nil
}

func (l *faultyLedger) Positions(_ context.Context, _ Topic, ids []int32) (map[int32]Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int32]Position)
	for _, id := range ids {
		out[id] = Position{Epoch: -1}
	}
	for _, b := range l.blocks {
		for _, s := range b.spans {
			if p, ok := out[s.Partition]; ok {
				if s.Start != p.Next {
					l.t.Errorf("partition %d: block starts at %d, the chain ends at %d", s.Partition, s.Start, p.Next)
				}
				out[s.Partition] = Position{Next: s.End, Known: true, LAT: max(p.LAT, s.LastLAT), Epoch: s.Epoch}
			}
		}
	}
	return out, nil
}

func (l *faultyLedger) Insert(_ context.Context, b *Block) error {
	if err := b.Fence(); err != nil {
		return errors.Join(ErrAbsent, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, s := range b.Spans {
		size += int(s.End-s.Start)*1_000 + s.Delta.Len()
	}
	if old, ok := l.frozen[b.ID]; ok && old != size {
		l.t.Errorf("block %s changed between attempts", b.ID)
	}
	if l.frozen == nil {
		l.frozen = make(map[uuid.UUID]int)
	}
	l.frozen[b.ID] = size
	for _, old := range l.blocks {
		if old.id == b.ID {
			return nil // its mark is found
		}
	}
	l.tried++
	what := works
	if l.fail != nil {
		what = l.fail(l.tried)
	}
	switch what {
	case loses:
		return ErrAbsent
	case unknown:
		return errLost
	case works, storesButNoAnswer:
	}
	l.blocks = append(l.blocks, stored(b))
	if what == storesButNoAnswer {
		return errLost
	}
	return nil
}

// storedBlock is what the ledger keeps of a block beyond the reuse of its
// spans.
type storedBlock struct {
	id    uuid.UUID
	spans []storedSpan
}

type storedSpan struct {
	Span
	totals window.Totals
}

func stored(b *Block) storedBlock {
	s := storedBlock{id: b.ID}
	for _, span := range b.Spans {
		k := storedSpan{Span: *span, totals: span.Delta.Totals()}
		k.Delta = window.Delta{}
		s.spans = append(s.spans, k)
	}
	return s
}

// sums adds up what the ledger holds.
func (l *faultyLedger) sums() (gross, net int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.blocks {
		for _, s := range b.spans {
			gross += s.totals.Gross
			net += s.totals.Net
		}
	}
	return gross, net
}
