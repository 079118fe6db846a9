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
	handle("POST /v1/report-jobs", s.withKey(access.ScopeReport, s.postJob))
	handle("GET /v1/report-jobs/{id}", s.withKey(access.ScopeReport, s.getJob))
	handle("GET /v1/report-jobs/{id}/result", s.withKey(access.ScopeReport, s.getJobResult))
	handle("POST /v1/experiments", s.withKey(access.ScopeReport, s.postExperiment))
	handle("POST /graphql", s.withKey(access.ScopeReport, s.postGraph))
	handle("GET /openapi.json", s.getOpenAPI)
	return s.contained(s.routed(mux))
}

// endpoints describes the routes at GET /.
var endpoints = []map[string]string{
	{"method": http.MethodPost, "path": "/v1/reports", "what": "A report, as JSON, CSV, Arrow or Parquet (Accept)."},
	{"method": http.MethodGet, "path": "/v1/reports", "what": "The same with query parameters."},
	{"method": http.MethodGet, "path": "/v1/reports/schema", "what": "Dimensions, metrics, granularities and limits of reports."},
	{"method": http.MethodGet, "path": "/v1/freshness", "what": "How far events are counted."},
	{"method": http.MethodPost, "path": "/v1/report-jobs", "what": "A large report, made behind the request; GET /v1/report-jobs/{id} says how far it is."},
	{"method": http.MethodPost, "path": "/v1/experiments", "what": "The variants of a campaign, compared."},
	{"method": http.MethodPost, "path": "/graphql", "what": "The same reports, accounts and campaigns in GraphQL."},
	{"method": http.MethodGet, "path": "/openapi.json", "what": "All of this for programs."},
}
