package compact

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/calendar"
	"github.com/adtally/adtally/internal/clickhouse"
)

// The columns of rollup rows behind advertiser and time, and the measures.
var (
	keyColumns     = append([]string{"event_type"}, append(dimensionColumns(), "invalid_flags")...)
	measureColumns = []string{"gross", "net", "duplicate", "invalid", "orphan", "spend_nanos"}
)

func dimensionColumns() []string {
	var names []string
	for _, d := range clickhouse.Dimensions {
		if d.Name != "advertiser" {
			names = append(names, d.Name)
		}
	}
	return names
}

// addUp returns an INSERT into a rollup table of what from has, by cells. when is
// the time column.
func addUp(table, when, from string) string {
	keys := strings.Join(keyColumns, ", ")
	sums := make([]string, len(measureColumns))
	for i, m := range measureColumns {
		sums[i] = "sum(" + m + ")"
	}
	return fmt.Sprintf(`INSERT INTO %s (delta, advertiser, %s, %s, %s)
SELECT {delta:UUID}, advertiser, %[2]s, %[3]s, %[5]s
FROM (%[6]s)
GROUP BY advertiser, %[2]s, %[3]s`, table, when, keys, strings.Join(measureColumns, ", "), strings.Join(sums, ", "), from)
}

// measures lists the measures as a rollup row has them.
const measures = "gross, net, duplicate, invalid, orphan, toInt128(spend_nanos) AS spend_nanos"

// quartersStatement adds up a slice of the ledger and the folded deltas.
func quartersStatement(slice string) string {
	keys := strings.Join(keyColumns, ", ")
	return addUp("rollup_quarter", "quarter", fmt.Sprintf(`
    SELECT advertiser, toStartOfFifteenMinutes(minute) AS quarter, %[1]s, %[2]s
    FROM ledger WHERE advertiser > 0 AND %[3]s
    UNION ALL
    SELECT advertiser, quarter, %[1]s, %[2]s
    FROM rollup_quarter WHERE delta IN {folded:Array(UUID)}
`, keys, measures, slice))
}

// daysStatement adds up quarters of a delta by the days of their advertisers.
// offset is the expression for seconds ahead of UTC.
func daysStatement(offset, where string) string {
	return addUp("rollup_day", "local_day", fmt.Sprintf(`
    SELECT advertiser, toInt32(intDiv(toInt64(toUnixTimestamp(quarter)) + %s, 86400)) AS local_day, %s, %s
    FROM rollup_quarter WHERE delta = {quarters:UUID}%s
`, offset, strings.Join(keyColumns, ", "), measures, where))
}

// rollUpDays makes the days of a delta from its quarters, and checks them.
func (a *attempt) rollUpDays(ctx context.Context, d *books.Delta) error {
	if err := a.step("roll up days"); err != nil {
		return err
	}
	if err := books.PutZoneMap(ctx, a.conn, a.zones); err != nil {
		return err
	}
	d.Day, d.Zones = a.id, a.zones.ID
	_, without := a.zones.Groups()
	if err := a.insertDays(ctx, d, "advertiser NOT IN {without:Array(UInt64)}", clickhouse.Parameters{"without": idArray(without)}); err != nil {
		return err
	}
	return a.checkDays(ctx, d)
}

// checkDays compares the days of a delta with its quarters.
func (a *attempt) checkDays(ctx context.Context, d *books.Delta) error {
	if err := a.step("check days"); err != nil {
		return err
	}
	days, err := a.sums(ctx, "rollup_day", "delta = {delta:UUID}", clickhouse.Parameters{"delta": d.Day.String()})
	if err != nil {
		return err
	}
	want := d.Totals
	if _, without := a.zones.Groups(); len(without) > 0 {
		quarters, err := a.sums(ctx, "rollup_quarter", "delta = {delta:UUID} AND advertiser NOT IN {without:Array(UInt64)}",
			clickhouse.Parameters{"delta": d.ID.String(), "without": idArray(without)})
		if err != nil {
			return err
		}
		want = quarters.totals
	}
	if !days.totals.Equal(want) {
		return fmt.Errorf("%w: the days of delta %s are %s, but its quarters %s", ErrFrozen, d.ID, days.totals, want)
	}
	d.DayRows = days.rows
	return nil
}

// insertDays adds to d.Day the days of the quarters for which where holds.
func (a *attempt) insertDays(ctx context.Context, d *books.Delta, where string, params clickhouse.Parameters) error {
	params["delta"], params["quarters"] = d.Day.String(), d.ID.String()
	var first, last time.Time
	bounds := a.conn.QueryRow(clickhouse.With(ctx, "", nil, params), "SELECT min(quarter), max(quarter) FROM rollup_quarter WHERE delta = {quarters:UUID} AND "+where)
	if err := bounds.Scan(&first, &last); err != nil {
		return fmt.Errorf("look for bounds of delta %s: %w", d.ID, err)
	}
	offset, err := a.offsets(first, last.Add(time.Second), params)
	if err != nil {
		return err
	}
	if err := a.exec(ctx, daysStatement(offset, " AND "+where), params); err != nil {
		return fmt.Errorf("roll up days: %w", err)
	}
	return nil
}

