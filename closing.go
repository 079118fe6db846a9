package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/compact"
	"github.com/adtally/adtally/aggregate/recount"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/ledger"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/manifest"
	"github.com/adtally/adtally/query/export/statement"
)

// closeSchedule says whether and when days close by themselves.
type closeSchedule struct {
	CloseDays bool           `help:"Close each day as soon as it is complete." default:"true" negatable:"" group:"Closing"`
	Close     closing.Config `embed:"" prefix:"close-" group:"Closing"`
}

// newClosing returns the role that closes days, or none.
func newClosing(s closeSchedule, ccfg clickhouse.Config, log zerolog.Logger) ([]role, error) {
	if !s.CloseDays {
		return nil, nil
	}
	ccfg.ReadTimeout = max(ccfg.ReadTimeout, addingUp) // adding up a large day says nothing for long
	conn, err := clickhouse.Open(withAddr(ccfg))
	if err != nil {
		return nil, err
	}
	closer, err := closing.New(s.Close, conn, log)
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context) error { return errors.Join(closer.Run(ctx), conn.Close()) }
	return []role{{run: run, ready: always}}, nil
}

// newBooks returns the roles that make cuts and close days.
func newBooks(cfg compact.Config, s closeSchedule, ccfg clickhouse.Config, log zerolog.Logger) ([]role, error) {
	_, compacting, err := newCompact(cfg, ccfg, log)
	if err != nil {
		return nil, err
	}
	closing, err := newClosing(s, ccfg, log)
	return append([]role{compacting}, closing...), err
}

// addingUp is how long a query over a day may say nothing.
const addingUp = 15 * time.Minute

type closeCmd struct {
	target
	Day      string         `help:"Day to close, as 2026-11-20; open days before it close first." required:"" env:"-"`
	Timezone string         `help:"Close it in this time zone only; none means every zone in use for which the day is complete." env:"-"`
	Close    closing.Config `embed:"" prefix:"close-"`
	Compact  compact.Config `embed:"" prefix:"compact-"`
}

// Run closes the day where it is complete, and says what it waits for elsewhere.
func (c *closeCmd) Run(ctx context.Context, e *env) (err error) {
	day, err := parseDay(c.Day)
	if err != nil {
		return err
	}
	if c.Timezone != "" {
		if _, err := access.LoadZone(c.Timezone); err != nil {
			return wrongUsage("--timezone: %v", err)
		}
	}
	quiet := e.log.Level(zerolog.WarnLevel) // what is done is printed
	if err := c.Close.Validate(); err != nil {
		return wrongUsage("%v", err)
	}
	c.ClickHouse.ReadTimeout = max(c.ClickHouse.ReadTimeout, addingUp)
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := c.cut(ctx, conn, quiet); err != nil {
		return err
	}
	closer, err := closing.New(c.Close, conn, quiet)
	if err != nil {
		return err
	}
	zones := []string{c.Timezone}
	if c.Timezone == "" {
		if zones, err = closer.Zones(ctx); err != nil {
			return err
		}
		if len(zones) == 0 {
			zones = []string{"UTC"}
		}
	}
	closed, waiting := 0, []string{}
	for _, zone := range zones {
		one, reason, err := c.in(ctx, e, closer, zone, day)
		if err != nil {
			return err
		}
		if one {
			closed++
		} else {
			waiting = append(waiting, reason)
		}
	}
	if closed == 0 {
		return errors.New("not closed: " + strings.Join(waiting, "\nadtally: not closed: "))
	}
	for _, reason := range waiting {
		fmt.Fprintln(e.stderr, "not closed:", reason)
	}
	return c.cut(ctx, conn, e.log) // reports are final about days that were closed before their cut
}

