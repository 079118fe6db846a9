package books

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Topic is a topic generation that the ledger counts.
type Topic struct {
	Name       string
	ID         uuid.UUID
	Lineage    uint32
	Partitions uint32
	// Scheme is the rule of its partitions; SchemeCorrections is not of events.
	Scheme string
}

// SchemeCorrections is the scheme of the log that corrections are written to by
// hand, straight into the ledger. Its broker time is that of the writing.
const SchemeCorrections = "corrections/v1"

// log is the log of one topic generation.
type log struct {
	topic   uuid.UUID
	lineage uint32
}

func (t *Topic) log() log { return log{t.ID, t.Lineage} }

// Position is how far one partition counts.
type Position struct {
	Topic     uuid.UUID
	Lineage   uint32
	Partition int32
	// First is the first offset that counts, and Next the first one that no
	// longer does.
	First, Next uint64
	// LAT is the broker time reached.
	LAT time.Time
}

func (p *Position) log() log { return log{p.Topic, p.Lineage} }

// Vector is how far each partition counts; partitions of which nothing counts
// are left out. It is sorted and never changed.
type Vector []Position

func newVector(positions []Position) Vector {
	slices.SortFunc(positions, func(a, b Position) int {
		return cmp.Or(
			slices.Compare(a.Topic[:], b.Topic[:]),
			cmp.Compare(a.Lineage, b.Lineage),
			cmp.Compare(a.Partition, b.Partition),
		)
	})
	return positions
}

// logs lists the topic generations of the vector.
func (v Vector) logs() []log {
	var list []log
	for i := range v {
		if len(list) == 0 || list[len(list)-1] != v[i].log() {
			list = append(list, v[i].log())
		}
	}
	return list
}

// nowhere stands in dense arrays for a partition of which nothing counts. No
// batch ends there.
const nowhere = ^uint64(0)

// dense returns the positions of one topic by partition; none where there is no
// position.
func (v Vector) dense(l log, partitions uint32, none uint64) []uint64 {
	list := make([]uint64, partitions)
	for i := range list {
		list[i] = none
	}
	for i := range v {
		if v[i].log() == l && uint32(v[i].Partition) < partitions {
			list[v[i].Partition] = v[i].Next
		}
	}
	return list
}

// partitions is how many partitions of a topic the vector can speak of.
func (v Vector) partitions(l log) uint32 {
	n := uint32(0)
	for i := range v {
		if v[i].log() == l {
			n = max(n, uint32(v[i].Partition)+1)
		}
	}
	return n
}

// Reached is the least broker time over all partitions of a topic: everything
// that the brokers had taken by then counts. ok is false while a partition has
// no position.
func (v Vector) Reached(t Topic) (reached time.Time, ok bool) {
	n := uint32(0)
	for i := range v {
		if v[i].log() != t.log() {
			continue
		}
		if n == 0 || v[i].LAT.Before(reached) {
			reached = v[i].LAT
		}
		n++
	}
	return reached, n > 0 && n == t.Partitions
}
