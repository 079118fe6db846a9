package export

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/adtally/adtally/proto"
)

func TestCSVGuard(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := string(AppendCSVText(nil, text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("US", "US")
	f("a,b", `"a,b"`)
	f(`say "a"`, `"say ""a"""`)
	f("a\r\nb", "\"a\r\nb\"")
	f(" a", `" a"`)
	f(`=cmd|'/C calc'!A0`, `'=cmd|'/C calc'!A0`)
	f("+1", "'+1")
	f("-1+1", "'-1+1")
	f("@SUM(1,2)", `"'@SUM(1,2)"`)
	f("\t=1", "'\t=1")
	f("\r=1", "\"'\r=1\"")
	f("\x00=1", "'\x00=1")
	f(" =1", "' =1")
	f("＝1", "'＝1")
	f("＋1", "'＋1")
	f("\u3000＝1", "'\u3000＝1")
	f("\ufeff=1", "'\ufeff=1")
	f("\u200b=1", "'\u200b=1")
	f("a=1", "a=1")
}

func FuzzCSVText(f *testing.F) {
	for _, seed := range []string{"a", "=1", "\r", "a\nb", `"`, " x ", "\ufeff=1", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := string(AppendCSVText(AppendCSVText(nil, text), "")) + ",end\r\n"
		reader := csv.NewReader(strings.NewReader(line))
		record, err := reader.Read()
		if err != nil {
			t.Fatalf("%q is no CSV: %v", line, err)
		}
		want := strings.ReplaceAll(text, "\r\n", "\n") // csv.Reader reads these as \n
		if got := record[0]; got != want && got != "'"+want {
			t.Fatalf("%q comes back as %q", text, got)
		}
		if first := record[0]; first != "" && strings.ContainsAny(first[:1], "=+-@\t\r\x00") {
			t.Fatalf("%q begins a formula", first)
		}
	})
}

func FuzzJSONString(f *testing.F) {
	for _, seed := range []string{"", `"\`, "\x00\x1f", "\xff", "é漢😀", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		if err := json.Unmarshal(AppendJSONString(nil, text), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); strings.ToValidUTF8(got, "") != got || len([]rune(got)) < len([]rune(want)) {
			t.Fatalf("%q comes back as %q", text, got)
		}
	})
}

func trimZeros(decimal string) string {
	decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	if decimal == "-0" {
		return "0"
	}
	return decimal
}

func randomBig(rnd *rand.Rand) *big.Int {
	n := new(big.Int).SetUint64(rnd.Uint64())
	n.Lsh(n, uint(rnd.IntN(60)))
	n.Rsh(n, uint(rnd.IntN(126)))
	if rnd.IntN(2) == 0 {
		n.Neg(n)
	}
	return n
}

func TestDecimalIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		n := randomBig(rnd)
		got := string(AppendDecimal(nil, NumberOfBig(n), MoneyPlaces))
		want := trimZeros(new(big.Rat).SetFrac(n, big.NewInt(proto.NanosPerUnit)).FloatString(9))
		if got != want {
			t.Fatalf("%s nanos: %s, want %s", n, got, want)
		}
		if n.IsInt64() && got != proto.FormatNanos(n.Int64()) {
			t.Fatalf("%s nanos: %s, FormatNanos says %s", n, got, proto.FormatNanos(n.Int64()))
		}
	}
}

// The digits are those of strconv, for every length.
func TestAppendUint(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	f := func(n uint64) {
		t.Helper()
		if got, want := string(appendUint([]byte("x"), n)), "x"+strconv.FormatUint(n, 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(math.MaxUint64)
	for _, power := range powers {
		f(power)
		f(power - 1)
	}
	for range 20_000 {
		f(rnd.Uint64() >> rnd.IntN(64))
	}
	shape := &Shape{Columns: []Column{{Name: "clicks", Type: Integer}}}
	cells := jsonCells.columns(nil, shape, &Batch{Rows: 2, Vectors: []Vector{{Ints: []int64{math.MinInt64, -7}}}})
	if got := string(cells[0].append(cells[0].append(nil, 0), 1)); got != "-9223372036854775808-7" {
		t.Errorf("below zero: %s", got)
	}
}
