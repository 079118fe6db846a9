package export

import (
	"bytes"
	"math/big"
	"strconv"
	"time"
)

// flushAt is how much text is collected before it is written.
const flushAt = 64 << 10

const secondsPerDay = 24 * 60 * 60

// textCells writes the cells of one column of one batch as text.
type textCells struct {
	vector *Vector
	column *Column
	zone   *time.Location
	// dict holds the column's texts as the format writes them.
	dict [][]byte
	// last and lastText keep the last moment: the next row's is often the same.
	last     int64
	lastText []byte
	// quote stands around moments, ids and decimals, null for a missing value.
	quote, null string
}

// textColumns prepares the columns of a batch. escape appends a text as the format
// writes it.
func textColumns(dst []textCells, shape *Shape, b *Batch, quote, null string, escape func(dst []byte, text string) []byte) []textCells {
	dst = dst[:0]
	for i := range b.Vectors {
		c := textCells{vector: &b.Vectors[i], column: &shape.Columns[i], zone: shape.Zone, quote: quote, null: null}
		if c.column.Type == String {
			c.dict = make([][]byte, len(c.vector.Dict))
			for j, text := range c.vector.Dict {
				c.dict[j] = escape(nil, text)
			}
		}
		dst = append(dst, c)
	}
	return dst
}

func (c *textCells) append(dst []byte, row int) []byte {
	v := c.vector
	if v.Null != nil && v.Null[row] {
		return append(dst, c.null...)
	}
	switch c.column.Type {
	case Integer:
		return strconv.AppendInt(dst, v.Ints[row], 10)
	case String:
		if v.Index == nil {
			return append(dst, c.dict[0]...)
		}
		return append(dst, c.dict[v.Index[row]]...)
	case ID:
		dst = append(dst, c.quote...)
		dst = strconv.AppendUint(dst, v.IDs[row], 10)
		return append(dst, c.quote...)
	case Decimal:
		dst = append(dst, c.quote...)
		dst = AppendDecimal(dst, v.Decimals[row], c.column.Places)
		return append(dst, c.quote...)
	default:
		if at := v.Ints[row]; c.lastText == nil || at != c.last {
			c.last = at
			c.lastText = append(c.lastText[:0], c.quote...)
			c.lastText = c.column.appendMoment(c.lastText, at, c.zone)
			c.lastText = append(c.lastText, c.quote...)
		}
		return append(dst, c.lastText...)
	}
}

func (c *Column) appendMoment(dst []byte, at int64, zone *time.Location) []byte {
	if c.Type == Timestamp {
		return time.Unix(at, 0).In(zone).AppendFormat(dst, time.RFC3339)
	}
	return time.Unix(at*secondsPerDay, 0).UTC().AppendFormat(dst, time.DateOnly)
}

var powers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// AppendDecimal writes n / 10^places without trailing zeros.
func AppendDecimal(dst []byte, n Number, places int) []byte {
	high, low := n.HighBits(), n.LowBits()
	if high < 0 && n.Negate().HighBits() == 0 {
		dst = append(dst, '-')
		high, low = 0, n.Negate().LowBits()
	}
	if high != 0 {
		return appendBig(dst, n.BigInt(), places)
	}
	unit := powers[places]
	dst = strconv.AppendUint(dst, low/unit, 10)
	fraction := low % unit
	if fraction == 0 {
		return dst
	}
	dst = append(dst, '.')
	for ; places > 0 && fraction > 0; places-- {
		unit /= 10
		dst = append(dst, '0'+byte(fraction/unit))
		fraction %= unit
	}
	return dst
}

func appendBig(dst []byte, n *big.Int, places int) []byte {
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	var abs big.Int
	digits := abs.Abs(n).Append(nil, 10)
	if short := places + 1 - len(digits); short > 0 {
		digits = append(bytes.Repeat([]byte{'0'}, short), digits...)
	}
	whole, frac := digits[:len(digits)-places], bytes.TrimRight(digits[len(digits)-places:], "0")
	dst = append(dst, whole...)
	if len(frac) == 0 {
		return dst
	}
	return append(append(dst, '.'), frac...)
}
