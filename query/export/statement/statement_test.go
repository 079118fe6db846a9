package statement

import (
	"bytes"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow/decimal128"

	"github.com/adtally/adtally/internal/clickhouse"
)

func wide(n int64) Int128 { return decimal128.FromI64(n) }

func write(t *testing.T, format Format, columns []Column, groups ...*Group) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(format, &out, columns, []Pair{{"adtally.day", "2026-11-20"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if err := w.Write(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestForeignReaders lets pyarrow and DuckDB read what is written here.
func TestForeignReaders(t *testing.T) {
	python, err := exec.Command("../../../scripts/readers.sh").Output()
	if err != nil {
		t.Fatalf("readers: %v", err)
	}
	columns, first := sampleGroup(GroupRows, 1)
	_, second := sampleGroup(10_000, 2)
	second.Vectors[9].Wide[7] = decimal128.New(1<<40, 5) // one that needs 128 bits
	dir := t.TempDir()
	args := []string{"testdata/readers.py"}
	for _, format := range Formats {
		path := filepath.Join(dir, "statement."+format.Extension())
		if err := os.WriteFile(path, write(t, format, columns, first, second), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	text, err := exec.Command(strings.TrimSpace(string(python)), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	type seen struct {
		Rows       int
		Net, Spend string
		Countries  []string
	}
	var got struct {
		Types          map[string]string
		Parquet, Arrow seen
		Same           bool
		Duckdb, CSV    []string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	net, spend, ids := int64(0), new(big.Int), new(big.Int)
	for _, g := range []*Group{first, second} {
		for row := range g.Rows {
			net += g.Vectors[7].Ints[row]
			spend.Add(spend, g.Vectors[9].Wide[row].BigInt())
			ids.Add(ids, new(big.Int).SetUint64(g.Vectors[3].IDs[row]))
		}
	}
	money := decimal128.FromBigInt(spend).ToString(MoneyPlaces)
	want := []string{strconv.Itoa(GroupRows + 10_000), strconv.FormatInt(net, 10), money}
	for name, list := range map[string][]string{
		"duckdb": got.Duckdb[:3], "csv": got.CSV,
		"parquet": {strconv.Itoa(got.Parquet.Rows), got.Parquet.Net, got.Parquet.Spend},
		"arrow":   {strconv.Itoa(got.Arrow.Rows), got.Arrow.Net, got.Arrow.Spend},
	} {
		if !slices.Equal(list, want) {
			t.Errorf("%s saw %v, want %v", name, list, want)
		}
	}
	if !got.Same || got.Duckdb[4] != ids.String() {
		t.Errorf("Parquet and Arrow same: %v, ids add up to %s, want %s", got.Same, got.Duckdb[4], ids)
	}
	if got.Types["spend"] != "decimal128(38, 9)" || got.Types["advertiser"] != "uint64" || got.Types["day"] != "date32[day]" {
		t.Errorf("types %v", got.Types)
	}
}

// TestReadBack reads with our own readers, that verification uses.
func TestReadBack(t *testing.T) {
	columns, g := sampleGroup(3000, 3)
	wanted := []Column{{"creative", ID}, {"country", Text}, {"net", Count}, {"spend", Money}}
	for _, format := range Formats {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, write(t, format, columns, g), 0o600); err != nil {
			t.Fatal(err)
		}
		row := 0
		err := Read(format, path, wanted, func(c Cells) error {
			country := g.Vectors[4].Dict[g.Vectors[4].Codes[row]]
			if format == CSV && strings.HasPrefix(country, "=") {
				country = "'" + country // no spreadsheet runs it
			}
			if c.ID(0) != g.Vectors[3].IDs[row] || c.Text(1) != country || c.Count(2) != g.Vectors[7].Ints[row] ||
				c.Money(3).Cmp(g.Vectors[9].Wide[row].BigInt()) != 0 {
				t.Fatalf("%s: row %d is %d %q %d %s", format, row, c.ID(0), c.Text(1), c.Count(2), c.Money(3))
			}
			row++
			return nil
		})
		if err != nil || row != g.Rows {
			t.Errorf("%s: read %d of %d rows: %v", format, row, g.Rows, err)
		}
	}
}

// TestBlocksDoNotShow cuts the same rows into other blocks with other dictionaries.
func TestBlocksDoNotShow(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	texts := make([]string, 300)
	for i := range texts {
		texts[i] = "t" + strconv.Itoa(i)
	}
	rows := make([]int32, 5000)
	for i := range rows {
		rows[i] = rng.Int32N(300)
	}
	columns := []Column{{"text", Text}}
	var first []byte
	for round := range 5 {
		g := NewGroup(columns)
		for from := 0; from < len(rows); {
			to := min(len(rows), from+1+rng.IntN(1000))
			shuffled := rng.Perm(len(texts)) // as another block's dictionary would be
			dict, places := make([]string, len(texts)), make([]int32, len(texts))
			for i, at := range shuffled {
				dict[at], places[i] = texts[i], int32(at)
			}
			index := make([]int32, to-from)
			for i := range index {
				index[i] = places[rows[from+i]]
			}
			g.Vectors[0].AppendText(dict, index)
			g.Rows += to - from
			from = to
		}
		for _, format := range Formats {
			first = sameAsFirst(t, first, write(t, format, columns, g), round == 0, format)
		}
	}
}

// sameAsFirst collects what the first round wrote and compares later rounds.
func sameAsFirst(t *testing.T, first, text []byte, collect bool, format Format) []byte {
	t.Helper()
	if collect {
		return append(first, text...)
	}
	if !bytes.Contains(first, text) {
		t.Errorf("%s: the same rows gave other bytes", format)
	}
	return first
}

// TestCodes reads runs and packed groups back, for every width and shape of runs.
func TestCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 500 {
		distinct := 1 + rng.IntN(1<<rng.IntN(17))
		var codes []int32
		for len(codes) < 3000 {
			code, run := rng.Int32N(int32(distinct)), 1
			if rng.IntN(3) == 0 {
				run += rng.IntN(40)
			}
			for range run {
				codes = append(codes, code)
			}
		}
		codes = codes[:rng.IntN(len(codes))]
		if got := readCodes(appendCodes(nil, codes, distinct), len(codes)); !slices.Equal(got, codes) {
			t.Fatalf("%d codes of %d values are not read back", len(codes), distinct)
		}
	}
}

// readCodes is Parquet's RLE/bit-packing hybrid after its specification.
func readCodes(text []byte, n int) []int32 {
	width := int(text[0])
	text = text[1:]
	codes := []int32{}
	for len(codes) < n {
		head, shift := uint64(0), 0
		for more := true; more; shift += 7 {
			head |= uint64(text[0]&0x7f) << shift
			more = text[0]&0x80 != 0
			text = text[1:]
		}
		if head&1 == 0 {
			value := int32(0)
			for b := range (width + 7) / 8 {
				value |= int32(text[b]) << (8 * b)
			}
			text = text[(width+7)/8:]
			for range head >> 1 {
				codes = append(codes, value)
			}
			continue
		}
		for i := range int(head>>1) * 8 {
			value := int32(0)
			for b := range width {
				bit := i*width + b
				value |= int32(text[bit/8]>>(bit%8)&1) << b
			}
			codes = append(codes, value)
		}
		text = text[int(head>>1)*width:]
	}
	return codes[:n]
}

func TestInt128Layout(t *testing.T) {
	from := []clickhouse.Int128{{Low: 7, High: 9}}
	to := asInt128(from)
	if unsafe.Sizeof(from[0]) != unsafe.Sizeof(to[0]) || to[0].LowBits() != 7 || to[0].HighBits() != 9 {
		t.Errorf("%+v is read as %d, %d", from[0], to[0].LowBits(), to[0].HighBits())
	}
}

func TestParseMoney(t *testing.T) {
	good := func(text, nanos string) {
		t.Helper()
		if n, ok := ParseMoney(text); !ok || n.String() != nanos {
			t.Errorf("%q is read as %s, %v", text, n, ok)
		}
	}
	good("1.25", "1250000000")
	good("-0.000000001", "-1")
	good("0", "0")
	good("12345678901234567890.5", "12345678901234567890500000000")
	for _, text := range []string{"", "-", ".5", "5.", "1e3", "1,5", "1.0000000001", "0x1", "1.2.3", "--1"} {
		if n, ok := ParseMoney(text); ok {
			t.Errorf("%q is read as %s", text, n)
		}
	}
}

// TestTextsAreBounded keeps a text of any size from becoming a statistic.
func TestTextsAreBounded(t *testing.T) {
	columns := []Column{{"text", Text}}
	g := NewGroup(columns)
	g.Vectors[0].AppendText([]string{strings.Repeat("x", 100_000)}, []int32{0})
	g.Rows = 1
	if n := len(write(t, Parquet, columns, g)); n > 10_000 {
		t.Errorf("a file of one compressible text has %d bytes", n)
	}
}