// cut makes a cut now: the day may wait for nothing else.
func (c *closeCmd) cut(ctx context.Context, conn clickhouse.Conn, log zerolog.Logger) error {
	compactor, err := compact.New(c.Compact, conn, accountZones{access.NewStore(conn)}, log, metrics.NewSet())
	if err != nil {
		return wrongUsage("%v", err)
	}
	if _, err := compactor.Now(ctx); err != nil && !errors.Is(err, compact.ErrFrozen) {
		log.Warn().Err(err).Msg("no cut this time; the last one is used")
	} else if err != nil {
		return err
	}
	return nil
}

// in closes the day in one zone.
func (c *closeCmd) in(ctx context.Context, e *env, closer *closing.Closer, zone string, day int64) (closed bool, reason string, err error) {
	made, one, waits, err := closer.Upto(ctx, zone, day)
	if err != nil {
		return false, "", fmt.Errorf("close %s in %s: %w", c.Day, zone, err)
	}
	for _, m := range made {
		fmt.Fprintf(e.stdout, "closed %s in %s: close %d at cut %d, %d rows, %d adjustments, hash %s\n",
			m.Day, m.Timezone, m.Sequence, m.Cut, m.Statement.Rows, m.Adjustments.Rows, m.Hash)
	}
	switch {
	case one == nil && waits != nil:
		return false, waits.String(), nil
	case one == nil:
		return false, c.Day + " in " + zone + " is not due", nil
	case len(made) == 0:
		fmt.Fprintf(e.stdout, "%s in %s was closed before: close %d at cut %d, hash %s\n", one.Day, zone, one.Sequence, one.Cut, one.Hash)
	}
	return true, "", nil
}

func parseDay(text string) (int64, error) {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 2000 || day.Year() > 2099 {
		return 0, wrongUsage("--day %q: must be a date as 2026-11-20", text)
	}
	return closing.DayNumber(day), nil
}

type exportCmd struct {
	books
	Day        string `help:"Closed day to export, as 2026-11-20." env:"-"`
	Out        string `help:"Folder in which day=D is made." type:"path" env:"-"`
	Format     string `help:"Format of the files: parquet, arrow (an IPC stream) or csv." enum:"parquet,arrow,csv" default:"parquet" env:"-"`
	Advertiser uint64 `help:"Export the rows of this advertiser only." env:"-"`
	Timezone   string `help:"Export this time zone only; none means every zone that has closed the day." env:"-"`
	Verify     string `help:"Check the exports in this folder instead: files, totals, closes, their chain, and the ledger." type:"path" env:"-" placeholder:"DIR"`
	FromLog    bool   `help:"With --verify: also count the log again, with the rules it was counted with, and hold the ledger against it." env:"-"`

	Aggregate aggregate.Rules `embed:"" prefix:"aggregate-"`
}

// Run writes an export, or checks some.
func (c *exportCmd) Run(ctx context.Context, e *env) (err error) {
	switch {
	case c.Verify != "" && (c.Day != "" || c.Out != ""):
		return wrongUsage("export: --verify takes neither --day nor --out")
	case c.Verify == "" && (c.Day == "" || c.Out == ""):
		return wrongUsage("export: name --day and --out, or a folder to --verify")
	}
	c.ClickHouse.ReadTimeout = max(c.ClickHouse.ReadTimeout, addingUp)
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	exporter := manifest.NewExporter(conn)
	if c.Verify != "" {
		return c.verify(ctx, e, conn, exporter)
	}
	day, err := parseDay(c.Day)
	if err != nil {
		return err
	}
	bar := newProgress(e.stderr)
	m, dir, err := exporter.Export(ctx, &manifest.Request{
		Day: closing.DateOf(day).Format(time.DateOnly), Dir: c.Out, Format: statement.Format(c.Format),
		Timezone: c.Timezone, Advertiser: c.Advertiser, Progress: func(file string, rows, of uint64) { bar.show(file, "rows", rows, of) },
	})
	bar.end()
	if err != nil {
		return err
	}
	zones := make([]string, len(m.Closes))
	for i := range m.Closes {
		zones[i] = m.Closes[i].Timezone
	}
	fmt.Fprintf(e.stdout, "%s: %s in %s\n", dir, m.Day, strings.Join(zones, ", "))
	for i := range m.Files {
		f := &m.Files[i]
		fmt.Fprintf(e.stdout, "  %-20s %d rows, %d bytes, SHA-256 %s\n", f.Name, f.Rows, f.Bytes, f.SHA256)
	}
	if c.Timezone != "" {
		return nil
	}
	closer, err := closing.New(closing.Config{Interval: time.Minute}, conn, e.log)
	if err != nil {
		return err
	}
	used, err := closer.Zones(ctx)
	if err != nil {
		return err
	}
	for _, zone := range used {
		if !slices.Contains(zones, zone) {
			fmt.Fprintf(e.stderr, "note: %s is not closed in %s and not in these files\n", m.Day, zone)
		}
	}
	return nil
}

