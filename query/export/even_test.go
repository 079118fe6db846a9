package export

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// However the rows come in blocks, and in whatever order the blocks list their
// texts, a file is the same bytes.
func TestEvenBatches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const rows = 2*evenRows + 777
	texts := []string{"", "US", "DE", "ünïcode", "=1+1"}
	countries, campaigns := make([]int, rows), make([]uint64, rows)
	for i := range countries {
		countries[i], campaigns[i] = rnd.IntN(len(texts)), rnd.Uint64()
	}
	block := func(from, to int) *Batch {
		order := rnd.Perm(len(texts))
		dict, place := make([]string, len(texts)), make([]int32, len(texts))
		for at, text := range order {
			dict[at], place[text] = texts[text], int32(at)
		}
		n := to - from
		b := &Batch{Rows: n, Vectors: []Vector{
			{Ints: make([]int64, n)},
			{IDs: campaigns[from:to]},
			{Dict: dict, Index: make([]int32, n)},
			{Decimals: make([]Number, n)},
			{Dict: []string{"provisional"}},
		}}
		for i := range n {
			b.Vectors[0].Ints[i] = int64(from + i)
			b.Vectors[2].Index[i] = place[countries[from+i]]
			b.Vectors[3].Decimals[i] = NumberOf(int64(countries[from+i]))
			if (from+i)%(evenRows+5) == 7 {
				b.Vectors[3].SetNull(i, n)
			}
		}
		return b
	}
	shape := &Shape{Columns: []Column{
		{Name: "impressions", Type: Integer},
		{Name: "campaign", Type: ID, Key: true},
		{Name: "country", Type: String, Key: true},
		{Name: "spend", Type: Decimal, Places: MoneyPlaces},
		{Name: "finality", Type: String, Key: true},
	}}
	write := func(format string, most int) []byte {
		t.Helper()
		var file bytes.Buffer
		w, err := New(format, &file, shape)
		for from := 0; err == nil && from < rows; {
			to := min(rows, from+most)
			if most < 0 {
				to = min(rows, from+1+rnd.IntN(-most))
			}
			err, from = w.Batch(block(from, to)), to
		}
		if err == nil {
			err = w.Close(block(0, 1), &Meta{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	for _, format := range Formats {
		want := write(format, evenRows)
		for _, most := range []int{rows, evenRows - 1, -100_000} {
			if got := write(format, most); !bytes.Equal(got, want) {
				t.Errorf("%s in blocks of %d rows: %d bytes differ from %d", format, most, len(got), len(want))
			}
		}
	}
}
