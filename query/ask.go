package query

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/query/answer"
	"github.com/adtally/adtally/query/cache"
	"github.com/adtally/adtally/query/limit"
	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// Closes knows which days are closed.
type Closes interface {
	// Through returns the instant before which all days of the advertiser are
	// closed in its own time zone, as the books were at a cut; zero if none is.
	Through(ctx context.Context, advertiser uint64, zone *time.Location, cut uint64) (time.Time, error)
}

// newReport checks a request, and that it does not cost too much.
func (s *Server) newReport(req report.Request, grant access.Grant) (*report.Report, *problems.Problem) {
	r, problem := report.Page(req, grant, s.keys.Account, s.secret)
	if problem != nil {
		return nil, problem
	}
	return r, r.TooDear(s.cfg.MaxCost)
}

// enter waits for the turn of a report's advertiser, and plans it over the version
// of the books that is wanted. Without an error, leave must be called.
func (s *Server) enter(ctx context.Context, r *report.Report) (p *plan.Plan, leave func(), err error) {
	leave, refusal, err := s.limiter.Enter(ctx, r.Tenant.Advertiser())
	if err != nil {
		return nil, nil, err
	}
	if refusal != nil {
		s.metrics.refused.Inc()
		return nil, nil, refused(refusal)
	}
	p, err = s.open(ctx, r)
	if err != nil {
		leave()
		return nil, nil, err
	}
	return p, leave, nil
}

// open plans a report over the version of the books that it names, or the newest.
func (s *Server) open(ctx context.Context, r *report.Report) (*plan.Plan, error) {
	view, err := s.view(ctx, r.AsOf)
	if err != nil {
		return nil, err
	}
	closed, err := s.closes.Through(ctx, r.Tenant.Advertiser(), r.AccountZone, view.Cut)
	if err != nil {
		return nil, err
	}
	if r.RequireFinal && closed.Before(r.End) {
		return nil, notFinal(closed)
	}
	return plan.New(ctx, s.versions, r, view, closed)
}

func (s *Server) view(ctx context.Context, asOf string) (*books.View, error) {
	if asOf == "" {
		return s.versions.now(ctx)
	}
	view, err := s.versions.at(ctx, asOf)
	switch {
	case errors.Is(err, books.ErrNoView):
		return nil, problems.Field("as_of", "unknown_as_of",
			"There is no such version of the books: as_of is what meta.as_of of an earlier answer said.")
	case errors.Is(err, books.ErrGone):
		return nil, versionGone("as_of", err)
	}
	return view, err
}

// versionGone says that a version cannot be put together any more, and which is
// the oldest that can.
func versionGone(field string, err error) *problems.Problem {
	p := problems.New(http.StatusGone, "as_of_gone", "This version of the books is no longer kept.")
	p.Field = field
	if gone, ok := errors.AsType[*books.GoneError](err); ok {
		oldest := strconv.FormatUint(gone.Oldest, 10)
		p.Detail = "This version of the books is no longer kept; the oldest that is kept is " + oldest + "."
		p.Allowed = []string{oldest}
	}
	return p
}

func notFinal(closed time.Time) *problems.Problem {
	detail := "No day is closed yet, so every number is provisional."
	if !closed.IsZero() {
		detail = "Days are closed up to " + closed.UTC().Format(time.RFC3339) + " only."
	}
	p := problems.New(http.StatusConflict, "not_final", detail)
	p.Field = "require"
	return p
}

// ask runs a report that has entered, within the budget of its key.
func (s *Server) ask(ctx context.Context, grant access.Grant, p *plan.Plan, requestID string) (*answer.Answer, error) {
	if problem := refused(s.limiter.Spend(grant.KeyID, p.Cost())); problem != nil {
		s.metrics.refused.Inc()
		return nil, problem
	}
	got, err := answer.Read(ctx, s.conn, s.query(ctx, p, requestID, s.cfg.Timeout))
	if err != nil {
		return nil, err
	}
	s.metrics.rows.Add(got.Shape.Meta.Rows)
	return got, nil
}

// query is the run of a plan under the limits of this server.
func (s *Server) query(ctx context.Context, p *plan.Plan, id string, timeout time.Duration) *answer.Query {
	return &answer.Query{Plan: p, ID: id, Settings: s.settings(ctx, timeout), Secret: s.secret, Skew: s.cfg.Skew}
}

// refused is the answer to a client that asks too much; nil for nil.
func refused(r *limit.Refusal) *problems.Problem {
	if r == nil {
		return nil
	}
	return problems.New(http.StatusTooManyRequests, r.Code, r.Detail).Retry(int(math.Ceil(r.RetryAfter.Seconds())))
}

// cacheKey names an answer: tenant, request, page, format and version of the
// books.
func cacheKey(p *plan.Plan, format string) cache.Key {
	parts := []string{p.Canonical(), format, p.View.Name, strconv.FormatBool(p.AsOf != ""), p.Closed.UTC().Format(time.RFC3339)}
	if p.Unique() {
		// Sketches are no part of a version: what is new in them must be seen.
		parts = append(parts, newRequestID())
	}
	for _, value := range p.After {
		if value == nil {
			parts = append(parts, "null")
			continue
		}
		parts = append(parts, "="+*value)
	}
	return cache.NewKey(parts...)
}
