package query

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/adtally/adtally/proto"
)

func trimZeros(decimal string) string {
	decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	if decimal == "-0" {
		return "0"
	}
	return decimal
}

func randomBig(rnd *rand.Rand) *big.Int {
	n := new(big.Int).SetUint64(rnd.Uint64())
	n.Lsh(n, uint(rnd.IntN(62)))
	n.Rsh(n, uint(rnd.IntN(126)))
	if rnd.IntN(2) == 0 {
		n.Neg(n)
	}
	return n
}

func TestAppendNanosIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		n := randomBig(rnd)
		got := string(appendNanos(nil, n))
		want := trimZeros(new(big.Rat).SetFrac(n, bigNanos).FloatString(9))
		if got != want {
			t.Fatalf("%s nanos: %s, want %s", n, got, want)
		}
		if n.IsInt64() && got != proto.FormatNanos(n.Int64()) {
			t.Fatalf("%s nanos: %s, FormatNanos says %s", n, got, proto.FormatNanos(n.Int64()))
		}
	}
}

func TestAppendQuotientRoundsHalfAwayFromZero(t *testing.T) {
	f := func(num, den int64, want string) {
		t.Helper()
		if got := string(appendQuotient(nil, big.NewInt(num), big.NewInt(den))); got != want {
			t.Errorf("%d/%d = %s, want %s", num, den, got, want)
		}
	}
	f(0, 3, "0")
	f(1, 1, "1")
	f(1, 3, "0.333333")
	f(2, 3, "0.666667")
	f(-2, 3, "-0.666667")
	f(1, 2_000_000, "0.000001")
	f(-1, 2_000_000, "-0.000001")
	f(1, 2_000_001, "0")
	f(-1, 3_000_000, "0")
	f(999_999_5, 10_000_000, "1")
	f(120, 10_000, "0.012")

	rnd := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		num, den := randomBig(rnd), randomBig(rnd)
		if den.Sign() == 0 {
			continue
		}
		got := string(appendQuotient(nil, num, den))
		// big.Rat rounds half away from zero, too.
		want := trimZeros(new(big.Rat).SetFrac(num, den).FloatString(decimalPlaces))
		if got != want {
			t.Fatalf("%s/%s = %s, want %s", num, den, got, want)
		}
	}
}
