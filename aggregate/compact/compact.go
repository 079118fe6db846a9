package compact

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Config are the settings of the compact role.
type Config struct {
	Interval time.Duration `help:"Time between two cuts." default:"1m"`
	Idle     time.Duration `help:"Time after which a cut is made although nothing was counted, so that little is behind it." default:"15m"`
	Keep     time.Duration `help:"How long what a cut was made of is kept after later cuts were made; reports that began before then need it." default:"1h"`
	Timeout  time.Duration `help:"Time allowed for adding up one cut." default:"30m"`
	Skew     time.Duration `help:"How far the brokers' clocks may differ; complete_through is behind the marks by it." default:"2s"`
	// LedgerDays counts days of broker time.
	LedgerDays int `help:"Days after which the ledger may drop its minutes, once they are in a cut and closed in every time zone: older reports then come from quarters of an hour and days, and exports of such days cannot be made again. 0 keeps them for ever; otherwise at least 32, as events may come 31 days late." default:"0"`
}

// Validate says which setting cannot be.
func (c *Config) Validate() error {
	switch {
	case c.Interval < time.Second:
		return errors.New("--compact-interval must be at least 1s")
	case c.Idle < c.Interval:
		return errors.New("--compact-idle must be at least --compact-interval")
	case c.Keep < 15*time.Minute:
		return errors.New("--compact-keep must be at least 15m: reports may run for minutes")
	case c.Timeout < time.Second || c.Timeout > maxAttempt:
		return fmt.Errorf("--compact-timeout must be from 1s to %s", maxAttempt)
	case c.Skew < 0:
		return errors.New("--compact-skew cannot be negative")
	case c.LedgerDays != 0 && (c.LedgerDays < minLedgerDays || c.LedgerDays > maxLedgerDays):
		return fmt.Errorf("--compact-ledger-days must be 0 or from %d to %d", minLedgerDays, maxLedgerDays)
	}
	return nil
}

const (
	// minLedgerDays is longer than events may come late, maxLedgerDays a century.
	minLedgerDays, maxLedgerDays = 32, 36_525
	// maxAttempt bounds an attempt: what is older was given up.
	maxAttempt = 6 * time.Hour
	// litter is the age at which what no cut names is dropped: by then no
	// attempt that wrote it can still commit.
	litter = 24 * time.Hour
)

// version is the meaning of rollup rows. It is recorded with each cut.
const version = 1

// ErrFrozen says that the books do not add up. No cut is made until they do.
var ErrFrozen = errors.New("the books are frozen")

// ErrTaken says that another compactor made the cut. What was to be in it is.
var ErrTaken = errors.New("another compactor made the cut")

// Zones knows the time zones of advertisers.
type Zones interface {
	// Zones returns the zone of every advertiser that is not in UTC.
	Zones(ctx context.Context) (map[uint64]*time.Location, error)
}

// Compactor makes cuts. New is inert; Run and Once do the work and are called by
// one goroutine.
type Compactor struct {
	cfg    Config
	conn   clickhouse.Conn
	reader *books.Reader
	zones  Zones
	log    zerolog.Logger
	count  *counters

	// superseded is when deltas of the cut before were seen to be in the newest
	// one no more.
	superseded map[uuid.UUID]time.Time
	cover      books.Cover
	// looked is when it was last looked what of the ledger can go.
	looked time.Time

	// step is told what is done next; tests end attempts there.
	step func(what string) error
}

// New returns a Compactor that writes through conn.
func New(cfg Config, conn clickhouse.Conn, zones Zones, log zerolog.Logger, set *metrics.Set) (*Compactor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Compactor{
		cfg: cfg, conn: conn, reader: books.NewReader(conn), zones: zones, log: log,
		count:      newCounters(set),
		superseded: make(map[uuid.UUID]time.Time),
		step:       func(string) error { return nil },
	}, nil
}

