package export

import (
	"bytes"
	"math/big"
	"math/bits"
	"slices"
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
	// before stands in front of a cell, and missing is a cell without a value with
	// what stands in front of it.
	before, missing string
	// quoted says that moments, ids and decimals are within quotes; before ends
	// with the first.
	quoted bool
	// dict holds the column's texts as the format writes them, with before.
	dict [][]byte
	// last and lastText keep the last moment, with before: the next row's is often
	// the same.
	last     int64
	lastText []byte
}

// textFormat is how a format writes cells.
type textFormat struct {
	// before stands in front of each column's cells; nil for nothing.
	before []string
	quoted bool
	// null is a missing value.
	null string
	// escape appends a text as the format writes it.
	escape func(dst []byte, text string) []byte
}

// columns prepares the columns of a batch, in dst if that has room.
func (f *textFormat) columns(dst []textCells, shape *Shape, b *Batch) []textCells {
	dst = dst[:0]
	for i := range b.Vectors {
		c := textCells{vector: &b.Vectors[i], column: &shape.Columns[i], zone: shape.Zone}
		if f.before != nil {
			c.before = f.before[i]
		}
		c.missing = c.before + f.null
		switch c.column.Type {
		case String:
			c.dict = make([][]byte, len(c.vector.Dict))
			for j, text := range c.vector.Dict {
				c.dict[j] = f.escape([]byte(c.before), text)
			}
		case Integer:
		default:
			if c.quoted = f.quoted; c.quoted {
				c.before += `"`
			}
		}
		dst = append(dst, c)
	}
	return dst
}

func (c *textCells) append(dst []byte, row int) []byte {
	v := c.vector
	if v.Null != nil && v.Null[row] {
		return append(dst, c.missing...)
	}
	switch c.column.Type {
	case Integer:
		n := v.Ints[row]
		dst = append(dst, c.before...)
		if n < 0 {
			dst = append(dst, '-')
			n = -n
		}
		return appendUint(dst, uint64(n))
	case String:
		if v.Index == nil {
			return append(dst, c.dict[0]...)
		}
		return append(dst, c.dict[v.Index[row]]...)
	case ID:
		dst = appendUint(append(dst, c.before...), v.IDs[row])
	case Decimal:
		dst = AppendDecimal(append(dst, c.before...), v.Decimals[row], c.column.Places)
	default:
		if at := v.Ints[row]; c.lastText == nil || at != c.last {
			c.last = at
			c.lastText = append(c.lastText[:0], c.before...)
			c.lastText = c.column.appendMoment(c.lastText, at, c.zone)
		}
		dst = append(dst, c.lastText...)
	}
	if c.quoted {
		dst = append(dst, '"')
	}
	return dst
}

func (c *Column) appendMoment(dst []byte, at int64, zone *time.Location) []byte {
	if c.Type == Timestamp {
		return time.Unix(at, 0).In(zone).AppendFormat(dst, time.RFC3339)
	}
	return time.Unix(at*secondsPerDay, 0).UTC().AppendFormat(dst, time.DateOnly)
}

var powers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// pairs are the numbers of two digits.
const pairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

// appendUint writes n where it will stand, which strconv does not: it takes half
// the time (BenchmarkWrite).
func appendUint(dst []byte, n uint64) []byte {
	if n < 10 {
		return append(dst, byte('0'+n))
	}
	digits := bits.Len64(n) * 1233 >> 12 // log10(2) is about 1233/4096
	if n >= powers[digits] {
		digits++
	}
	return appendDigits(dst, n, digits)
}

// appendDigits writes the last digits of n, with zeros in front.
func appendDigits(dst []byte, n uint64, digits int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, digits)[:at+digits]
	to := dst[at:]
	for digits >= 2 {
		pair := n % 100 * 2
		n /= 100
		digits -= 2
		to[digits], to[digits+1] = pairs[pair], pairs[pair+1]
	}
	if digits == 1 {
		to[0] = byte('0' + n%10)
	}
	return dst
}

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
	var whole, fraction uint64
	switch places { // a division by a constant is a multiplication
	case MoneyPlaces:
		whole, fraction = low/1e9, low%1e9
	case RatePlaces:
		whole, fraction = low/1e6, low%1e6
	default:
		whole, fraction = low/powers[places], low%powers[places]
	}
	dst = appendUint(dst, whole)
	if fraction == 0 {
		return dst
	}
	dst = appendDigits(append(dst, '.'), fraction, places)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
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
