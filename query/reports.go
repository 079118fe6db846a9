package query

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
)

func (s *Server) postReport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).write(w, requestIDOf(w))
		return
	}
	req, problem := decodeRequest(body)
	if problem == nil && r.URL.RawQuery != "" {
		problem = badField("", "unexpected_query", "With POST the request is in the body only.")
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
	report, problem := NewReport(req, grant, s.keys.Account)
	if problem != nil {
		problem.write(w, requestID)
		return
	}
	if !s.limiter.enter(grant.KeyID) {
		s.metrics.refused.Inc()
		newProblem(http.StatusTooManyRequests, "too_many_reports", "Too many reports of this key are running.").
			retry(1).write(w, requestID)
		return
	}
	defer s.limiter.leave(grant.KeyID)
	answer, err := s.run(r.Context(), report, requestID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.metrics.rows.Add(answer.shape.Meta.Rows)
	if err := answer.write(w, format); err != nil {
		s.log.Debug().Err(err).Str("request_id", requestID).Msg("answer not taken")
	}
}

// run opens the version of the books that is wanted, and reads the rows from it.
func (s *Server) run(ctx context.Context, report *Report, requestID string) (*Answer, error) {
	ctx, cancel := withTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.open(ctx, report); err != nil {
		return nil, timedOut(ctx, err)
	}
	answer, err := s.answer(ctx, report, requestID)
	if err != nil {
		return nil, timedOut(ctx, err)
	}
	answer.shape.Meta.CompleteThrough = s.completeThrough(report)
	return answer, nil
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
	var problem *Problem
	_, answered := errors.AsType[*clickhouse.Exception](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		problem = newProblem(http.StatusServiceUnavailable, "report_timeout",
			"The report took longer than "+s.cfg.Timeout.String()+"; ask for less at once.").retry(5)
	case answered:
		problem = newProblem(http.StatusBadGateway, "storage_failed", "The storage did not answer the report; the request id finds the reason.")
	default:
		problem = newProblem(http.StatusServiceUnavailable, "storage_unavailable", "The storage cannot be reached.").retry(1)
	}
	s.metrics.failed.Inc()
	s.log.Error().Err(err).Str("request_id", requestID).Str("code", problem.Code).Msg("report failed")
	problem.write(w, requestID)
}

func (a *Answer) write(w http.ResponseWriter, format string) error {
	h := w.Header()
	h.Set("Content-Type", export.ContentType(format))
	if format != export.JSON {
		for _, pair := range a.shape.Meta.Pairs() {
			h.Set("X-Adtally-"+pair.Name, pair.Value)
		}
		h.Set("Content-Disposition", `attachment; filename="report`+export.Extension(format)+`"`)
	}
	return a.writeTo(w, format)
}

func (s *Server) getFreshness(w http.ResponseWriter, r *http.Request, _ access.Grant) {
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	view, err := s.versions.now(ctx)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	writeJSONValue(w, newFreshness(view, s.cfg.Skew))
}

func (s *Server) getIndex(w http.ResponseWriter, _ *http.Request) {
	writeJSONValue(w, map[string]any{
		"service":   "adtally",
		"endpoints": endpoints,
		"key":       "Authorization: Bearer <key with scope " + strings.Join(access.ScopeReport.Names(), "") + ">",
	})
}
