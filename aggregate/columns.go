package aggregate

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
)

// column is one column of the ledger: its name, how to take its values from
// rows and for a mark, and its values.
type column struct {
	name   string
	begin  func(m *markOf) // set by columns that are the same for a whole span
	rows   func(rows []window.Row)
	mark   func(m *markOf)
	values func() any
	// reset empties the column and makes room for that many values.
	reset func(n int)
}

// markOf is the span being written, and its control totals.
type markOf struct {
	block  *Block
	span   *Span
	totals window.Totals
	// began is the second of broker time in which the block begins.
	began int64
	day   time.Time
}

// chunkRows is the number of rows that are taken apart at a time: few enough
// for the cache of a core, as every column reads them again.
const chunkRows = 256

// ledgerColumns turns blocks into columns. The memory is kept from block to
// block; it belongs to one goroutine.
type ledgerColumns struct {
	list  []column
	query string
	chunk [chunkRows]window.Row
}

// ofRow is a column whose value is a field of the row; marks hold none.
func ofRow[T any](name string, get func(r *window.Row) T) column {
	var values []T
	return column{
		name: name,
		rows: func(rows []window.Row) {
			for i := range rows {
				values = append(values, get(&rows[i]))
			}
		},
		mark:   func(*markOf) { values = zeros(values, 1) },
		values: func() any { return values },
		reset: func(n int) {
			clear(values) // lets go of texts
			values = slices.Grow(values[:0], n)
		},
	}
}

// ofSpan is a column whose value is the same for every row of a span.
func ofSpan[T any](name string, get func(m *markOf) T) column {
	var values []T
	var current T
	return column{
		name:   name,
		begin:  func(m *markOf) { current = get(m) },
		rows:   func(rows []window.Row) { values = repeat(values, current, len(rows)) },
		mark:   func(*markOf) { values = append(values, current) },
		values: func() any { return values },
		reset:  func(n int) { values = slices.Grow(values[:0], n) },
	}
}

// ofMark is a column that only marks fill; rows hold none.
func ofMark[T any](name string, get func(m *markOf) T) column {
	var values []T
	return column{
		name:   name,
		rows:   func(rows []window.Row) { values = zeros(values, len(rows)) },
		mark:   func(m *markOf) { values = append(values, get(m)) },
		values: func() any { return values },
		reset:  func(n int) { values = slices.Grow(values[:0], n) },
	}
}

// zeros appends n zero values.
func zeros[T any](values []T, n int) []T {
	from := len(values)
	values = slices.Grow(values, n)[:from+n]
	clear(values[from:])
	return values
}

// repeat appends n copies of v.
func repeat[T any](values []T, v T, n int) []T {
	values = slices.Grow(values, n)
	for range n {
		values = append(values, v)
	}
	return values
}

