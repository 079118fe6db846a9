package plan

import (
	"strconv"

	"github.com/adtally/adtally/query/report"
)

// following returns the statement's text for the rows after the last page. The
// totals stay those of all rows.
func (b *builder) following(p *Plan, text string) string {
	if p.After == nil {
		return text
	}
	return "SELECT * FROM (\n" + text + "\n)\nWHERE " + b.after(p.TotalOrder(), p.After)
}

// after compares rows with the sort keys of the last one.
func (b *builder) after(order []report.SortKey, values []*string) string {
	o, value := order[0], values[0]
	name := "k" + strconv.Itoa(len(values))
	expr, typ := sortKey(&o)
	greater, equal := "0", "isNull("+expr+")"
	if value != nil {
		b.params[name] = *value
		if typ == "String" {
			b.params[name] = escapeParam(*value)
		}
		op := " > "
		if o.Descending {
			op = " < "
		}
		greater, equal = expr+op+"{"+name+":"+typ+"}", expr+" = {"+name+":"+typ+"}"
		if o.Metric != nil && o.Metric.Per != nil {
			// Rows without a value come last.
			greater, equal = "ifNull("+greater+", 1)", "ifNull("+equal+", 0)"
		}
	}
	if len(order) == 1 {
		return greater
	}
	return "(" + greater + " OR (" + equal + " AND " + b.after(order[1:], values[1:]) + "))"
}

// sortKey is the expression that a key sorts by, and its type.
func sortKey(o *report.SortKey) (expr, typ string) {
	switch {
	case o.Bucket:
		return "bucket", "Int64"
	case o.Dimension != nil && o.Dimension.ID:
		return o.Dimension.Name, "UInt64"
	case o.Dimension != nil:
		return o.Dimension.Name, "String"
	case o.Metric.Per == nil && o.Metric.Of == report.Spend:
		return o.Metric.Of.Alias, "Int128"
	case o.Metric.Per == nil:
		return o.Metric.Of.Alias, "Int64"
	default:
		return sortExpr(o.Metric), "Int256"
	}
}

// escapeParam writes a text as the value of a parameter.
func escapeParam(text string) string {
	var dst []byte
	for i := range len(text) {
		dst = appendPlain(dst, text[i])
	}
	return string(dst)
}
