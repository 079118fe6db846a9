package closing

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Change is a cell of the books that came out different after its day was closed.
type Change struct {
	Day       string   `json:"day"`
	Timezone  string   `json:"timezone"`
	Campaign  uint64   `json:"campaign,string"`
	EventType string   `json:"event_type"`
	Currency  string   `json:"currency"`
	Reasons   []string `json:"reasons"`
	Old       Figures  `json:"old"`
	New       Figures  `json:"new"`
}

// Figures are what a cell counts.
type Figures struct {
	Gross     int64  `json:"gross"`
	Net       int64  `json:"net"`
	Duplicate int64  `json:"duplicate"`
	Invalid   int64  `json:"invalid"`
	Orphan    int64  `json:"orphan"`
	Spend     string `json:"spend"`
}

// Feed is a piece of the changes.
type Feed struct {
	Changes []Change `json:"changes"`
	// AsOf is the version up to which they are listed: the next since.
	AsOf string `json:"as_of"`
	// More says that there are later ones already.
	More bool `json:"more"`
	// Next is where they are, empty without any.
	Next string `json:"next,omitempty"`
}

// Limits of one piece.
const (
	maxSteps   = 31
	maxChanges = 10_000
)

// ParseAsOf reads the cut that a version of the books begins with.
func ParseAsOf(text string) (cut uint64, ok bool) {
	number, _, _ := strings.Cut(text, ".")
	cut, err := strconv.ParseUint(number, 10, 64)
	return cut, err == nil && strconv.FormatUint(cut, 10) == number
}

// Changes lists what cuts after since changed in days of an advertiser that were
// closed by then. It goes from close to close, as the limits are per piece.
func Changes(ctx context.Context, conn clickhouse.Conn, advertiser, since uint64) (*Feed, error) {
	c := changes{conn: conn, reader: books.NewReader(conn), advertiser: advertiser}
	heads, err := NewStore(conn).heads(ctx)
	if err != nil {
		return nil, err
	}
	newest, err := c.reader.Newest(ctx)
	if err != nil {
		return nil, err
	}
	if c.dropped, err = c.reader.Dropped(ctx); err != nil {
		return nil, err
	}
	if since < c.dropped.Cut {
		return nil, c.reader.Gone(ctx, &c.dropped)
	}
	feed := &Feed{Changes: []Change{}, AsOf: strconv.FormatUint(max(since, newest.Number), 10)}
	state := NewState()
	var steps []step
	for _, head := range heads {
		if err := state.Apply(head); err != nil {
			return nil, err
		}
		if head.Cut > since && head.PreviousCut > 0 {
			steps = append(steps, step{head.Timezone, max(since, head.PreviousCut), head.Cut, head.day()})
		}
	}
	for _, zone := range state.Zones() { // what no close has yet
		z := state.Zone(zone)
		steps = append(steps, step{zone, max(since, z.Cut), newest.Number, z.Last + 1})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.to) - int(b.to) })
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.from >= s.to })
	for i, s := range steps {
		// What closes with one cut is in one piece: since cannot name a part of it.
		if (i >= maxSteps || len(feed.Changes) >= maxChanges) && steps[i-1].to < s.to {
			feed.AsOf, feed.More = strconv.FormatUint(steps[i-1].to, 10), true
			break
		}
		found, err := c.step(ctx, state, s)
		if err != nil {
			return nil, err
		}
		feed.Changes = append(feed.Changes, found...)
	}
	return feed, nil
}

// step is what some cuts changed in the days of a zone before one.
type step struct {
	zone     string
	from, to uint64
	before   int64
}

type changes struct {
	conn       clickhouse.Conn
	reader     *books.Reader
	advertiser uint64
	dropped    books.Dropped
}