// offsets returns the expression for how far an advertiser's clock is ahead of
// UTC in [first, end). Zones that agree there are one case of it.
func (a *attempt) offsets(first, end time.Time, params clickhouse.Parameters) (string, error) {
	zones, _ := a.zones.Groups()
	cases := map[string][]uint64{}
	for name, advertisers := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			return "", fmt.Errorf("load time zone of advertiser %d: %w", advertisers[0], err)
		}
		expr := spansExpression(calendar.Offsets(zone, first, end))
		cases[expr] = append(cases[expr], advertisers...)
	}
	delete(cases, "0")
	if len(cases) == 0 {
		return "0", nil
	}
	var text strings.Builder
	text.WriteString("multiIf(")
	for i, expr := range sortedKeys(cases) {
		name := fmt.Sprintf("zone%d", i)
		params[name] = idArray(cases[expr])
		fmt.Fprintf(&text, "advertiser IN {%s:Array(UInt64)}, %s, ", name, expr)
	}
	text.WriteString("0)")
	return text.String(), nil
}

// spansExpression is a constant, or one for each span.
func spansExpression(spans []calendar.Span) string {
	if len(spans) == 1 {
		return strconv.FormatInt(spans[0].Offset, 10)
	}
	var text strings.Builder
	text.WriteString("multiIf(")
	for i := 1; i < len(spans); i++ {
		fmt.Fprintf(&text, "toUnixTimestamp(quarter) < %d, %d, ", spans[i].From.Unix(), spans[i-1].Offset)
	}
	fmt.Fprintf(&text, "%d)", spans[len(spans)-1].Offset)
	return text.String()
}

// rezone brings deltas whose days were made by another zone map to the present
// one. Days of advertisers whose zone is the same are copied.
func (a *attempt) rezone(ctx context.Context, cover books.Cover) (books.Cover, error) {
	cover = append(books.Cover(nil), cover...)
	for i := range cover {
		d := &cover[i]
		if d.Zones == a.zones.ID {
			continue
		}
		before, err := a.reader.ZoneMap(ctx, d.Zones)
		if err != nil {
			return nil, err
		}
		if err := a.rezoneDelta(ctx, d, before.Changed(a.zones)); err != nil {
			return nil, err
		}
	}
	return cover, nil
}

func (a *attempt) rezoneDelta(ctx context.Context, d *books.Delta, changed []uint64) error {
	if err := books.PutZoneMap(ctx, a.conn, a.zones); err != nil {
		return err
	}
	params := clickhouse.Parameters{"delta": d.ID.String(), "changed": idArray(changed)}
	var touched uint64
	row := a.conn.QueryRow(clickhouse.With(ctx, "", nil, params),
		"SELECT count() FROM rollup_quarter WHERE delta = {delta:UUID} AND advertiser IN {changed:Array(UInt64)}")
	if err := row.Scan(&touched); err != nil {
		return fmt.Errorf("look for changed zones: %w", err)
	}
	d.Zones = a.zones.ID
	if touched == 0 {
		return nil
	}
	if err := a.step("copy days"); err != nil {
		return err
	}
	old := d.Day
	d.Day = uuid.New()
	a.made = append(a.made, d.Day)
	keys, sums := strings.Join(keyColumns, ", "), strings.Join(measureColumns, ", ")
	err := a.exec(ctx, fmt.Sprintf(`INSERT INTO rollup_day (delta, advertiser, local_day, %[1]s, %[2]s)
SELECT {delta:UUID}, advertiser, local_day, %[1]s, %[2]s
FROM rollup_day WHERE delta = {old:UUID} AND advertiser NOT IN {changed:Array(UInt64)}`, keys, sums),
		clickhouse.Parameters{"delta": d.Day.String(), "old": old.String(), "changed": idArray(changed)})
	if err != nil {
		return fmt.Errorf("copy days: %w", err)
	}
	if err := a.step("roll up days again"); err != nil {
		return err
	}
	_, without := a.zones.Groups()
	err = a.insertDays(ctx, d, "advertiser IN {changed:Array(UInt64)} AND advertiser NOT IN {without:Array(UInt64)}",
		clickhouse.Parameters{"changed": idArray(changed), "without": idArray(without)})
	if err != nil {
		return err
	}
	return a.checkDays(ctx, d)
}

// discard drops what the attempt wrote.
func (a *attempt) discard(ctx context.Context) error {
	var errs []error
	for _, id := range a.made {
		errs = append(errs, a.drop(ctx, "rollup_quarter", id), a.drop(ctx, "rollup_day", id))
	}
	return errors.Join(errs...)
}
