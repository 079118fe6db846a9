package export

import (
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v15/arrow/decimal128"
)

// Type is the type of a column in answers.
type Type string

// The types of columns.
const (
	// Date is a day: Ints hold its number since 1970.
	Date Type = "date"
	// Timestamp is an instant: Ints hold seconds since 1970.
	Timestamp Type = "timestamp"
	// ID is a 64-bit id: IDs hold it. It is a string in JSON, as JavaScript's
	// numbers are too small for it.
	ID Type = "id"
	// String is a text: Dict and Index hold it.
	String Type = "string"
	// Integer is a count: Ints hold it.
	Integer Type = "integer"
	// Decimal is an exact number: Decimals hold it, scaled by Column.Places.
	Decimal Type = "decimal"
)

// Places of decimals: money is exact in nano-units; rates and prices are rounded.
const (
	MoneyPlaces = 9
	RatePlaces  = 6
)

// Column describes one column of an answer.
type Column struct {
	// Name is the name in the header.
	Name string
	// Type says what Vectors hold.
	Type Type
	// Places is the scale of a decimal.
	Places int
	// Key says that the column tells which row it is; totals have none.
	Key bool
}

// Number is a 128-bit integer, the unscaled value of a decimal.
type Number = decimal128.Num

// Vector holds the cells of one column; which field does depends on its type.
type Vector struct {
	Ints     []int64
	IDs      []uint64
	Decimals []Number
	// Dict and Index are a text's values and the place of each row's in them. A
	// nil Index means the first value in every row.
	Dict  []string
	Index []int32
	// Null marks the cells without a value; nil means none.
	Null []bool
}

// Batch is some rows of an answer, a vector per column.
type Batch struct {
	Rows    int
	Vectors []Vector
}

// Meta says what an answer is worth. Its zero fields are left out where that
// means nothing.
type Meta struct {
	// AsOf names the version of the books that was read.
	AsOf string
	// CompleteThrough is zero while some partition has no position.
	CompleteThrough time.Time
	// Finality is final, or provisional if some row is.
	Finality string
	// Timezone is the zone of dates and buckets.
	Timezone string
	// Advertiser is whose answer it is.
	Advertiser uint64
	// Currency is the one currency of the spend, if there is one.
	Currency string
	// Rows is how many rows follow.
	Rows int
	// Truncated says that there are more rows; NextCursor asks for them.
	Truncated  bool
	NextCursor string
	// Took is how long the storage took.
	Took time.Duration
	// Pinned says that the version was asked for by name: the answer is the same
	// whenever it is asked, so Took is left out.
	Pinned bool
}

// Through writes CompleteThrough, or nothing.
func (m *Meta) Through() string {
	if m.CompleteThrough.IsZero() {
		return ""
	}
	return m.CompleteThrough.UTC().Format(time.RFC3339)
}

// Pair is one name and value of Meta.
type Pair struct{ Name, Value string }

// Pairs lists what is known, for headers and key-values of files.
func (m *Meta) Pairs() []Pair {
	pairs := []Pair{
		{"as-of", m.AsOf},
		{"complete-through", m.Through()},
		{"finality", m.Finality},
		{"timezone", m.Timezone},
		{"advertiser", strconv.FormatUint(m.Advertiser, 10)},
		{"rows", strconv.Itoa(m.Rows)},
		{"truncated", strconv.FormatBool(m.Truncated)},
	}
	if !m.Pinned {
		pairs = append(pairs, Pair{"query-ms", strconv.FormatInt(m.Took.Milliseconds(), 10)})
	}
	if m.Currency != "" {
		pairs = append(pairs, Pair{"currency", m.Currency})
	}
	if m.NextCursor != "" {
		pairs = append(pairs, Pair{"next-cursor", m.NextCursor})
	}
	return pairs
}

// NewNumber returns the integer whose two's complement has these halves.
func NewNumber(high int64, low uint64) Number { return decimal128.New(high, low) }

// NumberOf returns n.
func NumberOf(n int64) Number { return decimal128.FromI64(n) }

// NumberOfBig returns n, which must have at most 127 bits.
func NumberOfBig(n *big.Int) Number { return decimal128.FromBigInt(n) }

// SetNull marks a cell of a vector with so many rows as one without a value.
func (v *Vector) SetNull(row, rows int) {
	if v.Null == nil {
		v.Null = make([]bool, rows)
	}
	v.Null[row] = true
}

// Cut drops the rows from n on.
func (b *Batch) Cut(n int) {
	b.Rows = n
	for i := range b.Vectors {
		v := &b.Vectors[i]
		v.Ints, v.IDs = v.Ints[:min(n, len(v.Ints))], v.IDs[:min(n, len(v.IDs))]
		v.Decimals, v.Null = v.Decimals[:min(n, len(v.Decimals))], v.Null[:min(n, len(v.Null))]
		v.Index = v.Index[:min(n, len(v.Index))]
		if len(v.Null) == 0 {
			v.Null = nil
		}
		if len(v.Index) == 0 {
			v.Index = nil
		}
	}
}
