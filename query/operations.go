package query

import (
	"net/http"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/watch"
)

// getOperations asks every watched admin listener now.
func (s *Server) getOperations(w http.ResponseWriter, r *http.Request, _ access.Grant) {
	writeJSONValue(w, map[string]any{"instances": watch.Instances(r.Context(), s.cfg.Watch)})
}
