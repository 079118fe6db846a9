package query

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/calendar"
)

// grain is the width of the rows of a table.
type grain int

const (
	byMinute grain = iota
	byQuarter
	byDay
)

// table is where rows of a grain are, and the column with their time.
var tables = map[grain]struct{ name, time string }{
	byMinute:  {"ledger", "minute"},
	byQuarter: {"rollup_quarter", "quarter"},
	byDay:     {"rollup_day", "local_day"},
}

// source is a part of what a report adds up: rows of one table that belong to
// its view, within ranges of time; without any, all of them are wanted.
type source struct {
	grain  grain
	ranges []span
	// zone is that of days.
	zone *time.Location
	// deltas are what is read of a rollup, slice what of the ledger.
	deltas []uuid.UUID
	slice  books.Slice
}

// span is a range of time, [from, to).
type span struct{ from, to time.Time }

func (s span) empty() bool { return !s.from.Before(s.to) }

// grid is the width of quarters of an hour.
const grid = 15 * time.Minute

// plan chooses the coarsest tables that answer a report exactly. Every event of
// the view is in exactly one source: up to the cut in a rollup, but for the edges
// of the range that lie within a quarter of an hour; behind it in the ledger.
func (s *Server) plan(ctx context.Context, r *Report) ([]source, error) {
	whole := span{r.start, r.end}
	inner := span{ceil(r.start, grid), r.end.Truncate(grid)}
	if r.granularity.seconds == secondsPerMinute || inner.empty() || !calendar.Regular(calendar.Offsets(r.zone, r.start, r.end)) {
		if r.view.Dropped.Since(r.start) {
			return nil, minutesGone(r, r.view.Dropped.Through)
		}
		return []source{{grain: byMinute, ranges: []span{whole}, slice: r.view.Whole()}}, nil
	}
	sources, err := s.rollups(ctx, r, inner)
	if err != nil {
		return nil, err
	}
	if edges := outside(whole, inner); len(edges) > 0 {
		if r.view.Dropped.Since(edges[0].from) {
			return nil, minutesGone(r, r.view.Dropped.Through)
		}
		sources = append(sources, source{grain: byMinute, ranges: edges, slice: books.Slice{To: r.view.Rest.From}})
	}
	if r.view.RestHas(r.tenant.Advertiser(), r.start, r.end) {
		rest := source{grain: byMinute, ranges: []span{whole}, slice: r.view.Rest}
		if r.view.RestWithin(r.start, r.end) {
			rest.ranges = nil // each condition costs ClickHouse half a millisecond of planning
		}
		sources = append(sources, rest)
	}
	return sources, nil
}

// minutesGone says that a report needs minutes that the ledger keeps no longer.
func minutesGone(r *Report, through time.Time) *Problem {
	p := newProblem(http.StatusGone, "minutes_gone", "Up to "+through.UTC().Format(time.RFC3339)+
		" only quarters of an hour and days are kept: ask from a later start, or with granularity quarter or coarser and start and end on quarters of an hour.")
	p.Field = "start"
	if r.granularity.seconds == secondsPerMinute {
		p.Field = "granularity"
	}
	return p
}

// rollups covers a range with days, where the deltas have those of the report's
// zone, and with quarters of an hour for the rest.
func (s *Server) rollups(ctx context.Context, r *Report, inner span) ([]source, error) {
	zone := r.daysZone()
	days := wholeDays(zone, inner)
	var byDays, daysOf, without []uuid.UUID
	for i := range r.view.Deltas {
		d := &r.view.Deltas[i]
		if days.empty() {
			without = append(without, d.ID)
			continue
		}
		zones, err := s.versions.zoneMap(ctx, d.Zones)
		if err != nil {
			return nil, err
		}
		if !zones.Has(r.tenant.Advertiser(), zone) {
			without = append(without, d.ID)
			continue
		}
		byDays, daysOf = append(byDays, d.ID), append(daysOf, d.Day)
	}
	var sources []source
	add := func(g grain, deltas []uuid.UUID, ranges ...span) {
		if len(deltas) > 0 && len(ranges) > 0 {
			sources = append(sources, source{grain: g, ranges: ranges, deltas: deltas, zone: zone})
		}
	}
	add(byDay, daysOf, days)
	add(byQuarter, byDays, outside(inner, days)...)
	add(byQuarter, without, inner)
	return sources, nil
}

// daysZone is the zone whose whole days may be added up at once; nil for buckets
// within a day. Without buckets that of the account does in any zone.
func (r *Report) daysZone() *time.Location {
	switch {
	case r.granularity.seconds > 0:
		return nil
	case r.granularity.typ == "":
		return r.accountZone
	default:
		return r.zone
	}
}

