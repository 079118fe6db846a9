package demo

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// slot is the span of time whose history comes from one random source.
const slot = time.Hour

// senders is how many batches of history are under way at once.
const senders = 4

// pastEvent is an event of the history.
type pastEvent struct {
	at   time.Time
	json []byte
}

// pastHour returns the history of the visits of one hour, in the order of time.
// It depends on the seed, the traffic and the hour alone.
func pastHour(seed uint64, t *traffic, from time.Time) ([]pastEvent, error) {
	r := randomFor("history", seed, uint64(from.Unix()))
	var out []pastEvent
	for a := t.next(r, from); a.at.Before(from.Add(slot)); a = t.next(r, a.at) {
		v := a.visit(r)
		for _, s := range v.steps {
			e := v.serverEvent(s)
			text, err := json.Marshal(e)
			if err != nil {
				return nil, fmt.Errorf("encode event: %w", err)
			}
			out = append(out, pastEvent{at: e.Time, json: text})
		}
	}
	slices.SortStableFunc(out, func(a, b pastEvent) int { return a.at.Compare(b.at) })
	return out, nil
}

// randomFor returns the random source of a purpose.
func randomFor(purpose string, seed, part uint64) *rand.Rand {
	var key [32]byte
	copy(key[:16], purpose)
	binary.BigEndian.PutUint64(key[16:], seed)
	binary.BigEndian.PutUint64(key[24:], part)
	return rand.New(rand.NewChaCha8(key))
}

// backfill sends the history up to now.
func (d *Demo) backfill(ctx, running context.Context, now time.Time) error {
	rate := min(d.cfg.Rate, float64(d.cfg.BackfillEvents)/d.cfg.Backfill.Seconds())
	t, err := newTraffic(rate)
	if err != nil {
		return err
	}
	full := make(chan *batch)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for b := range full {
				if d.out.retry(ctx, running, b) {
					taken.Add(int64(b.n))
				}
			}
		})
	}
	err = d.fillBatches(running, t, now, full)
	close(full)
	wg.Wait()
	d.log.Info().Int64("events", taken.Load()).Dur("took", time.Since(now)).Msg("demo history sent")
	return err
}

// fillBatches makes the batches of the history, hour by hour.
func (d *Demo) fillBatches(running context.Context, t *traffic, now time.Time, full chan<- *batch) error {
	b := new(batch)
	send := func() bool {
		select {
		case full <- b:
			b = new(batch)
			return true
		case <-running.Done():
			return false
		}
	}
	for from := now.Add(-d.cfg.Backfill).Truncate(slot); from.Before(now); from = from.Add(slot) {
		events, err := pastHour(d.cfg.Seed, t, from)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.at.After(now) || b.add(e.json) {
				continue // the future is left to live traffic
			}
			if !send() {
				return nil
			}
			b.add(e.json)
		}
	}
	if b.n > 0 {
		send()
	}
	return nil
}
