package books

import (
	"context"
	"fmt"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// touched is what rows of the ledger are about.
type touched struct {
	advertisers map[uint64]struct{}
	first, last time.Time
}

// maxTouched is how many rows are looked at to know what they are about: a cut
// should not be that far behind.
const maxTouched = 500_000

// RestHas says whether Rest may have rows of an advertiser in a range of time.
func (v *View) RestHas(advertiser uint64, from, to time.Time) bool {
	if v.RestRows == 0 || v.touched == nil {
		return v.RestRows > 0
	}
	_, there := v.touched.advertisers[advertiser]
	return there && v.touched.first.Before(to) && !v.touched.last.Before(from)
}

// RestWithin says that all rows of Rest are known to be within a range of time.
func (v *View) RestWithin(from, to time.Time) bool {
	return v.touched != nil && !v.touched.first.Before(from) && v.touched.last.Before(to)
}

// touchedBy looks what the rows of a slice are about.
func (r *Reader) touchedBy(ctx context.Context, s *Slice) (*touched, error) {
	t := &touched{advertisers: map[uint64]struct{}{}}
	params := clickhouse.Parameters{}
	row := r.conn.QueryRow(clickhouse.With(ctx, "", nil, params),
		"SELECT groupUniqArray(advertiser), min(minute), max(minute) FROM ledger WHERE advertiser > 0 AND "+s.Where("s_", params))
	var advertisers []uint64
	if err := row.Scan(&advertisers, &t.first, &t.last); err != nil {
		return nil, fmt.Errorf("look at the rows behind the cut: %w", err)
	}
	for _, a := range advertisers {
		t.advertisers[a] = struct{}{}
	}
	return t, nil
}
