package produce

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The timer of a round may fire just as that round is sent otherwise and the
// next one has begun. The next one then went only after longestRound, though
// the round before it was settled long ago.
func TestALateTimerDoesNotHoldUpTheNextRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const linger = 2 * time.Millisecond
		client, err := kgo.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		k := &Kafka{client: client}
		r := newRounds(k, linger)
		k.rounds = r

		first, second := new(Batch), new(Batch)
		r.latest = time.Now() // the first is not alone
		r.add(first, time.Now(), time.Second)
		time.Sleep(2 * linger)
		if r.last == nil || first.flight.round != r.last {
			t.Fatal("the first round was not sent after its linger")
		}
		r.add(second, time.Now(), time.Second)
		r.onRipe()
		r.leave(first.flight.round)
		time.Sleep(2 * linger)
		if second.flight.round != r.last {
			t.Errorf("the second round was not sent %v after it began", 2*linger)
		}
		r.leave(second.flight.round)
		time.Sleep(2 * deadlineGrain)
	})
}

// A request that nobody follows would wait out the linger for nothing.
func TestALoneRequestDoesNotWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := kgo.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		const linger = time.Minute
		k := &Kafka{client: client}
		r := newRounds(k, linger)
		k.rounds = r

		lone, next := new(Batch), new(Batch)
		began := time.Now()
		r.add(lone, began, time.Hour)
		if lone.flight.round != r.last || !time.Now().Equal(began) {
			t.Error("the lone request was not sent at once")
		}
		r.leave(lone.flight.round)
		r.add(next, time.Now(), time.Hour)
		if next.flight.round != r.next {
			t.Error("the request that followed did not gather")
		}
		time.Sleep(2 * linger)
		r.leave(next.flight.round)
		time.Sleep(2 * deadlineGrain)
	})
}
