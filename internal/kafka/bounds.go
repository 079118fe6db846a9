package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds are the offsets [First, End) that a partition's log holds.
type Bounds struct{ First, End int64 }

// LogBounds asks the brokers what each partition of the topic holds.
func LogBounds(ctx context.Context, client *kgo.Client, topic string) (map[int32]Bounds, error) {
	adm := kadm.NewClient(client)
	first, err := adm.ListStartOffsets(ctx, topic)
	if err := errors.Join(err, first.Error()); err != nil {
		return nil, fmt.Errorf("list log starts: %w", err)
	}
	end, err := adm.ListEndOffsets(ctx, topic)
	if err := errors.Join(err, end.Error()); err != nil {
		return nil, fmt.Errorf("list log ends: %w", err)
	}
	bounds := make(map[int32]Bounds)
	for id, o := range first[topic] {
		if e, ok := end.Lookup(topic, id); ok {
			bounds[id] = Bounds{First: o.Offset, End: e.Offset}
		}
	}
	return bounds, nil
}

// OffsetsAfter asks the brokers for the first offset of each partition that was
// appended at or after a time. A partition without one has its end there.
func OffsetsAfter(ctx context.Context, client *kgo.Client, topic string, at time.Time) (kadm.ListedOffsets, error) {
	offsets, err := kadm.NewClient(client).ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
	if err := errors.Join(err, offsets.Error()); err != nil {
		return nil, fmt.Errorf("list offsets by time: %w", err)
	}
	return offsets, nil
}
