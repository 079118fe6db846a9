package clickhouse

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"
)

// BlockInsert is an INSERT that sends its rows as one block of columns.
type BlockInsert struct {
	Table string
	// ID is the query id; an empty id lets the server choose.
	ID string
	// Settings hold for this statement.
	Settings Settings
	// Columns all have as many values. They are read until the insert is over and
	// stay the caller's.
	Columns []NamedColumn
	// Open, if set, is called when the insert is open on the server and nothing is
	// sent yet. After its error nothing is sent.
	Open func() error
}

// NamedColumn is a column of a BlockInsert.
type NamedColumn struct {
	Name   string
	Values ColumnValues
}

// ColumnValues are the values of a column, made by a Fixed, a Coded or Lists.
type ColumnValues interface{ input() proto.ColInput }

// Times as columns have them: integers, all in UTC.
type (
	// Day is a Date, in days since 1970.
	Day = proto.Date
	// Second is a DateTime, in seconds since 1970.
	Second = proto.DateTime
	// Milli is a DateTime64(3), in milliseconds since 1970.
	Milli = proto.DateTime64
)

// Scalar are the values of columns of one width.
type Scalar interface {
	uint8 | uint32 | uint64 | int32 | int64 | uuid.UUID | Day | Second | Milli
}

// Fixed are values of one width. The zero Fixed is empty.
type Fixed[T Scalar] struct{ Values []T }

func (c *Fixed[T]) input() (in proto.ColInput) {
	switch v := any(c.Values).(type) {
	case []uint8:
		in = proto.ColUInt8(v)
	case []uint32:
		in = proto.ColUInt32(v)
	case []uint64:
		in = proto.ColUInt64(v)
	case []int32:
		in = proto.ColInt32(v)
	case []int64:
		in = proto.ColInt64(v)
	case []uuid.UUID:
		in = proto.ColUUID(v)
	case []Day:
		in = proto.ColDate(v)
	case []Second:
		in = &proto.ColDateTime{Data: v, Location: time.UTC}
	case []Milli:
		in = &proto.ColDateTime64{Data: v, Location: time.UTC, Precision: proto.PrecisionMilli, PrecisionSet: true}
	}
	return in
}

// Lists is a column of Array(UInt64). The zero Lists is empty.
type Lists struct{ ends, values []uint64 }

// Append appends a list.
func (c *Lists) Append(list []uint64) {
	c.values = append(c.values, list...)
	c.ends = append(c.ends, uint64(len(c.values)))
}

func (c *Lists) input() proto.ColInput {
	values := proto.ColUInt64(c.values)
	lists := proto.NewArray[uint64](&values)
	lists.Offsets = c.ends
	return lists
}

// Coded is a column of LowCardinality(String): a dictionary, and for each row
// its place there. The zero Coded is empty.
type Coded struct {
	Keys   []uint32
	texts  proto.ColStr
	places map[string]uint32
}

// Place returns the place of text in the dictionary; it copies text if it is new.
func (c *Coded) Place(text string) uint32 {
	if place, ok := c.places[text]; ok {
		return place
	}
	if c.places == nil {
		c.places = make(map[string]uint32)
	}
	place := uint32(c.texts.Rows())
	c.texts.Append(text)
	c.places[strings.Clone(text)] = place
	return place
}

// Reset empties the column and keeps its memory.
func (c *Coded) Reset() {
	c.Keys = c.Keys[:0]
	c.texts.Reset()
	clear(c.places)
}

func (c *Coded) input() proto.ColInput {
	return proto.ColLowCardinalityRaw{Index: &c.texts, Key: proto.KeyUInt32, Keys32: c.Keys}
}

// gate shows a column as empty until the insert is open, so that the client asks
// before it sends, and again when it was sent.
type gate struct {
	proto.ColInput
	open *bool
}

// Rows implements proto.ColInput.
func (g gate) Rows() int {
	if !*g.open {
		return 0
	}
	return g.ColInput.Rows()
}

// EncodeState implements proto.StateEncoder.
func (g gate) EncodeState(b *proto.Buffer) {
	if s, ok := g.ColInput.(proto.StateEncoder); ok {
		s.EncodeState(b)
	}
}

// Insert implements Conn. An error that the server answered is an *Exception.
func (c *conn) Insert(ctx context.Context, in BlockInsert) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	names := make([]string, len(in.Columns))
	columns := make(proto.Input, len(in.Columns))
	open, opened := false, false
	for i, column := range in.Columns {
		names[i] = column.Name
		columns[i] = proto.InputColumn{Name: column.Name, Data: gate{column.Values.input(), &open}}
	}
	query := ch.Query{
		Body:    "INSERT INTO " + in.Table + " (" + strings.Join(names, ", ") + ") VALUES",
		QueryID: in.ID, Input: columns,
		OnInput: func(context.Context) error {
			if opened {
				open = false
				return io.EOF
			}
			opened, open = true, true
			if in.Open == nil {
				return nil
			}
			if err := in.Open(); err != nil {
				open = false
				cancel(err) // closes the connection, so the server gives the insert up
				return err
			}
			return nil
		},
	}
	for name, value := range in.Settings {
		query.Settings = append(query.Settings, ch.Setting{Key: name, Value: fmt.Sprint(value), Important: true})
	}
	if err := c.do(ctx, pool, query, &opened); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}
