package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/answer"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/graphql"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// maxGraphRows bounds the rows of a report in GraphQL, which are held in memory
// more than once.
const maxGraphRows = 10_000

// asker is who asks a GraphQL query.
type asker struct {
	grant     access.Grant
	requestID string
}

type askerKey struct{}

// postGraph answers /graphql under the key's grant.
func (s *Server) postGraph(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	const wanted = "application/json"
	sent := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(sent); err != nil || media != wanted {
		p := problems.New(http.StatusUnsupportedMediaType, "unsupported_media_type",
			"A GraphQL query is a JSON object, sent as "+wanted+"; the Content-Type is "+problems.Quote(sent)+".").Allowing([]string{wanted})
		p.Field = "Content-Type"
		p.Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	r = r.WithContext(context.WithValue(ctx, askerKey{}, asker{grant, requestIDOf(w)}))
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	s.graph.ServeHTTP(w, r)
}

func (s *Server) newGraph() http.Handler { return graphql.New(graph{s}, s.hide) }

// hide logs what a client of GraphQL must not see.
func (s *Server) hide(ctx context.Context, err error) *graphql.Refusal {
	who, _ := ctx.Value(askerKey{}).(asker)
	problem := s.problemOf(timedOut(ctx, err))
	s.log.Error().Err(err).Str("request_id", who.requestID).Str("code", problem.Code).Msg("graphql field failed")
	return refusal(problem)
}

// shownError lets the client see what is a problem of its own.
func shownError(err error) error {
	if problem, ok := errors.AsType[*problems.Problem](err); ok {
		return refusal(problem)
	}
	return err
}

func refusal(p *problems.Problem) *graphql.Refusal {
	return &graphql.Refusal{Code: p.Code, Detail: p.Detail, Field: p.Field, Allowed: p.Allowed}
}

// graph implements graphql.Backend.
type graph struct{ server *Server }

// ask runs a request for whoever asks in ctx.
func (g graph) ask(ctx context.Context, req report.Request) (*answer.Answer, error) {
	who, _ := ctx.Value(askerKey{}).(asker)
	asked, problem := g.server.newReport(req, who.grant)
	if problem != nil {
		return nil, refusal(problem)
	}
	if asked.Limit > maxGraphRows {
		return nil, refusal(problems.Field("limit", "invalid_limit", "In GraphQL limit is from 1 to 10000."))
	}
	planned, leave, err := g.server.enter(ctx, asked)
	if err != nil {
		return nil, shownError(err)
	}
	defer leave()
	got, err := g.server.ask(ctx, who.grant, planned, who.requestID+"-"+newRequestID())
	return got, shownError(err)
}

// Report implements graphql.Backend.
func (g graph) Report(ctx context.Context, in *graphql.ReportInput) (*graphql.Report, error) {
	req := report.Request{
		Advertiser: deref(in.Advertiser), Start: in.Start, End: in.End, Timezone: deref(in.Timezone),
		Granularity: deref(in.Granularity), Dimensions: in.Dimensions, Metrics: in.Metrics, Limit: in.Limit,
		Cursor: deref(in.Cursor), AsOf: deref(in.AsOf), Require: deref(in.Require),
	}
	for _, f := range in.Filters {
		req.Filters = append(req.Filters, report.Filter{Dimension: f.Dimension, Op: f.Op, Values: f.Values})
	}
	for _, o := range in.OrderBy {
		req.OrderBy = append(req.OrderBy, report.Order{Field: o.Field, Direction: deref(o.Direction)})
	}
	got, err := g.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	return graphReport(got)
}

func graphReport(a *answer.Answer) (*graphql.Report, error) {
	var text bytes.Buffer
	if err := a.Write(&text, export.JSON); err != nil {
		return nil, err
	}
	var parts struct{ Rows, Totals json.RawMessage }
	if err := json.Unmarshal(text.Bytes(), &parts); err != nil {
		return nil, err
	}
	m := &a.Shape.Meta
	out := &graphql.Report{Rows: graphql.JSON(parts.Rows), Totals: graphql.JSON(parts.Totals), Meta: &graphql.Meta{
		AsOf: orNull(m.AsOf), CompleteThrough: orNull(m.Through()), Finality: m.Finality, Timezone: m.Timezone,
		Advertiser: formatID(m.Advertiser), Currency: orNull(m.Currency), Rows: int64(m.Rows), Truncated: m.Truncated,
		NextCursor: orNull(m.NextCursor), QueryMs: m.Took.Milliseconds(),
	}}
	for _, c := range a.Shape.Columns {
		out.Columns = append(out.Columns, &graphql.Column{Name: c.Name, Type: string(c.Type)})
	}
	return out, nil
}

// Accounts implements graphql.Backend.
func (g graph) Accounts(ctx context.Context, advertiser *string) ([]*graphql.Account, error) {
	who, _ := ctx.Value(askerKey{}).(asker)
	var accounts []access.Account
	switch {
	case advertiser != nil:
		tenant, problem := report.TenantOf(*advertiser, who.grant)
		if problem != nil {
			return nil, refusal(problem)
		}
		accounts = append(accounts, g.server.keys.Account(tenant.Advertiser()))
	case who.grant.All:
		accounts = g.server.keys.Accounts()
	default:
		for _, id := range who.grant.Advertisers {
			accounts = append(accounts, g.server.keys.Account(id))
		}
	}
	out := make([]*graphql.Account, 0, len(accounts))
	for _, a := range accounts {
		out = append(out, &graphql.Account{
			Advertiser: formatID(a.Advertiser), Name: a.Name, Currency: orNull(a.Currency), Timezone: a.Timezone,
		})
	}
	return out, nil
}

// Campaigns implements graphql.Backend.
func (g graph) Campaigns(ctx context.Context, advertiser *string, start, end string, first int64) ([]*graphql.Campaign, error) {
	got, err := g.ask(ctx, report.Request{
		Advertiser: deref(advertiser), Start: start, End: end, Dimensions: []string{"campaign"},
		Metrics: []string{"impressions", "clicks"}, OrderBy: []report.Order{{Field: "impressions", Direction: "desc"}}, Limit: &first,
	})
	if err != nil {
		return nil, err
	}
	out := []*graphql.Campaign{}
	for _, b := range got.Batches {
		for row := range b.Rows {
			out = append(out, &graphql.Campaign{
				Campaign: formatID(b.Vectors[0].IDs[row]), Impressions: b.Vectors[1].Ints[row], Clicks: b.Vectors[2].Ints[row],
			})
		}
	}
	return slices.Clip(out), nil
}

// Freshness implements graphql.Backend.
func (g graph) Freshness(ctx context.Context) (*graphql.Freshness, error) {
	view, err := g.server.versions.now(ctx)
	if err != nil {
		return nil, err
	}
	who, _ := ctx.Value(askerKey{}).(asker)
	fresh := newFreshness(view, g.server.cfg.Skew, who.grant)
	out := &graphql.Freshness{Topic: view.Topic.Name, Partitions: []*graphql.Position{}}
	if fresh.CompleteThrough != nil {
		out.CompleteThrough = orNull(fresh.CompleteThrough.UTC().Format(time.RFC3339))
	}
	if fresh.logPositions == nil {
		return out, nil
	}
	for _, p := range fresh.Partitions {
		out.Partitions = append(out.Partitions, &graphql.Position{
			Partition: int64(p.Partition), Position: formatID(p.Position), Lat: p.LAT.Format(time.RFC3339Nano),
		})
	}
	return out, nil
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }
