package closing

import (
	"context"
	"fmt"
	"time"

	"github.com/adtally/adtally/internal/books"
)

// Waiting says why a day is not closed yet.
type Waiting struct {
	Timezone, Day string
	// Ends is the end of the day, Needed how far the books must be complete.
	Ends, Needed time.Time
	// Counted is how far the ledger is complete, zero if some partition has
	// nothing; Cut how far the newest cut is.
	Counted, Cut time.Time
	// Topic and Partition hold the ledger back; LAT is the broker time reached
	// there, zero for none.
	Topic     string
	Partition int32
	LAT       time.Time
}

// String tells it to people.
func (w *Waiting) String() string {
	const layout = time.RFC3339
	text := fmt.Sprintf("%s in %s ends at %s and closes when everything that arrived up to %s is counted",
		w.Day, w.Timezone, w.Ends.Format(layout), w.Needed.Format(layout))
	switch {
	case w.Topic == "":
		return text + "; nothing is counted yet"
	case w.LAT.IsZero():
		return text + fmt.Sprintf("; partition %d of %s has no batch yet", w.Partition, w.Topic)
	case w.Counted.Before(w.Needed):
		return text + fmt.Sprintf("; partition %d of %s is counted up to %s, %s before that",
			w.Partition, w.Topic, w.LAT.Format(layout), w.Needed.Sub(w.Counted).Round(time.Second))
	default:
		return text + fmt.Sprintf("; it is counted, but the newest cut is of %s: wait for the compactor", w.Cut.Format(layout))
	}
}

func (b *beginning) waiting(ctx context.Context, zone string, day int64, ends time.Time) (*Waiting, error) {
	view, err := b.reader.Now(ctx)
	if err != nil {
		return nil, err
	}
	w := &Waiting{
		Timezone: zone, Day: DateOf(day).Format(time.DateOnly), Ends: ends, Needed: ends.Add(b.cfg.Lateness),
		Counted: view.Reached(), Cut: b.cut.CompleteThrough.UTC(), Topic: view.Topic.Name,
	}
	w.Partition, w.LAT = slowest(view)
	return w, nil
}

// slowest returns the partition that is least far.
func slowest(view *books.View) (partition int32, lat time.Time) {
	known := map[int32]time.Time{}
	for _, p := range view.To {
		if p.Topic == view.Topic.ID && p.Lineage == view.Topic.Lineage {
			known[p.Partition] = p.LAT
		}
	}
	for p := range int32(view.Topic.Partitions) {
		at, ok := known[p]
		if !ok {
			return p, time.Time{}
		}
		if lat.IsZero() || at.Before(lat) {
			partition, lat = p, at
		}
	}
	return partition, lat
}
