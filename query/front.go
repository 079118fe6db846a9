package query

import (
	"net/http"
	"strings"

	"github.com/adtally/adtally/query/dashboard"
)

// front answers GET /: the dashboard, or the list of endpoints to who asks for
// JSON.
func (s *Server) front(pages *dashboard.Dashboard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		accepted := parseAccept(strings.Join(r.Header.Values("Accept"), ","))
		if quality("application/json", accepted) > quality("text/html", accepted) {
			s.getIndex(w, r)
			return
		}
		pages.ServePage(w, r)
	}
}
