package statement

import (
	"encoding/binary"
	"unsafe"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/klauspost/compress/zstd"
)

// chunk is one column of one row group, encoded.
type chunk struct {
	// bytes are the pages with their headers: that of the dictionary, if any, and
	// one of data.
	bytes []byte
	// dataAt is where the page of data begins; 0 means that there is no other.
	dataAt   int
	rows     int
	unpacked int
	stats    metadata.EncodedStatistics
}

// encoder makes chunks. It belongs to one goroutine.
type encoder struct {
	zstd    *zstd.Encoder
	numbers numbers
	wide    []uint64
	plain   []byte
	packed  []byte
}

func newEncoder() *encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("BUG: the options are constants: " + err.Error())
	}
	return &encoder{zstd: z}
}

// encode writes the column into c, whose memory it uses again.
func (e *encoder) encode(c *chunk, kind Kind, v *Vector, rows int) {
	*c = chunk{bytes: c.bytes[:0], rows: rows}
	switch kind {
	case Text:
		e.texts(c, v)
	case Money:
		e.money(c, v.Wide)
	case Day:
		e.days(c, v.Ints)
	case ID:
		e.words(c, v.IDs)
		c.stats = rangeOf(v.IDs)
	default:
		e.words(c, asWords(v.Ints))
		c.stats = rangeOf(v.Ints)
	}
}

func (e *encoder) texts(c *chunk, v *Vector) {
	e.plain = e.plain[:0]
	least, most := "", ""
	for i, text := range v.Dict {
		e.plain = binary.LittleEndian.AppendUint32(e.plain, uint32(len(text)))
		e.plain = append(e.plain, text...)
		if i == 0 || text < least {
			least = text
		}
		if i == 0 || text > most {
			most = text
		}
	}
	c.stats = metadata.EncodedStatistics{HasMin: true, HasMax: true, Min: []byte(least), Max: []byte(most), HasNullCount: true}
	c.stats.ApplyStatSizeLimits(256)
	e.dictionary(c, len(v.Dict))
	e.codes(c, v.Codes, len(v.Dict))
}

func (e *encoder) words(c *chunk, column []uint64) {
	e.plain = e.plain[:0]
	if !e.numbers.encode(column) {
		e.plain = appendWords(e.plain, column)
		e.data(c, e.plain, parquet.Encodings.Plain)
		return
	}
	e.plain = appendWords(e.plain, e.numbers.values)
	e.dictionary(c, len(e.numbers.values))
	e.codes(c, e.numbers.codes, len(e.numbers.values))
}

func (e *encoder) days(c *chunk, column []int64) {
	c.stats = rangeOf(column)
	c.stats.Min, c.stats.Max = c.stats.Min[:4], c.stats.Max[:4]
	if !e.numbers.encode(asWords(column)) {
		e.plain = e.plain[:0]
		for _, day := range column {
			e.plain = binary.LittleEndian.AppendUint32(e.plain, uint32(day))
		}
		e.data(c, e.plain, parquet.Encodings.Plain)
		return
	}
	e.plain = e.plain[:0]
	for _, day := range e.numbers.values {
		e.plain = binary.LittleEndian.AppendUint32(e.plain, uint32(day))
	}
	e.dictionary(c, len(e.numbers.values))
	e.codes(c, e.numbers.codes, len(e.numbers.values))
}

// money looks for a dictionary as long as the amounts fit 64 bits.
func (e *encoder) money(c *chunk, column []Int128) {
	c.stats = metadata.EncodedStatistics{HasNullCount: true}
	e.wide = grown(e.wide, len(column))
	narrow := true
	for i, n := range column {
		e.wide[i] = n.LowBits()
		narrow = narrow && n.HighBits() == int64(n.LowBits())>>63
	}
	e.plain = e.plain[:0]
	if !narrow || !e.numbers.encode(e.wide) {
		for _, n := range column {
			e.plain = appendWide(e.plain, n.HighBits(), n.LowBits())
		}
		e.data(c, e.plain, parquet.Encodings.Plain)
		return
	}
	for _, n := range e.numbers.values {
		e.plain = appendWide(e.plain, int64(n)>>63, n)
	}
	e.dictionary(c, len(e.numbers.values))
	e.codes(c, e.numbers.codes, len(e.numbers.values))
}

func appendWide(dst []byte, high int64, low uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(high)), low)
}

func appendWords(dst []byte, column []uint64) []byte {
	for _, n := range column {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return dst
}

// asWords shows integers as their two's complement.
func asWords(column []int64) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(column))), len(column)) //nolint:gosec // same size and alignment; copying would cost 8 bytes a cell
}

func rangeOf[T uint64 | int64](column []T) metadata.EncodedStatistics {
	if len(column) == 0 {
		return metadata.EncodedStatistics{}
	}
	least, most := column[0], column[0]
	for _, n := range column {
		least, most = min(least, n), max(most, n)
	}
	word := func(n T) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	return metadata.EncodedStatistics{HasMin: true, HasMax: true, Min: word(least), Max: word(most), HasNullCount: true}
}

// dictionary writes e.plain as the page of the dictionary.
func (e *encoder) dictionary(c *chunk, values int) {
	header := appendThriftInts([]byte{4<<4 | thriftStruct}, values, int(parquet.Encodings.Plain))
	e.page(c, pageDictionary, e.plain, append(header, thriftStop))
	c.dataAt = len(c.bytes)
}

// codes writes places in the dictionary as the page of data.
func (e *encoder) codes(c *chunk, codes []int32, distinct int) {
	e.plain = appendCodes(e.plain[:0], codes, distinct)
	e.data(c, e.plain, parquet.Encodings.RLEDict)
}

func (e *encoder) data(c *chunk, values []byte, encoding parquet.Encoding) {
	levels := int(parquet.Encodings.RLE) // there are none: every column is required
	header := appendThriftInts([]byte{2<<4 | thriftStruct}, c.rows, int(encoding), levels, levels)
	e.page(c, pageData, values, append(header, thriftStop))
}

// The types of pages in a PageHeader of parquet.thrift.
const (
	pageData       = 0
	pageDictionary = 2
)

// page compresses a page and writes it behind its PageHeader, in the compact
// protocol of Thrift. own is the field of the header that is the page's own.
func (e *encoder) page(c *chunk, kind int, plain, own []byte) {
	e.packed = e.zstd.EncodeAll(plain, e.packed[:0])
	before := len(c.bytes)
	c.bytes = appendThriftInts(c.bytes, kind, len(plain), len(e.packed))
	c.bytes = append(c.bytes, own...)
	c.bytes = append(c.bytes, thriftStop)
	c.unpacked += len(c.bytes) - before + len(plain)
	c.bytes = append(c.bytes, e.packed...)
}

// What little is needed of Thrift's compact protocol.
const (
	thriftStop   = 0
	thriftInt32  = 5
	thriftStruct = 12
)

// appendThriftInts writes the next fields of a struct as i32.
func appendThriftInts(dst []byte, fields ...int) []byte {
	for _, n := range fields {
		dst = append(dst, 1<<4|thriftInt32)
		dst = binary.AppendUvarint(dst, uint64(n)<<1) // zigzag; none is negative
	}
	return dst
}
