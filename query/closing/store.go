package closing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Store reads and writes the chain of closes. It is safe for concurrent use.
type Store struct{ conn clickhouse.Conn }

// NewStore returns a Store over tables that clickhouse.Migrate made.
func NewStore(conn clickhouse.Conn) *Store { return &Store{conn: conn} }

var (
	// ErrNoClose says that there is no such close.
	ErrNoClose = errors.New("no such close")
	// errTaken says that another closer took the place in the chain.
	errTaken = errors.New("another close took this place in the chain")
)

const headColumns = `sequence, timezone, day, starts, ends, cut, previous_cut, complete_through, lateness_seconds, tiles,
    move_advertiser, move_timezone, move_since, code_version, schema_version, previous, hash`

// body is what of a close is not in columns of its own.
type body struct {
	Vector      []Position `json:"vector"`
	Statement   Part       `json:"statement"`
	Adjustments Part       `json:"adjustments"`
}

// Load reads the chain, without what the closes hold.
func (s *Store) Load(ctx context.Context) (*State, error) { return s.LoadAt(ctx, math.MaxUint64) }

// LoadAt reads the chain up to a close.
func (s *Store) LoadAt(ctx context.Context, last uint64) (*State, error) {
	rows, err := s.heads(ctx)
	if err != nil {
		return nil, err
	}
	state := NewState()
	for _, c := range rows {
		if c.Sequence > last {
			break
		}
		if err := state.Apply(c); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// count is how many rows the chain has; with another number it may say more.
func (s *Store) count(ctx context.Context) (n uint64, err error) {
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM closes").Scan(&n); err != nil {
		return 0, fmt.Errorf("count closes: %w", err)
	}
	return n, nil
}

// heads reads all closes without what they hold, one for each place.
func (s *Store) heads(ctx context.Context) (chain []*Close, err error) {
	rows, err := s.read(ctx, "SELECT "+headColumns+", '' FROM closes ORDER BY sequence, created, attempt", nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n].Sequence == rows[i].Sequence {
			n++
		}
		c := rows[i]
		if i+n < len(rows) {
			c = followed(rows[i:i+n], rows[i+n].Previous)
		}
		chain = append(chain, c)
		i += n
	}
	return chain, nil
}

// followed picks the one of several rows for one place that the next close
// follows; without it the first.
func followed(candidates []*Close, hash string) *Close {
	for _, c := range candidates {
		if c.Hash == hash {
			return c
		}
	}
	return candidates[0]
}

// Get reads a whole close.
func (s *Store) Get(ctx context.Context, sequence uint64) (*Close, error) {
	params := clickhouse.Parameters{"sequence": strconv.FormatUint(sequence, 10)}
	rows, err := s.read(ctx, "SELECT "+headColumns+", body FROM closes WHERE sequence = {sequence:UInt64} ORDER BY created, attempt", params)
	if err != nil {
		return nil, err
	}
	switch len(rows) {
	case 0:
		return nil, fmt.Errorf("close %d: %w", sequence, ErrNoClose)
	case 1:
		return rows[0], nil
	}
	next, err := s.read(ctx, "SELECT "+headColumns+", '' FROM closes WHERE sequence = {sequence:UInt64} + 1 ORDER BY created, attempt", params)
	if err != nil {
		return nil, err
	}
	if len(next) == 0 {
		return rows[0], nil
	}
	return followed(rows, next[0].Previous), nil
}

