package query

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// serverMetrics are the handles of the server, made once.
type serverMetrics struct {
	set     *metrics.Set
	panics  *metrics.Counter
	refused *metrics.Counter
	failed  *metrics.Counter
	rows    *metrics.Counter
}

// routeMetrics are the handles of one route.
type routeMetrics struct {
	name    string
	classes [6]*metrics.Counter // by the first digit of the status
	seconds *metrics.PrometheusHistogram
}

var secondsBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

func newServerMetrics(set *metrics.Set) *serverMetrics {
	return &serverMetrics{
		set:     set,
		panics:  set.NewCounter("adtally_query_panics_total"),
		refused: set.NewCounter("adtally_query_reports_refused_total"),
		failed:  set.NewCounter("adtally_query_reports_failed_total"),
		rows:    set.NewCounter("adtally_query_rows_total"),
	}
}

// route returns the handles of a route. It is called while the server is built.
func (m *serverMetrics) route(pattern string) *routeMetrics {
	r := &routeMetrics{name: pattern}
	for class := 2; class <= 5; class++ {
		r.classes[class] = m.set.NewCounter(fmt.Sprintf(`adtally_query_requests_total{route=%q,code="%dxx"}`, pattern, class))
	}
	r.seconds = m.set.NewPrometheusHistogramExt(fmt.Sprintf(`adtally_query_request_seconds{route=%q}`, pattern), secondsBounds)
	return r
}

// observe counts a request that was answered. A status of 0 is a panic, which
// the outermost handler answers with 500.
func (r *routeMetrics) observe(status int, took time.Duration) {
	class := status / 100
	if class < 2 || class > 5 {
		class = 5
	}
	r.classes[class].Inc()
	r.seconds.Update(took.Seconds())
}
