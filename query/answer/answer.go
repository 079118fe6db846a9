package answer

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/problems"
)

// Query is one run of a plan.
type Query struct {
	*plan.Plan

	// ID names its statements in the log of ClickHouse.
	ID string
	// Settings go with every statement; nil for none.
	Settings map[string]string
	// Secret signs the cursor of the next page.
	Secret []byte
	// Skew is how far the brokers' clocks may differ; complete_through is behind the
	// marks by it.
	Skew time.Duration
}

// Answer is a report with its numbers. Every output format is made from it.
type Answer struct {
	Shape   export.Shape
	Batches []*export.Batch
	Totals  *export.Batch
}

// Write writes the answer in one of export.Formats.
func (a *Answer) Write(w io.Writer, format string) error {
	out, err := export.New(format, w, &a.Shape)
	if err != nil {
		return err
	}
	for _, batch := range a.Batches {
		if err := out.Batch(batch); err != nil {
			return err
		}
	}
	return out.Close(a.Totals, &a.Shape.Meta)
}

// Read runs a query and keeps its rows. Errors are those of Stream.
func Read(ctx context.Context, conn clickhouse.Conn, q *Query) (*Answer, error) {
	a := &Answer{Shape: q.Shape()}
	totals, meta, err := Stream(ctx, conn, q, func(b *export.Batch) error {
		a.Batches = append(a.Batches, b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.Totals, a.Shape.Meta = totals, *meta
	return a, nil
}

// Shape is what is known of an answer before its first row.
func (q *Query) Shape() export.Shape {
	return export.Shape{Columns: columnsOf(q.Plan), Zone: q.Zone, Meta: export.Meta{
		AsOf: q.View.Name, CompleteThrough: books.CompleteThrough(q.View.Reached(), q.Skew), Finality: q.WholeFinality(),
		Timezone: q.Zone.String(), Advertiser: q.Tenant.Advertiser(), Pinned: q.AsOf != "",
	}}
}

// Stream runs a query and hands on its rows as they come; take may keep the batches.
// It returns the totals, and what is known behind the last row. The error is a
// problems.Problem where the report is at fault, one of take, or of ClickHouse.
func Stream(ctx context.Context, conn clickhouse.Conn, q *Query, take func(*export.Batch) error) (*export.Batch, *export.Meta, error) {
	began := time.Now()
	f := &fetch{Query: q, st: q.Rows(), meta: q.Shape().Meta, take: take}
	users, err := q.readReach(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	f.users = users
	if err := f.run(ctx, conn); err != nil {
		return nil, nil, err
	}
	f.totals.totals = true
	if users != nil {
		f.totals.users = users.column(q.Plan, f.totals)
	}
	f.meta.Took = time.Since(began)
	if f.meta.Truncated && users == nil { // reach is not versioned, so it has no pages
		f.meta.NextCursor = q.NextCursor(q.Secret, f.meta.AsOf, f.last.sortValues(q.Plan, f.st, f.lastRow))
	}
	return f.totals.batch(q.Plan, f.st), &f.meta, f.checkCurrencies(ctx, conn)
}

// fetch is a query that is running.
type fetch struct {
	*Query

	st     *plan.Statement
	take   func(*export.Batch) error
	totals *block
	meta   export.Meta
	// users is the reach of the rows, nil if nobody asks.
	users *reach
	// last is the block with the last row that was handed on.
	last    *block
	lastRow int
}

// run reads the rows and the totals.
func (f *fetch) run(ctx context.Context, conn clickhouse.Conn) error {
	reader := newBlockReader(f.Plan, f.st)
	// The totals look like one more block, so each is held until the next comes.
	var held *block
	err := conn.Blocks(ctx, clickhouse.BlockQuery{
		SQL: f.st.SQL, ID: "adtally-report-" + f.ID, Params: f.st.Params, Sent: f.st.Sent, SentAs: plan.SentAs, Columns: reader.columns(),
		Settings: f.Settings,
		OnBlock: func(rows int) error {
			previous := held
			held = reader.take(rows)
			if previous == nil {
				return nil
			}
			return f.rows(previous)
		},
	})
	if err != nil {
		return err
	}
	f.totals = held
	switch {
	case held == nil:
		f.totals = zeroBlock(f.Plan, f.st)
	case !f.st.Totals:
		return f.rows(held)
	}
	return nil
}

// rows hands on the rows of a block, up to the limit of the report.
func (f *fetch) rows(b *block) error {
	if f.users != nil {
		b.users = f.users.column(f.Plan, b)
	}
	batch := b.batch(f.Plan, f.st)
	if left := f.Limit - f.meta.Rows; batch.Rows > left {
		f.meta.Truncated = true
		batch.Cut(left)
	}
	if batch.Rows == 0 {
		return nil
	}
	f.last, f.lastRow = b, batch.Rows-1
	f.meta.Rows += batch.Rows
	return f.take(batch)
}

func (f *fetch) checkCurrencies(ctx context.Context, conn clickhouse.Conn) error {
	if !f.st.Money {
		return nil
	}
	if !f.totals.mixed() {
		f.meta.Currency = plan.CurrencyOf(f.totals.last)
		return nil
	}
	for _, d := range f.Dimensions {
		if d.Name == "currency" {
			return nil
		}
	}
	return f.mixedCurrencies(ctx, conn)
}

// mixedCurrencies explains which currencies are in the way of a report.
func (q *Query) mixedCurrencies(ctx context.Context, conn clickhouse.Conn) error {
	st, column := q.Currencies(), &clickhouse.TextColumn{}
	var currencies []string
	err := conn.Blocks(ctx, clickhouse.BlockQuery{
		SQL: st.SQL, Params: st.Params, Sent: st.Sent, SentAs: plan.SentAs, Settings: q.Settings, Columns: []clickhouse.Column{column},
		OnBlock: func(int) error {
			dict, index := column.Take()
			for _, place := range index {
				currencies = append(currencies, dict[place])
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	problem := problems.New(http.StatusUnprocessableEntity, "mixed_currencies", "There is spend in "+strings.Join(currencies, ", ")+
		", and currencies are never added up: add the dimension currency, or filter by one of them.")
	problem.Field = "metrics"
	return problem.Allowing(currencies)
}
