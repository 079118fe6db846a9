package export

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// benchAnswer is like a year of an advertiser by day and campaign.
func benchAnswer(rows int) (*Shape, []*Batch, *Batch) {
	shape := &Shape{Zone: time.UTC, Columns: []Column{
		{Name: "day", Type: Date, Key: true},
		{Name: "campaign", Type: ID, Key: true},
		{Name: "country", Type: String, Key: true},
		{Name: "impressions", Type: Integer},
		{Name: "clicks", Type: Integer},
		{Name: "spend", Type: Decimal, Places: MoneyPlaces},
		{Name: "ctr", Type: Decimal, Places: RatePlaces},
		{Name: "finality", Type: String, Key: true},
	}}
	make1 := func(n, from int) *Batch {
		b := &Batch{Rows: n, Vectors: make([]Vector, len(shape.Columns))}
		v := b.Vectors
		v[2].Dict, v[7].Dict = []string{"US", "CA", "DE", "IN"}, []string{"final"}
		for i := from; i < from+n; i++ {
			v[0].Ints = append(v[0].Ints, int64(20000+i/500))
			v[1].IDs = append(v[1].IDs, uint64(1_000_000+i%500))
			v[2].Index = append(v[2].Index, int32(i%4))
			v[3].Ints = append(v[3].Ints, int64(i*7919%100_000))
			v[4].Ints = append(v[4].Ints, int64(i*31%1000))
			v[5].Decimals = append(v[5].Decimals, NumberOf(int64(i)*1_234_567_891%9_000_000_000_000))
			v[6].Decimals = append(v[6].Decimals, NumberOf(int64(i*7%20_000)))
		}
		return b
	}
	var batches []*Batch
	for at := 0; at < rows; at += 65536 {
		batches = append(batches, make1(min(65536, rows-at), at))
	}
	return shape, batches, make1(1, 0)
}

func BenchmarkWrite(b *testing.B) {
	const rows = 450_000
	shape, batches, totals := benchAnswer(rows)
	for _, format := range Formats {
		b.Run(fmt.Sprintf("%s/rows=%d", Extension(format)[1:], rows), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w, err := New(format, io.Discard, shape)
				if err != nil {
					b.Fatal(err)
				}
				for _, batch := range batches {
					if err := w.Batch(batch); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(totals, &shape.Meta); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
