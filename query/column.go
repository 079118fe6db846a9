package query

import (
	"math/big"
	"slices"
	"strconv"
	"time"
)

// column is one column of an answer.
type column struct {
	name string
	typ  columnType
	cell cellFunc
	// key says that the column says which row it is; totals have none.
	key bool
}

// cellFunc appends a cell's text. It returns false for a cell without a value.
type cellFunc func(dst []byte, row *cells) ([]byte, bool)

// columnsOf lists the columns of a report's answer.
func columnsOf(r *Report, st *statement) []column {
	var columns []column
	if r.granularity.typ != "" {
		columns = append(columns, column{
			name: r.granularity.name, typ: r.granularity.typ, cell: bucketCell(r.granularity, r.zone), key: true,
		})
	}
	for i, d := range r.dimensions {
		columns = append(columns, column{name: d.Name, typ: d.columnType(), cell: keyCell(i, d.ID), key: true})
	}
	for _, m := range r.metrics {
		columns = append(columns, column{name: m.name, typ: m.columnType(), cell: metricCell(m, st.measures)})
	}
	return append(columns, column{name: "finality", typ: typeString, cell: finalityCell, key: true})
}

func bucketCell(g *granularity, zone *time.Location) cellFunc {
	return func(dst []byte, row *cells) ([]byte, bool) {
		return appendBucket(dst, g, zone, row.bucket), true
	}
}

func keyCell(i int, id bool) cellFunc {
	if id {
		return func(dst []byte, row *cells) ([]byte, bool) {
			return strconv.AppendUint(dst, row.keys[i].id, 10), true
		}
	}
	return func(dst []byte, row *cells) ([]byte, bool) { return append(dst, row.keys[i].text...), true }
}

func finalityCell(dst []byte, _ *cells) ([]byte, bool) {
	return append(dst, finalityProvisional...), true
}

func metricCell(m *metric, measures []*measure) cellFunc {
	of, per := slices.Index(measures, m.of), slices.Index(measures, m.per)
	switch m.kind {
	case kindCount:
		return func(dst []byte, row *cells) ([]byte, bool) {
			return strconv.AppendInt(dst, row.counts[of], 10), true
		}
	case kindMoney:
		return func(dst []byte, row *cells) ([]byte, bool) {
			if row.mixed() {
				return dst, false
			}
			return appendNanos(dst, &row.spend), true
		}
	case kindRate:
		return func(dst []byte, row *cells) ([]byte, bool) {
			return quotientCell(dst, big.NewInt(row.counts[of]), big.NewInt(row.counts[per]))
		}
	case kindPrice:
		return func(dst []byte, row *cells) ([]byte, bool) {
			if row.mixed() {
				return dst, false
			}
			num := new(big.Int).Mul(&row.spend, big.NewInt(m.factor))
			return quotientCell(dst, num, new(big.Int).Mul(bigNanos, big.NewInt(row.counts[per])))
		}
	default:
		panic("BUG: metric of unknown kind")
	}
}

func quotientCell(dst []byte, num, den *big.Int) ([]byte, bool) {
	if den.Sign() == 0 {
		return dst, false
	}
	return appendQuotient(dst, num, den), true
}
