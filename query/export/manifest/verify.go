package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/statement"
)

// Verification is what a check of one export found.
type Verification struct {
	Dir      string
	Manifest *Manifest
	// Faults name what is wrong; none means that everything holds.
	Faults []string
	// Notes say what could not be looked at.
	Notes []string
}

func (v *Verification) fault(format string, args ...any) {
	v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
}

// Folders finds the exports in a folder: itself, or the days in it.
func Folders(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, Name)); err == nil {
		return []string{dir}, nil
	}
	list, err := filepath.Glob(filepath.Join(dir, "day=*"))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no export: neither %s nor day=…", dir, Name)
	}
	return list, nil
}

// Verify checks the export in a folder: its files against the manifest, that
// against the closes and their chain, and all against the ledger. The error says
// that it could not be checked.
func (e *Exporter) Verify(ctx context.Context, dir string) (*Verification, error) {
	v := &Verification{Dir: dir}
	var err error
	v.Manifest, err = Read(dir)
	if errors.Is(err, os.ErrNotExist) {
		v.fault("%s is not there: the export was interrupted; run it again", Name)
		return v, nil
	}
	if err != nil {
		v.fault("%v", err)
		return v, nil
	}
	if err := v.files(); err != nil {
		return v, err
	}
	return v, e.ledger(ctx, v)
}

// fileNames are those that an export has.
func (m *Manifest) fileNames() []string {
	return []string{"statement." + m.Format.Extension(), "adjustments." + m.Format.Extension()}
}

// files holds the files against the manifest.
func (v *Verification) files() error {
	m := v.Manifest
	for _, name := range m.fileNames() {
		f := m.file(name)
		if f == nil {
			v.fault("the manifest does not name %s", name)
			continue
		}
		path := filepath.Join(v.Dir, name)
		sum, size, err := hashOf(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			v.fault("%s is not there", name)
			continue
		case err != nil:
			return err
		case size != f.Bytes:
			v.fault("%s has %d bytes, the manifest says %d", name, size, f.Bytes)
		case sum != f.SHA256:
			v.fault("%s was changed: its SHA-256 is %s, the manifest says %s", name, sum, f.SHA256)
		}
		v.rows(path, f)
	}
	return nil
}

// rows holds what the file says against the manifest.
func (v *Verification) rows(path string, f *File) {
	got, err := sumsOf(v.Manifest.Format, path)
	if err != nil {
		v.fault("%s cannot be read: %v", f.Name, err)
		return
	}
	totals, rows := got.list()
	if err := differ(totals, f.Totals, f.Name, "the manifest"); err != nil {
		v.fault("%v", err)
	}
	if rows != f.Rows {
		v.fault("%s has %d rows, the manifest says %d", f.Name, rows, f.Rows)
	}
}

func sumsOf(format statement.Format, path string) (_ sums, err error) {
	defer func() {
		if cause := recover(); cause != nil { // arrow's reader panics on some damage
			err = fmt.Errorf("it is damaged: %v", cause)
		}
	}()
	columns := []statement.Column{{Name: "advertiser", Kind: statement.ID}, {Name: "currency", Kind: statement.Text}, {Name: "spend", Kind: statement.Money}}
	for _, name := range measureNames {
		columns = append(columns, statement.Column{Name: name, Kind: statement.Count})
	}
	s := sums{}
	return s, statement.Read(format, path, columns, func(row statement.Cells) error {
		at := s.at(row.ID(0), row.Text(1))
		at.rows++
		at.spend.Add(&at.spend, row.Money(2))
		for i := range at.measures {
			at.measures[i] += row.Count(3 + i)
		}
		return nil
	})
}

func hashOf(path string) (sum string, size int64, err error) {
	f, err := os.Open(path) //nolint:gosec // the folder that the user named
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// ledger holds the manifest against the closes, those against their chain, and
// both against the ledger.
func (e *Exporter) ledger(ctx context.Context, v *Verification) error {
	if len(v.Manifest.Closes) == 0 {
		v.fault("the manifest names no close")
	}
	last := uint64(0)
	for i := range v.Manifest.Closes {
		last = max(last, v.Manifest.Closes[i].Sequence)
	}
	if err := e.store.CheckChain(ctx, last); errors.Is(err, closing.ErrChain) {
		v.fault("%v", err)
	} else if err != nil {
		return err
	}
	var closes []*closing.Close
	for i := range v.Manifest.Closes {
		c, err := e.sameClose(ctx, v, &v.Manifest.Closes[i])
		if err != nil {
			return err
		}
		if c == nil {
			return nil // what else is wrong follows from it
		}
		closes = append(closes, c)
	}
	for i, name := range v.Manifest.fileNames() {
		f := v.Manifest.file(name)
		if f == nil {
			continue
		}
		if err := e.sameTotals(ctx, v, f, closes, i == 1); err != nil {
			return err
		}
	}
	return nil
}

// sameClose returns the close that the manifest names, if it is that one.
func (e *Exporter) sameClose(ctx context.Context, v *Verification, named *Close) (*closing.Close, error) {
	c, err := e.store.Get(ctx, named.Sequence)
	if errors.Is(err, closing.ErrNoClose) {
		v.fault("the manifest names close %d, which these books do not have", named.Sequence)
		return nil, nil //nolint:nilnil // the fault is noted
	}
	if err != nil {
		return nil, err
	}
	switch {
	case c.Hash != named.Hash:
		v.fault("the manifest is from another close: it names close %d of %s in %s with hash %s; here close %[1]d is %[5]s in %[6]s with hash %[7]s",
			named.Sequence, named.Day, named.Timezone, named.Hash, c.Day, c.Timezone, c.Hash)
		return nil, nil //nolint:nilnil // the fault is noted
	case v.Manifest.Day != c.Day:
		v.fault("the manifest is of %s, but its close %d is of %s", v.Manifest.Day, c.Sequence, c.Day)
	}
	if want, is := jsonOf(ref(c)), jsonOf(*named); want != is {
		v.fault("the manifest says of close %d: %s; the close says: %s", c.Sequence, is, want)
	}
	return c, nil
}

// sameTotals holds a file's totals against the closes and the ledger.
func (e *Exporter) sameTotals(ctx context.Context, v *Verification, f *File, closes []*closing.Close, adjustments bool) error {
	closed, ledger, dropped := sums{}, sums{}, false
	for _, c := range closes {
		of := &c.Statement
		if adjustments {
			of = &c.Adjustments
		}
		if err := closed.addPart(of, v.Manifest.Advertiser); err != nil {
			return err
		}
		rows, err := closing.RowsOf(ctx, e.conn, c, adjustments, v.Manifest.Advertiser)
		if errors.Is(err, books.ErrDropped) {
			dropped = true
			continue
		}
		if err != nil {
			return err
		}
		part, err := closing.Totals(ctx, e.conn, rows)
		if err != nil {
			return err
		}
		if err := ledger.addPart(&part, 0); err != nil {
			return err
		}
	}
	want, _ := closed.list()
	if err := differ(f.Totals, want, "the manifest's "+f.Name, "the close"); err != nil {
		v.fault("%v", err)
	}
	if dropped {
		v.Notes = append(v.Notes, f.Name+" is what the manifest and the closes say; the ledger keeps these minutes no longer")
		return nil
	}
	is, _ := ledger.list()
	if err := differ(is, want, "the ledger for "+f.Name, "the close"); err != nil {
		v.fault("%v", err)
	}
	return nil
}
