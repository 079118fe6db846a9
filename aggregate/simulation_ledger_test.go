package aggregate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/ledger"
	"github.com/adtally/adtally/internal/testkit/oracle"
)

// simLedger is the ledger of a simulation, by the contract that ledger_test
// checks on ClickHouse: a block lands wholly or not at all, also after its
// sender has gone, until its query is ended.
type simLedger struct {
	world *world
	marks [simPartitions][]simMark
	want  [simPartitions][]oracle.Booking
	// open are inserts that may still land.
	open []*simInsert
	// ghosts are instances that were stopped while others took over.
	ghosts []*worker
}

type simMark struct {
	batch           uuid.UUID
	start, end, lat int64
}

type simInsert struct {
	by    *worker
	block *Block
	// rows are what was sent.
	rows [][]window.Row
	sent bool
	over bool
}

// end is the first offset that is not counted.
func (l *simLedger) end(p int32) int64 {
	if n := len(l.marks[p]); n > 0 {
		return l.marks[p][n-1].end
	}
	return 0
}

func (l *simLedger) position(p int32) Position {
	pos := Position{Next: l.end(p), Known: len(l.marks[p]) > 0, Epoch: -1}
	for _, m := range l.marks[p] {
		pos.LAT = max(pos.LAT, m.lat)
	}
	return pos
}

// land puts what was sent into the ledger, checks it, and reports whether it
// could.
func (l *simLedger) land(in *simInsert) bool {
	if in.over || !in.sent {
		return false
	}
	in.over = true
	for i, s := range in.block.Spans {
		if end := l.end(s.Partition); s.Start != end {
			l.world.failf("partition %d: a span [%d, %d) lands, but the ledger ends at %d", s.Partition, s.Start, s.End, end)
		}
		want := oracle.Books(l.want[s.Partition], int(s.Start), int(s.End))
		if !slices.Equal(in.rows[i], want) {
			l.world.failf("partition %d: [%d, %d) is counted as\n%v\nwant\n%v", s.Partition, s.Start, s.End, in.rows[i], want)
		}
		l.marks[s.Partition] = append(l.marks[s.Partition], simMark{batch: in.block.ID, start: s.Start, end: s.End, lat: s.LastLAT})
	}
	return true
}

// landLate lets the inserts whose senders wait no longer land, or get lost.
func (l *simLedger) landLate() {
	for _, in := range l.open {
		if l.world.rand.IntN(2) == 0 {
			l.land(in)
		}
		in.over = in.over || in.sent
	}
	l.open = slices.DeleteFunc(l.open, func(in *simInsert) bool { return in.over })
	if n := len(l.ghosts); n > 0 { // a stopped process goes on
		ghost := l.ghosts[n-1]
		ghost.poll()
		ghost.write()
		if l.world.rand.IntN(4) == 0 {
			l.ghosts = l.ghosts[:n-1]
		}
	}
}

// endOthers ends all inserts of others: they have landed, or never will.
func (l *simLedger) endOthers(by *worker) {
	for _, in := range l.open {
		if in.by != by {
			if l.world.rand.IntN(2) == 0 {
				l.land(in)
			}
			in.over = true
		}
	}
	l.open = slices.DeleteFunc(l.open, func(in *simInsert) bool { return in.over })
}

// simStore is the ledger as one instance sees it.
type simStore struct {
	ledger *simLedger
	by     *worker
	// inDoubt is the insert whose outcome is not known.
	inDoubt *simInsert
	// shape is what the block in doubt looked like.
	shape string
}

func (*simStore) OpenTopic(_ context.Context, t Topic) (Topic, error) { return t, nil }

func (*simStore) Positions(context.Context, Topic, []int32) (map[int32]Position, error) {
	panic("BUG: a simulated instance is given its positions")
}

func (*simStore) Audit(context.Context, Topic) (map[int32]ledger.Partition, error) {
	panic("BUG: a simulated instance does not audit")
}

// Insert implements Store. Others go on while it runs: between any two of its
// steps its process may be stopped for a while.
func (s *simStore) Insert(_ context.Context, b *Block) error {
	if s.inDoubt != nil {
		if s.inDoubt.block.ID != b.ID || s.shape != shapeOf(b) {
			s.ledger.world.failf("a block in doubt was changed: %s, was %s", shapeOf(b), s.shape)
		}
		return s.resolve(b)
	}
	in := &simInsert{by: s.by, block: b}
	s.ledger.open = append(s.ledger.open, in)
	s.inDoubt, s.shape = in, shapeOf(b)
	if s.pause(); s.by.dead {
		return errLost
	}
	if err := b.Fence(); err != nil {
		return fmt.Errorf("%w: %w", s.resolve(b), err)
	}
	if s.pause(); s.by.dead {
		return errLost
	}
	for _, span := range b.Spans {
		in.rows = append(in.rows, oracle.Sum(oracle.Rows(&span.Delta)))
	}
	// What comes after the query was ended is refused.
	in.sent = !in.over
	s.pause()
	if s.by.dead {
		return errLost
	}
	switch s.ledger.world.fault() {
	case storesButNoAnswer:
		s.ledger.land(in)
		return errLost
	case unknown: // it may land later
		return errLost
	case loses:
		in.over = true
		return s.resolve(b)
	case works:
		if s.ledger.world.chance(20) {
			s.ledger.world.crash(s.by)
			return errLost
		}
	}
	if s.ledger.land(in) {
		s.inDoubt = nil
		return nil
	}
	return s.resolve(b)
}

// pause lets others go on.
func (s *simStore) pause() {
	w := s.ledger.world
	if w.depth == 2 || !w.chance(6) {
		return
	}
	w.depth++
	for range w.rand.IntN(12) {
		w.step()
	}
	w.depth--
}

// resolve ends the insert in doubt and looks for its marks.
func (s *simStore) resolve(b *Block) error {
	in := s.inDoubt
	if !in.over && s.ledger.world.rand.IntN(2) == 0 {
		s.ledger.land(in) // just before the query was ended
	}
	in.over = true
	s.ledger.open = slices.DeleteFunc(s.ledger.open, func(o *simInsert) bool { return o == in })
	if s.ledger.world.chance(10) {
		return errLost // the marks cannot be read just now
	}
	ours, foreign := s.ledger.read(b)
	switch {
	case foreign:
		return ErrForeign
	case ours:
		s.inDoubt = nil
		return nil
	default:
		s.inDoubt = nil
		return ErrAbsent
	}
}

// read looks for marks within the spans of b.
func (l *simLedger) read(b *Block) (ours, foreign bool) {
	for _, s := range b.Spans {
		for _, m := range l.marks[s.Partition] {
			if m.start < s.End && s.Start < m.end {
				ours = ours || m.batch == b.ID
				foreign = foreign || m.batch != b.ID
			}
		}
	}
	return ours, foreign
}

func shapeOf(b *Block) string {
	var shape strings.Builder
	for _, s := range b.Spans {
		fmt.Fprintf(&shape, "%d [%d, %d) %+v; ", s.Partition, s.Start, s.End, s.Delta.Totals())
	}
	return shape.String()
}
