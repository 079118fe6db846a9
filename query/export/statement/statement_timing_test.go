package statement

import (
	"io"
	"math/rand/v2"
	"testing"
)

// sampleGroup is rows like those of a statement: sorted ids with their children,
// texts with few values, small counts.
func sampleGroup(rows int, seed uint64) (columns []Column, g *Group) {
	columns = []Column{
		{"day", Day},
		{"advertiser", ID},
		{"campaign", ID},
		{"creative", ID},
		{"country", Text},
		{"device", Text},
		{"currency", Text},
		{"net", Count},
		{"gross", Count},
		{"spend", Money},
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	g = NewGroup(columns)
	countries := []string{"US", "DE", "FR", "GB", "IN", "NP", "AU", "BR", "", "=cmd"}
	for i := range rows {
		advertiser := uint64(i / 1000)
		g.Vectors[0].Ints = append(g.Vectors[0].Ints, 20_777)
		g.Vectors[1].IDs = append(g.Vectors[1].IDs, advertiser)
		g.Vectors[2].IDs = append(g.Vectors[2].IDs, advertiser*100+rng.Uint64N(20))
		g.Vectors[3].IDs = append(g.Vectors[3].IDs, rng.Uint64())
		g.Vectors[4].AppendText(countries, []int32{rng.Int32N(int32(len(countries)))})
		g.Vectors[5].AppendText([]string{"mobile", "desktop"}, []int32{rng.Int32N(2)})
		g.Vectors[6].AppendText([]string{"USD"}, []int32{0})
		net := rng.Int64N(40)
		g.Vectors[7].Ints = append(g.Vectors[7].Ints, net)
		g.Vectors[8].Ints = append(g.Vectors[8].Ints, net+rng.Int64N(3))
		g.Vectors[9].Wide = append(g.Vectors[9].Wide, wide(net*2_500_000-50))
		g.Rows++
	}
	return columns, g
}

func BenchmarkWriter(b *testing.B) {
	for _, format := range Formats {
		b.Run(string(format), func(b *testing.B) {
			columns, g := sampleGroup(GroupRows, 1)
			w, err := NewWriter(format, io.Discard, columns, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(g); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/GroupRows, "ns/row")
		})
	}
}
