package compact

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

const (
	// lookEvery is how often it is looked what of the ledger can go.
	lookEvery = time.Hour
	// baseEvery is how often a cut is kept for as long as the ledger is, so that
	// versions since then need no older rows.
	baseEvery = 24 * time.Hour
	// baseSlack is how much longer: a day passes until a day is over, one until
	// the next such cut, and one in case of trouble.
	baseSlack = 3 * 24 * time.Hour
)

// keepFor is how long the deltas of the next cut are kept.
func (c *Compactor) keepFor(ctx context.Context) (time.Duration, error) {
	if c.cfg.LedgerDays == 0 {
		return c.cfg.Keep, nil
	}
	whole := time.Duration(c.cfg.LedgerDays)*24*time.Hour + baseSlack
	var bases uint64
	row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{
		"every": strconv.Itoa(int(baseEvery / time.Second)), "days": strconv.Itoa(c.cfg.LedgerDays),
	}), `SELECT count() FROM cuts WHERE created > now() - toIntervalSecond({every:UInt32}) AND kept_until > created + toIntervalDay({days:UInt32})`)
	if err := row.Scan(&bases); err != nil {
		return 0, fmt.Errorf("look for kept cuts: %w", err)
	}
	if bases > 0 {
		return c.cfg.Keep, nil
	}
	return whole, nil
}

// oldDay is a day of broker time whose rows are older than they must be kept.
type oldDay struct {
	day        time.Time
	rows       uint64
	gross, net int64
	through    time.Time
}

// retain drops rows of the ledger. A day is first recorded as dropped, so that
// readers go by it, and its rows go when nobody can be reading them any more. A
// crash between leaves what the next look goes on with.
func (c *Compactor) retain(ctx context.Context) error {
	if c.cfg.LedgerDays == 0 || time.Since(c.looked) < lookEvery {
		return nil
	}
	c.looked = time.Now()
	if err := c.dropRows(ctx); err != nil {
		return err
	}
	days, err := c.oldDays(ctx)
	if err != nil || len(days) == 0 {
		return err
	}
	base, err := c.base(ctx)
	if err != nil || base == nil {
		return err
	}
	for i := range days {
		reason, err := c.record(ctx, &days[i], base)
		if err != nil {
			return err
		}
		if reason != "" { // later days wait, too: what is dropped is all up to a day
			c.log.Info().Time("day", days[i].day).Str("reason", reason).Msg("minutes of the ledger stay longer")
			return nil
		}
	}
	return nil
}

// dropRows drops the rows of days that were recorded long enough ago.
func (c *Compactor) dropRows(ctx context.Context) (err error) {
	rows, err := c.conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"grace": strconv.Itoa(int(max(c.cfg.Keep, time.Hour) / time.Second))}), `
SELECT lat_day, cut FROM (SELECT day, min(cut) AS cut, max(created) AS recorded FROM dropped_days GROUP BY day) AS d
INNER JOIN (SELECT DISTINCT lat_day FROM ledger WHERE advertiser > 0 AND lat_day IN (SELECT day FROM dropped_days)) AS l ON l.lat_day = d.day
WHERE recorded < now() - toIntervalSecond({grace:UInt32})
ORDER BY lat_day`)
	if err != nil {
		return fmt.Errorf("look for dropped days: %w", err)
	}
	type dropped struct {
		day time.Time
		cut uint64
	}
	var days []dropped
	for rows.Next() {
		var d dropped
		if err := rows.Scan(&d.day, &d.cut); err != nil {
			return errors.Join(fmt.Errorf("look for dropped days: %w", err), rows.Close())
		}
		days = append(days, d)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, d := range days {
		cut, err := c.reader.Cut(ctx, d.cut)
		if err != nil {
			return err
		}
		outside, err := c.outside(ctx, d.day, cut)
		if err != nil {
			return err
		}
		if outside > 0 {
			return fmt.Errorf("%w: %d batches of %s came after cut %d, with which its minutes were given up",
				ErrFrozen, outside, d.day.Format(time.DateOnly), d.cut)
		}
		if err := c.step("drop rows"); err != nil {
			return err
		}
		err = c.conn.Exec(clickhouse.With(ctx, "", clickhouse.Settings{"mutations_sync": 1}, nil),
			"ALTER TABLE ledger DELETE IN PARTITION '"+d.day.Format(time.DateOnly)+"' WHERE advertiser > 0")
		if err != nil {
			return fmt.Errorf("drop rows of %s: %w", d.day.Format(time.DateOnly), err)
		}
		c.count.days.Inc()
		c.log.Info().Time("day", d.day).Msg("minutes of the ledger are dropped")
	}
	return nil
}

