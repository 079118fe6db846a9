package report

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/problems"
)

// Limits of one request.
const (
	DefaultLimit    = 1000
	MaxLimit        = int64(500_000)
	MaxFilters      = 32
	MaxFilterValues = 1000
	MaxValueLen     = 256 // bytes
	// maxAsOf bounds the text of as_of; names grow with the number of partitions.
	maxAsOf = 8 << 10
)

// The operators of filters.
const (
	OpIn    = "in"
	OpNotIn = "not_in"
	OpEq    = "eq"
	OpNe    = "ne"
)

// Ops lists the operators of filters.
var Ops = []string{OpIn, OpNotIn, OpEq, OpNe}

// Finality of rows and answers.
const (
	Provisional = "provisional"
	Final       = "final"
)

// Report is a request that was found good, bound to the tenant whose rows it may
// read. Only New and Page make one, and nobody changes it. Everything in it that
// becomes part of a statement's text comes from the catalogue.
type Report struct {
	Tenant access.Tenant
	// Start and End bound the minutes of events, [Start, End) in UTC.
	Start, End time.Time
	// Zone is that of buckets.
	Zone        *time.Location
	Granularity *Granularity
	Dimensions  []*Dimension
	Metrics     []*Metric
	// Filters must all hold.
	Filters []Condition
	// Order is what was asked for; TotalOrder leaves no two rows equal.
	Order []SortKey
	// Limit bounds the rows of a page.
	Limit int
	// AsOf names the version of the books to read; empty for the newest.
	AsOf         string
	RequireFinal bool
	// AccountZone is the zone in which days of the advertiser are closed.
	AccountZone *time.Location
	// After are the sort keys of the last row of the page before; nil for the
	// first page.
	After []*string
}

// Condition keeps rows whose dimension is among the values, or is not.
type Condition struct {
	Dimension *Dimension
	Negated   bool
	Values    []string
}

// SortKey is a column to sort by: exactly one of the first three is set.
type SortKey struct {
	Bucket     bool
	Dimension  *Dimension
	Metric     *Metric
	Descending bool
}

