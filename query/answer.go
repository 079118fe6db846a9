package query

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
)

// Answer is a report with its numbers. Every output format is made from it.
type Answer struct {
	shape   export.Shape
	batches []*export.Batch
	totals  *export.Batch
}

// writeTo writes the answer in one of export.Formats.
func (a *Answer) writeTo(w io.Writer, format string) error {
	out, err := export.New(format, w, &a.shape)
	if err != nil {
		return err
	}
	for _, batch := range a.batches {
		if err := out.Batch(batch); err != nil {
			return err
		}
	}
	return out.Close(a.totals, &a.shape.Meta)
}

// answer runs a report that was opened.
func (s *Server) answer(ctx context.Context, r *Report, requestID string) (*Answer, error) {
	a := &Answer{}
	f, err := s.fetch(ctx, r, requestID, s.cfg.Timeout, func(b *export.Batch) error {
		a.batches = append(a.batches, b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.totals = f.totals.batch(r, f.st)
	a.shape = export.Shape{Columns: columnsOf(r), Zone: r.zone, Meta: f.meta}
	return a, nil
}

// fetched is what is known after the last row of a report.
type fetched struct {
	st     *statement
	totals *block
	meta   export.Meta
	// users is the reach of the rows, nil if nobody asks.
	users *reach
	// last is the block with the last row that was handed on.
	last    *block
	lastRow int
}

// fetch runs a report and hands on its rows as they come.
func (s *Server) fetch(ctx context.Context, r *Report, requestID string, timeout time.Duration, take func(*export.Batch) error) (*fetched, error) {
	began := time.Now()
	st := newStatement(r)
	reader := newBlockReader(r, st)
	f := &fetched{st: st, meta: s.meta(r)}
	settings := s.settings(ctx, timeout)
	users, err := s.readReach(ctx, r, requestID, settings)
	if err != nil {
		return nil, err
	}
	f.users = users
	// The totals look like one more block, so each is held until the next comes.
	var held *block
	err = s.conn.Blocks(ctx, clickhouse.BlockQuery{
		SQL: st.sql, ID: "adtally-report-" + requestID, Params: st.params, Columns: reader.columns(),
		Settings: settings,
		OnBlock: func(rows int) error {
			previous := held
			held = reader.take(rows)
			if previous == nil {
				return nil
			}
			return f.rows(r, previous, take)
		},
	})
	if err != nil {
		return nil, err
	}
	f.totals = held
	switch {
	case held == nil:
		f.totals = zeroBlock(r, st)
	case !st.totals:
		err = f.rows(r, held, take)
	}
	if err != nil {
		return nil, err
	}
	f.totals.totals = true
	if users != nil {
		f.totals.users = users.column(r, f.totals)
	}
	f.meta.Took = time.Since(began)
	if f.meta.Truncated && users == nil { // reach is not versioned, so it has no pages
		next := cursor{Request: r.hash(), AsOf: f.meta.AsOf, After: f.last.sortValues(r, st, f.lastRow)}
		f.meta.NextCursor = next.sign(s.secret, r.tenant.Advertiser())
	}
	return f, s.checkCurrencies(ctx, r, f)
}

// meta is what is known of an answer before its first row.
func (s *Server) meta(r *Report) export.Meta {
	return export.Meta{
		AsOf: r.view.Name, CompleteThrough: s.completeThrough(r), Finality: r.wholeFinality(),
		Timezone: r.zone.String(), Advertiser: r.tenant.Advertiser(), Pinned: r.asOf != "",
	}
}

// rows hands on the rows of a block, up to the limit of the report.
func (f *fetched) rows(r *Report, b *block, take func(*export.Batch) error) error {
	if f.users != nil {
		b.users = f.users.column(r, b)
	}
	batch := b.batch(r, f.st)
	if left := r.limit - f.meta.Rows; batch.Rows > left {
		f.meta.Truncated = true
		batch.Cut(left)
	}
	if batch.Rows > 0 {
		f.last, f.lastRow = b, batch.Rows-1
	}
	if batch.Rows == 0 {
		return nil
	}
	f.meta.Rows += batch.Rows
	return take(batch)
}

func (s *Server) checkCurrencies(ctx context.Context, r *Report, f *fetched) error {
	if !f.st.money {
		return nil
	}
	if !f.totals.mixed() {
		f.meta.Currency = currencyOf(f.totals.last)
		return nil
	}
	if r.groupsByCurrency() {
		return nil
	}
	return s.mixedCurrencies(ctx, r)
}

func (r *Report) groupsByCurrency() bool {
	for _, d := range r.dimensions {
		if d.Name == "currency" {
			return true
		}
	}
	return false
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

// metaJSON is the meta of an answer as JSON shows it.
func metaJSON(a *Answer) []byte { return export.AppendMeta(nil, &a.shape.Meta) }
