package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/query/report"
)

// from returns what a report is selected from, and the expression of its bucket.
// The rows of one source are read as they are; several become one table first.
func (b *builder) from(p *Plan) (table, bucket, where string) {
	sources := p.sources
	if len(sources) == 0 { // nothing is counted yet
		sources = []source{{grain: byMinute, ranges: []span{{p.Start, p.End}}}}
	}
	if len(sources) == 1 {
		src := &sources[0]
		return src.table(), b.bucket(p, src.grain), b.where(p, src, "s0_")
	}
	parts := make([]string, len(sources))
	for i := range sources {
		parts[i] = b.part(p, &sources[i], "s"+strconv.Itoa(i)+"_")
	}
	return "(\n" + strings.Join(parts, "\nUNION ALL\n") + "\n)", "bucket", ""
}

// part selects the columns that a report may need from one source.
func (b *builder) part(p *Plan, src *source, prefix string) string {
	var columns []string
	outer := b.with
	b.with = nil
	if p.Granularity.Type != "" {
		columns = append(columns, b.bucket(p, src.grain)+" AS bucket")
	}
	for i := range report.Dimensions {
		if d := &report.Dimensions[i]; p.needs(d.Name) {
			columns = append(columns, d.Selected())
		}
	}
	for _, name := range p.summed() {
		if name == spendColumn && src.grain == byMinute {
			name = wideSpend + " AS " + spendColumn // as the rollups have it
		}
		columns = append(columns, name)
	}
	text := "SELECT " + strings.Join(columns, ", ") + "\nFROM " + src.table() + b.where(p, src, prefix)
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	b.with = outer
	return text
}

// needs says that the columns of the report are made of a dimension.
func (p *Plan) needs(name string) bool {
	return name == "currency" && p.Spends() ||
		slices.ContainsFunc(p.Dimensions, func(d *report.Dimension) bool { return d.Name == name })
}

// The column of money, and what it is added up as.
const (
	spendColumn = "spend_nanos"
	wideSpend   = "toInt128(spend_nanos)"
)

// summed lists the columns that the measures of the report add up, and what they
// depend on. Whether a row is shown depends on gross.
func (p *Plan) summed() []string {
	list := []string{"gross"}
	for _, m := range counts(p.Report) {
		for _, column := range m.Columns() {
			if !slices.Contains(list, column) {
				list = append(list, column)
			}
		}
	}
	if p.Spends() {
		list = append(list, spendColumn)
	}
	return list
}

// send says which columns of the rows in memory a statement reads.
func (b *builder) send(p *Plan, cells *books.Cells) {
	columns := p.summed()
	if p.Granularity.Type != "" {
		columns = append(columns, tables[byMinute].time)
	}
	for i := range report.Dimensions {
		d := &report.Dimensions[i]
		filtered := slices.ContainsFunc(p.Filters, func(c report.Condition) bool { return c.Dimension == d })
		if filtered || p.needs(d.Name) {
			columns = append(columns, d.Column())
		}
	}
	b.sent = cells.Columns(columns)
}

// where returns the predicate for the rows of a source, whose parameters have
// names that begin with prefix. Mark rows have advertiser 0 and are outside of it
// whatever the tenant is. Of rows in memory only the tenant's are sent.
func (b *builder) where(p *Plan, src *source, prefix string) string {
	if src.cells != nil {
		b.send(p, src.cells)
		if len(b.filterTerms) == 0 {
			return ""
		}
		return "\nWHERE " + strings.Join(b.filterTerms, "\n  AND ")
	}
	terms := []string{tenantTerm, b.within(src, prefix)}
	if src.grain == byMinute {
		terms = append(terms, src.slice.Where(prefix, b.params))
	} else {
		terms = append(terms, "delta IN {"+prefix+"deltas:Array(UUID)}")
		b.params[prefix+"deltas"] = uuidArray(src.deltas)
	}
	return "\nWHERE " + strings.Join(append(terms, b.filterTerms...), "\n  AND ")
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
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / report.SecondsPerDay
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
