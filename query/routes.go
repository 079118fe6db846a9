package query

import (
	"net/http"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/dashboard"
)

// routes is every URL of the server.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.Handle(pattern, s.measured(s.metrics.route(pattern), handler))
	}
	pages := dashboard.New(s.cfg.BeaconURL)
	handle("GET /{$}", s.front(pages))
	for _, path := range dashboard.Pages {
		handle("GET "+path, pages.ServePage)
	}
	handle("GET /assets/{file...}", pages.ServeAsset)
	handle("GET /v1/session", s.withKey(0, s.getSession))
	handle("POST /v1/session", s.signIn)
	handle("DELETE /v1/session", s.signOut)
	handle("GET /v1/audit", s.withKey(access.ScopeAdmin, s.getAudit))
	handle("GET /v1/operations", s.withKey(access.ScopeAdmin, s.getOperations))
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
	handle("POST /v1/exports", s.withKey(access.ScopeFinance, s.postExport))
	handle("GET /v1/exports/{id}", s.withKey(access.ScopeFinance, s.getExport))
	handle("POST /v1/exports/{id}/verify", s.withKey(access.ScopeFinance, s.postVerification))
	handle("GET /v1/exports/{id}/{file}", s.withKey(access.ScopeFinance, s.getExportFile))
	handle("GET /v1/closes", s.withKey(access.ScopeFinance, s.getCloses))
	handle("GET /v1/receipts/{id}", s.withKey(access.ScopeReport, s.getReceipt))
	handle("GET /v1/changes", s.withKey(access.ScopeReport, s.getChanges))
	return s.contained(s.routed(mux))
}

// endpoints describes the routes at GET / in JSON.
var endpoints = []map[string]string{
	{"method": http.MethodPost, "path": "/v1/reports", "what": "A report, as JSON, CSV, Arrow or Parquet (Accept)."},
	{"method": http.MethodGet, "path": "/v1/reports", "what": "The same with query parameters."},
	{"method": http.MethodGet, "path": "/v1/reports/schema", "what": "Dimensions, metrics, granularities and limits of reports."},
	{"method": http.MethodGet, "path": "/v1/freshness", "what": "How far events are counted."},
	{"method": http.MethodPost, "path": "/v1/report-jobs", "what": "A large report, made behind the request; GET /v1/report-jobs/{id} says how far it is."},
	{"method": http.MethodPost, "path": "/v1/experiments", "what": "The variants of a campaign, compared."},
	{"method": http.MethodPost, "path": "/graphql", "what": "The same reports, accounts and campaigns in GraphQL."},
	{"method": http.MethodGet, "path": "/openapi.json", "what": "All of this for programs."},
	{"method": http.MethodPost, "path": "/v1/exports", "what": "A closed day as files."},
	{"method": http.MethodGet, "path": "/v1/exports/{id}", "what": "How far an export is, and its files; they take Range."},
	{"method": http.MethodPost, "path": "/v1/exports/{id}/verify", "what": "Checks an export against its closes and the ledger."},
	{"method": http.MethodGet, "path": "/v1/closes", "what": "Closed days of an advertiser, with their totals."},
	{"method": http.MethodGet, "path": "/v1/receipts/{id}", "what": "What became of one event."},
	{"method": http.MethodGet, "path": "/v1/changes", "what": "What changed in days that were closed."},
	{"method": http.MethodGet, "path": "/v1/session", "what": "Who the key is, and which advertisers it covers."},
	{"method": http.MethodGet, "path": "/v1/audit", "what": "Where every record went, by partition, and what does not add up; scope admin."},
	{"method": http.MethodGet, "path": "/v1/operations", "what": "Spool, lag and cuts of the watched instances; scope admin."},
}
