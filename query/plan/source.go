package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

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
		return tables[src.grain].name, b.bucket(p, src.grain), "\nWHERE " + b.where(src, "s0_")
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
	columns = append(columns, measureColumns...)
	text := "SELECT " + strings.Join(columns, ", ") + "\nFROM " + tables[src.grain].name + "\nWHERE " + b.where(src, prefix)
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

// measureColumns are the columns that measures add up, and what they depend on.
var measureColumns = []string{"event_type", "gross", "net", "duplicate", "invalid", "orphan", "toInt128(spend_nanos) AS spend_nanos"}

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
