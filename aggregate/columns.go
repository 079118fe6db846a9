package aggregate

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
)

// column is one column of the ledger: its name, how to take its values from
// rows and for a mark, and its values.
type column struct {
	name   string
	begin  func(m *markOf) // set by columns that are the same for a whole span
	rows   func(c *chunk)
	mark   func(m *markOf)
	values clickhouse.ColumnValues
	// reset empties the column and makes room for that many values.
	reset func(n int)
}

// markOf is the span being written, and its control totals.
type markOf struct {
	block  *Block
	span   *Span
	totals window.Totals
	// began is the second of broker time in which the block begins.
	began clickhouse.Second
	day   clickhouse.Day
}

// chunkRows is the number of rows that are taken apart at a time: few enough
// for the cache of a core, as every column reads them again.
const chunkRows = 256

// chunk are some rows of a span, and the codes of their texts.
type chunk struct {
	rows  []window.Row
	texts []uint32
}

// ledgerColumns turns blocks into columns. The memory is kept from block to
// block; it belongs to one goroutine.
type ledgerColumns struct {
	list  []column
	named []clickhouse.NamedColumn
	rows  [chunkRows]window.Row
	texts [chunkRows]uint32
}

// ofRow is a column whose value is a field of the row; marks hold none.
func ofRow[T clickhouse.Scalar](name string, get func(r *window.Row) T) column {
	c := new(clickhouse.Fixed[T])
	return column{
		name: name, values: c,
		rows: func(of *chunk) {
			for i := range of.rows {
				c.Values = append(c.Values, get(&of.rows[i]))
			}
		},
		mark:  func(*markOf) { c.Values = zeros(c.Values, 1) },
		reset: func(n int) { c.Values = slices.Grow(c.Values[:0], n) },
	}
}

// ofText is a column whose value is a text of the row; marks hold none. Each set
// of texts of a span is looked up once.
func ofText(name string, get func(r *window.Row) string) column {
	c := new(clickhouse.Coded)
	// places are those of the sets in the dictionary, plus one.
	var places []uint32
	return column{
		name: name, values: c,
		begin: func(*markOf) { places = places[:0] },
		rows: func(of *chunk) {
			for i, set := range of.texts {
				if int(set) >= len(places) {
					places = zeros(places, int(set)+1-len(places))
				}
				if places[set] == 0 {
					places[set] = c.Place(get(&of.rows[i])) + 1
				}
				c.Keys = append(c.Keys, places[set]-1)
			}
		},
		mark: func(*markOf) { c.Keys = append(c.Keys, c.Place("")) },
		reset: func(n int) {
			c.Reset()
			c.Keys = slices.Grow(c.Keys, n)
		},
	}
}

// ofSpan is a column whose value is the same for every row of a span.
func ofSpan[T clickhouse.Scalar](name string, get func(m *markOf) T) column {
	c := new(clickhouse.Fixed[T])
	var current T
	return column{
		name: name, values: c,
		begin: func(m *markOf) { current = get(m) },
		rows:  func(of *chunk) { c.Values = repeat(c.Values, current, len(of.rows)) },
		mark:  func(*markOf) { c.Values = append(c.Values, current) },
		reset: func(n int) { c.Values = slices.Grow(c.Values[:0], n) },
	}
}

