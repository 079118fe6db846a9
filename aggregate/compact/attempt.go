package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// attempt is one try at one cut.
type attempt struct {
	*Compactor
	id    uuid.UUID
	began time.Time
	last  *books.Cut
	tail  *books.Tail
	topic books.Topic
	zones *books.ZoneMap
	// keep is how long the deltas of the cut are kept.
	keep time.Duration
	// fold is the first delta of the last cover that is added up again.
	fold int
	// made lists the table partitions that it writes.
	made []uuid.UUID
}

// run makes the cut and returns it, or says why there is none of this attempt.
func (a *attempt) run(ctx context.Context) (*books.Cut, error) {
	ledger, err := a.checkLedger(ctx)
	if err != nil {
		return nil, err
	}
	delta, err := a.rollUp(ctx, ledger)
	if err != nil {
		return nil, err
	}
	kept, err := a.rezone(ctx, a.last.Cover[:a.fold])
	if err != nil {
		return nil, err
	}
	cut := a.cut(ledger, append(kept, delta...))
	if err := a.step("commit"); err != nil {
		return nil, err
	}
	if time.Since(a.began) > maxAttempt {
		return nil, errors.New("the attempt took so long that others may take it for litter")
	}
	cut.Seconds = time.Since(a.began).Seconds()
	if err := books.Commit(ctx, a.conn, cut); err != nil {
		return nil, err
	}
	if err := a.step("read back"); err != nil {
		return nil, err
	}
	made, err := a.reader.Cut(ctx, cut.Number)
	if err != nil {
		return nil, err
	}
	if made.Attempt == a.id {
		return made, nil
	}
	a.count.lost.Inc()
	return nil, errors.Join(fmt.Errorf("%w: %d", ErrTaken, cut.Number), a.discard(ctx))
}

func (a *attempt) cut(ledger sums, cover books.Cover) *books.Cut {
	reached, ok := a.tail.To.Reached(a.topic)
	if !ok {
		reached = time.Time{}
	}
	tiles := uint64(0)
	for _, n := range a.tail.Tiles {
		tiles += n
	}
	return &books.Cut{
		Number: a.last.Number + 1, Attempt: a.id, Previous: a.last.Attempt,
		KeptUntil: time.Now().Add(a.keep), CodeVersion: version,
		CompleteThrough: books.CompleteThrough(reached, a.cfg.Skew),
		Vector:          a.tail.To, Tiles: tiles, Gaps: uint32(len(a.tail.Gaps)),
		Rows: ledger.rows, Added: ledger.totals, Cover: cover,
	}
}

// checkLedger adds up the rows of the slice and compares with what their marks
// say.
func (a *attempt) checkLedger(ctx context.Context) (sums, error) {
	params := clickhouse.Parameters{}
	ledger, err := a.sums(ctx, "ledger", "advertiser > 0 AND "+a.tail.Where("s_", params), params)
	if err != nil {
		return sums{}, err
	}
	all := ledger.totals.All()
	// Marks hold 64 bits, so sums of money are compared in those.
	if ledger.rows != a.tail.Rows || all.Gross != a.tail.Gross || all.Net != a.tail.Net || low64(&all.Spend) != low64(&a.tail.Spend) {
		return sums{}, fmt.Errorf("%w: after cut %d the ledger holds %d rows, gross %d, net %d, spend_nanos %s, but its marks say %d, %d, %d, %s",
			ErrFrozen, a.last.Number, ledger.rows, all.Gross, all.Net, &all.Spend, a.tail.Rows, a.tail.Gross, a.tail.Net, &a.tail.Spend)
	}
	return ledger, nil
}

func low64(n *big.Int) uint64 {
	var low big.Int
	return low.And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
}

// rollUp adds up the slice and the folded deltas to one, and checks it. Without
// any row there is none.
func (a *attempt) rollUp(ctx context.Context, ledger sums) (books.Cover, error) {
	folded := a.last.Cover[a.fold:]
	if ledger.rows == 0 && len(folded) == 0 {
		return nil, nil
	}
	if err := a.step("roll up quarters"); err != nil {
		return nil, err
	}
	want := books.Totals{}
	want.Add(ledger.totals)
	ids := make([]uuid.UUID, len(folded))
	for i := range folded {
		want.Add(folded[i].Totals)
		ids[i] = folded[i].ID
	}
	a.made = append(a.made, a.id)
	params := clickhouse.Parameters{"delta": a.id.String(), "folded": uuidArray(ids)}
	err := a.exec(ctx, quartersStatement(a.tail.Where("s_", params)), params)
	if err != nil {
		return nil, fmt.Errorf("roll up quarters: %w", err)
	}
	if err := a.step("check quarters"); err != nil {
		return nil, err
	}
	quarters, err := a.sums(ctx, "rollup_quarter", "delta = {delta:UUID}", clickhouse.Parameters{"delta": a.id.String()})
	if err != nil {
		return nil, err
	}
	if !quarters.totals.Equal(want) {
		return nil, fmt.Errorf("%w: rolled up to cut %d there is %s, but it must be %s", ErrFrozen, a.last.Number+1, quarters.totals, want)
	}
	d := books.Delta{ID: a.id, Upto: a.last.Number + 1, Rows: quarters.rows, Totals: quarters.totals}
	if err := a.rollUpDays(ctx, &d); err != nil {
		return nil, err
	}
	return books.Cover{d}, nil
}

// sums are control totals with the number of rows.
type sums struct {
	rows   uint64
	totals books.Totals
}

// sums adds up a table. Text in table and where is ours.
func (c *Compactor) sums(ctx context.Context, table, where string, params clickhouse.Parameters) (s sums, err error) {
	s.totals = books.Totals{}
	rows, err := c.conn.Query(clickhouse.With(ctx, "", nil, params), `
SELECT currency, count(), sum(gross), sum(net), sum(duplicate), sum(invalid), sum(orphan), sum(toInt128(spend_nanos))
FROM `+table+" WHERE "+where+" GROUP BY currency")
	if err != nil {
		return s, fmt.Errorf("add up %s: %w", table, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var currency string
		var n uint64
		t := &books.Sums{}
		if err := rows.Scan(&currency, &n, &t.Gross, &t.Net, &t.Duplicate, &t.Invalid, &t.Orphan, &t.Spend); err != nil {
			return s, fmt.Errorf("add up %s: %w", table, err)
		}
		s.rows += n
		s.totals[currency] = t
	}
	return s, rows.Err()
}

// exec runs an INSERT … SELECT into a table partition that nobody reads yet.
func (c *Compactor) exec(ctx context.Context, statement string, params clickhouse.Parameters) error {
	settings := clickhouse.Settings{
		"max_execution_time":                 int(c.cfg.Timeout / time.Second),
		"insert_deduplicate":                 0,
		"max_bytes_before_external_group_by": uint64(groupMemory),
	}
	return c.conn.Exec(clickhouse.With(ctx, "", settings, params), statement)
}

// groupMemory is how much a statement holds before it goes on in files.
const groupMemory = 1 << 30

func idArray(ids []uint64) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatUint(id, 10)
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func uuidArray(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = "'" + id.String() + "'"
	}
	return "[" + strings.Join(texts, ",") + "]"
}
