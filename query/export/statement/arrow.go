package statement

import (
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// textType is that of texts, which have few values.
var textType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}

func (k Kind) arrowType() arrow.DataType {
	switch k {
	case ID:
		return arrow.PrimitiveTypes.Uint64
	case Day:
		return arrow.FixedWidthTypes.Date32
	case Moment:
		return arrow.FixedWidthTypes.Timestamp_us
	case Text:
		return textType
	case Money:
		return &arrow.Decimal128Type{Precision: 38, Scale: MoneyPlaces}
	default:
		return arrow.PrimitiveTypes.Int64
	}
}

func arrowSchema(columns []Column, pairs []Pair) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Kind.arrowType()}
	}
	names, values := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		names[i], values[i] = p.Name, p.Value
	}
	meta := arrow.NewMetadata(names, values)
	return arrow.NewSchema(fields, &meta)
}

// arrowWriter writes a record batch per Group, over the group's own memory. Each
// batch brings its dictionaries, which replace those before.
type arrowWriter struct {
	columns []Column
	schema  *arrow.Schema
	stream  *ipc.Writer
}

func newArrow(w io.Writer, columns []Column, pairs []Pair) *arrowWriter {
	schema := arrowSchema(columns, pairs)
	return &arrowWriter{columns: columns, schema: schema, stream: ipc.NewWriter(w, ipc.WithSchema(schema))}
}

// Write implements Writer.
func (a *arrowWriter) Write(g *Group) error {
	arrays := make([]arrow.Array, len(a.columns))
	for i, c := range a.columns {
		arrays[i] = c.Kind.array(&g.Vectors[i], g.Rows)
	}
	record := array.NewRecord(a.schema, arrays, int64(g.Rows))
	defer record.Release()
	for _, column := range arrays {
		column.Release() // the record holds them
	}
	return a.stream.Write(record)
}

// Close implements Writer.
func (a *arrowWriter) Close() error { return a.stream.Close() }

func (k Kind) array(v *Vector, rows int) arrow.Array {
	switch k {
	case ID:
		return fixed(k.arrowType(), rows, arrow.Uint64Traits.CastToBytes(v.IDs))
	case Money:
		return fixed(k.arrowType(), rows, arrow.Decimal128Traits.CastToBytes(v.Wide))
	case Day:
		days := make([]arrow.Date32, rows)
		for i, day := range v.Ints {
			days[i] = arrow.Date32(day)
		}
		return fixed(k.arrowType(), rows, arrow.Date32Traits.CastToBytes(days))
	case Text:
		return textArray(v, rows)
	default:
		return fixed(k.arrowType(), rows, arrow.Int64Traits.CastToBytes(v.Ints))
	}
}

func textArray(v *Vector, rows int) arrow.Array {
	texts := array.NewStringBuilder(memory.DefaultAllocator)
	defer texts.Release()
	texts.AppendValues(v.Dict, nil)
	dict := texts.NewArray()
	defer dict.Release()
	codes := fixed(arrow.PrimitiveTypes.Int32, rows, arrow.Int32Traits.CastToBytes(v.Codes))
	defer codes.Release()
	return array.NewDictionaryArray(textType, codes, dict)
}

func fixed(t arrow.DataType, rows int, values []byte) arrow.Array {
	data := array.NewData(t, rows, []*memory.Buffer{nil, memory.NewBufferBytes(values)}, nil, 0, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