// New checks a request under what its key allows. account tells the time
// zone of an advertiser.
func New(req Request, grant access.Grant, account func(advertiser uint64) access.Account) (*Report, *problems.Problem) {
	tenant, problem := TenantOf(req.Advertiser, grant)
	if problem != nil {
		return nil, problem
	}
	r := &Report{Tenant: tenant}
	steps := []func(Request) *problems.Problem{
		r.setVersion,
		func(req Request) *problems.Problem { return r.setZone(req, account) },
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

// TenantOf returns the advertiser that a request is about: the one it names, or the
// only one of its key. One that the key does not cover is not there.
func TenantOf(name string, grant access.Grant) (access.Tenant, *problems.Problem) {
	advertiser, only := grant.Only()
	if name == "" && !only {
		return access.Tenant{}, problems.Field("advertiser", "advertiser_required",
			"The key covers several advertisers: name one.")
	}
	if name != "" {
		id, ok := ParseID(name)
		if !ok || id == 0 {
			return access.Tenant{}, problems.Field("advertiser", "invalid_advertiser",
				"An advertiser is a whole number from 1.")
		}
		advertiser = id
	}
	tenant, ok := grant.Tenant(advertiser)
	if !ok {
		p := problems.New(http.StatusNotFound, "advertiser_not_found", "There is no such advertiser for this key.")
		p.Field = "advertiser"
		return access.Tenant{}, p
	}
	return tenant, nil
}

// setVersion takes which version of the books is wanted. Whether there is one of
// that name is seen when it is read.
func (r *Report) setVersion(req Request) *problems.Problem {
	if len(req.AsOf) > maxAsOf || strings.Trim(req.AsOf, asOfLetters) != "" {
		return problems.Field("as_of", "invalid_as_of", "as_of is what meta.as_of of an earlier answer said.")
	}
	r.AsOf = req.AsOf
	switch req.Require {
	case "", "any":
		return nil
	case Final:
		r.RequireFinal = true
		return nil
	default:
		return problems.Unknown("require", "unknown_require", req.Require, []string{"any", Final})
	}
}

// asOfLetters are what names of views are made of.
const asOfLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_."

func (r *Report) setZone(req Request, account func(uint64) access.Account) *problems.Problem {
	own := account(r.Tenant.Advertiser()).Timezone
	if zone, err := access.LoadZone(own); err == nil {
		r.AccountZone = zone
	}
	name := cmp.Or(req.Timezone, own)
	zone, err := access.LoadZone(name)
	if err != nil {
		return problems.Field("timezone", "unknown_timezone",
			problems.Quote(name)+" is no IANA time zone; America/New_York is one.")
	}
	r.Zone = zone
	return nil
}

func (r *Report) setGranularity(req Request) *problems.Problem {
	name := req.Granularity
	if name == "" {
		name = "total"
	}
	r.Granularity = GranularityNamed(name)
	if r.Granularity == nil {
		return problems.Unknown("granularity", "unknown_granularity", name, granularityNames())
	}
	return nil
}

func (r *Report) setRange(req Request) *problems.Problem {
	bounds := []struct {
		field, text string
		dst         *time.Time
	}{{"start", req.Start, &r.Start}, {"end", req.End, &r.End}}
	for _, b := range bounds {
		if b.text == "" {
			return problems.Field(b.field, "missing_field", "A report needs "+b.field+".")
		}
		t, err := parseTime(b.text, r.Zone)
		if err != nil {
			return problems.Field(b.field, "invalid_time", problems.Quote(b.text)+": "+err.Error()+".")
		}
		*b.dst = t
	}
	if !r.Start.Before(r.End) {
		return problems.Field("end", "empty_range", "start must be before end, which is exclusive.")
	}
	longest := r.Start.In(r.Zone).AddDate(0, 0, r.Granularity.MaxDays)
	if r.Granularity.MaxDays == maxRangeDays {
		longest = r.Start.In(r.Zone).AddDate(maxRangeYears, 0, 0)
	}
	if r.End.After(longest) {
		return problems.Field("end", "range_too_long", fmt.Sprintf(
			"With granularity %s a report spans at most %s.", r.Granularity.Name, r.Granularity.Longest()))
	}
	return nil
}

func (r *Report) setDimensions(req Request) *problems.Problem {
	for i, name := range req.Dimensions {
		d := DimensionNamed(name)
		field := index("dimensions", i)
		if d == nil {
			return problems.Unknown(field, "unknown_dimension", name, DimensionNames())
		}
		if slices.Contains(r.Dimensions, d) {
			return problems.Field(field, "duplicate_dimension", name+" is there twice.")
		}
		r.Dimensions = append(r.Dimensions, d)
	}
	return nil
}

func (r *Report) setMetrics(req Request) *problems.Problem {
	if len(req.Metrics) == 0 {
		return problems.Field("metrics", "missing_field", "A report needs metrics.").Allowing(MetricNames())
	}
	for i, name := range req.Metrics {
		m := MetricNamed(name)
		field := index("metrics", i)
		if m == nil {
			return problems.Unknown(field, "unknown_metric", name, MetricNames())
		}
		if slices.Contains(r.Metrics, m) {
			return problems.Field(field, "duplicate_metric", name+" is there twice.")
		}
		r.Metrics = append(r.Metrics, m)
	}
	return nil
}

func (r *Report) setOrder(req Request) *problems.Problem {
	selected := r.columnNames()
	var seen []string
	for i, o := range req.OrderBy {
		field := index("order_by", i)
		if !slices.Contains(selected, o.Field) {
			return problems.Unknown(field+".field", "unknown_order", o.Field, selected)
		}
		if slices.Contains(seen, o.Field) {
			return problems.Field(field+".field", "duplicate_order", o.Field+" is there twice.")
		}
		seen = append(seen, o.Field)
		key := SortKey{
			Bucket:    o.Field == r.Granularity.Name,
			Dimension: DimensionNamed(o.Field),
			Metric:    MetricNamed(o.Field),
		}
		switch o.Direction {
		case "", "asc":
		case "desc":
			key.Descending = true
		default:
			return problems.Unknown(field+".direction", "unknown_direction", o.Direction, []string{"asc", "desc"})
		}
		r.Order = append(r.Order, key)
	}
	return nil
}

// columnNames lists the columns that rows can be sorted by.
func (r *Report) columnNames() []string {
	var names []string
	if r.Granularity.Type != "" {
		names = append(names, r.Granularity.Name)
	}
	for _, d := range r.Dimensions {
		names = append(names, d.Name)
	}
	for _, m := range r.Metrics {
		names = append(names, m.Name)
	}
	return names
}

func (r *Report) setLimit(req Request) *problems.Problem {
	r.Limit = DefaultLimit
	if req.Limit == nil {
		return nil
	}
	most := max(MaxLimit, req.MostRows)
	if *req.Limit < 1 || *req.Limit > most {
		return problems.Field("limit", "invalid_limit", fmt.Sprintf("limit is from 1 to %d.", most))
	}
	r.Limit = int(*req.Limit)
	return nil
}

// Spends says that the report shows money.
func (r *Report) Spends() bool {
	return slices.ContainsFunc(r.Metrics, (*Metric).Spends)
}

// ParseID reads an id: digits only, so that every id has few spellings.
func ParseID(text string) (uint64, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	id, err := strconv.ParseUint(text, 10, 64)
	return id, err == nil
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
