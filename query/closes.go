package query

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// maxCloses bounds the days of one answer.
const maxCloses = 100

// closedZone is how far a time zone is closed.
type closedZone struct {
	Timezone string `json:"timezone"`
	Day      string `json:"day"`
	AsOf     string `json:"as_of"`
}

// closedZones lists the zones of the key's advertisers that have closes.
func (s *Server) closedZones(ctx context.Context, grant access.Grant) ([]closedZone, error) {
	state, err := s.chain.Load(ctx)
	if err != nil {
		return nil, err
	}
	var own []string
	for _, advertiser := range grant.Advertisers {
		own = append(own, state.ZoneOf(advertiser))
	}
	list := []closedZone{}
	for _, name := range state.Zones() {
		if grant.All || slices.Contains(own, name) {
			z := state.Zone(name)
			list = append(list, closedZone{name, closing.DateOf(z.Last).Format(time.DateOnly), strconv.FormatUint(z.Cut, 10)})
		}
	}
	return list, nil
}

// closedDay is a closed day of one advertiser.
type closedDay struct {
	Day             string           `json:"day"`
	Timezone        string           `json:"timezone"`
	Close           uint64           `json:"close"`
	Cut             string           `json:"as_of"`
	CompleteThrough time.Time        `json:"complete_through"`
	Hash            string           `json:"hash"`
	Statement       []currencyTotals `json:"statement"`
	Adjustments     []currencyTotals `json:"adjustments"`
}

// currencyTotals are what was counted in one currency.
type currencyTotals struct {
	Currency  string `json:"currency"`
	Rows      uint64 `json:"rows"`
	Gross     int64  `json:"gross"`
	Net       int64  `json:"net"`
	Duplicate int64  `json:"duplicate"`
	Invalid   int64  `json:"invalid"`
	Orphan    int64  `json:"orphan"`
	Spend     string `json:"spend"`
}

// query reads the parameters of a GET, each at most once.
func queryOf(r *http.Request, allowed ...string) (url.Values, *problems.Problem) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problems.New(http.StatusBadRequest, "invalid_query", "The query string cannot be read.")
	}
	for name, list := range values {
		switch {
		case !slices.Contains(allowed, name):
			return nil, problems.Unknown(name, "unknown_parameter", name, allowed)
		case len(list) > 1:
			return nil, problems.Field(name, "repeated_parameter", name+" is there more than once.")
		}
	}
	return values, nil
}

// getCloses lists the closed days of an advertiser, the newest first.
func (s *Server) getCloses(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	values, problem := queryOf(r, "advertiser", "before", "limit")
	var tenant access.Tenant
	if problem == nil {
		tenant, problem = report.TenantOf(values.Get("advertiser"), grant)
	}
	limit := maxCloses
	if text := values.Get("limit"); problem == nil && text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxCloses {
			problem = problems.Field("limit", "invalid_limit", "limit is a whole number from 1 to "+strconv.Itoa(maxCloses)+".")
		}
		limit = n
	}
	before := values.Get("before")
	if problem == nil && before != "" {
		if _, err := time.Parse(time.DateOnly, before); err != nil {
			problem = problems.Field("before", "invalid_day", problems.Quote(before)+" is no date; 2026-11-20 is one.")
		}
	}
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	closes, more, err := s.chain.Of(ctx, tenant.Advertiser(), before, limit)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	days := make([]closedDay, 0, len(closes))
	for _, c := range closes {
		days = append(days, closedDay{
			Day: c.Day, Timezone: c.Timezone, Close: c.Sequence, Cut: strconv.FormatUint(c.Cut, 10), CompleteThrough: c.CompleteThrough, Hash: c.Hash,
			Statement: totalsOf(&c.Statement, tenant), Adjustments: totalsOf(&c.Adjustments, tenant),
		})
	}
	writeJSONStatus(w, http.StatusOK, map[string]any{"closes": days, "more": more})
}

func totalsOf(p *closing.Part, tenant access.Tenant) []currencyTotals {
	list := []currencyTotals{}
	for i := range p.Totals {
		t := &p.Totals[i]
		if t.Advertiser == tenant.Advertiser() {
			list = append(list, currencyTotals{t.Currency, t.Rows, t.Gross, t.Net, t.Duplicate, t.Invalid, t.Orphan, t.Spend()})
		}
	}
	return list
}

// getChanges lists what changed in days that were closed, after a version of the
// books.
func (s *Server) getChanges(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	values, problem := queryOf(r, "advertiser", "since")
	var tenant access.Tenant
	if problem == nil {
		tenant, problem = report.TenantOf(values.Get("advertiser"), grant)
	}
	since := uint64(0)
	if text := values.Get("since"); problem == nil && text != "" {
		var ok bool
		if since, ok = closing.ParseAsOf(text); !ok {
			problem = problems.Field("since", "invalid_as_of", problems.Quote(text)+" is no version of the books; the as_of of an answer is one.")
		}
	}
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	feed, err := closing.Changes(ctx, s.conn, tenant.Advertiser(), since)
	if errors.Is(err, books.ErrGone) {
		err = versionGone("since", err)
	}
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if feed.More {
		feed.Next = "/v1/changes?" + url.Values{"advertiser": {formatID(tenant.Advertiser())}, "since": {feed.AsOf}}.Encode()
	}
	writeJSONStatus(w, http.StatusOK, feed)
}
