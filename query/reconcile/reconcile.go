package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/closing"
)

// Request says what the other side's file means.
type Request struct {
	Advertiser uint64
	// Zone is the account's, Their the other side's.
	Zone, Their *time.Location
	// Gross says that they count repeats and invalid traffic, too.
	Gross bool
	// Lateness is how long after a day their report was made at the earliest.
	Lateness time.Duration
	Lines    []Theirs
}

// Gap is one figure of theirs beside ours. All are exact: counts, or nano-units.
type Gap struct {
	Day      string
	Campaign string
	Metric   string
	Currency string
	// Theirs less Ours is the sum of what follows.
	Theirs, Ours *big.Int
	Timezone     *big.Int
	Duplicates   *big.Int
	Invalid      *big.Int
	Late         *big.Int
	// Consent is always nothing: an event counts with consent or without.
	Consent     *big.Int
	Unexplained *big.Int
}

// figures are what we hold of one day.
type figures struct{ net, duplicate, invalid, late big.Int }

type cell struct {
	day      int64
	campaign string
	metric   string
	currency string
}

// Explain aligns the lines with the ledger and explains each gap.
func Explain(ctx context.Context, conn clickhouse.Conn, req *Request) ([]Gap, error) {
	ours, theirs := map[cell]*figures{}, map[cell]*figures{}
	if err := read(ctx, conn, req, ours, theirs); err != nil {
		return nil, err
	}
	var gaps []Gap
	for i := range req.Lines {
		line := &req.Lines[i]
		for _, m := range metrics {
			figure := line.Figures[m.name]
			if figure == nil {
				continue
			}
			k := cell{day: closing.DayNumber(line.Day), campaign: line.Campaign, metric: m.name}
			if m.name == columnSpend {
				k.currency = line.Currency
			}
			gap := explain(figure, at(ours, k), at(theirs, k), req.Gross)
			gap.Day, gap.Campaign, gap.Metric, gap.Currency = line.Day.Format(time.DateOnly), line.Campaign, m.name, k.currency
			gaps = append(gaps, gap)
		}
	}
	return gaps, nil
}

func at(m map[cell]*figures, k cell) *figures {
	if m[k] == nil {
		m[k] = &figures{}
	}
	return m[k]
}

// explain is the arithmetic of one gap; ours is by our days, theirs by theirs.
func explain(figure *big.Int, ours, theirs *figures, gross bool) Gap {
	g := Gap{
		Theirs: figure, Ours: &ours.net, Timezone: sub(&theirs.net, &ours.net),
		Duplicates: new(big.Int), Invalid: new(big.Int), Late: new(big.Int), Consent: new(big.Int),
	}
	left := sub(sub(figure, &ours.net), g.Timezone)
	if gross {
		g.Duplicates, g.Invalid = &theirs.duplicate, &theirs.invalid
		left = sub(sub(left, g.Duplicates), g.Invalid)
	} else {
		left = take(left, &theirs.invalid, g.Invalid)
		left = take(left, &theirs.duplicate, g.Duplicates)
	}
	g.Unexplained = take(left, new(big.Int).Neg(&theirs.late), g.Late)
	return g
}

func sub(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }

// take gives a cause what it can account for: as much of what is left as goes in
// the direction of most, and not more than it.
func take(left, most, cause *big.Int) *big.Int {
	if left.Sign() == 0 || left.Sign() != most.Sign() {
		return left
	}
	cause.Set(left)
	if left.CmpAbs(most) > 0 {
		cause.Set(most)
	}
	return sub(left, cause)
}

