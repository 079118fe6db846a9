package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"syscall"

	"github.com/adtally/adtally/query/export/statement"
)

// part is a file under another name.
type part struct {
	name    string
	columns []statement.Column
	sums    sums
	want    sums
	rows    uint64

	path   string
	file   *os.File
	buf    *bufio.Writer
	hash   hash.Hash
	bytes  int64
	sha256 string
}

// partName is where a file is made. A fixed name: what an interrupted export left
// is written over.
func partName(dir, name string) string { return filepath.Join(dir, "."+name+".part") }

func (p *part) create(dir string) (err error) {
	p.path = partName(dir, p.name)
	p.file, err = os.Create(p.path)
	if err != nil {
		return err
	}
	p.buf, p.hash = bufio.NewWriterSize(p.file, 1<<20), sha256.New()
	return nil
}

// Write implements io.Writer.
func (p *part) Write(text []byte) (int, error) {
	_, _ = p.hash.Write(text) // never fails
	p.bytes += int64(len(text))
	return p.buf.Write(text)
}

// finish makes the file durable.
func (p *part) finish() error {
	err := errors.Join(p.buf.Flush(), p.file.Sync(), p.file.Close())
	p.file = nil
	p.sha256 = hex.EncodeToString(p.hash.Sum(nil))
	return err
}

// add adds up the rows of a group.
func (p *part) add(g *statement.Group) {
	advertisers, currencies, spend := -1, -1, -1
	counts := [measures]int{}
	for i, c := range p.columns {
		switch c.Name {
		case "advertiser":
			advertisers = i
		case "currency":
			currencies = i
		case "spend":
			spend = i
		}
		for j, name := range measureNames {
			if c.Name == name {
				counts[j] = i
			}
		}
	}
	ids, currency, nanos := g.Vectors[advertisers].IDs, &g.Vectors[currencies], g.Vectors[spend].Wide
	var at *sum
	for row := range g.Rows {
		if row == 0 || ids[row] != ids[row-1] || currency.Codes[row] != currency.Codes[row-1] {
			at = p.sums.at(ids[row], currency.Dict[currency.Codes[row]])
		}
		at.rows++
		for i, column := range counts {
			at.measures[i] += g.Vectors[column].Ints[row]
		}
		at.addSpend(nanos[row])
	}
	p.rows += uint64(g.Rows)
}

var measureNames = [measures]string{"gross", "net", "duplicate", "invalid", "orphan"}

// addSpend collects in 128 bits and goes to the big number before those overflow.
func (s *sum) addSpend(nanos statement.Int128) {
	s.held = s.held.Add(nanos)
	if high := s.held.HighBits(); high > 1<<60 || high < -(1<<60) {
		s.settle()
	}
}

// settle moves what is held into the big number.
func (s *sum) settle() {
	s.spend.Add(&s.spend, s.held.BigInt())
	s.held = statement.Int128{}
}

// publish gives the files their names, and then the manifest.
func (w *writing) publish() error {
	for _, p := range w.parts {
		if err := w.step("rename " + p.name); err != nil {
			return err
		}
		if err := os.Rename(p.path, filepath.Join(w.dir, p.name)); err != nil {
			return err
		}
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	if err := w.step("write " + Name); err != nil {
		return err
	}
	path := partName(w.dir, Name)
	if err := writeSynced(path, w.m.Encode()); err != nil {
		return err
	}
	if err := w.step("rename " + Name); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(w.dir, Name)); err != nil {
		return err
	}
	return syncDir(w.dir)
}

// discard removes what did not get its name.
func (w *writing) discard() {
	for _, p := range w.parts {
		if p.file != nil {
			_ = p.file.Close() // it is removed
		}
		_ = os.Remove(p.path) // it may have been renamed
	}
}

func writeSynced(path string, text []byte) error {
	f, err := os.Create(path) //nolint:gosec // the folder that the user named
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the folder that the user named
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lock keeps two exports out of one folder. The lock ends with the process.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir) //nolint:gosec // the folder that the user named
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: another export is writing there: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
