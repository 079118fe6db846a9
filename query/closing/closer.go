package closing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Config says when days close.
type Config struct {
	Lateness time.Duration `help:"How long after its end a day waits for late events before it closes; later ones are adjustments." default:"6h"`
	Interval time.Duration `help:"Time between two looks for days that can close." default:"1m"`
}

// Validate says which setting cannot be.
func (c *Config) Validate() error {
	switch {
	case c.Lateness < 0 || c.Lateness > 31*24*time.Hour:
		return errors.New("--close-lateness must be from 0s to 744h")
	case c.Interval < time.Second:
		return errors.New("--close-interval must be at least 1s")
	}
	return nil
}

// ErrFrozen says that the books do not add up. No day closes until they do.
var ErrFrozen = errors.New("the books are frozen")

// Closer closes days. It is safe for concurrent use, also in several processes.
type Closer struct {
	cfg    Config
	conn   clickhouse.Conn
	reader *books.Reader
	store  *Store
	log    zerolog.Logger
	// step is told what is done next; tests end closers there.
	step func(what string) error
}

// New returns a Closer that writes through conn.
func New(cfg Config, conn clickhouse.Conn, log zerolog.Logger) (*Closer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Closer{
		cfg: cfg, conn: conn, reader: books.NewReader(conn), store: NewStore(conn), log: log,
		step: func(string) error { return nil },
	}, nil
}

// Run closes each day as soon as it can, until ctx is done.
func (c *Closer) Run(ctx context.Context) error {
	every := time.NewTicker(c.cfg.Interval)
	defer every.Stop()
	for {
		_, err := c.Due(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrFrozen):
			c.log.Error().Err(err).Msg("no day closes until a person has looked")
		case err != nil:
			c.log.Warn().Err(err).Msg("no day closes this time")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Due closes every day that can close, in every zone in use.
func (c *Closer) Due(ctx context.Context) ([]*Close, error) {
	zones, err := c.Zones(ctx)
	if err != nil {
		return nil, err
	}
	var made []*Close
	for _, zone := range zones {
		for {
			one, _, err := c.next(ctx, zone, nil)
			if err != nil {
				return made, err
			}
			if one == nil {
				break
			}
			made = append(made, one)
		}
	}
	return made, nil
}

// Upto closes the days of a zone up to one. It returns the closes that it made,
// that of the day, and what the first open day waits for, if it is not closed.
func (c *Closer) Upto(ctx context.Context, zone string, day int64) (made []*Close, closed *Close, waits *Waiting, err error) {
	for {
		state, err := c.store.Load(ctx)
		if err != nil {
			return made, nil, nil, err
		}
		z := state.Zone(zone)
		if z != nil && day < z.First {
			return made, nil, nil, fmt.Errorf("the books of %s begin with %s", zone, DateOf(z.First).Format(time.DateOnly))
		}
		if sequence, ok := z.Close(day); ok {
			closed, err = c.store.Get(ctx, sequence)
			return made, closed, nil, err
		}
		one, waits, err := c.next(ctx, zone, &day)
		if err != nil || one == nil {
			return made, nil, waits, err
		}
		made = append(made, one)
	}
}

// Zones lists the zones in use: those with closes, and those of advertisers of
// which something is counted.
func (c *Closer) Zones(ctx context.Context) ([]string, error) {
	b, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, zone := range b.state.Zones() {
		in[zone] = true
	}
	for _, zone := range append(slices.Collect(maps.Values(b.accounts)), defaultZone) {
		if in[zone] {
			continue
		}
		first, err := b.firstMinute(ctx, zone)
		if err != nil {
			return nil, err
		}
		in[zone] = in[zone] || !first.IsZero()
	}
	maps.DeleteFunc(in, func(_ string, used bool) bool { return !used })
	return slices.Sorted(maps.Keys(in)), nil
}

// next closes the next day of a zone, and returns nil if there is none yet. most,
// if any, is the last day that may be closed; a zone without closes and data
// begins with it.
func (c *Closer) next(ctx context.Context, zone string, most *int64) (*Close, *Waiting, error) {
	for {
		b, err := c.begin(ctx)
		if err != nil {
			return nil, nil, err
		}
		location, err := access.LoadZone(zone)
		if err != nil {
			return nil, nil, err
		}
		day, ok, err := b.nextDay(ctx, zone, location, most)
		if err != nil || !ok || most != nil && day > *most {
			return nil, nil, err
		}
		one, waits, err := b.close(ctx, zone, location, day)
		if errors.Is(err, errTaken) {
			continue // the chain went on: look again
		}
		if err != nil || one == nil {
			return nil, waits, err
		}
		c.log.Info().Uint64("close", one.Sequence).Str("timezone", zone).Str("day", one.Day).Uint64("cut", one.Cut).
			Uint64("rows", one.Statement.Rows).Uint64("adjustments", one.Adjustments.Rows).Str("hash", one.Hash).Msg("day closed")
		return one, nil, nil
	}
}

// close makes the close of a day, or says what it waits for.
func (b *beginning) close(ctx context.Context, zone string, location *time.Location, day int64) (*Close, *Waiting, error) {
	starts, ends := Bounds(day, location)
	z := b.state.Zone(zone)
	cut, err := b.cutOf(ctx, ends.Add(b.cfg.Lateness), z.cut())
	if err != nil {
		return nil, nil, err
	}
	if cut == nil {
		waits, err := b.waiting(ctx, zone, day, ends)
		return nil, waits, err
	}
	before, err := b.reader.Cut(ctx, z.cut())
	if err != nil {
		return nil, nil, err
	}
	tail, err := b.audited(ctx, before, cut)
	if err != nil {
		return nil, nil, err
	}
	tiles := uint64(0)
	for _, n := range tail.Tiles {
		tiles += n
	}
	one := &Close{
		Sequence: b.state.Sequence + 1, Timezone: zone, Day: DateOf(day).Format(time.DateOnly), Starts: starts, Ends: ends,
		Cut: cut.Number, PreviousCut: before.Number, CompleteThrough: cut.CompleteThrough.UTC(),
		LatenessSeconds: uint32(b.cfg.Lateness / time.Second), Tiles: tiles, Vector: positionsOf(cut.Vector), Moves: b.moves,
		CodeVersion: cut.CodeVersion, SchemaVersion: SchemaVersion, Previous: b.state.Hash,
	}
	rows := Rows{Timezone: zone, Zone: location, Day: day, Members: b.after.Members(zone), Slice: books.Slice{To: cut.Vector}}
	if one.Statement, err = Totals(ctx, b.conn, &rows); err != nil {
		return nil, nil, err
	}
	rows.Adjustments, rows.Slice = true, tail.Slice
	if one.Adjustments, err = Totals(ctx, b.conn, &rows); err != nil {
		return nil, nil, err
	}
	one.Seal()
	if err := b.step("commit"); err != nil {
		return nil, nil, err
	}
	if err := b.store.Commit(ctx, one); err != nil {
		return nil, nil, err
	}
	return one, nil, b.step("committed")
}

// audited returns what lies between two cuts, if its batches join.
func (c *Closer) audited(ctx context.Context, from, to *books.Cut) (*books.Tail, error) {
	topics, err := c.reader.Topics(ctx)
	if err != nil {
		return nil, err
	}
	tail, err := c.reader.Tail(ctx, topics, from.Vector, books.UpTo(to.Vector))
	switch {
	case err != nil:
		return nil, err
	case len(tail.Overlaps) > 0:
		return nil, fmt.Errorf("%w: offsets are counted twice in partition %s; run adtally audit", ErrFrozen, tail.Overlaps[0])
	case len(tail.Gaps) > 0:
		return nil, fmt.Errorf("%w: a batch is missing in partition %s; run adtally audit", ErrFrozen, tail.Gaps[0])
	}
	return tail, nil
}

// cutOf returns the newest cut that is complete through an instant; nil if there
// is none from one on.
func (c *Closer) cutOf(ctx context.Context, through time.Time, from uint64) (*books.Cut, error) {
	for most := uint64(math.MaxUint64); ; {
		var found uint64
		row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{
			"through": through.UTC().Format(time.DateTime), "from": strconv.FormatUint(from, 10), "most": strconv.FormatUint(most, 10),
		}), "SELECT max(cut) FROM cuts WHERE complete_through >= {through:DateTime('UTC')} AND cut >= {from:UInt64} AND cut <= {most:UInt64}")
		if err := row.Scan(&found); err != nil {
			return nil, fmt.Errorf("look for the cut of a day: %w", err)
		}
		if found == 0 {
			return nil, nil //nolint:nilnil // no cut is a result
		}
		cut, err := c.reader.Cut(ctx, found)
		if err != nil || !cut.CompleteThrough.Before(through) {
			return cut, err
		}
		most = found - 1 // that was an attempt that lost
	}
}

