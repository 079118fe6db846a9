package answer

import (
	"math/big"
	"slices"
	"strconv"

	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/report"
)

// sortValues returns the sort keys of a row, as the statement of the next page compares them.
func (b *block) sortValues(p *plan.Plan, st *plan.Statement, row int) []*string {
	var values []*string
	add := func(text string) { values = append(values, &text) }
	for _, o := range p.TotalOrder() {
		switch {
		case o.Bucket:
			add(strconv.FormatInt(b.bucket[row], 10))
		case o.Dimension != nil:
			add(b.keyText(p, o.Dimension, row))
		case o.Metric.Per == nil:
			add(b.measureAt(st, o.Metric.Of, row).String())
		default:
			den := b.measureAt(st, o.Metric.Per, row)
			if den.Sign() == 0 {
				values = append(values, nil)
				continue
			}
			num := b.measureAt(st, o.Metric.Of, row)
			num.Mul(num, sortScale)
			add(num.Quo(num, den).String()) // towards zero, as intDiv
		}
	}
	return values
}

// sortScale is that of quotients in the statement.
var sortScale = big.NewInt(1_000_000_000_000_000_000)

func (b *block) keyText(p *plan.Plan, d *report.Dimension, row int) string {
	v := &b.keys[slices.Index(p.Dimensions, d)]
	if d.ID {
		return strconv.FormatUint(v.IDs[row], 10)
	}
	return TextAt(v, row)
}

func (b *block) measureAt(st *plan.Statement, m *report.Measure, row int) *big.Int {
	if m == report.Spend {
		return b.spend[row].BigInt()
	}
	return big.NewInt(b.counts[slices.Index(st.Measures, m)][row])
}
