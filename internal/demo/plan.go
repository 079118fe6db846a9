package demo

import (
	"time"

	"github.com/adtally/adtally/proto"
)

// route is the way in which a delivery reaches ingest.
type route uint8

const (
	beacon      route = iota + 1 // GET with a token, one step
	clientBatch                  // POST /e with tokens
	serverEvent                  // one of the next POST /v1/events
)

// sdkDelay is how long an SDK waits for more events before it sends them.
const sdkDelay = 3 * time.Second

// delivery is what is sent at one time for one visit.
type delivery struct {
	due   time.Time
	route route
	visit *visit
	steps []step
}

func (d delivery) isClick() bool { return d.steps[0].typ == proto.EventType_EVENT_TYPE_CLICK }

// plan says what is sent for a visit, and when. Conversions come from the
// advertiser's own servers, whatever the publisher uses.
func (v *visit) plan() []delivery {
	var out []delivery
	batch := delivery{route: clientBatch, visit: v}
	for i, s := range v.steps {
		d := delivery{due: v.at.Add(v.held + s.after), route: v.route(), visit: v, steps: v.steps[i : i+1]}
		switch {
		case s.typ == proto.EventType_EVENT_TYPE_CONVERSION:
			d.route = serverEvent
		case d.route == clientBatch:
			batch.steps = append(batch.steps, s)
			batch.due = d.due.Add(sdkDelay)
			continue
		default:
		}
		if s.repeat {
			d.due = d.due.Add(time.Second)
		}
		out = append(out, d)
	}
	if len(batch.steps) > 0 {
		out = append(out, batch)
	}
	return out
}

// route is how the publisher reports the visit. A page that was offline cannot
// say later when it was seen; only batches can.
func (v *visit) route() route {
	switch {
	case v.publisher.channel == server:
		return serverEvent
	case v.publisher.channel == app || v.held > 0:
		return clientBatch
	default:
		return beacon
	}
}

// queue is a heap of deliveries, the next one first.
type queue []delivery

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	d, ok := x.(delivery)
	if !ok {
		panic("BUG: foreign value in the queue of deliveries")
	}
	*q = append(*q, d)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = delivery{}
	*q = (*q)[:last]
	return d
}
