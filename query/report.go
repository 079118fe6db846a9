package query

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
)

// Limits of one request.
const (
	defaultLimit    = 1000
	maxLimit        = int64(500_000)
	maxFilters      = 32
	maxFilterValues = 1000
	maxValueLen     = 256
)

// The operators of filters.
const (
	opIn    = "in"
	opNotIn = "not_in"
	opEq    = "eq"
	opNe    = "ne"
)

var filterOps = []string{opIn, opNotIn, opEq, opNe}

// Report is a request that was found good, bound to the tenant whose rows it may
// read. Everything in it that becomes part of a statement's text comes from the
// catalogue.
type Report struct {
	tenant      access.Tenant
	start, end  time.Time
	zone        *time.Location
	granularity *granularity
	dimensions  []*dimension
	metrics     []*metric
	filters     []filter
	order       []orderKey
	limit       int
	// asOf names the version of the books to read; empty for the newest.
	asOf         string
	requireFinal bool
	// accountZone is the zone in which days of the advertiser are closed.
	accountZone *time.Location

	// after are the sort keys of the last row of the page before; nil for the
	// first page.
	after []*string

	// What Server.open adds: the version that is read, where its rows are, and
	// until when days were closed in it.
	view    *books.View
	sources []source
	closed  time.Time
}

type filter struct {
	dimension *dimension
	negated   bool
	values    []string
}

// orderKey is a column to sort by: exactly one of the three is set.
type orderKey struct {
	bucket     bool
	dimension  *dimension
	metric     *metric
	descending bool
}

// NewReport checks a request under what its key allows. account tells the time
// zone of an advertiser.
func NewReport(req Request, grant access.Grant, account func(advertiser uint64) access.Account) (*Report, *Problem) {
	tenant, problem := tenantOf(req, grant)
	if problem != nil {
		return nil, problem
	}
	r := &Report{tenant: tenant}
	steps := []func(Request) *Problem{
		r.setVersion,
		func(req Request) *Problem { return r.setZone(req, account) },
		r.setGranularity,
		r.setRange,
		r.setDimensions,
		r.setMetrics,
		r.setFilters,
		r.setOrder,
		r.setLimit,
		r.checkReach,
	}
	for _, step := range steps {
		if problem := step(req); problem != nil {
			return nil, problem
		}
	}
	return r, nil
}

func tenantOf(req Request, grant access.Grant) (access.Tenant, *Problem) {
	advertiser, only := grant.Only()
	if req.Advertiser == "" && !only {
		return access.Tenant{}, badField("advertiser", "advertiser_required",
			"The key covers several advertisers: name one.")
	}
	if req.Advertiser != "" {
		id, ok := parseID(req.Advertiser)
		if !ok || id == 0 {
			return access.Tenant{}, badField("advertiser", "invalid_advertiser",
				"An advertiser is a whole number from 1.")
		}
		advertiser = id
	}
	tenant, ok := grant.Tenant(advertiser)
	if !ok {
		p := newProblem(http.StatusNotFound, "advertiser_not_found", "There is no such advertiser for this key.")
		p.Field = "advertiser"
		return access.Tenant{}, p
	}
	return tenant, nil
}

// setVersion takes which version of the books is wanted. Whether there is one of
// that name is seen when it is read.
func (r *Report) setVersion(req Request) *Problem {
	if len(req.AsOf) > maxAsOf || strings.Trim(req.AsOf, asOfLetters) != "" {
		return badField("as_of", "invalid_as_of", "as_of is what meta.as_of of an earlier answer said.")
	}
	r.asOf = req.AsOf
	switch req.Require {
	case "", "any":
		return nil
	case finalityFinal:
		r.requireFinal = true
		return nil
	default:
		return unknownName("require", "unknown_require", req.Require, []string{"any", finalityFinal})
	}
}

// asOfLetters are what names of views are made of.
const asOfLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_."

func (r *Report) setZone(req Request, account func(uint64) access.Account) *Problem {
	own := account(r.tenant.Advertiser()).Timezone
	if zone, err := access.LoadZone(own); err == nil {
		r.accountZone = zone
	}
	name := cmp.Or(req.Timezone, own)
	zone, err := access.LoadZone(name)
	if err != nil {
		return badField("timezone", "unknown_timezone",
			quote(name)+" is no IANA time zone; America/New_York is one.")
	}
	r.zone = zone
	return nil
}

func (r *Report) setGranularity(req Request) *Problem {
	name := req.Granularity
	if name == "" {
		name = "total"
	}
	r.granularity = granularityNamed(name)
	if r.granularity == nil {
		return unknownName("granularity", "unknown_granularity", name, granularityNames())
	}
	return nil
}

func (r *Report) setRange(req Request) *Problem {
	bounds := []struct {
		field, text string
		dst         *time.Time
	}{{"start", req.Start, &r.start}, {"end", req.End, &r.end}}
	for _, b := range bounds {
		if b.text == "" {
			return badField(b.field, "missing_field", "A report needs "+b.field+".")
		}
		t, err := parseTime(b.text, r.zone)
		if err != nil {
			return badField(b.field, "invalid_time", quote(b.text)+": "+err.Error()+".")
		}
		*b.dst = t
	}
	if !r.start.Before(r.end) {
		return badField("end", "empty_range", "start must be before end, which is exclusive.")
	}
	longest := r.start.In(r.zone).AddDate(0, 0, r.granularity.maxDays)
	if r.granularity.maxDays == maxRangeDays {
		longest = r.start.In(r.zone).AddDate(maxRangeYears, 0, 0)
	}
	if r.end.After(longest) {
		return badField("end", "range_too_long", fmt.Sprintf(
			"With granularity %s a report spans at most %s.", r.granularity.name, r.granularity.longest()))
	}
	return nil
}

