package plan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/report"
)

// Statement is what ClickHouse runs. Its text is made of constants; what the client
// chose is in the parameters.
type Statement struct {
	SQL    string
	Params clickhouse.Parameters
	// Sent are the rows that go along as a table, SentAs.
	Sent []clickhouse.NamedColumn
	// Measures are the aggregates in the order of their columns, spend left out:
	// it has a column of another type after them. Before them come the bucket, if
	// there is one, and the dimensions.
	Measures []*report.Measure
	// Money says that three more columns follow: the sum of spend, and the least
	// and the greatest currency that has any, as CurrencyOf reads them.
	Money bool
	// Totals says that the answer carries totals behind the rows.
	Totals bool
}

// Rows returns the statement for the rows and totals of a report.
func (p *Plan) Rows() *Statement {
	b := newBuilder(p)
	s := &Statement{Money: p.Spends(), Totals: p.Grouped()}
	table, bucket, where := b.from(p)
	var columns []string
	switch {
	case p.Granularity.Type == "":
	case bucket == "bucket":
		columns = append(columns, bucket)
	default:
		columns = append(columns, bucket+" AS bucket")
	}
	for _, d := range p.Dimensions {
		if len(p.sources) > 1 { // the parts have made it
			columns = append(columns, d.Name)
		} else {
			columns = append(columns, d.Selected())
		}
	}
	s.Measures = counts(p.Report)
	for _, m := range s.Measures {
		columns = append(columns, m.SQL()+" AS "+m.Alias)
	}
	if s.Money {
		columns = append(
			columns,
			b.spend(p)+" AS "+report.Spend.Alias,
			"minIf("+currencyNumber+", spend_nanos != 0) AS first_currency",
			"maxIf("+currencyNumber+", spend_nanos != 0) AS last_currency",
		)
	}
	text := "SELECT\n    " + strings.Join(columns, ",\n    ") + "\nFROM " + table + where
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	if s.Totals {
		text += "\nGROUP BY " + strings.Join(groupKeys(p), ", ") + " WITH TOTALS"
	}
	text = b.following(p, text+"\nHAVING sum(gross) > 0")
	if s.Totals {
		text += "\nORDER BY " + strings.Join(sortKeys(p), ", ")
	}
	// One row more than asked tells whether there are more.
	b.params["limit"] = strconv.Itoa(p.Limit + 1)
	s.SQL = text + "\nLIMIT {limit:UInt64}"
	s.Params, s.Sent = b.params, b.sent
	return s
}

// spend adds up money. Rollups have it in 128 bits, and so have several sources.
func (b *builder) spend(p *Plan) string {
	if len(p.sources) > 1 || len(p.sources) == 1 && p.sources[0].grain != byMinute {
		return "sum(" + spendColumn + ")"
	}
	return "sum(" + wideSpend + ")"
}

// currencyNumber is a currency as a number: ISO 4217 has three letters, and the
// least and the greatest of texts took a third of the time of a large report.
const currencyNumber = "reinterpretAsUInt64(currency)"

// CurrencyOf is the text of a currencyNumber; empty for none.
func CurrencyOf(number uint64) string {
	text := binary.LittleEndian.AppendUint64(nil, number)
	return string(bytes.TrimRight(text, "\x00"))
}

// Currencies returns the statement that lists the currencies with any
// spend in a report.
func (p *Plan) Currencies() *Statement {
	b := newBuilder(p)
	table, _, where := b.from(p)
	if where == "" {
		where = "\nWHERE true"
	}
	return &Statement{
		Sent:   b.sent,
		SQL:    "SELECT DISTINCT currency\nFROM " + table + where + "\n  AND spend_nanos != 0\nORDER BY currency\nLIMIT 100",
		Params: b.params,
	}
}

// Grouped says that the report has more than one possible row.
func (p *Plan) Grouped() bool { return p.Granularity.Type != "" || len(p.Dimensions) > 0 }

// counts lists the measures that the metrics need, each once, without spend.
func counts(r *report.Report) []*report.Measure {
	var list []*report.Measure
	for _, m := range r.Metrics {
		for _, need := range []*report.Measure{m.Of, m.Per} {
			if need != nil && need != report.Spend && !slices.Contains(list, need) {
				list = append(list, need)
			}
		}
	}
	return list
}

