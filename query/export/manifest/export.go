package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/statement"
)

// Request is one export.
type Request struct {
	// Day is the day to export, as 2026-11-20.
	Day string
	// Dir is where day=D is made.
	Dir    string
	Format statement.Format
	// Timezone takes one zone only, Advertiser one advertiser.
	Timezone   string
	Advertiser uint64
	// Progress is told how many rows of how many are written; nil for nobody.
	Progress func(file string, rows, of uint64)
}

// ErrDiffers says that other files are there already. They stay as they are.
var ErrDiffers = errors.New("the folder holds another export")

// Exporter writes exports from the ledger. It is safe for concurrent use.
type Exporter struct {
	conn  clickhouse.Conn
	store *closing.Store
	// step is told what is done next; tests end exports there.
	step func(what string) error
}

// NewExporter returns an Exporter that reads through conn.
func NewExporter(conn clickhouse.Conn) *Exporter {
	return &Exporter{conn: conn, store: closing.NewStore(conn), step: func(string) error { return nil }}
}

// Export writes the files and returns the manifest and its folder.
func (e *Exporter) Export(ctx context.Context, req *Request) (m *Manifest, dir string, err error) {
	closes, err := e.Closes(ctx, req)
	if err != nil {
		return nil, "", err
	}
	m = &Manifest{SchemaVersion: closing.SchemaVersion, Day: req.Day, Format: req.Format, Timezone: req.Timezone, Advertiser: req.Advertiser}
	for _, c := range closes {
		m.Closes = append(m.Closes, ref(c))
	}
	dir = filepath.Join(req.Dir, "day="+closes[0].Day)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // statements are for others to read
		return nil, dir, fmt.Errorf("make folder: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, dir, err
	}
	defer unlock()
	old, err := e.present(dir, m)
	if err != nil {
		return nil, dir, err
	}
	w := writing{Exporter: e, req: req, m: m, dir: dir, closes: closes}
	defer w.discard()
	if err := w.files(ctx); err != nil {
		return nil, dir, err
	}
	if old != nil && !bytes.Equal(old.Encode(), m.Encode()) {
		return nil, dir, fmt.Errorf("%s: %w: the same closes gave other files; keep these and run adtally export --verify", dir, ErrDiffers)
	}
	return m, dir, w.publish()
}

// Closes returns the closes that an export would hold, or closing.ErrNoClose.
func (e *Exporter) Closes(ctx context.Context, req *Request) ([]*closing.Close, error) {
	day, err := time.Parse(time.DateOnly, req.Day)
	if err != nil {
		return nil, fmt.Errorf("day %q: a date as 2026-11-20 is wanted", req.Day)
	}
	return e.closesOf(ctx, closing.DayNumber(day), req.Timezone)
}

// closesOf returns the closes of a day, by zone.
func (e *Exporter) closesOf(ctx context.Context, day int64, zone string) ([]*closing.Close, error) {
	state, err := e.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	zones := state.Zones()
	if zone != "" {
		zones = []string{zone}
	}
	var closes []*closing.Close
	for _, name := range zones {
		sequence, ok := state.Zone(name).Close(day)
		if !ok {
			continue
		}
		c, err := e.store.Get(ctx, sequence)
		if err != nil {
			return nil, err
		}
		if !c.Intact() {
			return nil, fmt.Errorf("close %d is not what its hash says: the table closes was changed", sequence)
		}
		closes = append(closes, c)
	}
	if len(closes) > 0 {
		return closes, nil
	}
	where := ""
	if zone != "" {
		where = " in " + zone
	}
	return nil, fmt.Errorf("%s is not closed%s: run adtally close --day %[1]s: %[3]w", closing.DateOf(day).Format(time.DateOnly), where, closing.ErrNoClose)
}