// longest is the longest range in words.
func (g *granularity) longest() string {
	if g.maxDays == maxRangeDays {
		return strconv.Itoa(maxRangeYears) + " years"
	}
	return strconv.Itoa(g.maxDays) + " days"
}

func (r *Report) setDimensions(req Request) *Problem {
	for i, name := range req.Dimensions {
		d := reports.dimension(name)
		field := index("dimensions", i)
		if d == nil {
			return unknownName(field, "unknown_dimension", name, reports.dimensionNames())
		}
		if slices.Contains(r.dimensions, d) {
			return badField(field, "duplicate_dimension", name+" is there twice.")
		}
		r.dimensions = append(r.dimensions, d)
	}
	return nil
}

func (r *Report) setMetrics(req Request) *Problem {
	if len(req.Metrics) == 0 {
		return badField("metrics", "missing_field", "A report needs metrics.").allowing(reports.metricNames())
	}
	for i, name := range req.Metrics {
		m := reports.metric(name)
		field := index("metrics", i)
		if m == nil {
			return unknownName(field, "unknown_metric", name, reports.metricNames())
		}
		if slices.Contains(r.metrics, m) {
			return badField(field, "duplicate_metric", name+" is there twice.")
		}
		r.metrics = append(r.metrics, m)
	}
	return nil
}

func (r *Report) setFilters(req Request) *Problem {
	if len(req.Filters) > maxFilters {
		return badField("filters", "too_many_filters", fmt.Sprintf("At most %d filters are taken.", maxFilters))
	}
	for i, f := range req.Filters {
		checked, problem := newFilter(index("filters", i), f)
		if problem != nil {
			return problem
		}
		r.filters = append(r.filters, checked)
	}
	return nil
}

func newFilter(field string, f Filter) (filter, *Problem) {
	d := reports.dimension(f.Dimension)
	switch {
	case d == nil:
		return filter{}, unknownName(field+".dimension", "unknown_dimension", f.Dimension, reports.dimensionNames())
	case !slices.Contains(filterOps, f.Op):
		return filter{}, unknownName(field+".op", "unknown_op", f.Op, filterOps)
	case (f.Op == opEq || f.Op == opNe) && len(f.Values) != 1:
		return filter{}, badField(field+".values", "invalid_values", f.Op+" takes exactly one value.")
	case len(f.Values) == 0 || len(f.Values) > maxFilterValues:
		return filter{}, badField(field+".values", "invalid_values",
			fmt.Sprintf("%s takes from 1 to %d values.", f.Op, maxFilterValues))
	}
	for i, value := range f.Values {
		at := index(field+".values", i)
		if len(value) > maxValueLen {
			return filter{}, badField(at, "value_too_long", fmt.Sprintf("A value has at most %d bytes.", maxValueLen))
		}
		if _, ok := parseID(value); d.ID && !ok {
			return filter{}, badField(at, "invalid_id", quote(value)+" is no id: a whole number from 0 to 2^64-1 is wanted.")
		}
	}
	return filter{dimension: d, negated: f.Op == opNotIn || f.Op == opNe, values: f.Values}, nil
}

func (r *Report) setOrder(req Request) *Problem {
	selected := r.columnNames()
	var seen []string
	for i, o := range req.OrderBy {
		field := index("order_by", i)
		if !slices.Contains(selected, o.Field) {
			return unknownName(field+".field", "unknown_order", o.Field, selected)
		}
		if slices.Contains(seen, o.Field) {
			return badField(field+".field", "duplicate_order", o.Field+" is there twice.")
		}
		seen = append(seen, o.Field)
		key := orderKey{
			bucket:    o.Field == r.granularity.name,
			dimension: reports.dimension(o.Field),
			metric:    reports.metric(o.Field),
		}
		switch o.Direction {
		case "", "asc":
		case "desc":
			key.descending = true
		default:
			return unknownName(field+".direction", "unknown_direction", o.Direction, []string{"asc", "desc"})
		}
		r.order = append(r.order, key)
	}
	return nil
}

// columnNames lists the columns that rows can be sorted by.
func (r *Report) columnNames() []string {
	var names []string
	if r.granularity.typ != "" {
		names = append(names, r.granularity.name)
	}
	for _, d := range r.dimensions {
		names = append(names, d.Name)
	}
	for _, m := range r.metrics {
		names = append(names, m.name)
	}
	return names
}

func (r *Report) setLimit(req Request) *Problem {
	r.limit = defaultLimit
	if req.Limit == nil {
		return nil
	}
	most := max(maxLimit, req.mostRows)
	if *req.Limit < 1 || *req.Limit > most {
		return badField("limit", "invalid_limit", fmt.Sprintf("limit is from 1 to %d.", most))
	}
	r.limit = int(*req.Limit)
	return nil
}

// spends says that the report shows money.
func (r *Report) spends() bool {
	return slices.ContainsFunc(r.metrics, (*metric).spends)
}

// parseID reads an id: digits only, so that every id has few spellings.
func parseID(text string) (uint64, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	id, err := strconv.ParseUint(text, 10, 64)
	return id, err == nil
}

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }

func unknownName(field, code, name string, allowed []string) *Problem {
	return badField(field, code, quote(name)+" is not known here.").allowing(allowed)
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
