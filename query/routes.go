package query

import (
	"net/http"

	"github.com/adtally/adtally/internal/access"
)

// routes is every URL of the server.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.Handle(pattern, s.measured(s.metrics.route(pattern), handler))
	}
	handle("GET /{$}", s.getIndex)
	handle("POST /v1/reports", s.withKey(access.ScopeReport, s.postReport))
	handle("GET /v1/reports", s.withKey(access.ScopeReport, s.getReport))
	handle("GET /v1/reports/schema", s.getSchema)
	handle("GET /v1/freshness", s.withKey(access.ScopeReport, s.getFreshness))
	return s.contained(s.routed(mux))
}

// endpoints describes the routes at GET /.
var endpoints = []map[string]string{
	{"method": http.MethodPost, "path": "/v1/reports", "what": "A report, as JSON or CSV (Accept: text/csv)."},
	{"method": http.MethodGet, "path": "/v1/reports", "what": "The same with query parameters."},
	{"method": http.MethodGet, "path": "/v1/reports/schema", "what": "Dimensions, metrics, granularities and limits of reports."},
	{"method": http.MethodGet, "path": "/v1/freshness", "what": "How far events are counted."},
}