func groupKeys(p *Plan) []string {
	var keys []string
	if p.Granularity.Type != "" {
		keys = append(keys, "bucket")
	}
	for _, d := range p.Dimensions {
		keys = append(keys, d.Name)
	}
	return keys
}

// sortKeys are those asked for and then all group keys, so that the order of
// rows and the choice of those within the limit are always the same.
func sortKeys(p *Plan) []string {
	var keys []string
	left := groupKeys(p)
	for _, o := range p.Order {
		expr := ""
		switch {
		case o.Bucket:
			expr = "bucket"
		case o.Dimension != nil:
			expr = o.Dimension.Name
		default:
			expr = sortExpr(o.Metric)
		}
		left = slices.DeleteFunc(left, func(key string) bool { return key == expr })
		if o.Descending {
			expr += " DESC"
		}
		if o.Metric != nil && o.Metric.Per != nil {
			expr += " NULLS LAST"
		}
		keys = append(keys, expr)
	}
	return append(keys, left...)
}

// sortExpr sorts quotients by 18 places of their exact value: floats would put
// large neighbours in any order.
func sortExpr(m *report.Metric) string {
	if m.Per == nil {
		return m.Of.Alias
	}
	return fmt.Sprintf("if(%[2]s = 0, NULL, intDivOrZero(toInt256(%[1]s) * toInt256(1000000000000000000), toInt256(%[2]s)))",
		m.Of.Alias, m.Per.Alias)
}

// builder collects the parameters of one statement, and the expressions that
// its columns are made of.
type builder struct {
	params clickhouse.Parameters
	with   []string
	// sent are the rows that go along.
	sent []clickhouse.NamedColumn
	// filterTerms are the conditions of the filters, the same for every source.
	filterTerms []string
}

// newBuilder starts with what every statement over a report's rows needs. The
// tenant is part of a Report that only report.New makes.
func newBuilder(p *Plan) *builder {
	b := &builder{params: clickhouse.Parameters{"advertiser": strconv.FormatUint(p.Tenant.Advertiser(), 10)}}
	for i, f := range p.Filters {
		name := "f" + strconv.Itoa(i)
		op, typ := "IN", "Array(String)"
		if f.Negated {
			op = "NOT IN"
		}
		if f.Dimension.ID {
			typ = "Array(UInt64)"
		}
		b.filterTerms = append(b.filterTerms, f.Dimension.Expr()+" "+op+" {"+name+":"+typ+"}")
		b.params[name] = arrayParam(f.Values, f.Dimension.ID)
	}
	return b
}

// bucket returns the expression for the start of a row's bucket: seconds since
// 1970 within a day, otherwise the number of the local day.
func (b *builder) bucket(p *Plan, g grain) string {
	width := p.Granularity
	if width.Type == "" {
		return ""
	}
	column := tables[g].time
	if g == byDay {
		b.with = append(b.with, "toInt64("+column+") AS day_of_bucket")
		return width.DaysSQL
	}
	spans := p.Offsets()
	local, back := "toInt64(toUnixTimestamp("+column+"))", ""
	if len(spans) > 1 || spans[0].Offset != 0 {
		b.with = append(b.with, b.offset(spans, column)+" AS utc_offset")
		local, back = local+" + utc_offset", " - utc_offset"
	}
	switch {
	case width.Seconds == 0:
		b.with = append(b.with, "intDiv("+local+", 86400) AS day_of_bucket")
		return width.DaysSQL
	case width.Seconds == report.SecondsPerMinute && back == "":
		return local // minutes are what the ledger holds
	}
	expr := fmt.Sprintf("intDiv(%s, %d) * %d%s", local, width.Seconds, width.Seconds, back)
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
func (b *builder) offset(spans []report.OffsetSpan, column string) string {
	for i, span := range spans {
		b.params[fmt.Sprintf("o%d", i)] = strconv.FormatInt(span.Offset, 10)
		if i > 0 {
			b.params[fmt.Sprintf("z%d", i)] = instantParam(span.From)
		}
	}
	return perSpan(spans, column, func(i int) string { return fmt.Sprintf("{o%d:Int32}", i) })
}

// perSpan returns an expression that has another value in each span.
func perSpan(spans []report.OffsetSpan, column string, value func(i int) string) string {
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
			id, _ := report.ParseID(value) // report.New has checked it
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
