package dev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where the fields of a record batch (magic 2) are.
const (
	batchMagic      = 16
	batchCRC        = 17
	batchAttributes = 21 // the CRC covers what follows from here
	batchFirstTime  = 27
	batchMaxTime    = 35
	batchRecords    = 61

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
)

// stamper gives produced records the broker's time.
//
// kfake keeps message.timestamp.type=LogAppendTime as a setting but does not act
// on it. When a client sets the attribute itself, kfake overwrites the batch's
// times and leaves its checksum as it was, so that the batch is thrown away as
// corrupt at the next start. So the batch is stamped before kfake sees it: every
// time in it becomes now, without the attribute. Consumers read the same times
// as from a broker that has one append time per batch.
//
// It belongs to the goroutine that handles requests.
type stamper struct {
	decompressor kgo.Decompressor
	compressors  map[kgo.CompressionCodecType]kgo.Compressor
	castagnoli   *crc32.Table
}

func newStamper() (*stamper, error) {
	s := &stamper{
		decompressor: kgo.DefaultDecompressor(),
		compressors:  map[kgo.CompressionCodecType]kgo.Compressor{},
		castagnoli:   crc32.MakeTable(crc32.Castagnoli),
	}
	for codec, how := range map[kgo.CompressionCodecType]kgo.CompressionCodec{
		kgo.CodecGzip:   kgo.GzipCompression(),
		kgo.CodecSnappy: kgo.SnappyCompression(),
		kgo.CodecLz4:    kgo.Lz4Compression(),
		kgo.CodecZstd:   kgo.ZstdCompression(),
	} {
		c, err := kgo.DefaultCompressor(how)
		if err != nil {
			return nil, fmt.Errorf("make compressor: %w", err)
		}
		s.compressors[codec] = c
	}
	return s, nil
}

// stampRequest stamps each batch of req.
func (s *stamper) stampRequest(req *kmsg.ProduceRequest, nowMillis int64) {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			p.Records = s.stamp(p.Records, nowMillis)
		}
	}
}

// stamp returns batch with every time in it set to now, or as something that the
// broker refuses when its records cannot be read. It may write to batch.
func (s *stamper) stamp(batch []byte, nowMillis int64) []byte {
	if len(batch) < batchRecords || batch[batchMagic] != 2 ||
		int(binary.BigEndian.Uint32(batch[8:]))+12 != len(batch) ||
		binary.BigEndian.Uint32(batch[batchCRC:]) != crc32.Checksum(batch[batchAttributes:], s.castagnoli) {
		return batch // which the broker checks, too
	}
	attrs := binary.BigEndian.Uint16(batch[batchAttributes:])
	codec := kgo.CompressionCodecType(attrs & attrCodec)
	records := batch[batchRecords:]
	if codec != kgo.CodecNone {
		raw, err := s.decompressor.Decompress(records, codec)
		changed, valid := zeroDeltas(raw)
		c := s.compressors[codec]
		if err != nil || !valid || c == nil {
			return spoil(batch)
		}
		if changed {
			packed, _ := c.Compress(new(bytes.Buffer), raw)
			batch = append(batch[:batchRecords:batchRecords], packed...)
			binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
		}
	} else if _, valid := zeroDeltas(records); !valid {
		return spoil(batch)
	}
	binary.BigEndian.PutUint16(batch[batchAttributes:], attrs&^attrLogAppendTime)
	binary.BigEndian.PutUint64(batch[batchFirstTime:], uint64(nowMillis))
	binary.BigEndian.PutUint64(batch[batchMaxTime:], uint64(nowMillis))
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], s.castagnoli))
	return batch
}

// spoil breaks the checksum: the broker looks no further than that, and would
// keep records that no consumer can read.
func spoil(batch []byte) []byte {
	batch[batchCRC] ^= 0xff
	return batch
}

// zeroDeltas sets the time of each record relative to its batch to zero. The
// number keeps its length, so that nothing moves: 0x80 0x00 is a zero, too.
func zeroDeltas(records []byte) (changed, valid bool) {
	for len(records) > 0 {
		size, n := binary.Varint(records)
		if n <= 0 || size < 2 || size > int64(len(records)-n) {
			return changed, false
		}
		record := records[n : n+int(size)]
		delta, width := binary.Varint(record[1:]) // after the record's attributes
		if width <= 0 {
			return changed, false
		}
		if delta != 0 {
			changed = true
			for i := 1; i < width; i++ {
				record[i] = 0x80
			}
			record[width] = 0
		}
		records = records[n+int(size):]
	}
	return changed, true
}
