package statement

import (
	"github.com/apache/arrow/go/v15/arrow/decimal128"
)

// GroupRows is how many rows a Group has at most: all but the last of a file
// have exactly so many. It is part of what makes files identical.
const GroupRows = 1 << 17

// MoneyPlaces is the scale of Money: nano-units of a currency.
const MoneyPlaces = 9

// Kind says what a column holds, and in which field of a Vector.
type Kind int

// The kinds of columns.
const (
	// ID is a 64-bit id, in IDs.
	ID Kind = iota
	// Count is an integer, in Ints.
	Count
	// Day is a date, its number since 1970 in Ints.
	Day
	// Moment is an instant, its microseconds since 1970 UTC in Ints.
	Moment
	// Text is a text, in Dict and Codes.
	Text
	// Money is exact, its nano-units in Wide.
	Money
)

// Column is one column of a file.
type Column struct {
	Name string
	Kind Kind
}

// Int128 is a signed 128-bit integer.
type Int128 = decimal128.Num

// Vector holds one column of a Group.
type Vector struct {
	IDs  []uint64
	Ints []int64
	Wide []Int128
	// Codes are places in Dict. Dict has no value twice, and every value occurs.
	Codes []int32
	Dict  []string

	places map[string]int32
}

// Group is some rows of a file, a vector per column.
type Group struct {
	Rows    int
	Vectors []Vector
}

// NewGroup returns an empty group with room for GroupRows rows.
func NewGroup(columns []Column) *Group {
	g := &Group{Vectors: make([]Vector, len(columns))}
	for i, c := range columns {
		v := &g.Vectors[i]
		switch c.Kind {
		case ID:
			v.IDs = make([]uint64, 0, GroupRows)
		case Count, Day, Moment:
			v.Ints = make([]int64, 0, GroupRows)
		case Money:
			v.Wide = make([]Int128, 0, GroupRows)
		case Text:
			v.Codes = make([]int32, 0, GroupRows)
			v.places = make(map[string]int32)
		}
	}
	return g
}

// Reset empties the group and keeps its memory.
func (g *Group) Reset() {
	g.Rows = 0
	for i := range g.Vectors {
		v := &g.Vectors[i]
		v.IDs, v.Ints, v.Wide, v.Codes = v.IDs[:0], v.Ints[:0], v.Wide[:0], v.Codes[:0]
		v.Dict = v.Dict[:0]
		clear(v.places)
	}
}

// AppendText adds texts that are given as places in a dictionary of their own.
// The dictionary may hold values that do not occur.
func (v *Vector) AppendText(dict []string, index []int32) {
	const unknown = -1
	own := make([]int32, len(dict))
	for i := range own {
		own[i] = unknown
	}
	for _, place := range index {
		code := own[place]
		if code == unknown {
			code = v.code(dict[place])
			own[place] = code
		}
		v.Codes = append(v.Codes, code)
	}
}

// code returns the place of a text, which is the next one for a new text.
func (v *Vector) code(text string) int32 {
	code, ok := v.places[text]
	if !ok {
		code = int32(len(v.Dict))
		v.Dict = append(v.Dict, text)
		v.places[text] = code
	}
	return code
}