// present reads the manifest that is there already, and refuses if it is of
// another export.
func (e *Exporter) present(dir string, m *Manifest) (*Manifest, error) {
	old, err := Read(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no manifest is a result
	}
	if err != nil {
		return nil, fmt.Errorf("%w; move the folder away to export again", err)
	}
	same := func(a, b Close) bool { return a.Timezone == b.Timezone && a.Hash == b.Hash }
	switch {
	case old.Format != m.Format:
		err = fmt.Errorf("it is in format %s, not %s", old.Format, m.Format)
	case old.Advertiser != m.Advertiser:
		err = fmt.Errorf("it is of advertiser %d, not %d (0 is all)", old.Advertiser, m.Advertiser)
	case !slices.EqualFunc(old.Closes, m.Closes, same):
		err = fmt.Errorf("it is of other closes (%d zones, now %d)", len(old.Closes), len(m.Closes))
	case old.Timezone != m.Timezone:
		err = fmt.Errorf("it is of time zone %q, not %q", old.Timezone, m.Timezone)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w; name another --out", dir, ErrDiffers, err)
	}
	return old, nil
}

// writing is one export under way.
type writing struct {
	*Exporter
	req    *Request
	m      *Manifest
	dir    string
	closes []*closing.Close
	// parts are the files under their other names.
	parts []*part
}

// files makes both files under other names.
func (w *writing) files(ctx context.Context) error {
	for _, adjustments := range []bool{false, true} {
		p := &part{name: "statement", columns: closing.StatementColumns(), sums: sums{}, want: sums{}}
		if adjustments {
			p.name, p.columns = "adjustments", closing.AdjustmentColumns()
		}
		p.name += "." + w.req.Format.Extension()
		for _, c := range w.closes {
			of := &c.Statement
			if adjustments {
				of = &c.Adjustments
			}
			if err := p.want.addPart(of, w.req.Advertiser); err != nil {
				return err
			}
		}
		w.parts = append(w.parts, p)
		if err := w.step("write " + p.name); err != nil {
			return err
		}
		if err := w.file(ctx, p, adjustments); err != nil {
			return fmt.Errorf("write %s: %w", p.name, err)
		}
		got, rows := p.sums.list()
		want, _ := p.want.list()
		if err := differ(got, want, "the ledger", "the close"); err != nil {
			return fmt.Errorf("%s: %w; nothing is exported: run adtally audit", p.name, err)
		}
		w.m.Files = append(w.m.Files, File{Name: p.name, Bytes: p.bytes, SHA256: p.sha256, Rows: rows, Totals: got})
	}
	return nil
}

// file writes the rows of all closes.
func (w *writing) file(ctx context.Context, p *part, adjustments bool) error {
	if err := p.create(w.dir); err != nil {
		return err
	}
	out, err := statement.NewWriter(w.req.Format, p, p.columns, w.pairs(p))
	if err != nil {
		return err
	}
	_, of := p.want.list()
	copier := statement.NewCopier(out, p.columns, func(g *statement.Group) error {
		p.add(g)
		if w.req.Progress != nil {
			w.req.Progress(p.name, p.rows, of)
		}
		return w.step("rows of " + p.name)
	})
	for _, c := range w.closes {
		rows, err := w.rows(ctx, c, adjustments)
		if err != nil {
			return err
		}
		q := rows.Select()
		query := clickhouse.BlockQuery{SQL: q.SQL, Params: q.Params, Settings: map[string]string{}}
		for name, value := range closing.QuerySettings() {
			query.Settings[name] = fmt.Sprint(value)
		}
		if err := copier.Add(ctx, w.conn, query); err != nil {
			return err
		}
	}
	if err := copier.Close(); err != nil {
		return err
	}
	return p.finish()
}

// pairs are what a file says of itself. It names the closes, so that a file that
// went astray can still be placed.
func (w *writing) pairs(p *part) []statement.Pair {
	pairs := []statement.Pair{{Name: "adtally.day", Value: w.m.Day}, {Name: "adtally.file", Value: p.name}}
	for i := range w.m.Closes {
		pairs = append(pairs, statement.Pair{Name: "adtally.close." + w.m.Closes[i].Timezone, Value: w.m.Closes[i].Hash})
	}
	return pairs
}

// rows are those of one close in one file.
func (w *writing) rows(ctx context.Context, c *closing.Close, adjustments bool) (*closing.Rows, error) {
	return closing.RowsOf(ctx, w.conn, c, adjustments, w.req.Advertiser)
}
