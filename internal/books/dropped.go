package books

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// ErrDropped says that something needs rows of the ledger that are dropped; what
// is in the rollups stays.
var ErrDropped = errors.New("the ledger keeps these minutes no longer (--compact-ledger-days)")

// Dropped says which rows the ledger keeps no longer. The zero Dropped means that
// it keeps all.
type Dropped struct {
	// Day is the last day of broker time whose rows are dropped, with all before.
	Day time.Time
	// Through is the last minute that they were about.
	Through time.Time
	// Cut is a cut in which all of them are.
	Cut uint64
}

// Since says whether rows about minutes from an instant on may be missing.
func (d *Dropped) Since(from time.Time) bool {
	return d.Cut > 0 && !d.Through.Before(from.Truncate(time.Minute))
}

// Of says whether rows of a slice may be missing. The bounds of the slice must be
// those of its marks.
func (d *Dropped) Of(s *Slice) bool {
	return d.Cut > 0 && !s.firstDay.IsZero() && !s.firstDay.After(d.Day)
}

// Dropped reads what the ledger keeps no longer.
func (r *Reader) Dropped(ctx context.Context) (d Dropped, err error) {
	var days uint64
	row := r.conn.QueryRow(ctx, "SELECT count(), max(day), max(through), max(cut) FROM dropped_days")
	var read Dropped
	if err := row.Scan(&days, &read.Day, &read.Through, &read.Cut); err != nil {
		return d, fmt.Errorf("read dropped days: %w", err)
	}
	if days > 0 {
		d = Dropped{read.Day.UTC(), read.Through.UTC(), read.Cut}
	}
	return d, nil
}

// droppedFor is how long a reading of dropped days serves views, far less than
// rows stay after it was recorded that they go.
const droppedFor = time.Minute

// lately is Dropped as it was a minute ago at most: views are read often.
func (r *Reader) lately(ctx context.Context) (Dropped, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.droppedAt) < droppedFor {
		return r.dropped, nil
	}
	d, err := r.Dropped(ctx)
	if err != nil {
		return d, err
	}
	r.dropped, r.droppedAt = d, time.Now()
	return d, nil
}

// GoneError is ErrGone with a remedy.
type GoneError struct {
	// Oldest is the first cut that can still be asked for, and all after it.
	Oldest uint64
}

// Error names the oldest version.
func (e *GoneError) Error() string {
	return ErrGone.Error() + "; the oldest that is kept is " + strconv.FormatUint(e.Oldest, 10)
}

// Is makes it ErrGone.
func (e *GoneError) Is(target error) bool { return target == ErrGone }

// Gone returns the error for a version that needs rows which are dropped: a
// GoneError, which names the oldest that can still be put together.
func (r *Reader) Gone(ctx context.Context, d *Dropped) error {
	var n, oldest uint64
	row := r.conn.QueryRow(clickhouse.With(ctx, "", nil, cutParam(d.Cut)),
		"SELECT count(), min(cut) FROM cuts WHERE cut >= {cut:UInt64} AND "+stillKept)
	if err := row.Scan(&n, &oldest); err != nil {
		return fmt.Errorf("look for the oldest version: %w", err)
	}
	if n == 0 {
		newest, err := r.Newest(ctx)
		if err != nil {
			return err
		}
		oldest = newest.Number
	}
	return &GoneError{oldest}
}

// stillKept holds for cuts whose deltas can be read for another ten minutes.
const stillKept = "now() < kept_until - INTERVAL 10 MINUTE"

// keptUpto returns the newest cut up to one whose deltas are still kept; nil
// without any.
func (r *Reader) keptUpto(ctx context.Context, number uint64) (*Cut, error) {
	var n, found uint64
	row := r.conn.QueryRow(clickhouse.With(ctx, "", nil, cutParam(number)),
		"SELECT count(), max(cut) FROM cuts WHERE cut <= {cut:UInt64} AND "+stillKept)
	if err := row.Scan(&n, &found); err != nil {
		return nil, fmt.Errorf("look for a kept cut: %w", err)
	}
	if n == 0 {
		return nil, nil //nolint:nilnil // that is the result
	}
	cut, err := r.Cut(ctx, found)
	if err != nil || cut.kept == 0 { // it is of an attempt that lost
		return nil, err
	}
	return cut, nil
}

// KeptCovers reads the covers of all cuts whose deltas must not be dropped yet.
func (r *Reader) KeptCovers(ctx context.Context) ([]Cover, error) {
	cuts, err := r.cuts(ctx, selectCuts+"WHERE now() < kept_until", nil)
	if err != nil {
		return nil, err
	}
	covers := make([]Cover, len(cuts))
	for i, cut := range cuts {
		covers[i] = cut.Cover
	}
	return covers, nil
}
