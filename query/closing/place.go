package closing

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Place is where a counted event is in the closes.
type Place struct {
	// Cut is the first version of the books that has it, 0 for none yet.
	Cut      uint64 `json:"cut,string"`
	Timezone string `json:"timezone"`
	Day      string `json:"day"`
	// File is statement or adjustments of Close, empty while the day is open.
	File  string `json:"file,omitempty"`
	Close uint64 `json:"close,omitempty"`
	// ClosedAs is the day of that close.
	ClosedAs string `json:"closed_as,omitempty"`
}

// PlaceOf finds where an event of the log is in the closes.
func PlaceOf(ctx context.Context, conn clickhouse.Conn, advertiser uint64, minute time.Time, topic uuid.UUID, lineage uint32, partition int32, offset int64) (*Place, error) {
	params := clickhouse.Parameters{
		"topic": topic.String(), "lineage": strconv.FormatUint(uint64(lineage), 10),
		"partition": strconv.Itoa(int(partition)), "offset": strconv.FormatInt(offset, 10),
	}
	p := &Place{}
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, params), `
SELECT min(cut) FROM cuts
WHERE arrayExists((t, l, p, n) -> t = {topic:UUID} AND l = {lineage:UInt32} AND p = {partition:Int32} AND n > {offset:UInt64}, topic_id, lineage, kafka_partition, position)`)
	if err := row.Scan(&p.Cut); err != nil {
		return nil, fmt.Errorf("look for the cut of an event: %w", err)
	}
	store := NewStore(conn)
	state, err := store.Load(ctx)
	if err != nil {
		return nil, err
	}
	p.Timezone = state.ZoneAt(advertiser, minute)
	zone, err := access.LoadZone(p.Timezone)
	if err != nil {
		return nil, err
	}
	day := LocalDay(minute, zone)
	p.Day = DateOf(day).Format(time.DateOnly)
	z := state.Zone(p.Timezone)
	if p.Cut == 0 || z == nil {
		return p, nil
	}
	if k, ok := z.CutOf(day); ok && p.Cut <= k {
		p.File, p.ClosedAs = "statement", p.Day
		p.Close, _ = z.Close(day)
		return p, nil
	}
	for later := max(day+1, z.First); later <= z.Last; later++ {
		if k, _ := z.CutOf(later); p.Cut <= k {
			p.File, p.ClosedAs = "adjustments", DateOf(later).Format(time.DateOnly)
			p.Close, _ = z.Close(later)
			break
		}
	}
	return p, nil
}
