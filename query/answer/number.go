package answer

import (
	"math/big"
	"math/bits"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/export"
)

// rateScale is 10 to the places at which rates and prices are rounded, half away
// from zero.
const rateScale = 1_000_000

// pricePer is what a price's denominator is multiplied by: nano-units become
// units with as many places as rates have.
const pricePer = proto.NanosPerUnit / rateScale

func toNumbers(wide []clickhouse.Int128) []export.Number {
	numbers := make([]export.Number, len(wide))
	for i, w := range wide {
		numbers[i] = export.NewNumber(int64(w.High), w.Low)
	}
	return numbers
}

// rates divides counts by counts.
func rates(of, per []int64) export.Vector {
	v := export.Vector{Decimals: make([]export.Number, len(of))}
	for i := range of {
		if per[i] == 0 {
			v.SetNull(i, len(of))
			continue
		}
		v.Decimals[i] = quotient(export.NumberOf(of[i]), rateScale, per[i], 1)
	}
	return v
}

// prices divides nano-units by counts.
func prices(spend []export.Number, factor int64, per []int64, mixed []bool) export.Vector {
	v := export.Vector{Decimals: make([]export.Number, len(spend))}
	for i := range spend {
		if per[i] == 0 || mixed != nil && mixed[i] {
			v.SetNull(i, len(spend))
			continue
		}
		v.Decimals[i] = quotient(spend[i], uint64(factor), per[i], pricePer)
	}
	return v
}

// quotient returns n·times / (den·by), rounded half away from zero. den is not
// zero.
func quotient(n export.Number, times uint64, den int64, by uint64) export.Number {
	negative := (n.Sign() < 0) != (den < 0)
	abs := n.Abs()
	high := abs.HighBits()
	numHigh, numLow := bits.Mul64(abs.LowBits(), times)
	dhigh, d := bits.Mul64(magnitude(den), by)
	if high != 0 || dhigh != 0 || numHigh >= d {
		return bigQuotient(n, times, den, by)
	}
	q, rest := bits.Div64(numHigh, numLow, d)
	result := export.NewNumber(0, q)
	if rest >= d-rest {
		result = result.Add(export.NewNumber(0, 1))
	}
	if negative {
		return result.Negate()
	}
	return result
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// bigQuotient is quotient for what does not fit.
func bigQuotient(n export.Number, times uint64, den int64, by uint64) export.Number {
	num, d := n.BigInt(), big.NewInt(den)
	num.Mul(num, new(big.Int).SetUint64(times))
	d.Mul(d, new(big.Int).SetUint64(by))
	negative := num.Sign()*d.Sign() < 0
	// Half away from zero: |q| = floor((2|n| + |d|) / 2|d|).
	num.Abs(num).Lsh(num, 1)
	d.Abs(d)
	num.Add(num, d)
	num.Quo(num, d.Lsh(d, 1))
	if negative {
		num.Neg(num)
	}
	return export.NumberOfBig(num)
}