// oldDays lists the days whose rows may go by their age, the oldest first.
func (c *Compactor) oldDays(ctx context.Context) (days []oldDay, err error) {
	rows, err := c.conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"days": strconv.Itoa(c.cfg.LedgerDays)}), `
SELECT lat_day, count(), sum(gross), sum(net), max(minute) FROM ledger
WHERE advertiser > 0 AND lat_day < toDate(now(), 'UTC') - {days:UInt32} AND lat_day NOT IN (SELECT day FROM dropped_days)
GROUP BY lat_day ORDER BY lat_day`)
	if err != nil {
		return nil, fmt.Errorf("look for old days: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d oldDay
		if err := rows.Scan(&d.day, &d.rows, &d.gross, &d.net, &d.through); err != nil {
			return nil, fmt.Errorf("look for old days: %w", err)
		}
		days = append(days, d)
	}
	return days, rows.Err()
}

// base returns the newest cut that is as old as rows must be kept and whose deltas
// stay: every later version can be put together from it, or a later one like it,
// and from what the ledger keeps. nil without any.
func (c *Compactor) base(ctx context.Context) (*books.Cut, error) {
	var n, number uint64
	row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"days": strconv.Itoa(c.cfg.LedgerDays)}),
		"SELECT count(), max(cut) FROM cuts WHERE created < now() - toIntervalDay({days:UInt32}) AND kept_until > now() + INTERVAL 1 DAY")
	if err := row.Scan(&n, &number); err != nil {
		return nil, fmt.Errorf("look for a kept cut: %w", err)
	}
	if n == 0 {
		return nil, nil //nolint:nilnil // that is the result
	}
	return c.reader.Cut(ctx, number)
}

// outside counts the batches of a day that are not in a cut.
func (c *Compactor) outside(ctx context.Context, day time.Time, cut *books.Cut) (n uint64, err error) {
	params := clickhouse.Parameters{"day": day.Format(time.DateOnly)}
	whole := books.Slice{To: cut.Vector}
	row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, params),
		"SELECT count() FROM ledger WHERE lat_day = {day:Date} AND advertiser = 0 AND NOT ("+whole.Where("s_", params)+")")
	if err := row.Scan(&n); err != nil {
		return 0, fmt.Errorf("look for batches after cut %d: %w", cut.Number, err)
	}
	return n, nil
}

// record records a day as dropped, or says why it cannot be yet.
func (c *Compactor) record(ctx context.Context, d *oldDay, base *books.Cut) (reason string, err error) {
	if err := c.addsUp(ctx, d); err != nil {
		return "", err
	}
	if reason, err = c.needed(ctx, d, base); err != nil || reason != "" {
		return reason, err
	}
	if err := c.step("record day"); err != nil {
		return "", err
	}
	err = c.conn.Exec(clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, clickhouse.Parameters{
		"day": d.day.Format(time.DateOnly), "through": d.through.UTC().Format(time.DateTime), "cut": strconv.FormatUint(base.Number, 10),
	}), "INSERT INTO dropped_days (day, through, cut) SELECT {day:Date}, {through:DateTime('UTC')}, {cut:UInt64}")
	if err != nil {
		return "", fmt.Errorf("record %s as dropped: %w", d.day.Format(time.DateOnly), err)
	}
	return "", nil
}

