package produce

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/proto"
)

// A second message would be taken by the next request that has the flight, as
// if its events were late, and one more would stop every promise.
func TestAFlightIsWokenOnce(t *testing.T) {
	t.Parallel()
	f := func(what string, late bool) {
		t.Helper()
		k := &Kafka{lanes: make([]lane, 1)}
		k.rounds = newRounds(k, 0)
		b := NewBatch(0, func() {})
		b.Add(&proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK}, 0)
		b.Hold()
		for range 3 {
			fl := &b.flight
			fl.prepare(b)
			fl.sink, fl.round = k, new(round)
			fl.round.left.Store(2) // of others
			b.Hold()
			k.lanes[0].pending.Add(1)
			turn := fl.depart()
			if late {
				fl.wake(turn) // as the sweep does at the deadline
				<-fl.done
			}
			fl.promise(&kgo.Record{Partition: 0}, nil)
			if !late {
				<-fl.done
			}
			if n := len(fl.done); n != 0 {
				t.Fatalf("%s: %d messages too many", what, n)
			}
		}
	}
	f("acked in time", false)
	f("late", true)
}
