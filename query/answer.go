package query

import (
	"context"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Answer is a report with its numbers. Every output format is made from it.
type Answer struct {
	report  *Report
	columns []column
	rows    []cells
	totals  cells
	meta    meta
}

// meta says what an answer is worth.
type meta struct {
	completeThrough time.Time // zero while some partition has no position
	currency        string    // the one currency of the spend, if there is one
	truncated       bool
	took            time.Duration
}

// finality of every row: no day is closed yet.
const finalityProvisional = "provisional"

// cells are the numbers of one row, before they are shown.
type cells struct {
	bucket int64
	keys   []key
	counts []int64
	spend  big.Int
	// first and last are the least and the greatest currency with any spend.
	first, last string
}

// key is the value of a dimension: an id or a text.
type key struct {
	id   uint64
	text string
}

// mixed says that the row's spend is in more than one currency.
func (c *cells) mixed() bool { return c.first != c.last }

// answer runs a report. complete_through must have been read before.
func (s *Server) answer(ctx context.Context, r *Report, requestID string) (*Answer, error) {
	began := time.Now()
	st := newStatement(r)
	a := &Answer{report: r, columns: columnsOf(r, st)}
	rows, err := s.conn.Query(clickhouse.With(ctx, "adtally-report-"+requestID, nil, st.params), st.sql)
	if err != nil {
		return nil, err
	}
	if err := a.read(rows, st); err != nil {
		return nil, err
	}
	a.meta.took = time.Since(began)
	if !st.money {
		return a, nil
	}
	if a.totals.mixed() && !r.groupsByCurrency() {
		return nil, s.mixedCurrencies(ctx, r)
	}
	if !a.totals.mixed() {
		a.meta.currency = a.totals.last
	}
	return a, nil
}

func (r *Report) groupsByCurrency() bool {
	for _, d := range r.dimensions {
		if d.Name == "currency" {
			return true
		}
	}
	return false
}

// read takes all rows, and the totals that follow them.
func (a *Answer) read(rows clickhouse.Rows, st *statement) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	scan := newScanner(a.report, st)
	for rows.Next() {
		if err := rows.Scan(scan.dest...); err != nil {
			return err
		}
		a.rows = append(a.rows, scan.take())
	}
	if err := rows.Err(); err != nil {
		return err
	}
	switch {
	case len(a.rows) == 0:
		a.totals = newScanner(a.report, st).take()
	case st.totals:
		if err := rows.Totals(scan.dest...); err != nil {
			return err
		}
		a.totals = scan.take()
	default:
		a.totals = a.rows[0]
	}
	if len(a.rows) > a.report.limit {
		a.rows = a.rows[:a.report.limit]
		a.meta.truncated = true
	}
	return nil
}

// scanner holds the row that is being read.
type scanner struct {
	row   cells
	dest  []any
	money bool
}

func newScanner(r *Report, st *statement) *scanner {
	s := &scanner{money: st.money}
	s.row.keys = make([]key, len(r.dimensions))
	s.row.counts = make([]int64, len(st.measures))
	if r.granularity.typ != "" {
		s.dest = append(s.dest, &s.row.bucket)
	}
	for i, d := range r.dimensions {
		if d.ID {
			s.dest = append(s.dest, &s.row.keys[i].id)
		} else {
			s.dest = append(s.dest, &s.row.keys[i].text)
		}
	}
	for i := range s.row.counts {
		s.dest = append(s.dest, &s.row.counts[i])
	}
	if st.money {
		s.dest = append(s.dest, &s.row.spend, &s.row.first, &s.row.last)
	}
	return s
}

// take returns the row as a value of its own.
func (s *scanner) take() cells {
	row := s.row
	row.keys = append([]key(nil), s.row.keys...)
	row.counts = append([]int64(nil), s.row.counts...)
	if s.money {
		row.spend = big.Int{}
		row.spend.Set(&s.row.spend)
	}
	return row
}

// mixedCurrencies explains which currencies are in the way of a report.
func (s *Server) mixedCurrencies(ctx context.Context, r *Report) (err error) {
	st := currenciesStatement(r)
	rows, err := s.conn.Query(clickhouse.With(ctx, "", nil, st.params), st.sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var currencies []string
	for rows.Next() {
		var currency string
		if err := rows.Scan(&currency); err != nil {
			return err
		}
		currencies = append(currencies, currency)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	p := newProblem(http.StatusUnprocessableEntity, "mixed_currencies", "There is spend in "+strings.Join(currencies, ", ")+
		", and currencies are never added up: add the dimension currency, or filter by one of them.")
	p.Field = "metrics"
	return p.allowing(currencies)
}
