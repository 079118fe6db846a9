package plan

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/calendar"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// grain is the width of the rows of a table.
type grain int

const (
	byMinute grain = iota
	byQuarter
	byDay
)

// SentAs is the table that a statement reads the rows from that go along with it.
const SentAs = "behind"

// tables are where rows of a grain are, and the column with their time.
var tables = map[grain]struct{ name, time string }{
	byMinute:  {"ledger", "minute"},
	byQuarter: {"rollup_quarter", "quarter"},
	byDay:     {"rollup_day", "local_day"},
}

// source is a part of what a report adds up: rows of one table that belong to
// its view, within ranges of time.
type source struct {
	grain  grain
	ranges []span
	// zone is that of days.
	zone *time.Location
	// deltas are what is read of a rollup, slice what of the ledger.
	deltas []uuid.UUID
	slice  books.Slice
	// cells are the rows themselves, if they are known: they are sent along.
	cells *books.Cells
}

// table is where the rows are.
func (s *source) table() string {
	if s.cells != nil {
		return SentAs
	}
	return tables[s.grain].name
}

// span is a range of time, [from, to).
type span struct{ from, to time.Time }

func (s span) empty() bool { return !s.from.Before(s.to) }

// grid is the width of quarters of an hour.
const grid = 15 * time.Minute

// Zones finds the zones in which days were rolled up; books.Reader can.
type Zones interface {
	// ZoneMap returns the map of an id that a delta of a view has.
	ZoneMap(ctx context.Context, id uuid.UUID) (*books.ZoneMap, error)
}

// Plan is a report with the version of the books that it reads.
type Plan struct {
	*report.Report

	// View is the version. The zero Plan of a report reads one in which nothing is
	// counted.
	View *books.View
	// Closed is the instant before which days were closed in it; zero for none.
	Closed time.Time

	sources []source
}

// New chooses the coarsest tables that answer a report exactly. Every event of
// the view is in exactly one source: up to the cut in a rollup, but for the edges
// of the range that lie within a quarter of an hour; behind it in the ledger.
//
// The error is a problems.Problem if the report needs what is no longer kept.
func New(ctx context.Context, zones Zones, r *report.Report, view *books.View, closed time.Time) (*Plan, error) {
	p := &Plan{Report: r, View: view, Closed: closed}
	whole := span{r.Start, r.End}
	inner := span{ceil(r.Start, grid), r.End.Truncate(grid)}
	if r.Granularity.Seconds == report.SecondsPerMinute || inner.empty() || !calendar.Regular(calendar.Offsets(r.Zone, r.Start, r.End)) {
		if view.Dropped.Since(r.Start) {
			return nil, minutesGone(r, view.Dropped.Through)
		}
		p.sources = []source{{grain: byMinute, ranges: []span{whole}, slice: view.Whole()}}
		return p, nil
	}
	if err := p.rollups(ctx, zones, inner); err != nil {
		return nil, err
	}
	if edges := outside(whole, inner); len(edges) > 0 {
		if view.Dropped.Since(edges[0].from) {
			return nil, minutesGone(r, view.Dropped.Through)
		}
		p.sources = append(p.sources, source{grain: byMinute, ranges: edges, slice: books.Slice{To: view.Rest.From}})
	}
	// The ledger costs ClickHouse some six milliseconds of planning, rows in memory one.
	switch cells, known := view.RestCells(r.Tenant.Advertiser(), r.Start, r.End); {
	case !known:
		p.sources = append(p.sources, source{grain: byMinute, ranges: []span{whole}, slice: view.Rest})
	case cells.Rows() > 0:
		p.sources = append(p.sources, source{grain: byMinute, cells: cells})
	}
	return p, nil
}

// minutesGone says that a report needs minutes that the ledger keeps no longer.
func minutesGone(r *report.Report, through time.Time) *problems.Problem {
	p := problems.New(http.StatusGone, "minutes_gone", "Up to "+through.UTC().Format(time.RFC3339)+
		" only quarters of an hour and days are kept: ask from a later start, or with granularity quarter or coarser and start and end on quarters of an hour.")
	p.Field = "start"
	if r.Granularity.Seconds == report.SecondsPerMinute {
		p.Field = "granularity"
	}
	return p
}

// rollups covers a range with days, where the deltas have those of the report's
// zone, and with quarters of an hour for the rest.
func (p *Plan) rollups(ctx context.Context, maps Zones, inner span) error {
	zone := p.daysZone()
	days := wholeDays(zone, inner)
	var byDays, daysOf, without []uuid.UUID
	for i := range p.View.Deltas {
		d := &p.View.Deltas[i]
		if days.empty() {
			without = append(without, d.ID)
			continue
		}
		zones, err := maps.ZoneMap(ctx, d.Zones)
		if err != nil {
			return err
		}
		if !zones.Has(p.Tenant.Advertiser(), zone) {
			without = append(without, d.ID)
			continue
		}
		byDays, daysOf = append(byDays, d.ID), append(daysOf, d.Day)
	}
	add := func(g grain, deltas []uuid.UUID, ranges ...span) {
		if len(deltas) > 0 && len(ranges) > 0 {
			p.sources = append(p.sources, source{grain: g, ranges: ranges, deltas: deltas, zone: zone})
		}
	}
	add(byDay, daysOf, days)
	add(byQuarter, byDays, outside(inner, days)...)
	add(byQuarter, without, inner)
	return nil
}

// daysZone is the zone whose whole days may be added up at once; nil for buckets
// within a day. Without buckets that of the account does in any zone.
func (p *Plan) daysZone() *time.Location {
	switch {
	case p.Granularity.Seconds > 0:
		return nil
	case p.Granularity.Type == "":
		return p.AccountZone
	default:
		return p.Zone
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

// Finality says whether all of a bucket lies in closed days.
func (p *Plan) Finality(bucket int64) string {
	if p.Closed.IsZero() || p.Closed.Before(p.BucketEnd(bucket)) {
		return report.Provisional
	}
	return report.Final
}

// WholeFinality is that of all rows together.
func (p *Plan) WholeFinality() string {
	if p.Closed.IsZero() || p.Closed.Before(p.End) {
		return report.Provisional
	}
	return report.Final
}
