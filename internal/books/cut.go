package books

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Cut is a version of the books. It is never changed.
type Cut struct {
	// Number counts cuts from 1; cut 0 is before everything.
	Number uint64
	// Attempt names the run of the compactor that made it, Previous the attempt
	// that made the cut before.
	Attempt, Previous uuid.UUID
	Created           time.Time
	// KeptUntil is until when the deltas of Cover are kept, whatever later cuts
	// make of them; those of the newest cut are kept anyway.
	KeptUntil   time.Time
	CodeVersion uint32
	// CompleteThrough says that everything that the brokers had taken by then
	// counts; zero while that is not known.
	CompleteThrough time.Time
	Vector          Vector
	// Tiles is how many batches of partitions were added and seen to join, Gaps
	// how many partitions had a gap behind which nothing counts.
	Tiles uint64
	Gaps  uint32
	// Rows and Added are the ledger rows that the cut added, and their sums.
	Rows  uint64
	Added Totals
	// Cover is what adds up to the whole of the books at this cut.
	Cover Cover
	// Seconds is how long it took to make.
	Seconds float64

	// kept says that Cover can be read for another ten minutes.
	kept uint8
}

// Delta is the sum of the ledger after one cut and up to another.
type Delta struct {
	// ID is its table partition in rollup_quarter, Day that in rollup_day.
	ID  uuid.UUID `json:"id"`
	Day uuid.UUID `json:"day"`
	// Zones is the zone map by which its days were rolled up.
	Zones uuid.UUID `json:"zones"`
	// Upto is the last cut that is in it. It begins after the last cut of the
	// delta before.
	Upto uint64 `json:"upto"`
	// Rows and DayRows are how many rows it has.
	Rows    uint64 `json:"rows"`
	DayRows uint64 `json:"day_rows"`
	Totals  Totals `json:"totals"`
}

// Cover is a list of deltas, each beginning where the one before ends.
type Cover []Delta

// Upto returns the deltas that end by a cut, and the cut at which the last of
// them ends.
func (c Cover) Upto(cut uint64) (deltas Cover, end uint64) {
	for i := range c {
		if c[i].Upto > cut {
			return c[:i], end
		}
		end = c[i].Upto
	}
	return c, end
}

// ErrNoCut says that there is no cut of that number.
var ErrNoCut = errors.New("no such cut")

// Reader reads the books. It is safe for concurrent use.
type Reader struct {
	conn clickhouse.Conn

	mu      sync.Mutex
	dropped Dropped
	// droppedAt is when dropped was read, for views.
	droppedAt time.Time
}

// NewReader returns a Reader on conn, whose user may be read-only.
func NewReader(conn clickhouse.Conn) *Reader { return &Reader{conn: conn} }

const selectCuts = `SELECT cut, attempt, previous, created, kept_until, ` + stillKept + `, code_version, complete_through,
    topic_id, lineage, kafka_partition, first, position, lat, tiles, gaps, rows,
    currency, gross, net, duplicate, invalid, orphan, arrayMap(x -> toString(x), spend_nanos), cover, seconds
FROM cuts
`

// Newest returns the newest cut; without any, cut 0.
func (r *Reader) Newest(ctx context.Context) (*Cut, error) {
	cuts, err := r.cuts(ctx, selectCuts+"WHERE cut = (SELECT max(cut) FROM cuts)\n"+firstIsTheCut, nil)
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return &Cut{Added: Totals{}}, nil
	}
	return cuts[0], nil
}

// firstIsTheCut is the rule for two attempts at one cut. Time is the server's
// own, so a later row cannot come before an earlier one; two that are written at
// the same time are kept from both landing by the token of their insert.
const firstIsTheCut = "ORDER BY created, attempt"

// Cut returns a cut, or ErrNoCut.
func (r *Reader) Cut(ctx context.Context, number uint64) (*Cut, error) {
	if number == 0 {
		return &Cut{Added: Totals{}}, nil
	}
	cuts, err := r.cuts(ctx, selectCuts+"WHERE cut = {cut:UInt64}\n"+firstIsTheCut, cutParam(number))
	switch {
	case err != nil:
		return nil, err
	case len(cuts) == 0:
		return nil, fmt.Errorf("cut %d: %w", number, ErrNoCut)
	case len(cuts) == 1:
		return cuts[0], nil
	}
	next, err := r.Cut(ctx, number+1)
	if errors.Is(err, ErrNoCut) {
		return cuts[0], nil
	}
	if err != nil {
		return nil, err
	}
	for _, cut := range cuts {
		if cut.Attempt == next.Previous {
			return cut, nil
		}
	}
	return nil, fmt.Errorf("cut %d follows attempt %s at cut %d, which is not there: the table cuts was changed by hand", number+1, next.Previous, number)
}

func cutParam(number uint64) clickhouse.Parameters {
	return clickhouse.Parameters{"cut": strconv.FormatUint(number, 10)}
}

