package closing

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// SchemaVersion is that of the files and of the manifest. It grows when a column
// is added.
const SchemaVersion = 1

// Close is a day that does not change any more. Its JSON is what Hash is made of,
// so no field may be added without a new SchemaVersion.
type Close struct {
	// Sequence is the place in the chain, from 1.
	Sequence uint64 `json:"sequence"`
	Timezone string `json:"timezone"`
	Day      string `json:"day"`
	// Starts and Ends bound the day.
	Starts time.Time `json:"starts"`
	Ends   time.Time `json:"ends"`
	// Cut is that of the day. PreviousCut is that of the day before it in the
	// zone, 0 for the first.
	Cut             uint64    `json:"cut"`
	PreviousCut     uint64    `json:"previous_cut"`
	CompleteThrough time.Time `json:"complete_through"`
	LatenessSeconds uint32    `json:"lateness_seconds"`
	// Tiles is how many batches were seen to join since the last close of any
	// zone; with a gap or an overlap there is no close.
	Tiles  uint64     `json:"tiles"`
	Vector []Position `json:"vector"`
	Moves  []Move     `json:"moves"`
	// Statement and Adjustments say what the files hold.
	Statement   Part `json:"statement"`
	Adjustments Part `json:"adjustments"`

	CodeVersion   uint32 `json:"code_version"`
	SchemaVersion uint32 `json:"schema_version"`
	// Previous is the hash of the close before in the chain, empty for the first.
	Previous string `json:"previous"`

	Hash string `json:"-"`
}

// Position is how far one partition counts.
type Position struct {
	Topic     uuid.UUID `json:"topic_id"`
	Lineage   uint32    `json:"lineage"`
	Partition int32     `json:"partition"`
	Offset    uint64    `json:"offset"`
}

// Move says that an advertiser belongs to a zone from an instant on; a zero Since
// means since ever.
type Move struct {
	Advertiser uint64    `json:"advertiser"`
	Timezone   string    `json:"timezone"`
	Since      time.Time `json:"since"`
}

// Part is what one file holds of one close.
type Part struct {
	Rows   uint64  `json:"rows"`
	Totals []Total `json:"totals"`
}

// Total is the sum of the rows of one advertiser and currency. SpendNanos is a
// decimal integer: it may not fit 64 bits.
type Total struct {
	Advertiser uint64 `json:"advertiser,string"`
	Currency   string `json:"currency"`
	Rows       uint64 `json:"rows"`
	Gross      int64  `json:"gross"`
	Net        int64  `json:"net"`
	Duplicate  int64  `json:"duplicate"`
	Invalid    int64  `json:"invalid"`
	Orphan     int64  `json:"orphan"`
	SpendNanos string `json:"spend_nanos"`
}

// Seal sets the hash from everything else.
func (c *Close) Seal() { c.Hash = c.computed() }

// Intact reports whether the hash is that of the content.
func (c *Close) Intact() bool { return c.Hash == c.computed() }

func (c *Close) computed() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic("BUG: a close is always JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// day returns the number of the day.
func (c *Close) day() int64 {
	t, err := time.Parse(time.DateOnly, c.Day)
	if err != nil {
		panic("BUG: the store checks days: " + err.Error())
	}
	return DayNumber(t)
}
