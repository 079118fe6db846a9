package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adtally/adtally/proto"
)

// The bare loop is the reference: what one core needs to read the events that
// lie in memory and to add them up by the same key, and nothing else. No fetch,
// no duplicates, no positions, no ledger. It is written as fast as we know how:
// it walks the bytes itself, knows a key by 128 bits of hash, keeps a cell in
// one cache line, and works in batches that touch their lines first.

// bareBatch is how many look-ups are under way at once.
const bareBatch = 32

// bareCell is one entry of the table: a cache line.
type bareCell struct {
	hi, lo             uint64
	gross, net, nanos  int64
	advertiser, minute uint64
	campaign           uint64
}

// bareTable is an open-addressing table of twice the cells that are expected.
type bareTable struct {
	cells []bareCell
	mask  uint64
	live  int
}

func newBareTable(cells int) *bareTable {
	size := 1 << bits.Len(uint(cells*2))
	return &bareTable{cells: make([]bareCell, size), mask: uint64(size - 1)}
}

// bareEvent is what the loop keeps of an event.
type bareEvent struct {
	hi, lo               uint64
	advertiser, campaign uint64
	minute               uint64
	net, nanos           int64
}

// add adds a batch. The first pass only brings the lines near: the loads do not
// depend on each other, so they are under way together.
func (t *bareTable) add(batch []bareEvent) uint64 {
	var touched uint64
	for i := range batch {
		touched += t.cells[batch[i].lo&t.mask].hi
	}
	for i := range batch {
		e := &batch[i]
		c := t.find(e)
		c.gross++
		c.net += e.net
		c.nanos += e.nanos
	}
	return touched
}

func (t *bareTable) find(e *bareEvent) *bareCell {
	for i := e.lo & t.mask; ; i = (i + 1) & t.mask {
		c := &t.cells[i]
		if c.hi == e.hi && c.lo == e.lo {
			return c
		}
		if c.hi|c.lo == 0 {
			c.hi, c.lo = e.hi, e.lo
			c.advertiser, c.campaign, c.minute = e.advertiser, e.campaign, e.minute
			t.live++
			return c
		}
	}
}

var errBare = errors.New("not an event")

// read decodes the fields that a roll-up needs.
func (e *bareEvent) read(b []byte) error {
	var ids [7]uint64 // type and the six ids
	var flags, pricing, price, timeUs uint64
	hi, lo := uint64(0x9e3779b97f4a7c15), uint64(0xc2b2ae3d27d4eb4f)
	for i := 0; i < len(b); {
		tag, n := binary.Uvarint(b[i:])
		if n <= 0 {
			return errBare
		}
		i += n
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(b[i:])
			if n <= 0 {
				return errBare
			}
			i += n
			switch field := tag >> 3; {
			case field == 1:
				ids[0] = v
			case field == 6:
				timeUs = v
			case field >= 8 && field <= 13:
				ids[field-7] = v
			case field == 21:
				price = v
			case field == 22:
				pricing = v
			case field == 24:
				flags = v
			}
		case 1:
			i += 8
		case 2:
			size, n := binary.Uvarint(b[i:])
			if n <= 0 || size > uint64(len(b)-i-n) {
				return errBare
			}
			text := b[i+n : i+n+int(size)]
			i += n + int(size)
			if field := tag >> 3; field >= 14 && field <= 19 || field == 23 {
				hi, lo = mixText(hi, lo, text)
			}
		default:
			return errBare
		}
	}
	for _, v := range ids {
		hi, lo = mixWord(hi, lo, v)
	}
	e.minute = timeUs / 60_000_000
	e.hi, e.lo = mixWord(hi, lo, e.minute<<32|flags)
	e.advertiser, e.campaign = ids[1], ids[2]
	e.net, e.nanos = 0, 0
	if flags == 0 {
		e.net = 1
		if proto.Pricing(pricing).Bills(proto.EventType(ids[0])) {
			e.nanos = int64(price)
		}
	}
	return nil
}

// mixWord folds one word into the hash, by a 128-bit product as wyhash does.
func mixWord(hi, lo, v uint64) (uint64, uint64) {
	h, l := bits.Mul64(lo^v, 0x9fb21c651e98df25)
	return hi ^ h, l ^ h + 0xa0761d6478bd642f ^ hi
}

func mixText(hi, lo uint64, text []byte) (uint64, uint64) {
	n := len(text)
	for len(text) > 8 {
		hi, lo = mixWord(hi, lo, binary.LittleEndian.Uint64(text))
		text = text[8:]
	}
	var last uint64
	for i, c := range text {
		last |= uint64(c) << (8 * i)
	}
	return mixWord(hi, lo+uint64(n), last)
}

// bareLog is a log in memory: lengths and bytes.
type bareLog struct {
	bytes  []byte
	events int
	want   totals
}

func newBareLog(s shape) (*bareLog, error) {
	log := new(bareLog)
	t := newTraffic(s, time.Now())
	err := t.run(func(_ int32, _ int64, value []byte) error {
		log.bytes = binary.LittleEndian.AppendUint16(log.bytes, uint16(len(value)))
		log.bytes = append(log.bytes, value...)
		log.events++
		return nil
	})
	log.want = t.want
	return log, err
}

// pass counts the log once.
func (l *bareLog) pass(table *bareTable) error {
	var batch [bareBatch]bareEvent
	n := 0
	for b := l.bytes; len(b) > 0; {
		size := int(binary.LittleEndian.Uint16(b))
		if err := batch[n].read(b[2 : 2+size]); err != nil {
			return err
		}
		b = b[2+size:]
		if n++; n == bareBatch {
			table.add(batch[:])
			n = 0
		}
	}
	table.add(batch[:n])
	return nil
}

// serveBare answers each line of in with the nanoseconds of CPU that one event
// took in one pass over a log in memory, on one core.
func serveBare(s shape, in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	log, err := newBareLog(s)
	if err != nil {
		return err
	}
	table := newBareTable(s.cells)
	debug.SetGCPercent(-1)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		clear(table.cells)
		table.live = 0
		before, err := ownCPU()
		if err != nil {
			return err
		}
		if err := log.pass(table); err != nil {
			return err
		}
		after, err := ownCPU()
		if err != nil {
			return err
		}
		var gross int64
		for i := range table.cells {
			gross += table.cells[i].gross
		}
		if gross != log.want.Gross {
			return fmt.Errorf("the bare loop counts %d events, want %d", gross, log.want.Gross)
		}
		if _, err := fmt.Fprintf(out, "%.2f %d %d\n", float64((after-before).Nanoseconds())/float64(log.events), table.live, len(log.bytes)/log.events-2); err != nil {
			return err
		}
	}
	return nil
}

// ownCPU is the user and system time of this process.
func ownCPU() (time.Duration, error) {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return 0, err
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()), nil
}
