package export

import (
	"io"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// textType is that of texts: most have few values.
var textType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}

func (c *Column) arrowType() arrow.DataType {
	switch c.Type {
	case Date:
		return arrow.FixedWidthTypes.Date32
	case Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	case ID:
		return arrow.PrimitiveTypes.Uint64
	case String:
		return textType
	case Decimal:
		return &arrow.Decimal128Type{Precision: 38, Scale: int32(c.Places)}
	default:
		return arrow.PrimitiveTypes.Int64
	}
}

// arrowSchema has the meta, if any, under names that begin with adtally.
func arrowSchema(columns []Column, pairs []Pair) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i := range columns {
		fields[i] = arrow.Field{Name: columns[i].Name, Type: columns[i].arrowType(), Nullable: columns[i].Type == Decimal}
	}
	names, values := make([]string, len(pairs)), make([]string, len(pairs))
	for i, pair := range pairs {
		names[i], values[i] = metaKey(pair.Name), pair.Value
	}
	meta := arrow.NewMetadata(names, values)
	return arrow.NewSchema(fields, &meta)
}

func metaKey(name string) string { return "adtally." + strings.ReplaceAll(name, "-", "_") }

type arrowWriter struct {
	schema *arrow.Schema
	shape  *Shape
	ipc    *ipc.Writer
}

func newArrow(w io.Writer, shape *Shape) *arrowWriter {
	schema := arrowSchema(shape.Columns, shape.Meta.Pairs())
	return &arrowWriter{schema: schema, shape: shape, ipc: ipc.NewWriter(w, ipc.WithSchema(schema))}
}

// Batch implements Writer.
func (a *arrowWriter) Batch(b *Batch) error {
	record := newRecord(a.schema, a.shape.Columns, b)
	defer record.Release()
	return a.ipc.Write(record)
}

// Close implements Writer. The end of a stream has no place for totals.
func (a *arrowWriter) Close(*Batch, *Meta) error { return a.ipc.Close() }

// newRecord makes a record over the batch's own memory where the layouts agree.
func newRecord(schema *arrow.Schema, columns []Column, b *Batch) arrow.Record {
	arrays := make([]arrow.Array, len(columns))
	for i := range columns {
		arrays[i] = columns[i].array(&b.Vectors[i], b.Rows)
	}
	record := array.NewRecord(schema, arrays, int64(b.Rows))
	for _, a := range arrays {
		a.Release() // the record holds them
	}
	return record
}

func (c *Column) array(v *Vector, rows int) arrow.Array {
	switch c.Type {
	case Integer:
		return fixed(c.arrowType(), rows, arrow.Int64Traits.CastToBytes(v.Ints), v.Null)
	case ID:
		return fixed(c.arrowType(), rows, arrow.Uint64Traits.CastToBytes(v.IDs), v.Null)
	case Decimal:
		return fixed(c.arrowType(), rows, arrow.Decimal128Traits.CastToBytes(v.Decimals), v.Null)
	case Date:
		days := make([]arrow.Date32, rows)
		for i, day := range v.Ints {
			days[i] = arrow.Date32(day)
		}
		return fixed(c.arrowType(), rows, arrow.Date32Traits.CastToBytes(days), v.Null)
	case Timestamp:
		micros := make([]int64, rows)
		for i, second := range v.Ints {
			micros[i] = second * 1_000_000
		}
		return fixed(c.arrowType(), rows, arrow.Int64Traits.CastToBytes(micros), v.Null)
	default:
		return textArray(v, rows)
	}
}

func textArray(v *Vector, rows int) arrow.Array {
	texts := array.NewStringBuilder(memory.DefaultAllocator)
	defer texts.Release()
	texts.Reserve(len(v.Dict))
	for _, text := range v.Dict {
		texts.Append(strings.ToValidUTF8(text, "\uFFFD"))
	}
	dict := texts.NewArray()
	defer dict.Release()
	index := v.Index
	if index == nil {
		index = make([]int32, rows)
	}
	places := fixed(arrow.PrimitiveTypes.Int32, rows, arrow.Int32Traits.CastToBytes(index), v.Null)
	defer places.Release()
	return array.NewDictionaryArray(textType, places, dict)
}

func fixed(t arrow.DataType, rows int, values []byte, null []bool) arrow.Array {
	bitmap, nulls := validity(null)
	data := array.NewData(t, rows, []*memory.Buffer{bitmap, memory.NewBufferBytes(values)}, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// validity turns marks of nulls into Arrow's bitmap of values.
func validity(null []bool) (bitmap *memory.Buffer, nulls int) {
	bits := make([]byte, (len(null)+7)/8)
	for i, is := range null {
		if is {
			nulls++
		} else {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	return memory.NewBufferBytes(bits), nulls
}
