package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// cursor is how far the drain has come: everything in older segments, and this
// one up to off, was acknowledged by Kafka. The salt binds it to one segment,
// even if numbers should come again after files were lost.
//
//	magic 8 · version 4 · crc 4 · seq 8 · salt 8 · off 8 · index 8
type cursor struct {
	seq, salt  uint64
	off, index int64 // index is the number of events before off
}

const cursorSize = 48

var (
	cursorMagic = [8]byte{'a', 'd', 't', 'c', 'u', 'r', 's', 'r'}
	errCursor   = errors.New("drain cursor is damaged")
)

func (c cursor) encode() []byte {
	b := make([]byte, cursorSize)
	copy(b, cursorMagic[:])
	order.PutUint32(b[8:], version)
	for i, v := range [...]uint64{c.seq, c.salt, uint64(c.off), uint64(c.index)} {
		order.PutUint64(b[16+8*i:], v)
	}
	order.PutUint32(b[12:], crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:]))
	return b
}

func parseCursor(b []byte) (cursor, error) {
	c := cursor{}
	if len(b) == cursorSize {
		c = cursor{seq: order.Uint64(b[16:]), salt: order.Uint64(b[24:]), off: int64(order.Uint64(b[32:])), index: int64(order.Uint64(b[40:]))}
	}
	if string(c.encode()) != string(b) {
		return cursor{}, errCursor
	}
	return c, nil
}

// write replaces the cursor file: after a crash it is the old one or the new.
func (c cursor) write(d disk) error {
	if err := d.Remove(cursorTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old cursor: %w", err)
	}
	f, err := d.Open(cursorTemp, true)
	if err != nil {
		return fmt.Errorf("create cursor: %w", err)
	}
	if _, err = f.WriteAt(c.encode(), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	if err := d.Rename(cursorTemp, cursorName); err != nil {
		return fmt.Errorf("name cursor: %w", err)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync spool directory: %w", err)
	}
	return nil
}

// readCursor returns the zero cursor if there is none.
func readCursor(d disk) (cursor, error) {
	f, err := d.Open(cursorName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return cursor{}, nil
	}
	if err != nil {
		return cursor{}, fmt.Errorf("open cursor: %w", err)
	}
	defer closeQuietly(f)
	b := make([]byte, cursorSize+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	return parseCursor(b[:n])
}
