package ingest

import (
	"fmt"
	"math/bits"

	"github.com/VictoriaMetrics/metrics"

	"github.com/adtally/adtally/proto"
)

var lostReasons = [...]string{lostRefused: "refused", lostLate: "late", lostTooOld: "too_old", lostLimited: "rate_limited"}

// lostReason says why a click was redirected without the promise to count it.
type lostReason uint8

const (
	lostRefused lostReason = iota
	lostLate
	lostTooOld
	lostLimited
)

// serverMetrics are the handles of the HTTP side, made once.
type serverMetrics struct {
	requests [routes][statusClasses]*metrics.Counter
	accepted [len(tally{}.types)]*metrics.Counter
	flagged  [32]*metrics.Counter // by bit
	rejected map[reason]*metrics.Counter
	warnings *metrics.Counter
	lost     [len(lostReasons)]*metrics.Counter
	panics   *metrics.Counter
	broken   *metrics.Counter
	// unreported are rejections beyond the rate of those that nobody vouches for.
	unreported *metrics.Counter
}

const statusClasses = 4 // 2xx to 5xx

func newServerMetrics(set *metrics.Set, s *Server) *serverMetrics {
	m := &serverMetrics{
		rejected: make(map[reason]*metrics.Counter),
		warnings: set.NewCounter(`adtally_ingest_unknown_fields_total`),
		panics:   set.NewCounter(`adtally_ingest_panics_total`),
		broken:   set.NewCounter(`adtally_ingest_unreadable_requests_total`),

		unreported: set.NewCounter(`adtally_ingest_rejected_records_total{outcome="rate_limited"}`),
	}
	for r := range m.requests {
		for class := range m.requests[r] {
			m.requests[r][class] = set.NewCounter(fmt.Sprintf(`adtally_ingest_requests_total{route=%q,class="%dxx"}`, routeNames[r], class+2))
		}
	}
	for _, t := range proto.EventTypes() {
		m.accepted[t] = set.NewCounter(fmt.Sprintf(`adtally_ingest_events_accepted_total{type=%q}`, t.Name()))
	}
	for bit := range m.flagged {
		if name := proto.Flag(1 << bit).String(); name != "" {
			m.flagged[bit] = set.NewCounter(fmt.Sprintf(`adtally_ingest_events_flagged_total{flag=%q}`, name))
		}
	}
	for _, r := range reasons {
		m.rejected[r] = set.NewCounter(fmt.Sprintf(`adtally_ingest_events_rejected_total{reason=%q}`, r))
	}
	for i, name := range lostReasons {
		m.lost[i] = set.NewCounter(fmt.Sprintf(`adtally_ingest_clicks_lost_total{reason=%q}`, name))
	}
	if s.tenants != nil {
		set.NewGauge(`adtally_ingest_limited_advertisers`, func() float64 { return float64(s.tenants.len()) })
	}
	set.NewGauge(`adtally_ingest_requests_in_flight`, func() float64 { return float64(s.inFlight.Load()) })
	return m
}

// request counts one answered request.
func (m *serverMetrics) request(r route, status int) {
	class := min(max(status/100-2, 0), statusClasses-1)
	m.requests[r][class].Inc()
}

// tally is what a request would add to the event counters if it is acked.
type tally struct {
	types [proto.EventType_EVENT_TYPE_VIDEO_FULLSCREEN + 1]uint16
	flags [32]uint16
}

func (t *tally) add(e *proto.Event) {
	t.types[e.Type]++
	for f := e.InvalidFlags; f != 0; f &= f - 1 {
		t.flags[bits.TrailingZeros32(f)]++
	}
}

// events counts the events of an acked request.
func (m *serverMetrics) events(t *tally) {
	for typ, n := range t.types {
		if n > 0 {
			m.accepted[typ].Add(int(n))
		}
	}
	for bit, n := range t.flags {
		if n > 0 {
			m.flagged[bit].Add(int(n))
		}
	}
}