// verify checks the exports in a folder and names what is wrong.
func (c *exportCmd) verify(ctx context.Context, e *env, conn clickhouse.Conn, exporter *manifest.Exporter) error {
	folders, err := manifest.Folders(c.Verify)
	if err != nil {
		return err
	}
	faults := 0
	var first time.Time
	for _, folder := range folders {
		v, err := exporter.Verify(ctx, folder)
		if err != nil {
			return fmt.Errorf("verify %s: %w", folder, err)
		}
		for _, note := range v.Notes {
			fmt.Fprintf(e.stdout, "%s: %s\n", folder, note)
		}
		for _, fault := range v.Faults {
			fmt.Fprintf(e.stdout, "%s: %s\n", folder, fault)
		}
		if len(v.Faults)+len(v.Notes) == 0 {
			fmt.Fprintf(e.stdout, "%s: files, totals, closes and ledger agree\n", folder)
		}
		faults += len(v.Faults)
		if v.Manifest == nil {
			continue
		}
		for i := range v.Manifest.Closes {
			if starts := v.Manifest.Closes[i].Starts; first.IsZero() || starts.Before(first) {
				first = starts
			}
		}
	}
	if c.FromLog && faults == 0 {
		if faults, err = c.recount(ctx, e, conn, first); err != nil {
			return err
		}
	}
	if faults > 0 {
		return fmt.Errorf("%d fault(s) found", faults)
	}
	return nil
}

// recount counts the log again from the day before an instant and holds the ledger
// against it. Rows of a day are in no earlier batch.
func (c *exportCmd) recount(ctx context.Context, e *env, conn clickhouse.Conn, from time.Time) (faults int, err error) {
	brokers, err := c.brokers()
	if err != nil {
		return 0, err
	}
	topic, err := ledger.LastTopic(ctx, conn, c.Kafka.Topic)
	if err == nil && topic.Lineage == 0 {
		err = c.noTopic()
	}
	if err != nil {
		return 0, err
	}
	again := recount.Replay{Rules: c.Aggregate.Window(), Topic: topic, Conn: conn, Options: brokers, Since: from.UTC().AddDate(0, 0, -1).Truncate(24 * time.Hour)}
	bar := newProgress(e.stderr)
	defer bar.end()
	again.Progress = bar.records
	records := int64(0)
	for id := range int32(topic.Partitions) {
		r, err := again.Run(ctx, id)
		if err != nil {
			return faults, fmt.Errorf("count the log again: %w", err)
		}
		records += r.To - r.From
		for i := range r.Differences {
			d := &r.Differences[i]
			k := d.Key()
			fmt.Fprintf(e.stdout, "partition %d: advertiser %d, %s, campaign %d, %s: the ledger has net %d, spend %d nano-units, the log %d, %d\n", id, k.Advertiser,
				time.Unix(k.Minute*60, 0).UTC().Format(time.RFC3339), k.Campaign, k.Type.Name(), d.Ledger.Net, d.Ledger.SpendNanos, d.Log.Net, d.Log.SpendNanos)
		}
		faults += len(r.Differences)
	}
	if faults == 0 {
		fmt.Fprintf(e.stdout, "%d records of the log counted again: the ledger agrees\n", records)
	}
	return faults, nil
}
