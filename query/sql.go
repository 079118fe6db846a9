package query

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// statement is a report as ClickHouse runs it. Its text is made of constants;
// what the client chose is in the parameters.
type statement struct {
	sql    string
	params clickhouse.Parameters
	// measures are the aggregates in the order of their columns, spend left out:
	// it has a column of another type after them.
	measures []*measure
	// money says that three more columns follow: the sum of spend, and the least
	// and the greatest currency that has any.
	money bool
	// totals says that the answer carries totals beside the rows.
	totals bool
}

// newStatement returns the statement for the rows and totals of a report.
func newStatement(r *Report) *statement {
	b := newBuilder(r)
	s := &statement{money: r.spends(), totals: r.grouped()}
	table, bucket, where := b.from(r)
	var columns []string
	switch {
	case r.granularity.typ == "":
	case bucket == "bucket":
		columns = append(columns, bucket)
	default:
		columns = append(columns, bucket+" AS bucket")
	}
	for _, d := range r.dimensions {
		if len(r.sources) > 1 { // the parts have made it
			columns = append(columns, d.Name)
		} else {
			columns = append(columns, d.selected())
		}
	}
	s.measures = r.counts()
	for _, m := range s.measures {
		columns = append(columns, m.sql+" AS "+m.alias)
	}
	if s.money {
		columns = append(
			columns,
			reports.spend.sql+" AS "+reports.spend.alias,
			"minIf("+currencyNumber+", spend_nanos != 0) AS first_currency",
			"maxIf("+currencyNumber+", spend_nanos != 0) AS last_currency",
		)
	}
	text := "SELECT\n    " + strings.Join(columns, ",\n    ") + "\nFROM " + table + where
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	if s.totals {
		text += "\nGROUP BY " + strings.Join(groupKeys(r), ", ") + " WITH TOTALS"
	}
	text = b.following(r, text+"\nHAVING sum(gross) > 0")
	if s.totals {
		text += "\nORDER BY " + strings.Join(sortKeys(r), ", ")
	}
	// One row more than asked tells whether there are more.
	b.params["limit"] = strconv.Itoa(r.limit + 1)
	s.sql = text + "\nLIMIT {limit:UInt64}"
	s.params = b.params
	return s
}

// currencyNumber is a currency as a number: ISO 4217 has three letters, and the
// least and the greatest of texts took a third of the time of a large report.
const currencyNumber = "reinterpretAsUInt64(currency)"

// currencyOf is the text of a currencyNumber; empty for none.
func currencyOf(number uint64) string {
	text := binary.LittleEndian.AppendUint64(nil, number)
	return string(bytes.TrimRight(text, "\x00"))
}

// currenciesStatement returns the statement that lists the currencies with any
// spend in a report.
func currenciesStatement(r *Report) *statement {
	b := newBuilder(r)
	table, _, where := b.from(r)
	if where == "" {
		where = "\nWHERE true"
	}
	return &statement{
		sql:    "SELECT DISTINCT currency\nFROM " + table + where + "\n  AND spend_nanos != 0\nORDER BY currency\nLIMIT 100",
		params: b.params,
	}
}

// grouped says that the report has more than one possible row.
func (r *Report) grouped() bool { return r.granularity.typ != "" || len(r.dimensions) > 0 }

// counts lists the measures that the metrics need, each once, without spend.
func (r *Report) counts() []*measure {
	var list []*measure
	for _, m := range r.metrics {
		for _, need := range []*measure{m.of, m.per} {
			if need != nil && need != reports.spend && !slices.Contains(list, need) {
				list = append(list, need)
			}
		}
	}
	return list
}

func groupKeys(r *Report) []string {
	var keys []string
	if r.granularity.typ != "" {
		keys = append(keys, "bucket")
	}
	for _, d := range r.dimensions {
		keys = append(keys, d.Name)
	}
	return keys
}

// sortKeys are those asked for and then all group keys, so that the order of
// rows and the choice of those within the limit are always the same.
func sortKeys(r *Report) []string {
	var keys []string
	left := groupKeys(r)
	for _, o := range r.order {
		expr := ""
		switch {
		case o.bucket:
			expr = "bucket"
		case o.dimension != nil:
			expr = o.dimension.Name
		default:
			expr = o.metric.sortExpr()
		}
		left = slices.DeleteFunc(left, func(key string) bool { return key == expr })
		if o.descending {
			expr += " DESC"
		}
		if o.metric != nil && o.metric.per != nil {
			expr += " NULLS LAST"
		}
		keys = append(keys, expr)
	}
	return append(keys, left...)
}

