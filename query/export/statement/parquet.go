package statement

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
)

const parquetMagic = "PAR1"

// parquetWriter writes a row group per Group. One group is encoded while the
// caller fills the next.
type parquetWriter struct {
	w       io.Writer
	columns []Column
	footer  *metadata.FileMetaDataBuilder
	offset  int64
	groups  int
	workers []*encoder
	chunks  []chunk
	// rows are those of the group that is being encoded, 0 without one; done is
	// closed when it is.
	rows int
	done chan struct{}
}

func newParquet(w io.Writer, columns []Column, pairs []Pair) (*parquetWriter, error) {
	props := parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithCreatedBy("adtally"),
	)
	schema, err := pqarrow.ToParquet(arrowSchema(columns, nil), props, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, fmt.Errorf("make schema: %w", err)
	}
	kv := metadata.NewKeyValueMetadata()
	for _, p := range pairs {
		if err := kv.Append(p.Name, p.Value); err != nil {
			return nil, fmt.Errorf("make key-values: %w", err)
		}
	}
	p := &parquetWriter{
		w: w, columns: columns, chunks: make([]chunk, len(columns)),
		footer: metadata.NewFileMetadataBuilder(schema, props, kv),
	}
	for range runtime.GOMAXPROCS(0) {
		p.workers = append(p.workers, newEncoder())
	}
	return p, p.write([]byte(parquetMagic))
}

func (p *parquetWriter) write(text []byte) error {
	n, err := p.w.Write(text)
	p.offset += int64(n)
	return err
}

// Write implements Writer.
func (p *parquetWriter) Write(g *Group) error {
	if err := p.finishGroup(); err != nil {
		return err
	}
	p.rows, p.done = g.Rows, make(chan struct{})
	go p.encode(g)
	return nil
}

// encode makes the chunks of a group, the columns side by side.
func (p *parquetWriter) encode(g *Group) {
	defer close(p.done)
	var next atomic.Int32
	var wg sync.WaitGroup
	for _, e := range p.workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(p.columns); i = int(next.Add(1)) - 1 {
				e.encode(&p.chunks[i], p.columns[i].Kind, &g.Vectors[i], g.Rows)
			}
		})
	}
	wg.Wait()
}

// finishGroup waits for the group that is being encoded and writes it.
func (p *parquetWriter) finishGroup() error {
	if p.rows == 0 {
		return nil
	}
	<-p.done
	group := p.footer.AppendRowGroup()
	unpacked := int64(0)
	for i := range p.chunks {
		c := &p.chunks[i]
		column := group.NextColumnChunk()
		info := metadata.ChunkMetaInfo{
			NumValues: int64(c.rows), IndexPageOffset: -1, DataPageOffset: p.offset + int64(c.dataAt),
			CompressedSize: int64(len(c.bytes)), UncompressedSize: int64(c.unpacked),
		}
		pages := metadata.EncodingStats{DataEncodingStats: map[parquet.Encoding]int32{parquet.Encodings.Plain: 1}}
		if c.dataAt > 0 {
			info.DictPageOffset = p.offset
			pages.DictEncodingStats = pages.DataEncodingStats
			pages.DataEncodingStats = map[parquet.Encoding]int32{parquet.Encodings.RLEDict: 1}
		}
		if c.stats.IsSet() {
			column.SetStats(c.stats)
		}
		if err := column.Finish(info, c.dataAt > 0, false, pages, nil); err != nil {
			return err
		}
		unpacked += int64(c.unpacked)
		if err := p.write(c.bytes); err != nil {
			return err
		}
	}
	group.SetNumRows(p.rows)
	err := group.Finish(unpacked, int16(p.groups))
	p.groups++
	p.rows = 0
	return err
}

// Close implements Writer.
func (p *parquetWriter) Close() error {
	if err := p.finishGroup(); err != nil {
		return err
	}
	file, err := p.footer.Finish()
	if err != nil {
		return fmt.Errorf("finish footer: %w", err)
	}
	begin := p.offset
	n, err := file.WriteTo(p.w, nil)
	if err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	p.offset += n
	length := arrow.Uint32Traits.CastToBytes([]uint32{uint32(p.offset - begin)})
	return p.write(append(length, parquetMagic...))
}