// addsUp holds the rows of a day against their marks once more.
func (c *Compactor) addsUp(ctx context.Context, d *oldDay) error {
	var rows uint64
	var gross, net int64
	row := c.conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"day": d.day.Format(time.DateOnly)}),
		"SELECT sum(mark_rows), sum(mark_gross), sum(mark_net) FROM ledger WHERE advertiser = 0 AND lat_day = {day:Date}")
	if err := row.Scan(&rows, &gross, &net); err != nil {
		return fmt.Errorf("add up marks of %s: %w", d.day.Format(time.DateOnly), err)
	}
	if rows != d.rows || gross != d.gross || net != d.net {
		return fmt.Errorf("%w: on %s the ledger holds %d rows, gross %d, net %d, but its marks say %d, %d, %d",
			ErrFrozen, d.day.Format(time.DateOnly), d.rows, d.gross, d.net, rows, gross, net)
	}
	return nil
}

// needed says who still needs the rows of a day; nobody for "".
func (c *Compactor) needed(ctx context.Context, d *oldDay, base *books.Cut) (reason string, err error) {
	outside, err := c.outside(ctx, d.day, base)
	if err != nil {
		return "", err
	}
	if outside > 0 {
		return fmt.Sprintf("not all of it is in cut %d", base.Number), nil
	}
	closed, err := c.closedZones(ctx)
	if err != nil {
		return "", err
	}
	zones, err := c.zonesOn(ctx, d.day)
	if err != nil {
		return "", err
	}
	for _, zone := range zones {
		if _, ok := closed[zone]; !ok {
			return "no day is closed in " + zone, nil
		}
	}
	for _, zone := range sortedKeys(closed) {
		z := closed[zone]
		if !d.through.Before(z.ends) {
			return "days are closed in " + zone + " up to " + z.ends.UTC().Format(time.RFC3339) + " only", nil
		}
		if z.cut >= base.Number {
			continue // and the day is in base
		}
		cut, err := c.reader.Cut(ctx, z.cut)
		if err != nil {
			return "", err
		}
		if outside, err := c.outside(ctx, d.day, cut); err != nil || outside > 0 {
			return "not all of it is in a close of " + zone, err
		}
	}
	return "", nil
}

// closedUpto is how far a zone is closed.
type closedUpto struct {
	ends time.Time
	cut  uint64
}

// closedZones reads the last close of each zone. Of attempts at one close the
// least counts.
func (c *Compactor) closedZones(ctx context.Context) (zones map[string]closedUpto, err error) {
	rows, err := c.conn.Query(ctx, `
SELECT timezone, min(ends), min(cut) FROM closes
WHERE (timezone, sequence) IN (SELECT timezone, max(sequence) FROM closes GROUP BY timezone)
GROUP BY timezone`)
	if err != nil {
		return nil, fmt.Errorf("read closes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	zones = map[string]closedUpto{}
	for rows.Next() {
		var name string
		var z closedUpto
		if err := rows.Scan(&name, &z.ends, &z.cut); err != nil {
			return nil, fmt.Errorf("read closes: %w", err)
		}
		zones[name] = z
	}
	return zones, rows.Err()
}

// zonesOn lists the zones of the advertisers that have rows on a day.
func (c *Compactor) zonesOn(ctx context.Context, day time.Time) (names []string, err error) {
	own, err := c.zones.Zones(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := c.conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"day": day.Format(time.DateOnly)}),
		"SELECT DISTINCT advertiser FROM ledger WHERE advertiser > 0 AND lat_day = {day:Date}")
	if err != nil {
		return nil, fmt.Errorf("look for advertisers: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := map[string]bool{}
	for rows.Next() {
		var advertiser uint64
		if err := rows.Scan(&advertiser); err != nil {
			return nil, fmt.Errorf("look for advertisers: %w", err)
		}
		zone := own[advertiser]
		if zone == nil {
			zone = time.UTC
		}
		found[zone.String()] = true
	}
	return sortedKeys(found), rows.Err()
}