func positionsOf(v books.Vector) []Position {
	list := make([]Position, 0, len(v))
	for _, p := range v {
		list = append(list, Position{Topic: p.Topic, Lineage: p.Lineage, Partition: p.Partition, Offset: p.Next})
	}
	return list
}

// Totals adds up the rows of a file as the ledger has them.
func Totals(ctx context.Context, conn clickhouse.Conn, r *Rows) (part Part, err error) {
	part.Totals = []Total{}
	q := r.TotalsQuery()
	rows, err := conn.Query(clickhouse.With(ctx, "", QuerySettings(), q.Params), q.SQL)
	if err != nil {
		return part, fmt.Errorf("add up the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var t Total
		if err := rows.Scan(&t.Advertiser, &t.Currency, &t.Rows, &t.Gross, &t.Net, &t.Duplicate, &t.Invalid, &t.Orphan, &t.SpendNanos); err != nil {
			return part, fmt.Errorf("add up the ledger: %w", err)
		}
		part.Rows += t.Rows
		part.Totals = append(part.Totals, t)
	}
	return part, rows.Err()
}

// QuerySettings bound what a query over a day takes of the server: it goes to disk
// instead.
func QuerySettings() clickhouse.Settings {
	return clickhouse.Settings{
		"max_execution_time":                 600,
		"max_bytes_before_external_group_by": 1 << 30,
		"max_bytes_before_external_sort":     1 << 30,
		// A statement is streamed, however long it is; these are what a reader may ask.
		"max_result_rows":  1_000_000_000_000,
		"max_result_bytes": 1_000_000_000_000_000,
	}
}
