package query

import (
	"net/http"

	"github.com/adtally/adtally/query/accept"
	"github.com/adtally/adtally/query/dashboard"
)

// front answers GET /: the dashboard, or the list of endpoints to who asks for
// JSON.
func (s *Server) front(pages *dashboard.Dashboard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		accepted := accept.Parse(r.Header.Values("Accept"))
		if accepted.Quality("application/json") > accepted.Quality("text/html") {
			s.getIndex(w, r)
			return
		}
		pages.ServePage(w, r)
	}
}
