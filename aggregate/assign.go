package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
)

// assign decides where reading starts when partitions are given to us: at the
// positions in the ledger, less the part of the log that verdicts look back on.
// The offsets that Kafka has committed for the group are not looked at.
func (a *Aggregator) assign(ctx context.Context, fetched map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-a.started
	var ids []int32
	for id := range fetched[a.topic.Name] {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return fetched, nil
	}
	for {
		starts, positions, err := a.starts(ctx, ids)
		switch {
		case err == nil:
			return a.own(starts, positions), nil
		case errors.As(err, new(*refusal)):
			a.fail(err)
			return nil, err
		}
		a.log.Warn().Err(err).Msg("positions cannot be read yet")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// refusal is an answer after which counting would lose or double events.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// starts reads the position of each partition and finds the offset to read from.
func (a *Aggregator) starts(ctx context.Context, ids []int32) (map[int32]int64, map[int32]Position, error) {
	positions, err := a.store.Positions(ctx, a.topic, ids)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	adm := kadm.NewClient(a.client)
	first, err := adm.ListStartOffsets(ctx, a.topic.Name)
	if err := errors.Join(err, first.Error()); err != nil {
		return nil, nil, fmt.Errorf("list log starts: %w", err)
	}
	end, err := adm.ListEndOffsets(ctx, a.topic.Name)
	if err := errors.Join(err, end.Error()); err != nil {
		return nil, nil, fmt.Errorf("list log ends: %w", err)
	}
	lookback := window.Config{Horizon: a.cfg.Horizon}.Lookback().Milliseconds()
	oldest, known := oldestLAT(positions)
	var since kadm.ListedOffsets
	if known {
		since, err = adm.ListOffsetsAfterMilli(ctx, oldest-lookback, a.topic.Name)
		if err := errors.Join(err, since.Error()); err != nil {
			return nil, nil, fmt.Errorf("list offsets by time: %w", err)
		}
	}
	starts := make(map[int32]int64, len(ids))
	for _, id := range ids {
		pos := positions[id]
		lo, _ := first.Lookup(a.topic.Name, id)
		hi, _ := end.Lookup(a.topic.Name, id)
		start, err := a.startOf(id, pos, lo.Offset, hi.Offset)
		if err != nil {
			return nil, nil, err
		}
		if back, ok := since.Lookup(a.topic.Name, id); pos.Known && ok && back.Offset >= 0 {
			start = max(min(start, back.Offset), lo.Offset)
		}
		starts[id] = start
	}
	return starts, positions, nil
}

// startOf checks that the log holds everything from the position on.
func (a *Aggregator) startOf(id int32, pos Position, first, end int64) (int64, error) {
	switch {
	case !pos.Known && first > 0:
		return 0, refuse("partition %d of %s begins at offset %d and nothing of it is counted: %d events are gone from the log; restore the topic, or make a new one with a new name",
			id, a.topic.Name, first, first)
	case !pos.Known:
		return 0, nil
	case pos.Next < first:
		return 0, refuse("partition %d of %s is counted up to offset %d, but the log begins at %d: %d events are gone that were not counted; restore the topic, or make a new one with a new name",
			id, a.topic.Name, pos.Next, first, first-pos.Next)
	case pos.Next > end:
		return 0, refuse("partition %d of %s is counted up to offset %d, but the log ends at %d: the log was cut back; restore the topic, or make a new one with a new name",
			id, a.topic.Name, pos.Next, end)
	default:
		return pos.Next, nil
	}
}

// oldestLAT is the least broker time among the known positions.
func oldestLAT(positions map[int32]Position) (lat int64, known bool) {
	for _, p := range positions {
		if p.Known && (!known || p.LAT < lat) {
			lat, known = p.LAT, true
		}
	}
	return lat, known
}

// own starts the owners and returns where the client must fetch from.
func (a *Aggregator) own(starts map[int32]int64, positions map[int32]Position) map[string]map[int32]kgo.Offset {
	offsets := make(map[int32]kgo.Offset, len(starts))
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, start := range starts {
		pos := positions[id]
		offset := kgo.NewOffset().At(start)
		if start == pos.Next && pos.Known {
			offset = offset.WithEpoch(pos.Epoch) // lets the brokers say if the log was cut back
		}
		if old := a.parts[id]; old != nil {
			a.fail(fmt.Errorf("BUG: partition %d was assigned twice", id))
			continue
		}
		a.parts[id] = a.start(id, pos, start)
		offsets[id] = offset
		a.log.Info().Int32("partition", id).Int64("position", pos.Next).Int64("read_from", start).Msg("partition taken over")
	}
	return map[string]map[int32]kgo.Offset{a.topic.Name: offsets}
}

// isDataLoss tells fetch errors that no retry mends.
func isDataLoss(err error) bool {
	var loss *kgo.ErrDataLoss
	return errors.As(err, &loss) || errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicID)
}