func newColumns() []column {
	return []column{
		ofRow("advertiser", func(r *window.Row) uint64 { return r.Advertiser }),
		ofRow("minute", func(r *window.Row) int64 { return r.Minute * 60 }),
		ofRow("event_type", func(r *window.Row) uint8 { return uint8(r.Type) }),
		ofRow("campaign", func(r *window.Row) uint64 { return r.Campaign }),
		ofRow("ad_group", func(r *window.Row) uint64 { return r.AdGroup }),
		ofRow("creative", func(r *window.Row) uint64 { return r.Creative }),
		ofRow("placement", func(r *window.Row) uint64 { return r.Placement }),
		ofRow("publisher", func(r *window.Row) uint64 { return r.Publisher }),
		ofRow("country", func(r *window.Row) string { return r.Country }),
		ofRow("region", func(r *window.Row) string { return r.Region }),
		ofRow("device", func(r *window.Row) string { return r.Device }),
		ofRow("os", func(r *window.Row) string { return r.OS }),
		ofRow("browser", func(r *window.Row) string { return r.Browser }),
		ofRow("variant", func(r *window.Row) string { return r.Variant }),
		ofRow("currency", func(r *window.Row) string { return r.Currency }),
		ofRow("invalid_flags", func(r *window.Row) uint32 { return uint32(r.Flags) }),
		ofRow("gross", func(r *window.Row) int64 { return r.Gross }),
		ofRow("net", func(r *window.Row) int64 { return r.Net }),
		ofRow("duplicate", func(r *window.Row) int64 { return r.Duplicate }),
		ofRow("invalid", func(r *window.Row) int64 { return r.Invalid }),
		ofRow("orphan", func(r *window.Row) int64 { return r.Orphan }),
		ofRow("spend_nanos", func(r *window.Row) int64 { return r.SpendNanos }),
		ofSpan("topic_id", func(m *markOf) uuid.UUID { return m.block.Topic.ID }),
		ofSpan("kafka_partition", func(m *markOf) int32 { return m.span.Partition }),
		ofSpan("b_start", func(m *markOf) uint64 { return uint64(m.span.Start) }),
		ofSpan("b_end", func(m *markOf) uint64 { return uint64(m.span.End) }),
		ofSpan("batch_id", func(m *markOf) uuid.UUID { return m.block.ID }),
		ofSpan("leader_epoch", func(m *markOf) int32 { return m.span.Epoch }),
		ofSpan("lineage", func(m *markOf) uint32 { return m.block.Topic.Lineage }),
		ofSpan("code_version", func(*markOf) uint32 { return window.CodeVersion }),
		ofSpan("lat_day", func(m *markOf) time.Time { return m.day }),
		ofMark("mark_rows", func(m *markOf) uint32 { return uint32(m.totals.Rows) }),
		ofMark("mark_gross", func(m *markOf) int64 { return m.totals.Gross }),
		ofMark("mark_net", func(m *markOf) int64 { return m.totals.Net }),
		ofMark("mark_spend_nanos", func(m *markOf) int64 { return m.totals.SpendNanos }),
		ofMark("mark_lat", func(m *markOf) int64 { return m.span.LastLAT }),
		ofMark("mark_version", func(*markOf) uint8 { return markVersion }),
		ofMark("mark_records", func(m *markOf) int64 { return m.span.End - m.span.Start }),
		ofMark("mark_ticks", func(m *markOf) int64 { return m.totals.Ticks }),
		ofMark("mark_poison", func(m *markOf) int64 { return m.totals.Poison }),
		ofMark("mark_duplicate", func(m *markOf) int64 { return m.totals.Duplicate }),
		ofMark("mark_invalid", func(m *markOf) int64 { return m.totals.Invalid }),
		ofMark("mark_orphan", func(m *markOf) int64 { return m.totals.Orphan }),
		ofMark("mark_synthetic", func(m *markOf) int64 { return m.totals.Synthetic }),
		ofMark("mark_pending", func(m *markOf) int64 { return m.totals.Pending }),
		ofSpan("block_lat", func(m *markOf) int64 { return m.began }),
	}
}

// markVersion says which control totals a mark has: 1 has all of migration 0003.
const markVersion = 1

// insert returns the INSERT statement with the columns in their order.
func (c *ledgerColumns) insert() string {
	if c.list == nil {
		c.list = newColumns()
		names := make([]string, len(c.list))
		for i := range c.list {
			names[i] = c.list[i].name
		}
		c.query = "INSERT INTO ledger (" + strings.Join(names, ", ") + ")"
	}
	return c.query
}

// fill holds exactly b afterwards: each span's rows and its mark.
func (c *ledgerColumns) fill(b *Block) {
	rows := 0
	for _, s := range b.Spans {
		rows += s.Delta.Len() + 1
	}
	for i := range c.list {
		c.list[i].reset(rows)
	}
	first := b.Spans[0].FirstLAT
	m := markOf{block: b, began: first / 1000, day: latDay(first)}
	for _, m.span = range b.Spans {
		c.addSpan(&m)
	}
}

func (c *ledgerColumns) addSpan(m *markOf) {
	m.totals = m.span.Delta.Totals()
	for i := range c.list {
		if begin := c.list[i].begin; begin != nil {
			begin(m)
		}
	}
	for from := 0; from < m.span.Delta.Len(); from += chunkRows {
		rows := c.chunk[:min(chunkRows, m.span.Delta.Len()-from)]
		for i := range rows {
			m.span.Delta.Row(from+i, &rows[i])
		}
		for i := range c.list {
			c.list[i].rows(rows)
		}
	}
	for i := range c.list {
		c.list[i].mark(m)
	}
}

// latDay is the day of broker time, the table partition of a span.
func latDay(lat int64) time.Time {
	return time.UnixMilli(lat).UTC().Truncate(24 * time.Hour)
}
