package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/cache"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/limit"
)

func (s *Server) postReport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).write(w, requestIDOf(w))
		return
	}
	req, problem := decodeRequest(body)
	if problem == nil && r.URL.RawQuery != "" {
		problem = unexpectedQuery()
	}
	s.report(w, r, grant, req, problem)
}

func (s *Server) getReport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	req, problem := requestFromURL(r.URL.RawQuery)
	s.report(w, r, grant, req, problem)
}

func bodyProblem(err error) *Problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large", "A request has at most 1 MiB.")
	}
	return newProblem(http.StatusBadRequest, "unreadable_body", "The body could not be read.")
}

// report is what POST and GET share.
func (s *Server) report(w http.ResponseWriter, r *http.Request, grant access.Grant, req Request, problem *Problem) {
	requestID := requestIDOf(w)
	if problem != nil {
		problem.write(w, requestID)
		return
	}
	format, ok := negotiate(r.Header.Values("Accept"))
	if !ok {
		newProblem(http.StatusNotAcceptable, "not_acceptable", "None of the formats in Accept is there.").
			allowing(formats).write(w, requestID)
		return
	}
	report, problem := s.newReport(req, grant)
	if problem != nil {
		problem.write(w, requestID)
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	leave, err := s.enter(ctx, report)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	defer leave()
	key := report.cacheKey(format)
	if s.again(w, r, key) {
		return
	}
	answer, err := s.ask(ctx, grant, report, requestID)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if err := s.send(w, answer, format, key); err != nil {
		s.log.Debug().Err(err).Str("request_id", requestID).Msg("answer not taken")
	}
}

// newReport checks a request, and finds the page that a cursor asks for.
func (s *Server) newReport(req Request, grant access.Grant) (*Report, *Problem) {
	text := req.Cursor
	req.Cursor = ""
	if text == "" {
		return s.checked(req, grant)
	}
	tenant, problem := tenantOf(req, grant)
	if problem != nil {
		return nil, problem
	}
	page, problem := openCursor(s.secret, tenant.Advertiser(), text)
	if problem != nil {
		return nil, problem
	}
	if page.AsOf != "" {
		if req.AsOf != "" && req.AsOf != page.AsOf {
			return nil, badCursor()
		}
		req.AsOf = page.AsOf
	}
	report, problem := s.checked(req, grant)
	if problem != nil {
		return nil, problem
	}
	if report.hash() != page.Request || len(page.After) != len(report.totalOrder()) {
		return nil, badCursor()
	}
	report.after = page.After
	return report, nil
}

func (s *Server) checked(req Request, grant access.Grant) (*Report, *Problem) {
	report, problem := NewReport(req, grant, s.keys.Account)
	if problem != nil {
		return nil, problem
	}
	return report, report.tooDear(s.cfg.MaxCost)
}

// enter waits for the turn of a report's advertiser, and opens the version of the
// books that is wanted. Without an error, leave must be called.
func (s *Server) enter(ctx context.Context, report *Report) (leave func(), err error) {
	leave, refusal, err := s.limiter.Enter(ctx, report.tenant.Advertiser())
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		s.metrics.refused.Inc()
		return nil, refused(refusal)
	}
	if err := s.open(ctx, report); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// ask runs a report that has entered, within the budget of its key.
func (s *Server) ask(ctx context.Context, grant access.Grant, report *Report, requestID string) (*Answer, error) {
	if problem := refused(s.limiter.Spend(grant.KeyID, report.cost())); problem != nil {
		s.metrics.refused.Inc()
		return nil, problem
	}
	answer, err := s.answer(ctx, report, requestID)
	if err != nil {
		return nil, err
	}
	s.metrics.rows.Add(answer.shape.Meta.Rows)
	return answer, nil
}

// refused is the answer to a client that asks too much; nil for nil.
func refused(r *limit.Refusal) *Problem {
	if r == nil {
		return nil
	}
	return newProblem(http.StatusTooManyRequests, r.Code, r.Detail).retry(int(math.Ceil(r.RetryAfter.Seconds())))
}

// cacheKey names an answer: tenant, request, page, format and version of the
// books.
func (r *Report) cacheKey(format string) cache.Key {
	parts := []string{r.canonical(), format, r.view.Name, strconv.FormatBool(r.asOf != ""), r.closed.UTC().Format(time.RFC3339)}
	if r.unique() {
		// Sketches are no part of a version: what is new in them must be seen.
		parts = append(parts, newRequestID())
	}
	for _, value := range r.after {
		if value == nil {
			parts = append(parts, "null")
			continue
		}
		parts = append(parts, "="+*value)
	}
	return cache.NewKey(parts...)
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
	_, _ = w.Write(entry.Body) //nolint:gosec // the client may be gone; no HTML, and the type is not guessed
	return true
}

// send writes an answer, and keeps it if it is small.
func (s *Server) send(w http.ResponseWriter, answer *Answer, format string, key cache.Key) error {
	own := http.Header{}
	answer.setHeaders(own, format)
	maps.Copy(w.Header(), own)
	w.Header().Set("Server-Timing", fmt.Sprintf("storage;dur=%.1f", float64(answer.shape.Meta.Took.Microseconds())/1000))
	kept := &bounded{most: s.cache.Most()}
	if err := answer.writeTo(io.MultiWriter(w, kept), format); err != nil {
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
	if problem, ok := errors.AsType[*Problem](err); ok {
		problem.write(w, requestID)
		return
	}
	if r.Context().Err() != nil { // nobody reads the answer
		s.log.Debug().Err(err).Str("request_id", requestID).Msg("client went away")
		newProblem(http.StatusServiceUnavailable, "canceled", "The client went away.").write(w, requestID)
		return
	}
	problem := s.problemOf(err)
	s.log.Error().Err(err).Str("request_id", requestID).Str("code", problem.Code).Msg("report failed")
	problem.write(w, requestID)
}

// Codes of ClickHouse for a report that takes more than it may.
const (
	codeTooSlow       = 159
	codeTooManyRows   = 158
	codeMemory        = 241
	codeTooManyResult = 396
)

// problemOf is what a client may know of a failure.
func (s *Server) problemOf(err error) *Problem {
	s.metrics.failed.Inc()
	exception, answered := errors.AsType[*clickhouse.Exception](err)
	slow := newProblem(http.StatusServiceUnavailable, "report_timeout",
		"The report took longer than "+s.cfg.Timeout.String()+"; ask for less at once.").retry(5)
	switch {
	case errors.Is(err, context.DeadlineExceeded), answered && exception.Code == codeTooSlow:
		return slow
	case answered && slices.Contains([]int32{codeTooManyRows, codeMemory, codeTooManyResult}, exception.Code):
		return newProblem(http.StatusUnprocessableEntity, "report_too_large", "The report takes more memory than it may; ask for less at once.")
	case answered:
		return newProblem(http.StatusBadGateway, "storage_failed", "The storage did not answer the report; the request id finds the reason.")
	default:
		return newProblem(http.StatusServiceUnavailable, "storage_unavailable", "The storage cannot be reached.").retry(1)
	}
}

// setHeaders tells in headers what JSON tells in meta.
func (a *Answer) setHeaders(h http.Header, format string) {
	h.Set("Content-Type", export.ContentType(format))
	if format == export.JSON {
		return
	}
	for _, pair := range a.shape.Meta.Pairs() {
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
func unexpectedQuery() *Problem {
	return badField("", "unexpected_query", "With POST the request is in the body only.")
}
