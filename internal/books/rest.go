package books

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

const (
	// maxRest bounds the ledger rows that are remembered, of some 200 bytes each: a
	// cut should not be that far behind.
	maxRest = 200_000
	// maxChunks is after how many increments they are read anew, as one.
	maxChunks = 64
	// maxCells bounds the rows that are sent with a report. More of them take
	// ClickHouse longer to receive than to find.
	maxCells = 20_000
)

// rest is the rows of a view's Rest in memory. Views share chunks; nobody changes
// them.
type rest struct {
	chunks []*chunk
	rows   uint64
}

// chunk is some rows of the ledger, sorted by advertiser.
type chunk struct {
	advertisers []uint64
	minutes     []int64
	ids         map[string][]uint64
	texts       map[string]texts
	ints        map[string][]int64
}

type texts struct {
	dict  []string
	index []int32
}

// restInts are the columns of integers, besides the minute.
var restInts = []string{"event_type", "invalid_flags", "gross", "net", "duplicate", "invalid", "orphan", "spend_nanos"}

// Known returns the view with what an earlier one remembers, if that is all of its
// rest.
func (v *View) Known(earlier *View) *View {
	if v.rest != nil || earlier == nil || earlier.rest == nil ||
		!sameEnds(v.Rest.From, earlier.Rest.From) || !sameEnds(v.Rest.To, earlier.Rest.To) {
		return v
	}
	known := *v
	known.rest = earlier.rest
	return &known
}

// leadsTo says that the rest of a later view is that of v and what came since.
func (v *View) leadsTo(later *View) bool {
	return sameEnds(v.Rest.From, later.Rest.From) && later.Rest.To.reaches(v.Rest.To)
}

// Looked returns the view as one that remembers the rows of its rest, if they are
// not too many. What an earlier view remembers is not read again.
func (r *Reader) Looked(ctx context.Context, v, earlier *View) (*View, error) {
	if v.rest != nil || v.RestRows > maxRest {
		return v, nil
	}
	known, slice := &rest{}, v.Rest
	if earlier != nil && earlier.rest != nil && earlier.leadsTo(v) && len(earlier.rest.chunks) < maxChunks {
		known, slice.From = earlier.rest, earlier.Rest.To
	}
	read, err := r.rows(ctx, &slice)
	if err != nil {
		return nil, err
	}
	all := &rest{chunks: append(slices.Clip(known.chunks), read...), rows: known.rows}
	for _, c := range read {
		all.rows += uint64(len(c.advertisers))
	}
	if all.rows != v.RestRows {
		return v, nil // the marks say otherwise: only the ledger itself is right
	}
	looked := *v
	looked.rest = all
	return &looked, nil
}

