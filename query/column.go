package query

import (
	"slices"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
)

// columnsOf lists the columns of a report's answer.
func columnsOf(r *Report) []export.Column {
	var columns []export.Column
	if r.granularity.typ != "" {
		columns = append(columns, export.Column{Name: r.granularity.name, Type: r.granularity.typ, Key: true})
	}
	for _, d := range r.dimensions {
		columns = append(columns, export.Column{Name: d.Name, Type: d.columnType(), Key: true})
	}
	for _, m := range r.metrics {
		columns = append(columns, export.Column{Name: m.name, Type: m.columnType(), Places: m.places()})
	}
	return append(columns, export.Column{Name: "finality", Type: typeString, Key: true})
}

// places is the scale of a metric's decimals. Sums of money are not rounded at
// all.
func (m *metric) places() int {
	if m.kind == kindMoney {
		return export.MoneyPlaces
	}
	return export.RatePlaces
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

func newBlockReader(r *Report, st *statement) *blockReader {
	b := &blockReader{}
	if r.granularity.typ != "" {
		b.bucket = &clickhouse.IntColumn{}
	}
	for _, d := range r.dimensions {
		if d.ID {
			b.keys = append(b.keys, &clickhouse.IDColumn{})
		} else {
			b.keys = append(b.keys, &clickhouse.TextColumn{})
		}
	}
	for range st.measures {
		b.counts = append(b.counts, &clickhouse.IntColumn{})
	}
	if st.money {
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
func zeroBlock(r *Report, st *statement) *block {
	b := &block{rows: 1, bucket: make([]int64, 1)}
	for range r.dimensions {
		b.keys = append(b.keys, export.Vector{IDs: make([]uint64, 1), Dict: []string{""}})
	}
	for range st.measures {
		b.counts = append(b.counts, make([]int64, 1))
	}
	b.spend = make([]export.Number, 1)
	return b
}

// mixed says that the spend of a block of one row is in more than one currency.
func (b *block) mixed() bool { return b.first != b.last }

func textAt(v *export.Vector, row int) string {
	if v.Index == nil {
		return v.Dict[0]
	}
	return v.Dict[v.Index[row]]
}

// batch turns a block into the columns of the answer.
func (b *block) batch(r *Report, st *statement) *export.Batch {
	out := &export.Batch{Rows: b.rows}
	if r.granularity.typ != "" {
		out.Vectors = append(out.Vectors, export.Vector{Ints: b.bucket})
	}
	out.Vectors = append(out.Vectors, b.keys...)
	var mixed []bool
	if st.money && b.totals && b.mixed() {
		mixed = []bool{true} // rows are of one currency each, or there is no answer
	}
	for _, m := range r.metrics {
		of, per := slices.Index(st.measures, m.of), slices.Index(st.measures, m.per)
		switch m.kind {
		case kindCount:
			out.Vectors = append(out.Vectors, export.Vector{Ints: b.counts[of]})
		case kindMoney:
			out.Vectors = append(out.Vectors, export.Vector{Decimals: b.spend, Null: mixed})
		case kindRate:
			out.Vectors = append(out.Vectors, rates(b.counts[of], b.counts[per]))
		case kindPrice:
			out.Vectors = append(out.Vectors, prices(b.spend, m.factor, b.counts[per], mixed))
		case kindReach:
			out.Vectors = append(out.Vectors, m.reachVector(nil, b.users))
		case kindFrequency:
			out.Vectors = append(out.Vectors, m.reachVector(b.counts[of], b.users))
		}
	}
	out.Vectors = append(out.Vectors, b.finality(r))
	return out
}

// finality says of each row whether it is final.
func (b *block) finality(r *Report) export.Vector {
	if b.totals || len(b.bucket) == 0 || r.closed.IsZero() {
		return export.Vector{Dict: []string{r.wholeFinality()}}
	}
	v := export.Vector{Dict: []string{finalityProvisional, finalityFinal}, Index: make([]int32, b.rows)}
	for row, bucket := range b.bucket {
		if r.finality(bucket) == finalityFinal {
			v.Index[row] = 1
		}
	}
	return v
}