// ofMark is a column that only marks fill; rows hold none.
func ofMark[T clickhouse.Scalar](name string, get func(m *markOf) T) column {
	c := new(clickhouse.Fixed[T])
	return column{
		name: name, values: c,
		rows:  func(of *chunk) { c.Values = zeros(c.Values, len(of.rows)) },
		mark:  func(m *markOf) { c.Values = append(c.Values, get(m)) },
		reset: func(n int) { c.Values = slices.Grow(c.Values[:0], n) },
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
		ofRow("minute", func(r *window.Row) clickhouse.Second { return clickhouse.Second(r.Minute * 60) }),
		ofRow("event_type", func(r *window.Row) uint8 { return uint8(r.Type) }),
		ofRow("campaign", func(r *window.Row) uint64 { return r.Campaign }),
		ofRow("ad_group", func(r *window.Row) uint64 { return r.AdGroup }),
		ofRow("creative", func(r *window.Row) uint64 { return r.Creative }),
		ofRow("placement", func(r *window.Row) uint64 { return r.Placement }),
		ofRow("publisher", func(r *window.Row) uint64 { return r.Publisher }),
		ofText("country", func(r *window.Row) string { return r.Country }),
		ofText("region", func(r *window.Row) string { return r.Region }),
		ofText("device", func(r *window.Row) string { return r.Device }),
		ofText("os", func(r *window.Row) string { return r.OS }),
		ofText("browser", func(r *window.Row) string { return r.Browser }),
		ofText("variant", func(r *window.Row) string { return r.Variant }),
		ofText("currency", func(r *window.Row) string { return r.Currency }),
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
		ofSpan("lat_day", func(m *markOf) clickhouse.Day { return m.day }),
		ofMark("mark_rows", func(m *markOf) uint32 { return uint32(m.totals.Rows) }),
		ofMark("mark_gross", func(m *markOf) int64 { return m.totals.Gross }),
		ofMark("mark_net", func(m *markOf) int64 { return m.totals.Net }),
		ofMark("mark_spend_nanos", func(m *markOf) int64 { return m.totals.SpendNanos }),
		ofMark("mark_lat", func(m *markOf) clickhouse.Milli { return clickhouse.Milli(m.span.LastLAT) }),
		ofMark("mark_version", func(*markOf) uint8 { return markVersion }),
		ofMark("mark_records", func(m *markOf) int64 { return m.span.End - m.span.Start }),
		ofMark("mark_ticks", func(m *markOf) int64 { return m.totals.Ticks }),
		ofMark("mark_poison", func(m *markOf) int64 { return m.totals.Poison }),
		ofMark("mark_duplicate", func(m *markOf) int64 { return m.totals.Duplicate }),
		ofMark("mark_invalid", func(m *markOf) int64 { return m.totals.Invalid }),
		ofMark("mark_orphan", func(m *markOf) int64 { return m.totals.Orphan }),
		ofMark("mark_synthetic", func(m *markOf) int64 { return m.totals.Synthetic }),
		ofMark("mark_pending", func(m *markOf) int64 { return m.totals.Pending }),
		ofSpan("block_lat", func(m *markOf) clickhouse.Second { return m.began }),
	}
}

// markVersion says which control totals a mark has: 1 has all of migration 0003.
const markVersion = 1

// daySeconds are the seconds of a day.
const daySeconds = 24 * 60 * 60

// names returns the columns in the order of the table; fill changes their values.
func (c *ledgerColumns) names() []clickhouse.NamedColumn {
	if c.list == nil {
		c.list = newColumns()
		for _, column := range c.list {
			c.named = append(c.named, clickhouse.NamedColumn{Name: column.name, Values: column.values})
		}
	}
	return c.named
}

// fill returns the columns with exactly b in them: each span's rows and its mark.
// They are valid until the next call.
func (c *ledgerColumns) fill(b *Block) []clickhouse.NamedColumn {
	named := c.names()
	rows := 0
	for _, s := range b.Spans {
		rows += s.Delta.Len() + 1
	}
	for i := range c.list {
		c.list[i].reset(rows)
	}
	first := b.Spans[0].FirstLAT
	m := markOf{block: b, began: clickhouse.Second(first / 1000), day: clickhouse.Day(latDay(first).Unix() / daySeconds)}
	for _, m.span = range b.Spans {
		c.addSpan(&m)
	}
	return named
}

func (c *ledgerColumns) addSpan(m *markOf) {
	m.totals = m.span.Delta.Totals()
	for i := range c.list {
		if begin := c.list[i].begin; begin != nil {
			begin(m)
		}
	}
	for from := 0; from < m.span.Delta.Len(); from += chunkRows {
		n := min(chunkRows, m.span.Delta.Len()-from)
		of := chunk{c.rows[:n], c.texts[:n]}
		for i := range n {
			m.span.Delta.Row(from+i, &of.rows[i])
			of.texts[i] = m.span.Delta.Texts(from + i)
		}
		for i := range c.list {
			c.list[i].rows(&of)
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
