package query

import (
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
)

// position is how far one partition of the topic is counted.
type position struct {
	Partition int32     `json:"partition"`
	Position  uint64    `json:"position"`
	LAT       time.Time `json:"lat"`
}

// logPositions is how far the log is counted.
type logPositions struct {
	Topic string `json:"topic"`
	// Waiting lists the partitions that have no position.
	Waiting    []int32    `json:"waiting"`
	Partitions []position `json:"partitions"`
}

// freshness is how far the books are counted.
type freshness struct {
	// AsOf names the newest version of the books, Cut is the last cut in it.
	AsOf string `json:"as_of"`
	Cut  uint64 `json:"cut,string"`
	// CompleteThrough is nil while some partition has no position.
	CompleteThrough *time.Time `json:"complete_through"`
	// The log itself is shown to keys with the scope admin: its offsets say how
	// much traffic all tenants have.
	*logPositions
	// Closed says how far the zones of the key's advertisers are closed.
	Closed []closedZone `json:"closed"`
}

func newFreshness(v *books.View, skew time.Duration, grant access.Grant) *freshness {
	f := &freshness{AsOf: v.Name, Cut: v.Cut}
	if through := books.CompleteThrough(v.Reached(), skew); !through.IsZero() {
		f.CompleteThrough = &through
	}
	if grant.Allows(access.ScopeAdmin) {
		f.logPositions = newLogPositions(v)
	}
	return f
}

func newLogPositions(v *books.View) *logPositions {
	p := &logPositions{Topic: v.Topic.Name, Waiting: []int32{}, Partitions: []position{}}
	known := make([]bool, v.Topic.Partitions)
	for _, at := range v.To {
		if at.Topic == v.Topic.ID && at.Lineage == v.Topic.Lineage {
			p.Partitions = append(p.Partitions, position{at.Partition, at.Next, at.LAT})
			known[at.Partition] = true
		}
	}
	for i, ok := range known {
		if !ok {
			p.Waiting = append(p.Waiting, int32(i))
		}
	}
	return p
}
