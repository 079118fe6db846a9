package aggregate

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/ledger"
)

// Topic is the topic generation that the ledger counts.
type Topic struct {
	Name       string
	ID         uuid.UUID
	Partitions int32
	// Spread and Scheme are the partition rule that ingest follows.
	Spread uint32
	Scheme string
	// Retention is how long the brokers keep events, 0 for ever or not known.
	Retention time.Duration
	// Lineage numbers the generations of a topic's log in the ledger, from 1.
	Lineage uint32
}

// Position is how far a partition is counted.
type Position struct {
	// Next is the first offset that is not counted.
	Next int64
	// Known is false when the ledger has no mark of the partition.
	Known bool
	// LAT is the broker time of the last counted record, in milliseconds.
	LAT int64
	// Epoch is the leader epoch of the last counted record, -1 if unknown.
	Epoch int32
	// Counted are the offsets beyond Next that are counted, in their order: the
	// ledger has lost what lies between.
	Counted []Range
}

// Range are the offsets [From, To).
type Range struct{ From, To int64 }

// Span is what one stretch of one partition adds to the ledger.
type Span struct {
	Partition int32
	// Start and End are the offsets [Start, End).
	Start, End int64
	// FirstLAT and LastLAT are broker times in milliseconds; LastLAT is the
	// greatest one in the span.
	FirstLAT, LastLAT int64
	Epoch             int32
	Delta             window.Delta
}

// Block is one atomic write: spans of different partitions that begin on the
// same day of broker time. It does not change once it was tried.
type Block struct {
	ID    uuid.UUID
	Topic Topic
	Spans []*Span
	// Prove asks for the marks to be read back although the insert was
	// acknowledged: the first block of each ownership.
	Prove bool
	// Fence is asked when the insert is open and nothing is sent yet. Its error
	// means that the partitions may be others' by now: nothing is sent.
	Fence func() error
}

var (
	// ErrForeign means that another owner has counted a span of the block.
	ErrForeign = errors.New("another owner has counted this span: stop this instance, and check that no two groups count the same topic")
	// ErrAbsent means that the block is certainly not in the ledger.
	ErrAbsent = errors.New("the block is not in the ledger")
)

// Store is the ledger as aggregate needs it.
type Store interface {
	// OpenTopic returns the topic with its lineage, recording it on first use.
	// A topic that differs from the recorded one is an error that says what to
	// do.
	OpenTopic(ctx context.Context, t Topic) (Topic, error)
	// Positions reads the marks of the given partitions.
	Positions(ctx context.Context, t Topic, partitions []int32) (map[int32]Position, error)
	// Audit reads the recent marks of every partition and what is wrong with
	// them.
	Audit(ctx context.Context, t Topic) (map[int32]ledger.Partition, error)
	// Insert writes b wholly or not at all. After an attempt whose outcome is
	// unknown it finds out: nil if b is in the ledger, ErrAbsent if it is not,
	// ErrForeign if somebody else's block is; any other error leaves the outcome
	// unknown, and Insert must be called again with the same block, which then
	// only finds out and writes nothing. An absent block may be written again,
	// or another in its place.
	Insert(ctx context.Context, b *Block) error
}

// Owners notes who counts which partition, so that a new owner knows whether the
// last one may still be writing.
type Owners interface {
	// Claimed tells who holds the partitions.
	Claimed(ctx context.Context, t Topic, partitions []int32) (Claims, error)
	// EndOthers ends all inserts of other owners and waits for their end.
	EndOthers(ctx context.Context, t Topic) error
	// Claim notes us as the owner. It is an error if somebody else has done so
	// since the reading.
	Claim(ctx context.Context, t Topic, partitions []int32, since Claims) error
	// Release notes that nothing of ours is on its way any more.
	Release(ctx context.Context, t Topic, partitions []int32) error
}

// Users are the users that saw something: a cell of table uniques.
type Users struct {
	Advertiser, Campaign uint64
	Country, Device      string
	// Quarter is the beginning of the quarter of an hour, in seconds since 1970.
	Quarter int64
	// Hashes are the users; some may be there more than once.
	Hashes []uint64
}

// Uniques keeps unique users. Telling it of a user again changes nothing.
type Uniques interface {
	InsertUsers(ctx context.Context, cells []Users) error
}

// Books are the ledger and what is kept beside it.
type Books interface {
	Store
	Owners
	Uniques
}
