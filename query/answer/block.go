package answer

import (
	"slices"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/report"
)

// columnsOf lists the columns of a report's answer.
func columnsOf(p *plan.Plan) []export.Column {
	var columns []export.Column
	if p.Granularity.Type != "" {
		columns = append(columns, export.Column{Name: p.Granularity.Name, Type: p.Granularity.Type, Key: true})
	}
	for _, d := range p.Dimensions {
		columns = append(columns, export.Column{Name: d.Name, Type: d.ColumnType(), Key: true})
	}
	for _, m := range p.Metrics {
		columns = append(columns, export.Column{Name: m.Name, Type: m.ColumnType(), Places: m.Places()})
	}
	return append(columns, export.Column{Name: "finality", Type: export.String, Key: true})
}

// block is a block of the storage's answer. Nobody else holds its slices.
type block struct {
	rows int
	// totals says that the one row is that of the totals.
	totals bool
	bucket []int64
	keys   []export.Vector
	counts [][]int64
	spend  []export.Number
	// first and last are the least and the greatest currency with any spend, as
	// numbers. They are known of a block of one row.
	first, last uint64
	// users are the reach of each row, if it is asked for.
	users []int64
}

// blockReader decodes the blocks of a statement.
type blockReader struct {
	bucket *clickhouse.IntColumn
	keys   []clickhouse.Column
	counts []*clickhouse.IntColumn
	spend  *clickhouse.WideColumn
	first  *clickhouse.IDColumn
	last   *clickhouse.IDColumn
}

func newBlockReader(p *plan.Plan, st *plan.Statement) *blockReader {
	b := &blockReader{}
	if p.Granularity.Type != "" {
		b.bucket = &clickhouse.IntColumn{}
	}
	for _, d := range p.Dimensions {
		if d.ID {
			b.keys = append(b.keys, &clickhouse.IDColumn{})
		} else {
			b.keys = append(b.keys, &clickhouse.TextColumn{})
		}
	}
	for range st.Measures {
		b.counts = append(b.counts, &clickhouse.IntColumn{})
	}
	if st.Money {
		b.spend, b.first, b.last = &clickhouse.WideColumn{}, &clickhouse.IDColumn{}, &clickhouse.IDColumn{}
	}
	return b
}

// columns lists what is decoded, in the order of the statement.
func (b *blockReader) columns() []clickhouse.Column {
	var list []clickhouse.Column
	if b.bucket != nil {
		list = append(list, b.bucket)
	}
	list = append(list, b.keys...)
	for _, c := range b.counts {
		list = append(list, c)
	}
	if b.spend != nil {
		list = append(list, b.spend, b.first, b.last)
	}
	return list
}

// take returns what was decoded.
func (b *blockReader) take(rows int) *block {
	out := &block{rows: rows}
	if b.bucket != nil {
		out.bucket = b.bucket.Take()
	}
	for _, c := range b.keys {
		out.keys = append(out.keys, takeKey(c))
	}
	for _, c := range b.counts {
		out.counts = append(out.counts, c.Take())
	}
	if b.spend != nil {
		out.spend = toNumbers(b.spend.Take())
		if rows == 1 { // only the totals are asked for their currencies
			out.first, out.last = b.first.Take()[0], b.last.Take()[0]
		}
	}
	return out
}

func takeKey(c clickhouse.Column) (v export.Vector) {
	switch c := c.(type) {
	case *clickhouse.IDColumn:
		v.IDs = c.Take()
	case *clickhouse.TextColumn:
		v.Dict, v.Index = c.Take()
	}
	return v
}

// zeroBlock is the totals of an answer without rows.
func zeroBlock(p *plan.Plan, st *plan.Statement) *block {
	b := &block{rows: 1, bucket: make([]int64, 1)}
	for range p.Dimensions {
		b.keys = append(b.keys, export.Vector{IDs: make([]uint64, 1), Dict: []string{""}})
	}
	for range st.Measures {
		b.counts = append(b.counts, make([]int64, 1))
	}
	b.spend = make([]export.Number, 1)
	return b
}

// mixed says that the spend of a block of one row is in more than one currency.
func (b *block) mixed() bool { return b.first != b.last }

// TextAt is a text of a column of texts.
func TextAt(v *export.Vector, row int) string {
	if v.Index == nil {
		return v.Dict[0]
	}
	return v.Dict[v.Index[row]]
}

// batch turns a block into the columns of the answer.
func (b *block) batch(p *plan.Plan, st *plan.Statement) *export.Batch {
	out := &export.Batch{Rows: b.rows}
	if p.Granularity.Type != "" {
		out.Vectors = append(out.Vectors, export.Vector{Ints: b.bucket})
	}
	out.Vectors = append(out.Vectors, b.keys...)
	var mixed []bool
	if st.Money && b.totals && b.mixed() {
		mixed = []bool{true} // rows are of one currency each, or there is no answer
	}
	for _, m := range p.Metrics {
		of, per := slices.Index(st.Measures, m.Of), slices.Index(st.Measures, m.Per)
		switch m.Kind {
		case report.KindCount:
			out.Vectors = append(out.Vectors, export.Vector{Ints: b.counts[of]})
		case report.KindMoney:
			out.Vectors = append(out.Vectors, export.Vector{Decimals: b.spend, Null: mixed})
		case report.KindRate:
			out.Vectors = append(out.Vectors, rates(b.counts[of], b.counts[per]))
		case report.KindPrice:
			out.Vectors = append(out.Vectors, prices(b.spend, m.Factor, b.counts[per], mixed))
		case report.KindReach:
			out.Vectors = append(out.Vectors, export.Vector{Ints: b.users})
		case report.KindFrequency:
			out.Vectors = append(out.Vectors, rates(b.counts[of], b.users))
		}
	}
	out.Vectors = append(out.Vectors, b.finality(p))
	return out
}

// finality says of each row whether it is final.
func (b *block) finality(p *plan.Plan) export.Vector {
	if b.totals || len(b.bucket) == 0 || p.Closed.IsZero() {
		return export.Vector{Dict: []string{p.WholeFinality()}}
	}
	v := export.Vector{Dict: []string{report.Provisional, report.Final}, Index: make([]int32, b.rows)}
	for row, bucket := range b.bucket {
		if p.Finality(bucket) == report.Final {
			v.Index[row] = 1
		}
	}
	return v
}
