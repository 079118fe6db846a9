package statement

import (
	"context"
	"unsafe"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Copier writes the rows of one file from the answers of ClickHouse. It belongs
// to one goroutine.
type Copier struct {
	w       Writer
	columns []Column
	// group is filled while the Writer reads spare.
	group, spare *Group
	onGroup      func(g *Group) error
}

// NewCopier returns a Copier into w. onGroup, if any, sees each group before it is
// written.
func NewCopier(w Writer, columns []Column, onGroup func(g *Group) error) *Copier {
	return &Copier{w: w, columns: columns, group: NewGroup(columns), spare: NewGroup(columns), onGroup: onGroup}
}

// Add writes the answer of a query, whose Columns and OnBlock it sets. The query
// selects the columns in their order: ids as UInt64, counts, days and moments as
// Int64, money as Int128, texts as String or LowCardinality(String).
func (c *Copier) Add(ctx context.Context, conn clickhouse.Conn, query clickhouse.BlockQuery) error {
	query.Columns = make([]clickhouse.Column, len(c.columns))
	for i, column := range c.columns {
		query.Columns[i] = column.Kind.reader()
	}
	query.OnBlock = func(rows int) error { return c.block(query.Columns, rows) }
	return conn.Blocks(ctx, query)
}

// Close writes what is left, and closes the Writer.
func (c *Copier) Close() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.w.Close()
}

func (k Kind) reader() clickhouse.Column {
	switch k {
	case ID:
		return new(clickhouse.IDColumn)
	case Text:
		return new(clickhouse.TextColumn)
	case Money:
		return new(clickhouse.WideColumn)
	default:
		return new(clickhouse.IntColumn)
	}
}

// block takes a block in pieces that fit the groups.
func (c *Copier) block(columns []clickhouse.Column, rows int) error {
	taken := make([]func(v *Vector, from, to int), len(columns))
	for i, column := range columns {
		taken[i] = take(column)
	}
	for from := 0; from < rows; {
		to := min(rows, from+GroupRows-c.group.Rows)
		for i := range taken {
			taken[i](&c.group.Vectors[i], from, to)
		}
		c.group.Rows += to - from
		from = to
		if c.group.Rows == GroupRows {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// take returns what appends rows of a column's block to a vector.
func take(column clickhouse.Column) func(v *Vector, from, to int) {
	switch column := column.(type) {
	case *clickhouse.IDColumn:
		ids := column.Take()
		return func(v *Vector, from, to int) { v.IDs = append(v.IDs, ids[from:to]...) }
	case *clickhouse.IntColumn:
		ints := column.Take()
		return func(v *Vector, from, to int) { v.Ints = append(v.Ints, ints[from:to]...) }
	case *clickhouse.WideColumn:
		wide := asInt128(column.Take())
		return func(v *Vector, from, to int) { v.Wide = append(v.Wide, wide[from:to]...) }
	case *clickhouse.TextColumn:
		dict, index := column.Take()
		return func(v *Vector, from, to int) { v.AppendText(dict, index[from:to]) }
	default:
		panic("BUG: no reader makes other columns")
	}
}

// asInt128 shows ClickHouse's integers as Arrow's: both are the low half and then
// the high one.
func asInt128(wide []clickhouse.Int128) []Int128 {
	return unsafe.Slice((*Int128)(unsafe.Pointer(unsafe.SliceData(wide))), len(wide)) //nolint:gosec // TestInt128Layout holds the layouts against each other
}

func (c *Copier) flush() error {
	if c.group.Rows == 0 {
		return nil
	}
	if c.onGroup != nil {
		if err := c.onGroup(c.group); err != nil {
			return err
		}
	}
	if err := c.w.Write(c.group); err != nil {
		return err
	}
	c.group, c.spare = c.spare, c.group
	c.group.Reset()
	return nil
}
