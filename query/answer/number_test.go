package answer

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/adtally/adtally/query/export"
)

func trimZeros(decimal string) string {
	decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	if decimal == "-0" {
		return "0"
	}
	return decimal
}

func shown(n export.Number) string { return string(export.AppendDecimal(nil, n, export.RatePlaces)) }

func TestQuotientRoundsHalfAwayFromZero(t *testing.T) {
	f := func(num, den int64, want string) {
		t.Helper()
		if got := shown(quotient(export.NumberOf(num), rateScale, den, 1)); got != want {
			t.Errorf("%d/%d = %s, want %s", num, den, got, want)
		}
	}
	f(0, 3, "0")
	f(1, 1, "1")
	f(1, 3, "0.333333")
	f(2, 3, "0.666667")
	f(-2, 3, "-0.666667")
	f(2, -3, "-0.666667")
	f(-2, -3, "0.666667")
	f(1, 2_000_000, "0.000001")
	f(-1, 2_000_000, "-0.000001")
	f(1, 2_000_001, "0")
	f(-1, 3_000_000, "0")
	f(999_999_5, 10_000_000, "1")
	f(120, 10_000, "0.012")
	f(1, -1<<63, "0")

	rnd := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		num := new(big.Int).Rsh(new(big.Int).Lsh(new(big.Int).SetUint64(rnd.Uint64()), uint(rnd.IntN(40))), uint(rnd.IntN(100)))
		den := int64(rnd.Uint64()) >> rnd.IntN(63)
		if den == 0 {
			continue
		}
		if rnd.IntN(2) == 0 {
			num.Neg(num)
		}
		for _, by := range []int64{1, pricePer} {
			if by > 1 && num.BitLen() > 100 {
				continue
			}
			got := shown(quotient(export.NumberOfBig(num), 1000, den, uint64(by)))
			// big.Rat rounds half away from zero, too.
			exact := new(big.Rat).SetFrac(new(big.Int).Mul(num, big.NewInt(1000)), new(big.Int).Mul(big.NewInt(den), big.NewInt(by*rateScale)))
			if want := trimZeros(exact.FloatString(export.RatePlaces)); got != want {
				t.Fatalf("%s*1000/(%d*%d) = %s, want %s", num, den, by, got, want)
			}
		}
	}
}