func (c *changes) step(ctx context.Context, state *State, s step) (list []Change, err error) {
	zone, err := access.LoadZone(s.zone)
	if err != nil {
		return nil, err
	}
	rows := Rows{Timezone: s.zone, Zone: zone, Day: s.before, Members: state.Members(s.zone).of(c.advertiser), Adjustments: true, Advertiser: c.advertiser}
	if rows.Members.none() {
		return nil, nil
	}
	from, err := c.reader.Cut(ctx, s.from)
	if err != nil {
		return nil, err
	}
	to, err := c.reader.Cut(ctx, s.to)
	if err != nil {
		return nil, err
	}
	rows.Slice = books.Slice{To: to.Vector}
	after := books.Slice{From: from.Vector, To: to.Vector}
	q := &rowsQuery{params: clickhouse.Parameters{}}
	sql := "WITH (" + after.Where("n", q.params) + ") AS later\nSELECT day, campaign, " + eventNames("event_type") + ", currency, groupUniqArrayIf(reason, later)"
	sums := make([]string, len(measureNames))
	for i, name := range measureNames {
		sums[i] = fmt.Sprintf(", sumIf(%[1]s, NOT later), sum(%[1]s)", name)
	}
	sql += strings.Join(sums, "") + ", toString(sumIf(toInt128(spend_nanos), NOT later)), toString(sum(toInt128(spend_nanos)))\nFROM (\n" + q.adjustments(&rows) +
		")\nGROUP BY day, campaign, event_type, currency\nHAVING countIf(later) > 0\nORDER BY day, campaign, event_type, currency"
	answer, err := c.conn.Query(clickhouse.With(ctx, "", nil, q.params), sql)
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	for answer.Next() {
		change := Change{Timezone: s.zone}
		var day int64
		o, n := &change.Old, &change.New
		err := answer.Scan(&day, &change.Campaign, &change.EventType, &change.Currency, &change.Reasons, &o.Gross, &n.Gross, &o.Net, &n.Net,
			&o.Duplicate, &n.Duplicate, &o.Invalid, &n.Invalid, &o.Orphan, &n.Orphan, &o.Spend, &n.Spend)
		if err != nil {
			return nil, fmt.Errorf("read changes: %w", err)
		}
		if starts, _ := Bounds(day, zone); c.dropped.Since(starts) {
			return nil, fmt.Errorf("read changes of %s: %w", DateOf(day).Format(time.DateOnly), books.ErrDropped)
		}
		slices.Sort(change.Reasons)
		change.Day = DateOf(day).Format(time.DateOnly)
		o.Spend, n.Spend = Decimal(o.Spend), Decimal(n.Spend)
		list = append(list, change)
	}
	return list, answer.Err()
}

// of keeps one advertiser.
func (m Members) of(advertiser uint64) Members {
	kept := Members{Rest: m.Rest && !slices.Contains(m.Listed, advertiser)}
	if slices.Contains(m.Whole, advertiser) {
		kept.Whole = []uint64{advertiser}
	}
	for _, stay := range m.Partly {
		if stay.Advertiser == advertiser {
			kept.Partly = append(kept.Partly, stay)
		}
	}
	return kept
}

func (m *Members) none() bool { return !m.Rest && len(m.Whole) == 0 && len(m.Partly) == 0 }

var nanosPerUnit = big.NewInt(1_000_000_000)

// Decimal writes nano-units, given as an integer, exactly and without trailing
// zeros.
func Decimal(nanos string) string {
	n, ok := new(big.Int).SetString(nanos, 10)
	if !ok {
		return nanos
	}
	var abs, whole, rest big.Int
	whole.QuoRem(abs.Abs(n), nanosPerUnit, &rest)
	text := whole.String()
	if n.Sign() < 0 {
		text = "-" + text
	}
	if rest.Sign() == 0 {
		return text
	}
	return strings.TrimRight(text+fmt.Sprintf(".%09d", rest.Int64()), "0")
}

// Spend is the sum in units of the currency.
func (t *Total) Spend() string { return Decimal(t.SpendNanos) }

// Of reads the closes that can hold rows of an advertiser, the newest first, of
// days before one.
func (s *Store) Of(ctx context.Context, advertiser uint64, before string, limit int) (list []*Close, more bool, err error) {
	heads, err := s.heads(ctx)
	if err != nil {
		return nil, false, err
	}
	state := NewState()
	for _, head := range heads {
		if err := state.Apply(head); err != nil {
			return nil, false, err
		}
	}
	slices.Reverse(heads)
	for _, head := range heads {
		m := state.Members(head.Timezone).of(advertiser)
		if m.none() || before != "" && head.Day >= before {
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		c, err := s.Get(ctx, head.Sequence)
		if err != nil {
			return nil, false, err
		}
		list = append(list, c)
	}
	return list, false, nil
}