// sortExpr sorts quotients by 18 places of their exact value: floats would put
// large neighbours in any order.
func (m *metric) sortExpr() string {
	if m.per == nil {
		return m.of.alias
	}
	return fmt.Sprintf("if(%[2]s = 0, NULL, intDivOrZero(toInt256(%[1]s) * toInt256(1000000000000000000), toInt256(%[2]s)))",
		m.of.alias, m.per.alias)
}

// builder collects the parameters of one statement, and the expressions that
// its columns are made of.
type builder struct {
	params clickhouse.Parameters
	with   []string
	// filterTerms are the conditions of the filters, the same for every source.
	filterTerms []string
}

// newBuilder starts with what every statement over a report's rows needs. The
// tenant is part of a Report that only NewReport makes.
func newBuilder(r *Report) *builder {
	b := &builder{params: clickhouse.Parameters{"advertiser": strconv.FormatUint(r.tenant.Advertiser(), 10)}}
	for i, f := range r.filters {
		name := "f" + strconv.Itoa(i)
		op, typ := "IN", "Array(String)"
		if f.negated {
			op = "NOT IN"
		}
		if f.dimension.ID {
			typ = "Array(UInt64)"
		}
		b.filterTerms = append(b.filterTerms, f.dimension.expr()+" "+op+" {"+name+":"+typ+"}")
		b.params[name] = arrayParam(f.values, f.dimension.ID)
	}
	return b
}

// bucket returns the expression for the start of a row's bucket: seconds since
// 1970 within a day, otherwise the number of the local day.
func (b *builder) bucket(r *Report, g grain) string {
	width := r.granularity
	if width.typ == "" {
		return ""
	}
	column := tables[g].time
	if g == byDay {
		b.with = append(b.with, "toInt64("+column+") AS day_of_bucket")
		return width.days
	}
	spans := zoneOffsets(r.zone, r.start, r.end, width)
	local, back := "toInt64(toUnixTimestamp("+column+"))", ""
	if len(spans) > 1 || spans[0].offset != 0 {
		b.with = append(b.with, b.offset(spans, column)+" AS utc_offset")
		local, back = local+" + utc_offset", " - utc_offset"
	}
	switch {
	case width.seconds == 0:
		b.with = append(b.with, "intDiv("+local+", 86400) AS day_of_bucket")
		return width.days
	case width.seconds == secondsPerMinute && back == "":
		return local // minutes are what the ledger holds
	}
	expr := fmt.Sprintf("intDiv(%s, %d) * %d%s", local, width.seconds, width.seconds, back)
	if len(spans) > 1 {
		// Clocks went on or back by a part of a bucket: it is cut there.
		b.with = append(b.with, perSpan(spans, column, func(i int) string {
			if i == 0 {
				return "0"
			}
			return fmt.Sprintf("toUnixTimestamp({z%d:DateTime('UTC')})", i)
		})+" AS changed")
		expr = "greatest(" + expr + ", changed)"
	}
	return expr
}

// offset returns the expression for how far the zone is ahead of UTC.
func (b *builder) offset(spans []offsetSpan, column string) string {
	for i, span := range spans {
		b.params[fmt.Sprintf("o%d", i)] = strconv.FormatInt(span.offset, 10)
		if i > 0 {
			b.params[fmt.Sprintf("z%d", i)] = instantParam(span.from)
		}
	}
	return perSpan(spans, column, func(i int) string { return fmt.Sprintf("{o%d:Int32}", i) })
}

// perSpan returns an expression that has another value in each span.
func perSpan(spans []offsetSpan, column string, value func(i int) string) string {
	if len(spans) == 1 {
		return value(0)
	}
	var text strings.Builder
	text.WriteString("multiIf(")
	for i := 1; i < len(spans); i++ {
		fmt.Fprintf(&text, "%s < {z%d:DateTime('UTC')}, %s, ", column, i, value(i-1))
	}
	return text.String() + value(len(spans)-1) + ")"
}

func instantParam(t time.Time) string { return t.UTC().Format(time.DateTime) }

// arrayParam writes an array in ClickHouse's text format. Bytes that could mean
// anything there are written as numbers, so a value is only ever itself.
func arrayParam(values []string, ids bool) string {
	dst := []byte{'['}
	for i, value := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		if ids {
			id, _ := parseID(value) // newFilter has checked it
			dst = strconv.AppendUint(dst, id, 10)
			continue
		}
		dst = append(dst, '\'')
		for j := range len(value) {
			dst = appendPlain(dst, value[j])
		}
		dst = append(dst, '\'')
	}
	return string(append(dst, ']'))
}

func appendPlain(dst []byte, c byte) []byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		return append(dst, c)
	default:
		return fmt.Appendf(dst, `\x%02x`, c)
	}
}
