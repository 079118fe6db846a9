package query

import (
	"io"
	"net/http"
	"time"

	"github.com/adtally/adtally/query/problems"
)

// sendFile answers with a file, or with the parts of it that Range asks for. Its
// headers are set before.
func sendFile(w http.ResponseWriter, r *http.Request, modified time.Time, f io.ReadSeeker) {
	// A file may be larger than fits into the time of an answer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // every server of ours can
	http.ServeContent(&fileResponse{ResponseWriter: w}, r, "", modified, f)
}

// fileResponse turns the refusals of http.ServeContent into problems.
type fileResponse struct {
	http.ResponseWriter

	refused bool
}

// WriteHeader answers with a problem where the file is not sent.
func (w *fileResponse) WriteHeader(status int) {
	var problem *problems.Problem
	switch status {
	case http.StatusPreconditionFailed:
		problem = problems.New(status, "precondition_failed", "The file is not the one that the request has in mind; its ETag is another.")
	case http.StatusRequestedRangeNotSatisfiable:
		problem = problems.New(status, "invalid_range", "The file has no such part; bytes=0-1023 is one, if the file is that long.")
		problem.Field = "Range"
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Del("Content-Disposition")
	w.Header().Del("Repr-Digest")
	problem.Write(w.ResponseWriter, requestIDOf(w.ResponseWriter))
}

// Write drops the text that ServeContent has for a refusal.
func (w *fileResponse) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
