package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/accept"
	"github.com/adtally/adtally/query/answer"
	"github.com/adtally/adtally/query/cache"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// formats are the formats of answers; the first is the default.
var formats = export.Formats

func (s *Server) postReport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).Write(w, requestIDOf(w))
		return
	}
	req, problem := report.Decode(body)
	if problem == nil && r.URL.RawQuery != "" {
		problem = unexpectedQuery()
	}
	s.report(w, r, grant, req, problem)
}

func (s *Server) getReport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	req, problem := report.FromURL(r.URL.RawQuery)
	s.report(w, r, grant, req, problem)
}

func bodyProblem(err error) *problems.Problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problems.New(http.StatusRequestEntityTooLarge, "body_too_large", "A request has at most 1 MiB.")
	}
	return problems.New(http.StatusBadRequest, "unreadable_body", "The body could not be read.")
}

// report is what POST and GET share.
func (s *Server) report(w http.ResponseWriter, r *http.Request, grant access.Grant, req report.Request, problem *problems.Problem) {
	requestID := requestIDOf(w)
	if problem != nil {
		problem.Write(w, requestID)
		return
	}
	format, ok := accept.Best(r.Header.Values("Accept"), formats)
	if !ok {
		problems.New(http.StatusNotAcceptable, "not_acceptable", "None of the formats in Accept is there.").
			Allowing(formats).Write(w, requestID)
		return
	}
	asked, problem := s.newReport(req, grant)
	if problem != nil {
		problem.Write(w, requestID)
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	planned, leave, err := s.enter(ctx, asked)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	defer leave()
	key := cacheKey(planned, format)
	if s.again(w, r, key) {
		return
	}
	got, err := s.ask(ctx, grant, planned, requestID)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if err := s.send(w, got, format, key); err != nil {
		s.log.Debug().Err(err).Str("request_id", requestID).Msg("answer not taken")
	}
}

// again answers what the client or the cache already has, and says if it did.
func (s *Server) again(w http.ResponseWriter, r *http.Request, key cache.Key) bool {
	h := w.Header()
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", key.ETag())
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), key.ETag()) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	entry := s.cache.Get(key)
	if entry == nil {
		return false
	}
	maps.Copy(h, entry.Header)
	_, _ = w.Write(entry.Body) // the client may be gone
	return true
}

// send writes an answer, and keeps it if it is small.
func (s *Server) send(w http.ResponseWriter, got *answer.Answer, format string, key cache.Key) error {
	own := http.Header{}
	setHeaders(own, got, format)
	maps.Copy(w.Header(), own)
	w.Header().Set("Server-Timing", fmt.Sprintf("storage;dur=%.1f", float64(got.Shape.Meta.Took.Microseconds())/1000))
	kept := &bounded{most: s.cache.Most()}
	if err := got.Write(io.MultiWriter(w, kept), format); err != nil {
		return err
	}
	if !kept.over {
		s.cache.Put(key, &cache.Entry{Header: own, Body: kept.body})
	}
	return nil
}

// bounded collects what is written unless it is too much.
type bounded struct {
	most int
	body []byte
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.over || len(b.body)+len(p) > b.most {
		b.over, b.body = true, nil
		return len(p), nil
	}
	b.body = append(b.body, p...)
	return len(p), nil
}

// timedOut keeps the reason for which a context ended; what the client of
// ClickHouse returns then is only "canceled".
func timedOut(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return errors.Join(cause, err)
	}
	return err
}

// fail answers an error of a report. What ClickHouse says stays in the log: it
// may hold names and values that are not the client's.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	requestID := requestIDOf(w)
	if problem, ok := errors.AsType[*problems.Problem](err); ok {
		problem.Write(w, requestID)
		return
	}
	if r.Context().Err() != nil { // nobody reads the answer
		s.log.Debug().Err(err).Str("request_id", requestID).Msg("client went away")
		problems.New(http.StatusServiceUnavailable, "canceled", "The client went away.").Write(w, requestID)
		return
	}
	problem := s.problemOf(err)
	s.log.Error().Err(err).Str("request_id", requestID).Str("code", problem.Code).Msg("report failed")
	problem.Write(w, requestID)
}

// Codes of ClickHouse for a report that takes more than it may.
const (
	codeTooSlow       = 159
	codeTooManyRows   = 158
	codeMemory        = 241
	codeTooManyResult = 396
)

// problemOf is what a client may know of a failure.
func (s *Server) problemOf(err error) *problems.Problem {
	s.metrics.failed.Inc()
	exception, answered := errors.AsType[*clickhouse.Exception](err)
	slow := problems.New(http.StatusServiceUnavailable, "report_timeout",
		"The report took longer than "+s.cfg.Timeout.String()+"; ask for less at once.").Retry(5)
	switch {
	case errors.Is(err, context.DeadlineExceeded), answered && exception.Code == codeTooSlow:
		return slow
	case answered && slices.Contains([]int32{codeTooManyRows, codeMemory, codeTooManyResult}, exception.Code):
		return problems.New(http.StatusUnprocessableEntity, "report_too_large", "The report takes more memory than it may; ask for less at once.")
	case answered:
		return problems.New(http.StatusBadGateway, "storage_failed", "The storage did not answer the report; the request id finds the reason.")
	default:
		return problems.New(http.StatusServiceUnavailable, "storage_unavailable", "The storage cannot be reached.").Retry(1)
	}
}

// setHeaders tells in headers what JSON tells in meta.
func setHeaders(h http.Header, a *answer.Answer, format string) {
	h.Set("Content-Type", export.ContentType(format))
	if format == export.JSON {
		return
	}
	for _, pair := range a.Shape.Meta.Pairs() {
		h.Set("X-Adtally-"+pair.Name, pair.Value)
	}
	h.Set("Content-Disposition", `attachment; filename="report`+export.Extension(format)+`"`)
}

func (s *Server) getFreshness(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	view, err := s.versions.now(ctx)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	closed, err := s.closedZones(ctx, grant)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	fresh := newFreshness(view, s.cfg.Skew, grant)
	fresh.Closed = closed
	writeJSONValue(w, fresh)
}

func (s *Server) getIndex(w http.ResponseWriter, _ *http.Request) {
	writeJSONValue(w, map[string]any{
		"service":   "adtally",
		"endpoints": endpoints,
		"key":       "Authorization: Bearer <key with scope " + strings.Join(access.ScopeReport.Names(), "") + ">",
	})
}

// unexpectedQuery answers a POST with a query string: what it says would be
// passed over without a word.
func unexpectedQuery() *problems.Problem {
	return problems.Field("", "unexpected_query", "With POST the request is in the body only.")
}