// wholeDays returns the days of a zone that lie within a range.
func wholeDays(zone *time.Location, within span) span {
	if zone == nil {
		return span{}
	}
	day := within.from.In(zone)
	first := calendar.DayStart(day, zone)
	if first.Before(within.from) {
		first = calendar.DayStart(day.AddDate(0, 0, 1), zone)
	}
	return span{first, calendar.DayStart(within.to.In(zone), zone)}
}

// outside returns what of a range lies before and after another within it; all
// of it when the other is empty.
func outside(whole, inner span) []span {
	if inner.empty() {
		return []span{whole}
	}
	var parts []span
	for _, part := range []span{{whole.from, inner.from}, {inner.to, whole.to}} {
		if !part.empty() {
			parts = append(parts, part)
		}
	}
	return parts
}

func ceil(t time.Time, d time.Duration) time.Time {
	if down := t.Truncate(d); !down.Equal(t) {
		return down.Add(d)
	}
	return t
}

// where returns the predicate for the rows of a source, whose parameters have
// names that begin with prefix. Mark rows have advertiser 0 and are outside of it
// whatever the tenant is.
func (b *builder) where(src *source, prefix string) string {
	terms := []string{tenantTerm}
	if len(src.ranges) > 0 {
		terms = append(terms, b.within(src, prefix))
	}
	if src.grain == byMinute {
		terms = append(terms, src.slice.Where(prefix, b.params))
	} else {
		terms = append(terms, "delta IN {"+prefix+"deltas:Array(UUID)}")
		b.params[prefix+"deltas"] = uuidArray(src.deltas)
	}
	return strings.Join(append(terms, b.filterTerms...), "\n  AND ")
}

// tenantTerm bounds every statement to the tenant.
const tenantTerm = "advertiser = {advertiser:UInt64} AND advertiser > 0"

// within bounds the time of rows.
func (b *builder) within(src *source, prefix string) string {
	column := tables[src.grain].time
	typ := "DateTime('UTC')"
	text := instantParam
	if src.grain == byDay {
		typ, text = "Int32", func(t time.Time) string { return strconv.FormatInt(localDay(t, src.zone), 10) }
	}
	var ranges []string
	for i, part := range src.ranges {
		from, to := fmt.Sprintf("%sstart%d", prefix, i), fmt.Sprintf("%send%d", prefix, i)
		b.params[from], b.params[to] = text(part.from), text(part.to)
		ranges = append(ranges, fmt.Sprintf("%[1]s >= {%[2]s:%[4]s} AND %[1]s < {%[3]s:%[4]s}", column, from, to, typ))
	}
	if len(ranges) == 1 {
		return ranges[0]
	}
	return "((" + strings.Join(ranges, ") OR (") + "))"
}

// localDay is the number of the zone's day at an instant.
func localDay(t time.Time, zone *time.Location) int64 {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
}

func uuidArray(ids []uuid.UUID) string {
	dst := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '\''), id.String()...), '\'')
	}
	return string(append(dst, ']'))
}

// from returns what a report is selected from, and the expression of its bucket.
// The rows of one source are read as they are; several become one table first.
func (b *builder) from(r *Report) (table, bucket, where string) {
	sources := r.sources
	if len(sources) == 0 { // nothing is counted yet
		sources = []source{{grain: byMinute, ranges: []span{{r.start, r.end}}}}
	}
	if len(sources) == 1 {
		src := &sources[0]
		return tables[src.grain].name, b.bucket(r, src.grain), "\nWHERE " + b.where(src, "s0_")
	}
	parts := make([]string, len(sources))
	for i := range sources {
		parts[i] = b.part(r, &sources[i], "s"+strconv.Itoa(i)+"_")
	}
	return "(\n" + strings.Join(parts, "\nUNION ALL\n") + "\n)", "bucket", ""
}

// part selects the columns that a report may need from one source.
func (b *builder) part(r *Report, src *source, prefix string) string {
	var columns []string
	outer := b.with
	b.with = nil
	if r.granularity.typ != "" {
		columns = append(columns, b.bucket(r, src.grain)+" AS bucket")
	}
	for i := range reports.dimensions {
		if d := &reports.dimensions[i]; r.needs(d.Name) {
			columns = append(columns, d.selected())
		}
	}
	columns = append(columns, measureColumns...)
	text := "SELECT " + strings.Join(columns, ", ") + "\nFROM " + tables[src.grain].name + "\nWHERE " + b.where(src, prefix)
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	b.with = outer
	return text
}

// needs says that the columns of the report are made of a dimension.
func (r *Report) needs(name string) bool {
	return name == "currency" && r.spends() ||
		slices.ContainsFunc(r.dimensions, func(d *dimension) bool { return d.Name == name })
}

// measureColumns are the columns that measures add up, and what they depend on.
var measureColumns = []string{"event_type", "gross", "net", "duplicate", "invalid", "orphan", "toInt128(spend_nanos) AS spend_nanos"}
