package produce

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Kafka's own linger is per partition, so a trickle over n partitions is n
// small requests. Rounds make it one: what arrives within the linger goes to
// the producer at once, and only then is the producer told to send.
//
// A round waits for the one before it: a broker answers the requests of a
// connection one after the other, so sent at once it would only wait there,
// and more events would go in requests of their own. It does not wait for long:
// one partition without a leader must not hold up the others.

const (
	// deadlineGrain is how exactly deadlines are kept.
	deadlineGrain = 10 * time.Millisecond
	// patience is the part of the linger that the timer leaves to a request that
	// may come and send the round: to wake somebody costs as much as a request.
	patience = 4
	// alone is how many lingers without another request make one go at once:
	// nobody is likely to come and share its round.
	alone = 4
	// longestRound is how long a round waits for the one before it.
	longestRound = 50 * time.Millisecond
	// safetyLinger is when the producer sends by itself what it was not told to
	// send, such as what waited for metadata.
	safetyLinger = 20 * time.Millisecond
)

// rounds gathers the batches of all requests.
type rounds struct {
	sink   *Kafka
	linger time.Duration

	mu       sync.Mutex
	latest   time.Time // when the last batch came
	next     *round    // that gathers
	last     *round    // that was sent, until it is settled
	sent     []*round  // that may have batches which are not settled
	free     []*round
	ripen    *time.Timer
	sweeper  *time.Timer
	sweeping bool
}

// round is the batches that go to the producer together.
type round struct {
	began   time.Time // when the first batch came
	sent    time.Time
	leaving bool // somebody is about to send it
	flights []departure
	left    atomic.Int32 // that are not settled, and one for who sends
}

// departure is a turn of the flight of a batch. After that turn the batch may
// be another request's.
type departure struct {
	batch *Batch
	turn  uint64
	due   time.Time
}

func newRounds(sink *Kafka, linger time.Duration) *rounds {
	r := &rounds{sink: sink, linger: linger, next: new(round)}
	r.ripen = time.AfterFunc(time.Hour, r.onRipe)
	r.ripen.Stop()
	r.sweeper = time.AfterFunc(time.Hour, r.sweep)
	r.sweeper.Stop()
	return r
}

// add puts b, which arrived at now, into the next round, and sends the round
// if it has gathered for long enough or b came alone: a request that comes anyway
// does so more cheaply than the timer, which would have to wake somebody.
func (r *rounds) add(b *Batch, now time.Time, wait time.Duration) {
	d := departure{batch: b, turn: b.flight.depart(), due: now.Add(wait)}
	r.mu.Lock()
	n := r.next
	b.flight.round = n
	lone := r.last == nil && now.Sub(r.latest) > alone*r.linger
	r.latest = now
	if len(n.flights) == 0 {
		n.began = now
		if r.linger > 0 && !lone {
			r.ripen.Reset(r.linger + r.linger/patience)
		}
	}
	n.flights = append(n.flights, d)
	n.left.Add(1)
	ripe := !n.leaving && (lone || r.ripe(now) <= 0)
	if ripe {
		n.leaving = true
	}
	r.mu.Unlock()
	if !ripe {
		return
	}
	// Requests that came together with this one are runnable now. They go before,
	// so that they are in this round and not the first to wait for the next.
	runtime.Gosched()
	r.mu.Lock()
	if r.next != n { // flushed meanwhile
		r.mu.Unlock()
		return
	}
	r.take(time.Now())
	r.mu.Unlock()
	r.sink.send(n)
}

// ripe returns how long the next round still gathers. The caller holds mu.
func (r *rounds) ripe(now time.Time) time.Duration {
	gathers := r.linger - now.Sub(r.next.began)
	if r.last != nil {
		gathers = max(gathers, longestRound-now.Sub(r.last.sent))
	}
	return gathers
}

// take ends the gathering of the next round. The caller holds mu, and sends it.
func (r *rounds) take(now time.Time) {
	r.next.left.Add(1)
	r.next.sent = now
	r.next.leaving = false
	r.last = r.next
	r.sent = append(r.sent, r.next)
	if !r.sweeping {
		r.sweeping = true
		r.sweeper.Reset(deadlineGrain)
	}
	if last := len(r.free) - 1; last >= 0 {
		r.next, r.free = r.free[last], r.free[:last]
		return
	}
	r.next = new(round)
}

// onRipe sends a round that nobody else has sent.
func (r *rounds) onRipe() {
	r.mu.Lock()
	n := r.next
	if len(n.flights) == 0 || n.leaving {
		r.mu.Unlock()
		return
	}
	now := time.Now()
	if early := r.ripe(now); early > 0 {
		// This may be the timer of the round before, which fired as it was sent.
		// Once its own linger is over, n need not be looked at: leave sends it.
		if own := r.linger - now.Sub(n.began); own > 0 {
			early = own
		}
		r.ripen.Reset(early)
		r.mu.Unlock()
		return
	}
	r.take(now)
	r.mu.Unlock()
	r.sink.send(n)
}

// leave takes one off what n waits for. With the last one the next round need
// not wait for n any longer.
func (r *rounds) leave(n *round) {
	if n.left.Add(-1) > 0 {
		return
	}
	r.mu.Lock()
	if r.last != n {
		r.mu.Unlock()
		return
	}
	r.last = nil
	now := time.Now()
	n = r.next
	ripe := len(n.flights) > 0 && !n.leaving && r.ripe(now) <= 0
	if ripe {
		r.take(now)
	}
	r.mu.Unlock()
	if ripe {
		r.sink.send(n)
	}
}

// sweep wakes the requests whose deadline has passed, and forgets rounds that
// are settled.
func (r *rounds) sweep() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.sent[:0]
	for _, n := range r.sent {
		if n.left.Load() == 0 && n != r.last { // leave has not seen the last one yet
			n.flights = n.flights[:0]
			r.free = append(r.free, n)
			continue
		}
		kept = append(kept, n)
		for i := range n.flights {
			if d := &n.flights[i]; now.After(d.due) {
				d.batch.flight.wake(d.turn)
			}
		}
	}
	clear(r.sent[len(kept):])
	r.sent = kept
	r.sweeping = len(kept) > 0
	if r.sweeping {
		r.sweeper.Reset(deadlineGrain)
	}
}

// flush sends what has gathered.
func (r *rounds) flush() {
	r.mu.Lock()
	n := r.next
	r.take(time.Now())
	r.mu.Unlock()
	r.sink.send(n)
}

// done is the context of a flush that waits for nothing.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// send gives a round to the producer. A batch that settles may be another's
// before send returns.
func (k *Kafka) send(n *round) {
	for i := range n.flights {
		b := n.flights[i].batch
		records := b.flight.records
		for j := range records {
			k.client.TryProduce(context.Background(), &records[j], b.flight.promise)
		}
	}
	k.push()
	k.rounds.leave(n)
}

// push has the producer send what it holds. It does not wait for the acks.
func (k *Kafka) push() { _ = k.client.Flush(done) }
