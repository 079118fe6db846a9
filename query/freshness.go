package query

import (
	"time"

	"github.com/adtally/adtally/internal/books"
)

// position is how far one partition of the topic is counted.
type position struct {
	Partition int32     `json:"partition"`
	Position  uint64    `json:"position"`
	LAT       time.Time `json:"lat"`
}

// freshness is how far the books are counted.
type freshness struct {
	// AsOf names the newest version of the books, Cut is the last cut in it.
	AsOf string `json:"as_of"`
	Cut  uint64 `json:"cut,string"`
	// CompleteThrough is nil while some partition has no position.
	CompleteThrough *time.Time `json:"complete_through"`
	Topic           string     `json:"topic"`
	// Waiting lists the partitions that have no position.
	Waiting    []int32    `json:"waiting"`
	Partitions []position `json:"partitions"`
	// Closed says how far the zones of the key's advertisers are closed.
	Closed []closedZone `json:"closed"`
}

func newFreshness(v *books.View, skew time.Duration) *freshness {
	f := &freshness{AsOf: v.Name, Cut: v.Cut, Topic: v.Topic.Name, Waiting: []int32{}, Partitions: []position{}}
	known := make([]bool, v.Topic.Partitions)
	for _, p := range v.To {
		if p.Topic == v.Topic.ID && p.Lineage == v.Topic.Lineage {
			f.Partitions = append(f.Partitions, position{p.Partition, p.Next, p.LAT})
			known[p.Partition] = true
		}
	}
	for i, ok := range known {
		if !ok {
			f.Waiting = append(f.Waiting, int32(i))
		}
	}
	if through := books.CompleteThrough(v.Reached(), skew); !through.IsZero() {
		f.CompleteThrough = &through
	}
	return f
}
