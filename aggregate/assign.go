package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/kafka"
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

// starts takes the partitions over, reads the position of each and finds the
// offset to read from.
func (a *Aggregator) starts(ctx context.Context, ids []int32) (map[int32]int64, map[int32]Position, error) {
	if err := a.takeOver(ctx, ids); err != nil {
		return nil, nil, err
	}
	positions, err := a.store.Positions(ctx, a.topic, ids)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	bounds, err := kafka.LogBounds(ctx, a.client, a.topic.Name)
	if err != nil {
		return nil, nil, err
	}
	if err := a.checkEpochs(ctx, kadm.NewClient(a.client), positions); err != nil {
		return nil, nil, err
	}
	starts := make(map[int32]int64, len(ids))
	for _, id := range ids {
		log, ok := bounds[id]
		if !ok {
			return nil, nil, fmt.Errorf("the brokers do not tell the bounds of partition %d", id)
		}
		if starts[id], err = a.startOf(id, positions[id], log.First, log.End); err != nil {
			return nil, nil, err
		}
	}
	if err := a.lookBack(ctx, starts, positions, bounds); err != nil {
		return nil, nil, err
	}
	return starts, positions, nil
}

// lookBack moves the starts back by what verdicts look back on, in broker time.
func (a *Aggregator) lookBack(ctx context.Context, starts map[int32]int64, positions map[int32]Position, bounds map[int32]kafka.Bounds) error {
	oldest, known := oldestLAT(positions)
	if !known {
		return nil
	}
	since, err := kafka.OffsetsAfter(ctx, a.client, a.topic.Name, time.UnixMilli(oldest).Add(-a.cfg.Window().Lookback()))
	if err != nil {
		return err
	}
	for id, start := range starts {
		pos, log := positions[id], bounds[id]
		back, ok := since.Lookup(a.topic.Name, id)
		switch {
		case !pos.Known:
			continue
		case len(pos.Counted) > 0: // the time of a position within a gap is not known
			starts[id] = log.First
		case ok && back.Offset >= 0:
			starts[id] = max(min(start, back.Offset), log.First)
		}
		// With the first record that is left within the look-back, the one
		// before it may have been too.
		if log.First > 0 && starts[id] == log.First && log.First < log.End {
			return refuse("partition %d of %s begins at offset %d, later than the %s that verdicts look back on before offset %d: repeats of what is gone would be counted again; raise retention.ms of the topic, or lower --aggregate-horizon for this start",
				id, a.topic.Name, log.First, a.cfg.Window().Lookback(), pos.Next)
		}
	}
	return nil
}

// checkEpochs asks the brokers where the leader epoch of each position ends: a
// log that was cut back and has grown again has other records there.
func (a *Aggregator) checkEpochs(ctx context.Context, adm *kadm.Client, positions map[int32]Position) error {
	var req kadm.OffsetForLeaderEpochRequest
	for id, pos := range positions {
		if pos.Known && pos.Epoch >= 0 {
			req.Add(a.topic.Name, id, pos.Epoch)
		}
	}
	if len(req) == 0 {
		return nil
	}
	ends, err := adm.OffsetForLeaderEpoch(ctx, req)
	if err != nil {
		return fmt.Errorf("list ends of leader epochs: %w", err)
	}
	for id, end := range ends[a.topic.Name] {
		if end.Err != nil {
			return fmt.Errorf("list ends of leader epochs: partition %d: %w", id, end.Err)
		}
		if pos := positions[id]; end.EndOffset >= 0 && end.EndOffset < positionEnd(pos) {
			return refuse("partition %d of %s is counted up to offset %d in leader epoch %d, which ends at offset %d now: the log was cut back and written anew; restore the topic, or make a new one with a new name",
				id, a.topic.Name, positionEnd(pos), pos.Epoch, end.EndOffset)
		}
	}
	return nil
}

// positionEnd is the end of what is counted, beyond gaps.
func positionEnd(p Position) int64 {
	if n := len(p.Counted); n > 0 {
		return p.Counted[n-1].To
	}
	return p.Next
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
	case positionEnd(pos) > end:
		return 0, refuse("partition %d of %s is counted up to offset %d, but the log ends at %d: the log was cut back; restore the topic, or make a new one with a new name",
			id, a.topic.Name, positionEnd(pos), end)
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
