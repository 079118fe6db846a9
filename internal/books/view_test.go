package books

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

func FuzzTilesHaveOneSpelling(f *testing.F) {
	topics := []Topic{
		{ID: uuid.UUID{1}, Lineage: 1, Partitions: 3},
		{ID: uuid.UUID{2}, Lineage: 1, Partitions: 200},
	}
	tail := func(tiles map[log][]uint64) *Tail {
		t := &Tail{Tiles: map[PartitionID]uint64{}}
		for l, counts := range tiles {
			for p, n := range counts {
				t.Tiles[PartitionID{l, int32(p)}] = n
			}
		}
		return t
	}
	f.Add(encodeTiles(topics, tail(map[log][]uint64{topics[0].log(): {1, 1, 300}, topics[1].log(): make([]uint64, 200)})))
	f.Add(encodeTiles(topics, tail(map[log][]uint64{topics[0].log(): {0, 7, 0}, topics[1].log(): {199: 1 << 40}})))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		tiles, ok := parseTiles(text, topics)
		if !ok {
			return
		}
		again := encodeTiles(topics, tail(tiles))
		back, ok := parseTiles(again, topics)
		if !ok {
			t.Fatalf("%q is written %q, which cannot be read", text, again)
		}
		for i := range topics {
			l := topics[i].log()
			if len(tiles[l]) > 0 && slices.Max(tiles[l]) > 0 && !slices.Equal(tiles[l], back[l]) {
				t.Fatalf("%q has %v, but %q has %v", text, tiles[l], again, back[l])
			}
		}
	})
}
