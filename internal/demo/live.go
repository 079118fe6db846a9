package demo

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/adtally/adtally/ingest/token"
)

// lag is how far the clock may be off what was planned before traffic goes on
// from the clock, as after a suspend.
const lag = 5 * time.Second

var errFull = errors.New("too much is waiting to be sent")

// live makes the traffic of the moment. It belongs to one goroutine.
type live struct {
	traffic *traffic
	ring    *token.Keyring
	random  *rand.Rand
	queue   queue
	beacons chan<- delivery
	events  chan<- []byte
	room    *link
}

// run hands out each delivery when it is due. What finds no room is dropped:
// waiting would make the rest late.
func (l *live) run(ctx context.Context) error {
	last := clock()
	next := l.traffic.next(l.random, last)
	timer := time.NewTimer(next.at.Sub(last))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := clock()
		if now.Sub(next.at) > lag || last.Sub(now) > lag {
			next = l.traffic.next(l.random, now)
		}
		last = now
		for ; !next.at.After(now); next = l.traffic.next(l.random, next.at) {
			l.show(next)
		}
		for len(l.queue) > 0 && !l.queue[0].due.After(now) {
			if err := l.handOver(l.queue[0]); err != nil {
				return err
			}
			heap.Pop(&l.queue)
		}
		due := next.at
		if len(l.queue) > 0 && l.queue[0].due.Before(due) {
			due = l.queue[0].due
		}
		timer.Reset(due.Sub(now))
	}
}

// clock reads the wall clock: events carry its time, and monotonic time stands
// still while a machine sleeps.
func clock() time.Time { return time.Now().Round(0) }

// show puts what comes of an arrival into the queue.
func (l *live) show(a arrival) {
	v := a.visit(l.random)
	v.postpone(l.random)
	v.signed = string(l.ring.Sign(nil, v.token))
	for _, d := range v.plan() {
		heap.Push(&l.queue, d)
	}
}

// handOver gives a delivery to those who send it.
func (l *live) handOver(d delivery) error {
	if d.route != serverEvent {
		select {
		case l.beacons <- d:
			l.room.note(nil, d.due)
		default:
			l.room.note(errFull, d.due)
		}
		return nil
	}
	text, err := json.Marshal(d.visit.serverEvent(d.steps[0]))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	select {
	case l.events <- text:
		l.room.note(nil, d.due)
	default:
		l.room.note(errFull, d.due)
	}
	return nil
}
