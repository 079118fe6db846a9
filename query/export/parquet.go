package export

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
)

// parquetWriter writes a row group per batch.
type parquetWriter struct {
	schema *arrow.Schema
	shape  *Shape
	file   *pqarrow.FileWriter
}

func newParquet(w io.Writer, shape *Shape) (*parquetWriter, error) {
	schema := arrowSchema(shape.Columns, nil)
	props := parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Snappy), // every reader has it
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithCreatedBy("adtally"),
		// A chunk whose dictionary were given up had two encodings, and their order
		// in the footer is that of a Go map.
		parquet.WithDictionaryPageSizeLimit(1<<30),
	)
	// The underlying writer stays open, so its Close is hidden.
	file, err := pqarrow.NewFileWriter(schema, struct{ io.Writer }{w}, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return nil, fmt.Errorf("begin parquet file: %w", err)
	}
	return &parquetWriter{schema: schema, shape: shape, file: file}, nil
}

// Batch implements Writer.
func (p *parquetWriter) Batch(b *Batch) error {
	record := newRecord(p.schema, p.shape.Columns, b)
	defer record.Release()
	return p.file.Write(record)
}

// Close implements Writer. Meta and totals become key-values of the file.
func (p *parquetWriter) Close(totals *Batch, meta *Meta) error {
	pairs := append(meta.Pairs(), Pair{"totals", string(appendTotals(nil, p.shape, totals))})
	for _, pair := range pairs {
		if err := p.file.AppendKeyValueMetadata(metaKey(pair.Name), pair.Value); err != nil {
			return fmt.Errorf("add key-value to parquet file: %w", err)
		}
	}
	return p.file.Close()
}
