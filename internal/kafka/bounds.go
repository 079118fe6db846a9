package kafka

import (
	"context"
	"errors"
	"fmt"

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
