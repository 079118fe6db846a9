package query

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/queue"
	"github.com/adtally/adtally/query/problems"
)

func (s *Server) postExport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	if s.exports == nil {
		problems.New(http.StatusNotImplemented, "exports_off", "This server makes no exports: it has no folder for them (--query-exports-dir).").Write(w, requestIDOf(w))
		return
	}
	if r.URL.RawQuery != "" {
		unexpectedQuery().Write(w, requestIDOf(w))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).Write(w, requestIDOf(w))
		return
	}
	req, problem := parseExport(body, grant)
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	state, err := s.exports.Start(ctx, req)
	switch {
	case errors.Is(err, closing.ErrNoClose):
		p := problems.New(http.StatusConflict, "not_closed", req.Day+" is not closed yet.")
		p.Field = "day"
		p.Write(w, requestIDOf(w))
		return
	case errors.Is(err, queue.ErrFull):
		tooManyExports().Write(w, requestIDOf(w))
		return
	case err != nil:
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	w.Header().Set("Location", "/v1/exports/"+state.ID)
	if state.Status == queue.Running {
		writeJSONStatus(w, http.StatusAccepted, state)
		return
	}
	writeJSONStatus(w, http.StatusOK, state)
}

// exportOf returns the export of a request's path, if the key may see it.
func (s *Server) exportOf(r *http.Request, grant access.Grant) *queue.Export {
	if s.exports == nil {
		return nil
	}
	state := s.exports.Find(r.PathValue("id"))
	if state == nil || !grant.All && (state.Advertiser == 0 || !grant.Covers(state.Advertiser)) {
		return nil
	}
	return state
}

func noExport() *problems.Problem {
	return problems.New(http.StatusNotFound, "export_not_found", "There is no such export for this key.")
}

func (s *Server) getExport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil {
		noExport().Write(w, requestIDOf(w))
		return
	}
	writeJSONStatus(w, http.StatusOK, state)
}

// getExportFile sends a file, or a range of it.
func (s *Server) getExportFile(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil || state.Status != queue.Done {
		noExport().Write(w, requestIDOf(w))
		return
	}
	i := slices.IndexFunc(state.Files, func(f queue.File) bool { return f.Name == r.PathValue("file") })
	if i < 0 {
		noExport().Write(w, requestIDOf(w))
		return
	}
	file := state.Files[i]
	f, err := os.Open(filepath.Join(s.exports.Folder(state), file.Name))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", fileType(file.Name))
	h.Set("Content-Disposition", `attachment; filename="`+file.Name+`"`)
	if file.SHA256 != "" {
		h.Set("ETag", `"`+file.SHA256+`"`)
	}
	sendFile(w, r, time.Time{}, f)
}

func fileType(name string) string {
	switch filepath.Ext(name) {
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".arrow":
		return "application/vnd.apache.arrow.stream"
	case ".csv":
		return "text/csv; charset=utf-8; header=present"
	default:
		return "application/json"
	}
}

// postVerification begins a verification; the export's state says what it found.
func (s *Server) postVerification(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil || state.Status != queue.Done {
		noExport().Write(w, requestIDOf(w))
		return
	}
	if !s.exports.Verify(state) {
		tooManyExports().Write(w, requestIDOf(w))
		return
	}
	w.Header().Set("Location", "/v1/exports/"+state.ID)
	writeJSONStatus(w, http.StatusAccepted, s.exports.Find(state.ID))
}

func tooManyExports() *problems.Problem {
	return problems.New(http.StatusTooManyRequests, "too_many_exports", "Too many exports wait for their turn.").Retry(30)
}