// rows reads the rows of a slice.
func (r *Reader) rows(ctx context.Context, s *Slice) (chunks []*chunk, err error) {
	advertisers, minutes := &clickhouse.IDColumn{}, &clickhouse.IntColumn{}
	columns := []clickhouse.Column{advertisers, minutes}
	selected := []string{"advertiser", "toInt64(toUnixTimestamp(minute))"}
	for _, d := range clickhouse.Dimensions[1:] {
		selected = append(selected, d.Name)
		if d.ID {
			columns = append(columns, &clickhouse.IDColumn{})
		} else {
			columns = append(columns, &clickhouse.TextColumn{})
		}
	}
	for _, name := range restInts {
		selected = append(selected, "toInt64("+name+")")
		columns = append(columns, &clickhouse.IntColumn{})
	}
	params := clickhouse.Parameters{}
	sql := "SELECT " + strings.Join(selected, ", ") + " FROM ledger WHERE advertiser > 0 AND " + s.Where("s_", params) + " ORDER BY advertiser"
	err = r.conn.Blocks(ctx, clickhouse.BlockQuery{SQL: sql, Params: params, Columns: columns, OnBlock: func(int) error {
		c := &chunk{
			advertisers: advertisers.Take(), minutes: minutes.Take(),
			ids: map[string][]uint64{}, texts: map[string]texts{}, ints: map[string][]int64{},
		}
		for i, d := range clickhouse.Dimensions[1:] {
			switch column := columns[2+i].(type) {
			case *clickhouse.IDColumn:
				c.ids[d.Name] = column.Take()
			case *clickhouse.TextColumn:
				dict, index := column.Take()
				c.texts[d.Name] = texts{dict, index}
			}
		}
		for i, name := range restInts {
			if column, ok := columns[len(columns)-len(restInts)+i].(*clickhouse.IntColumn); ok {
				c.ints[name] = column.Take()
			}
		}
		chunks = append(chunks, c)
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("read the rows behind the cut: %w", err)
	}
	return chunks, nil
}

// Cells are rows of the ledger in memory.
type Cells struct {
	parts []part
	rows  int
}

// part is the rows of a chunk with these places.
type part struct {
	*chunk

	places []int
}

// RestCells returns the rows of Rest that are of an advertiser and within a range of
// time; false if they are not remembered, or too many to be sent.
func (v *View) RestCells(advertiser uint64, from, to time.Time) (*Cells, bool) {
	if v.RestRows == 0 {
		return &Cells{}, true
	}
	if v.rest == nil {
		return nil, false
	}
	cells := &Cells{}
	for _, c := range v.rest.chunks {
		p := part{chunk: c}
		first, _ := slices.BinarySearch(c.advertisers, advertiser)
		for i := first; i < len(c.advertisers) && c.advertisers[i] == advertiser; i++ {
			if c.minutes[i] >= from.Unix() && c.minutes[i] < to.Unix() {
				p.places = append(p.places, i)
			}
		}
		if len(p.places) > 0 {
			cells.parts = append(cells.parts, p)
			cells.rows += len(p.places)
		}
		if cells.rows > maxCells {
			return nil, false
		}
	}
	return cells, true
}

// Rows is how many there are.
func (c *Cells) Rows() int { return c.rows }

// Columns returns columns of the ledger by name, in its types.
func (c *Cells) Columns(names []string) []clickhouse.NamedColumn {
	list := make([]clickhouse.NamedColumn, len(names))
	for i, name := range names {
		list[i] = clickhouse.NamedColumn{Name: name, Values: c.column(name)}
	}
	return list
}

func (c *Cells) column(name string) clickhouse.ColumnValues {
	switch name {
	case "advertiser":
		return gather(c, func(p *part) []uint64 { return p.advertisers }, func(id uint64) uint64 { return id })
	case "minute":
		return gather(c, func(p *part) []int64 { return p.minutes }, func(s int64) clickhouse.Second { return clickhouse.Second(s) })
	case "event_type":
		return gather(c, func(p *part) []int64 { return p.ints[name] }, func(n int64) uint8 { return uint8(n) })
	case "invalid_flags":
		return gather(c, func(p *part) []int64 { return p.ints[name] }, func(n int64) uint32 { return uint32(n) })
	}
	if slices.Contains(restInts, name) {
		return gather(c, func(p *part) []int64 { return p.ints[name] }, func(n int64) int64 { return n })
	}
	i := slices.IndexFunc(clickhouse.Dimensions, func(d clickhouse.Dimension) bool { return d.Name == name })
	if clickhouse.Dimensions[i].ID {
		return gather(c, func(p *part) []uint64 { return p.ids[name] }, func(id uint64) uint64 { return id })
	}
	coded := &clickhouse.Coded{}
	for j := range c.parts {
		p := &c.parts[j]
		values := p.texts[name]
		for _, place := range p.places {
			coded.Keys = append(coded.Keys, coded.Place(values.dict[values.index[place]]))
		}
	}
	return coded
}

// gather collects the values of the rows.
func gather[S any, T clickhouse.Scalar](c *Cells, of func(*part) []S, as func(S) T) *clickhouse.Fixed[T] {
	out := &clickhouse.Fixed[T]{Values: make([]T, 0, c.rows)}
	for i := range c.parts {
		p := &c.parts[i]
		values := of(p)
		for _, place := range p.places {
			out.Values = append(out.Values, as(values[place]))
		}
	}
	return out
}