// Run makes a cut every interval until ctx is done. What fails is tried again
// with the next; a slow or failing compactor only lets the tail grow that reports
// add to the last cut.
func (c *Compactor) Run(ctx context.Context) error {
	every := time.NewTicker(c.cfg.Interval)
	defer every.Stop()
	for {
		_, err := c.Once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrFrozen):
			c.log.Error().Err(err).Msg("no cut is made until a person has looked")
		case errors.Is(err, ErrTaken):
			c.log.Info().Err(err).Msg("no cut of this compactor")
		case err != nil:
			c.log.Warn().Err(err).Msg("no cut this time")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Once makes the next cut and returns it; nil when nothing is to be done.
func (c *Compactor) Once(ctx context.Context) (*books.Cut, error) { return c.make(ctx, c.cfg.Idle) }

// Now makes a cut although nothing was counted, if only time went on: a day that
// is to be closed waits for one.
func (c *Compactor) Now(ctx context.Context) (*books.Cut, error) { return c.make(ctx, 0) }

func (c *Compactor) make(ctx context.Context, idle time.Duration) (*books.Cut, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	cut, err := c.once(ctx, idle)
	c.count.note(cut, err)
	return cut, err
}

func (c *Compactor) once(ctx context.Context, idle time.Duration) (*books.Cut, error) {
	a, err := c.prepare(ctx, idle)
	if a == nil || err != nil {
		return nil, err
	}
	cut, err := a.run(ctx)
	if err != nil {
		return nil, err
	}
	c.log.Info().Uint64("cut", cut.Number).Uint64("rows", cut.Rows).Uint64("tiles", cut.Tiles).
		Int("deltas", len(cut.Cover)).Float64("seconds", cut.Seconds).Msg("cut")
	c.observe(cut.Cover)
	if err := c.sweep(ctx, cut); err != nil { // what is left is dropped next time
		c.log.Warn().Err(err).Msg("old deltas are not dropped yet")
	}
	if err := c.retain(ctx); err != nil { // the rows stay, and it is tried again
		c.log.Warn().Err(err).Msg("old minutes of the ledger are not dropped yet")
	}
	return cut, nil
}

// prepare looks what is behind the last cut. It returns nil if that is not worth
// a cut; without rows it is after idle.
func (c *Compactor) prepare(ctx context.Context, idle time.Duration) (*attempt, error) {
	last, err := c.reader.Newest(ctx)
	if err != nil {
		return nil, err
	}
	c.observe(last.Cover)
	topics, err := c.reader.Topics(ctx)
	if err != nil || len(topics) == 0 {
		return nil, err
	}
	tail, err := c.reader.Tail(ctx, topics, last.Vector, books.Limit{})
	if err != nil {
		return nil, err
	}
	if len(tail.Overlaps) > 0 {
		return nil, fmt.Errorf("%w: offsets are counted twice in partition %s", ErrFrozen, tail.Overlaps[0])
	}
	c.count.gaps.Set(float64(len(tail.Gaps)))
	if len(tail.Gaps) > 0 {
		c.log.Error().Stringer("partition", tail.Gaps[0]).Int("partitions", len(tail.Gaps)).Msg("a batch is missing; nothing behind it counts")
	}
	zones, err := c.zoneMap(ctx)
	if err != nil {
		return nil, err
	}
	due := time.Since(last.Created) > idle && len(tail.Tiles) > 0
	waits, err := c.closedAt(ctx, last)
	if err != nil {
		return nil, err
	}
	if tail.Rows == 0 && !waits && !due && !stale(last.Cover, zones) {
		return nil, nil
	}
	keep, err := c.keepFor(ctx)
	if err != nil {
		return nil, err
	}
	return &attempt{
		Compactor: c, id: uuid.New(), began: time.Now(),
		last: last, tail: tail, topic: topics[len(topics)-1], zones: zones, keep: keep,
		fold: foldFrom(last.Cover, tail.Rows),
	}, nil
}

// closedAt says that a day was closed with the last cut: versions are final about
// the days that were closed before their cut, so they wait for the next one.
func (c *Compactor) closedAt(ctx context.Context, last *books.Cut) (bool, error) {
	var closes uint64
	row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"cut": strconv.FormatUint(last.Number, 10)}),
		"SELECT count() FROM closes WHERE cut = {cut:UInt64}")
	if err := row.Scan(&closes); err != nil {
		return false, fmt.Errorf("look for closes: %w", err)
	}
	return closes > 0, nil
}

// foldFrom returns the first of the deltas that are added up again together with
// so many new rows: each is no larger than what is younger.
func foldFrom(cover books.Cover, rows uint64) int {
	first := len(cover)
	for first > 0 && cover[first-1].Rows <= rows {
		first--
		rows += cover[first].Rows
	}
	return first
}

func stale(cover books.Cover, zones *books.ZoneMap) bool {
	for i := range cover {
		if cover[i].Zones != zones.ID {
			return true
		}
	}
	return false
}

// zoneMap returns the map of the zones that accounts have now.
func (c *Compactor) zoneMap(ctx context.Context) (*books.ZoneMap, error) {
	zones, err := c.zones.Zones(ctx)
	if err != nil {
		return nil, err
	}
	return books.NewZoneMap(zones), nil
}