func (s *Store) read(ctx context.Context, query string, params clickhouse.Parameters) (list []*Close, err error) {
	rows, err := s.conn.Query(clickhouse.With(ctx, "", nil, params), query)
	if err != nil {
		return nil, fmt.Errorf("read closes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c, err := scanClose(rows)
		if err != nil {
			return nil, fmt.Errorf("read closes: %w", err)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func scanClose(rows clickhouse.Rows) (*Close, error) {
	c := &Close{Moves: []Move{}}
	var day time.Time
	var advertisers []uint64
	var zones []string
	var since []time.Time
	var text string
	err := rows.Scan(&c.Sequence, &c.Timezone, &day, &c.Starts, &c.Ends, &c.Cut, &c.PreviousCut, &c.CompleteThrough, &c.LatenessSeconds, &c.Tiles,
		&advertisers, &zones, &since, &c.CodeVersion, &c.SchemaVersion, &c.Previous, &c.Hash, &text)
	if err != nil {
		return nil, err
	}
	c.Day = day.Format(time.DateOnly)
	c.Starts, c.Ends, c.CompleteThrough = c.Starts.UTC(), c.Ends.UTC(), c.CompleteThrough.UTC()
	if len(zones) != len(advertisers) || len(since) != len(advertisers) {
		return nil, fmt.Errorf("close %d: moves of unequal length", c.Sequence)
	}
	for i := range advertisers {
		m := Move{Advertiser: advertisers[i], Timezone: zones[i]}
		if since[i].Unix() != 0 {
			m.Since = since[i].UTC()
		}
		c.Moves = append(c.Moves, m)
	}
	if text == "" {
		return c, nil
	}
	var b body
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return nil, fmt.Errorf("close %d: read body: %w", c.Sequence, err)
	}
	c.Vector, c.Statement, c.Adjustments = b.Vector, b.Statement, b.Adjustments
	return c, nil
}

// Commit writes a sealed close, which makes it one. errTaken says that another
// closer was first; a repeat of the same close is none.
func (s *Store) Commit(ctx context.Context, c *Close) error {
	text, err := json.Marshal(body{c.Vector, c.Statement, c.Adjustments})
	if err != nil {
		return fmt.Errorf("encode close: %w", err)
	}
	day, err := time.Parse(time.DateOnly, c.Day)
	if err != nil {
		return fmt.Errorf("encode close: %w", err)
	}
	advertisers, zones, since := []uint64{}, []string{}, []time.Time{}
	for _, m := range c.Moves {
		at := m.Since
		if at.IsZero() {
			at = time.Unix(0, 0)
		}
		advertisers, zones, since = append(advertisers, m.Advertiser), append(zones, m.Timezone), append(since, at.UTC())
	}
	settings := clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": fmt.Sprintf("close-%d-after-%s", c.Sequence, c.Previous),
	}
	batch, err := s.conn.PrepareBatch(clickhouse.With(ctx, "", settings, nil), `INSERT INTO closes
(sequence, attempt, timezone, day, starts, ends, cut, previous_cut, complete_through, lateness_seconds, tiles,
 move_advertiser, move_timezone, move_since, code_version, schema_version, previous, hash, body)`)
	if err != nil {
		return fmt.Errorf("commit close %d: %w", c.Sequence, err)
	}
	err = batch.Append(c.Sequence, uuid.New(), c.Timezone, day, c.Starts, c.Ends, c.Cut, c.PreviousCut, c.CompleteThrough, c.LatenessSeconds, c.Tiles,
		advertisers, zones, since, c.CodeVersion, c.SchemaVersion, c.Previous, c.Hash, string(text))
	if err != nil {
		return errors.Join(fmt.Errorf("encode close %d: %w", c.Sequence, err), batch.Abort())
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("commit close %d: %w", c.Sequence, err)
	}
	written, err := s.Get(ctx, c.Sequence)
	if err != nil {
		return err
	}
	if written.Hash != c.Hash {
		return errTaken
	}
	return nil
}

// ErrChain says that the chain of closes was changed.
var ErrChain = errors.New("the chain of closes is broken")

// CheckChain computes the hash of every close up to one and follows the chain.
func (s *Store) CheckChain(ctx context.Context, last uint64) error {
	heads, err := s.heads(ctx)
	if err != nil {
		return err
	}
	state := NewState()
	for _, head := range heads {
		if head.Sequence > last {
			break
		}
		if err := state.Apply(head); err != nil {
			return fmt.Errorf("%w: %w", ErrChain, err)
		}
		c, err := s.Get(ctx, head.Sequence)
		if err != nil {
			return err
		}
		if !c.Intact() {
			return fmt.Errorf("%w: close %d (%s in %s) is not what its hash says", ErrChain, c.Sequence, c.Day, c.Timezone)
		}
	}
	if state.Sequence < last {
		return fmt.Errorf("%w: it ends with close %d", ErrChain, state.Sequence)
	}
	return nil
}
