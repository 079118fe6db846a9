package query

import (
	"bytes"
	"math/big"

	"github.com/adtally/adtally/proto"
)

// decimalPlaces is where rates and prices are rounded, half away from zero.
// Sums of money are not rounded at all. Trailing zeros are left out.
const decimalPlaces = 6

var (
	bigNanos = big.NewInt(proto.NanosPerUnit)
	bigScale = big.NewInt(1_000_000) // 10^decimalPlaces
)

// appendNanos writes nano-units as a decimal of whole units, exactly.
func appendNanos(dst []byte, nanos *big.Int) []byte {
	if nanos.IsInt64() {
		return append(dst, proto.FormatNanos(nanos.Int64())...)
	}
	return appendScaled(dst, nanos, 9)
}

// appendQuotient writes num/den rounded to decimalPlaces. den is not zero.
func appendQuotient(dst []byte, num, den *big.Int) []byte {
	var n, d, q big.Int
	n.Mul(num, bigScale)
	// Half away from zero: |q| = floor((2|n| + |d|) / 2|d|).
	n.Abs(&n).Lsh(&n, 1)
	d.Abs(den)
	n.Add(&n, &d)
	d.Lsh(&d, 1)
	q.Quo(&n, &d)
	if num.Sign()*den.Sign() < 0 {
		q.Neg(&q)
	}
	return appendScaled(dst, &q, decimalPlaces)
}

// appendScaled writes n / 10^places.
func appendScaled(dst []byte, n *big.Int, places int) []byte {
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
