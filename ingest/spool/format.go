package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Entry is one event in the spool.
type Entry struct {
	// Partition is where the event belongs in the topic.
	Partition int32
	// At is when it was appended. Append sets it itself.
	At time.Time
	// Data is the encoded event.
	Data []byte
}

const (
	version = 1

	headerSize = 64
	headSize   = 24
	commitSize = headSize + 4

	kindData   uint32 = 0xD15C0A7A
	kindCommit uint32 = 0xC0331755
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	magic      = [8]byte{'a', 'd', 't', 's', 'p', 'o', 'o', 'l'}
	order      = binary.LittleEndian

	errHeader  = errors.New("segment header is damaged")
	errShort   = errors.New("group goes on behind the bytes read")
	errNoGroup = errors.New("no whole group here")
)

// header is the first 64 bytes of a segment:
//
//	magic 8 · version 4 · crc 4 · seq 8 · salt 8 · created 8 · prevSeq 8 · prevEnd 8 · prevCount 8
//
// The place of magic, version and crc is the same in every version.
type header struct {
	seq, salt uint64
	created   int64 // unix microseconds
	// What was acknowledged of the segment before this one: its committed
	// bytes and events. prevSeq is 0 if there was none.
	prevSeq            uint64
	prevEnd, prevCount int64
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	order.PutUint32(b[8:], version)
	for i, v := range [...]uint64{h.seq, h.salt, uint64(h.created), h.prevSeq, uint64(h.prevEnd), uint64(h.prevCount)} {
		order.PutUint64(b[16+8*i:], v)
	}
	order.PutUint32(b[12:], headerCRC(b))
	return b
}

// parseHeader returns what b says even with errHeader: the salt may be right.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errHeader
	}
	h := header{
		seq:       order.Uint64(b[16:]),
		salt:      order.Uint64(b[24:]),
		created:   int64(order.Uint64(b[32:])),
		prevSeq:   order.Uint64(b[40:]),
		prevEnd:   int64(order.Uint64(b[48:])),
		prevCount: int64(order.Uint64(b[56:])),
	}
	if [8]byte(b[:8]) != magic || order.Uint32(b[12:]) != headerCRC(b) {
		return h, errHeader
	}
	if v := order.Uint32(b[8:]); v != version {
		return h, fmt.Errorf("%w: segment has version %d, this program reads %d; drain it with the program that wrote it",
			ErrVersion, v, version)
	}
	return h, nil
}

func headerCRC(b []byte) uint32 {
	crc := crc32.Update(0, castagnoli, b[:12])
	return crc32.Update(crc, castagnoli, b[16:headerSize])
}

// headSeed is what the CRCs of frame heads begin with.
func headSeed(salt uint64) uint32 {
	var b [8]byte
	order.PutUint64(b[:], salt)
	return crc32.Update(0, castagnoli, b[:])
}

// key is what a group is bound to: the salt and number of its segment.
type key struct {
	head uint32
	seq  uint64
}

func (k key) groupCRC(off int64, frames []byte) uint32 {
	var b [16]byte
	order.PutUint64(b[:], k.seq)
	order.PutUint64(b[8:], uint64(off))
	return crc32.Update(crc32.Update(k.head, castagnoli, b[:]), castagnoli, frames)
}

// A head is kind 4 · length 4 · number 4 · value 8 · crc 4. In a data frame they
// are the bytes that follow, the partition and the time; in a commit frame the
// bytes of the group before it, its events, and how many events the segment
// held before the group.
func appendHead(dst []byte, kind uint32, length int, number uint32, value int64, seed uint32) []byte {
	at := len(dst)
	dst = order.AppendUint32(dst, kind)
	dst = order.AppendUint32(dst, uint32(length))
	dst = order.AppendUint32(dst, number)
	dst = order.AppendUint64(dst, uint64(value))
	return order.AppendUint32(dst, headCRC(dst[at:], seed))
}

// headCRC rotates the CRC: the group's CRC runs over the head too, and a CRC
// over bytes that end with their own plain CRC no longer depends on them.
func headCRC(h []byte, seed uint32) uint32 {
	crc := crc32.Update(seed, castagnoli, h[:headSize-4])
	return crc>>15 | crc<<17
}

func appendEntry(dst []byte, e *Entry, at int64, seed uint32) []byte {
	dst = appendHead(dst, kindData, len(e.Data), uint32(e.Partition), at, seed)
	return append(dst, e.Data...)
}

// appendCommit ends the group frames, which will be written at off.
func (k key) appendCommit(frames []byte, off int64, entries int, first int64) []byte {
	b := appendHead(frames, kindCommit, len(frames), uint32(entries), first, k.head)
	return order.AppendUint32(b, k.groupCRC(off, b))
}

// group is what is known of one group.
type group struct {
	off, end int64
	first    int64 // events of the segment before it
	entries  int64
	oldest   time.Time
}

// parse appends to dst the entries of the group that begins b, which was read at
// off; they share b's memory. On an error dst has no new entries, and skip says
// how many bytes need not be tried again; with errShort, if there are no more.
func (k key) parse(dst []Entry, b []byte, off int64) (_ []Entry, g group, skip int, err error) {
	had := len(dst)
	for pos := 0; ; {
		if len(b)-pos < headSize {
			return dst[:had], g, pos + 1, errShort
		}
		h := b[pos : pos+headSize]
		if order.Uint32(h[20:]) != headCRC(h, k.head) {
			// All heads before pos were true ones: they lead here again.
			return dst[:had], g, max(pos, 1), errNoGroup
		}
		length := int(order.Uint32(h[4:]))
		switch order.Uint32(h) {
		case kindData:
			end := pos + headSize + length
			if length > maxEntry || end > maxGroup-commitSize {
				return dst[:had], g, pos + headSize, errNoGroup
			}
			if end > len(b) {
				return dst[:had], g, pos + 1, errShort
			}
			dst = append(dst, Entry{
				Partition: int32(order.Uint32(h[8:])),
				At:        time.UnixMicro(int64(order.Uint64(h[12:]))),
				Data:      b[pos+headSize : end : end],
			})
			pos = end
		case kindCommit:
			if len(b)-pos < commitSize {
				return dst[:had], g, pos + 1, errShort
			}
			entries := len(dst) - had
			if entries == 0 || length != pos || int(order.Uint32(h[8:])) != entries ||
				order.Uint32(b[pos+headSize:]) != k.groupCRC(off, b[:pos+headSize]) {
				return dst[:had], g, pos + commitSize, errNoGroup
			}
			g = group{
				off: off, end: off + int64(pos+commitSize),
				first: int64(order.Uint64(h[12:])), entries: int64(entries), oldest: dst[had].At,
			}
			return dst, g, 0, nil
		default:
			return dst[:had], g, pos + headSize, errNoGroup
		}
	}
}