func (r *Reader) cuts(ctx context.Context, query string, params clickhouse.Parameters) (cuts []*Cut, err error) {
	rows, err := r.conn.Query(clickhouse.With(ctx, "", nil, params), query)
	if err != nil {
		return nil, fmt.Errorf("read cuts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		cut, err := scanCut(rows)
		if err != nil {
			return nil, fmt.Errorf("read cuts: %w", err)
		}
		cuts = append(cuts, cut)
	}
	return cuts, rows.Err()
}

// cutRow holds the arrays of a row of cuts.
type cutRow struct {
	topics     []uuid.UUID
	lineages   []uint32
	partitions []int32
	firsts     []uint64
	positions  []uint64
	lats       []time.Time
	currencies []string
	sums       [5][]int64
	spend      []string
	cover      string
}

func scanCut(rows clickhouse.Rows) (*Cut, error) {
	c := &Cut{}
	var a cutRow
	err := rows.Scan(&c.Number, &c.Attempt, &c.Previous, &c.Created, &c.KeptUntil, &c.kept, &c.CodeVersion, &c.CompleteThrough,
		&a.topics, &a.lineages, &a.partitions, &a.firsts, &a.positions, &a.lats, &c.Tiles, &c.Gaps, &c.Rows,
		&a.currencies, &a.sums[0], &a.sums[1], &a.sums[2], &a.sums[3], &a.sums[4], &a.spend, &a.cover, &c.Seconds)
	if err != nil {
		return nil, err
	}
	if c.CompleteThrough.Unix() == 0 {
		c.CompleteThrough = time.Time{}
	}
	positions := make([]Position, len(a.partitions))
	for i := range positions {
		positions[i] = Position{
			Topic: a.topics[i], Lineage: a.lineages[i], Partition: a.partitions[i],
			First: a.firsts[i], Next: a.positions[i], LAT: a.lats[i].UTC(),
		}
	}
	c.Vector = newVector(positions)
	c.Added = Totals{}
	for i, currency := range a.currencies {
		s := &Sums{Gross: a.sums[0][i], Net: a.sums[1][i], Duplicate: a.sums[2][i], Invalid: a.sums[3][i], Orphan: a.sums[4][i]}
		if _, ok := s.Spend.SetString(a.spend[i], 10); !ok {
			return nil, fmt.Errorf("cut %d: spend %q is no number", c.Number, a.spend[i])
		}
		c.Added[currency] = s
	}
	if err := json.Unmarshal([]byte(a.cover), &c.Cover); err != nil {
		return nil, fmt.Errorf("cut %d: read cover: %w", c.Number, err)
	}
	return c, nil
}

// Commit writes the cut's row, which makes it a cut, unless another attempt was
// first. Either way the caller reads which it is. token keeps a second row for
// the same cut out while the first is being written.
func Commit(ctx context.Context, conn clickhouse.Conn, c *Cut) error {
	cover, err := json.Marshal(c.Cover)
	if err != nil {
		return fmt.Errorf("encode cover: %w", err)
	}
	settings := clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": fmt.Sprintf("cut-%d-after-%s", c.Number, c.Previous),
	}
	batch, err := conn.PrepareBatch(clickhouse.With(ctx, "", settings, nil), `INSERT INTO cuts
(cut, attempt, previous, kept_until, code_version, complete_through, topic_id, lineage, kafka_partition, first, position, lat,
 tiles, gaps, rows, currency, gross, net, duplicate, invalid, orphan, spend_nanos, cover, seconds)`)
	if err != nil {
		return fmt.Errorf("commit cut %d: %w", c.Number, err)
	}
	var a cutRow
	for _, p := range c.Vector {
		a.topics, a.lineages, a.partitions = append(a.topics, p.Topic), append(a.lineages, p.Lineage), append(a.partitions, p.Partition)
		a.firsts, a.positions, a.lats = append(a.firsts, p.First), append(a.positions, p.Next), append(a.lats, p.LAT)
	}
	spend := []*big.Int{}
	for _, currency := range c.Added.Currencies() {
		s := c.Added[currency]
		a.currencies, spend = append(a.currencies, currency), append(spend, &s.Spend)
		for i, n := range []int64{s.Gross, s.Net, s.Duplicate, s.Invalid, s.Orphan} {
			a.sums[i] = append(a.sums[i], n)
		}
	}
	through := c.CompleteThrough
	if through.IsZero() {
		through = time.Unix(0, 0)
	}
	err = batch.Append(c.Number, c.Attempt, c.Previous, c.KeptUntil, c.CodeVersion, through.UTC(), a.topics, a.lineages, a.partitions, a.firsts, a.positions, a.lats,
		c.Tiles, c.Gaps, c.Rows, a.currencies, a.sums[0], a.sums[1], a.sums[2], a.sums[3], a.sums[4], spend, string(cover), c.Seconds)
	if err != nil {
		return errors.Join(fmt.Errorf("encode cut %d: %w", c.Number, err), batch.Abort())
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("commit cut %d: %w", c.Number, err)
	}
	return nil
}