// read adds up the ledger by quarters of an hour and puts those into days by both
// clocks. Zones are on quarters of an hour in all years of the ledger.
func read(ctx context.Context, conn clickhouse.Conn, req *Request, ours, theirs map[cell]*figures) (err error) {
	first := slices.MinFunc(req.Lines, func(a, b Theirs) int { return a.Day.Compare(b.Day) }).Day
	last := slices.MaxFunc(req.Lines, func(a, b Theirs) int { return a.Day.Compare(b.Day) }).Day
	const margin = 36 * time.Hour
	dropped, err := books.NewReader(conn).Dropped(ctx)
	if err != nil {
		return err
	}
	if dropped.Since(first.Add(-margin)) {
		return fmt.Errorf("reconcile %s: %w; the first day that can be is after %s",
			first.Format(time.DateOnly), books.ErrDropped, dropped.Through.Add(margin).Format(time.DateOnly))
	}
	params := clickhouse.Parameters{
		"advertiser": strconv.FormatUint(req.Advertiser, 10),
		"from":       first.Add(-margin).Format(time.DateTime), "to": last.AddDate(0, 0, 1).Add(margin).Format(time.DateTime),
	}
	rows, err := conn.Query(clickhouse.With(ctx, "", closing.QuerySettings(), params), `
SELECT toStartOfFifteenMinutes(minute) AS quarter, toStartOfFifteenMinutes(block_lat) AS arrived, campaign, event_type, currency,
       sum(net), sum(duplicate), sum(invalid) + sum(orphan), toString(sum(toInt128(spend_nanos)))
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND minute >= {from:DateTime('UTC')} AND minute < {to:DateTime('UTC')}
GROUP BY quarter, arrived, campaign, event_type, currency`)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	spending := map[string]bool{}
	unnamed := slices.IndexFunc(req.Lines, func(t Theirs) bool { return t.Figures[columnSpend] != nil && t.Currency == "" })
	whole := slices.ContainsFunc(req.Lines, func(t Theirs) bool { return t.Campaign == "" })
	for rows.Next() {
		var q quarter
		var spend string
		if err := rows.Scan(&q.at, &q.arrived, &q.campaign, &q.typ, &q.currency, &q.net, &q.duplicate, &q.invalid, &spend); err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if _, ok := q.spend.SetString(spend, 10); !ok {
			return fmt.Errorf("read the ledger: spend %q is no number", spend)
		}
		if q.spend.Sign() != 0 {
			spending[q.currency] = true
		}
		if unnamed >= 0 && len(spending) > 1 {
			return fmt.Errorf("line %d: spend without a currency, and there are several: %s; add a column currency",
				req.Lines[unnamed].Line, strings.Join(slices.Sorted(maps.Keys(spending)), ", "))
		}
		q.add(ours, req.Zone, req.Lateness, whole)
		q.add(theirs, req.Their, req.Lateness, whole)
	}
	return rows.Err()
}

// quarter is what the ledger holds of a quarter of an hour.
type quarter struct {
	at, arrived             time.Time
	campaign                uint64
	typ                     uint8
	currency                string
	net, duplicate, invalid int64
	spend                   big.Int
}

func (q *quarter) add(to map[cell]*figures, zone *time.Location, lateness time.Duration, whole bool) {
	day := closing.LocalDay(q.at, zone)
	_, ends := closing.Bounds(day, zone)
	late := !q.arrived.Before(ends.Add(lateness))
	campaign := strconv.FormatUint(q.campaign, 10)
	if whole {
		campaign = ""
	}
	for _, m := range metrics {
		if m.typ == q.typ {
			f := at(to, cell{day: day, campaign: campaign, metric: m.name})
			f.add(big.NewInt(q.net), late)
			f.duplicate.Add(&f.duplicate, big.NewInt(q.duplicate))
			f.invalid.Add(&f.invalid, big.NewInt(q.invalid))
		}
	}
	if q.spend.Sign() != 0 {
		for _, currency := range []string{"", q.currency} {
			at(to, cell{day: day, campaign: campaign, metric: columnSpend, currency: currency}).add(&q.spend, late)
		}
	}
}

func (f *figures) add(n *big.Int, late bool) {
	f.net.Add(&f.net, n)
	if late {
		f.late.Add(&f.late, n)
	}
}

// Sum adds gaps up by metric and currency.
func Sum(gaps []Gap) []Gap {
	var sums []Gap
	for i := range gaps {
		g := &gaps[i]
		n := slices.IndexFunc(sums, func(s Gap) bool { return s.Metric == g.Metric && s.Currency == g.Currency })
		if n < 0 {
			n = len(sums)
			sums = append(sums, Gap{Day: "all", Metric: g.Metric, Currency: g.Currency})
			for _, p := range sums[n].parts() {
				*p = new(big.Int)
			}
		}
		from := g.parts()
		for j, p := range sums[n].parts() {
			(*p).Add(*p, *from[j])
		}
	}
	slices.SortFunc(sums, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Currency, b.Currency))
	})
	return sums
}

func (g *Gap) parts() []**big.Int {
	return []**big.Int{&g.Theirs, &g.Ours, &g.Timezone, &g.Duplicates, &g.Invalid, &g.Late, &g.Consent, &g.Unexplained}
}

// Cells are the figures of a gap in the order of the fields, as people read them.
func (g *Gap) Cells() []string {
	var list []string
	for _, p := range g.parts() {
		if g.Metric == columnSpend {
			list = append(list, closing.Decimal((*p).String()))
		} else {
			list = append(list, (*p).String())
		}
	}
	return list
}
