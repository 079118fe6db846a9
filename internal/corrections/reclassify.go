package corrections

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

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
)

// Reclassify returns the changes that verdicts ask for, after the ledger as it is.
// A cell that several verdicts meet is changed by the first as far as it goes.
func Reclassify(ctx context.Context, conn clickhouse.Conn, verdicts []Verdict) ([]Row, error) {
	r := reclassifying{conn: conn, left: map[Cell]*amount{}}
	dropped, err := books.NewReader(conn).Dropped(ctx)
	if err != nil {
		return nil, err
	}
	for i := range verdicts {
		v := &verdicts[i]
		if dropped.Since(v.From) { // neither what it changes nor what was before can be told
			return nil, fmt.Errorf("line %d: from %s: %w; what is kept begins after %s",
				v.Line, v.From.UTC().Format(time.RFC3339), books.ErrDropped, dropped.Through.Format(time.RFC3339))
		}
		if v.Adjust {
			r.rows = append(r.rows, v.row())
			continue
		}
		if err := r.apply(ctx, v); err != nil {
			return nil, fmt.Errorf("line %d: %w", v.Line, err)
		}
	}
	return r.rows, nil
}

// amount is what a cell has.
type amount struct{ net, spend int64 }

type reclassifying struct {
	conn clickhouse.Conn
	// left is what earlier verdicts left of the cells that they met.
	left map[Cell]*amount
	rows []Row
}

// apply turns net events of the cells that a verdict means into invalid ones.
func (r *reclassifying) apply(ctx context.Context, v *Verdict) error {
	cells, err := r.cells(ctx, v)
	if err != nil {
		return err
	}
	wanted := v.Events
	for _, cell := range cells {
		has := r.left[cell]
		n := has.net
		if v.Events > 0 {
			n = min(n, wanted)
			wanted -= n
		}
		if n <= 0 {
			continue
		}
		spend := share(has.spend, n, has.net)
		has.net -= n
		has.spend -= spend
		gone := Row{Cell: cell, Net: -n, SpendNanos: -spend}
		flagged := Row{Cell: cell, Invalid: n}
		flagged.Flags |= uint32(proto.FlagVerdict)
		r.rows = append(r.rows, gone, flagged)
	}
	if v.Events > 0 && wanted > 0 {
		return fmt.Errorf("the books have only %d of the %d events", v.Events-wanted, v.Events)
	}
	return nil
}

// share is the part of a spend that n of so many events have, rounded down; all of
// them have all of it.
func share(spend, n, of int64) int64 {
	var part big.Int
	part.Mul(big.NewInt(spend), big.NewInt(n))
	return part.Quo(&part, big.NewInt(of)).Int64()
}

// cells reads the cells with net events, the earliest first.
func (r *reclassifying) cells(ctx context.Context, v *Verdict) (cells []Cell, err error) {
	params := clickhouse.Parameters{
		"advertiser": strconv.FormatUint(v.Advertiser, 10),
		"from":       v.From.Format("2006-01-02 15:04:05"), "to": v.To.Format("2006-01-02 15:04:05"),
	}
	where := []string{"advertiser = {advertiser:UInt64}", "minute >= {from:DateTime('UTC')}", "minute < {to:DateTime('UTC')}"}
	if v.Type != 0 {
		params["type"] = strconv.Itoa(int(v.Type))
		where = append(where, "event_type = {type:UInt8}")
	}
	for _, name := range slices.Sorted(maps.Keys(v.Where)) {
		i := slices.IndexFunc(clickhouse.Dimensions, func(d clickhouse.Dimension) bool { return d.Name == name })
		typ := "String"
		if clickhouse.Dimensions[i].ID {
			typ = "UInt64"
		}
		params["w_"+name] = escaped.Replace(v.Where[name])
		where = append(where, fmt.Sprintf("%s = {w_%[1]s:%s}", name, typ))
	}
	const keys = `minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, invalid_flags`
	rows, err := r.conn.Query(clickhouse.With(ctx, "", nil, params), "SELECT "+keys+", sum(net) AS n, sum(spend_nanos) AS s FROM ledger WHERE "+
		strings.Join(where, " AND ")+"\nGROUP BY "+keys+"\nHAVING n > 0\nORDER BY "+keys+"\nLIMIT "+strconv.Itoa(maxRows))
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := Cell{Advertiser: v.Advertiser}
		var has amount
		err := rows.Scan(&c.Minute, &c.EventType, &c.IDs[0], &c.IDs[1], &c.IDs[2], &c.IDs[3], &c.IDs[4],
			&c.Texts[0], &c.Texts[1], &c.Texts[2], &c.Texts[3], &c.Texts[4], &c.Texts[5], &c.Texts[6], &c.Flags, &has.net, &has.spend)
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		c.Minute = c.Minute.UTC()
		if r.left[c] == nil {
			r.left[c] = &has
		}
		cells = append(cells, c)
	}
	return cells, rows.Err()
}

// escaped writes a text as the server reads parameters, which have escapes.
var escaped = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// row is the change of a line with an amount.
func (v *Verdict) row() Row {
	r := Row{Cell: Cell{Advertiser: v.Advertiser, Minute: v.From, EventType: v.Type}, Net: v.Net, SpendNanos: v.SpendNanos}
	id, text := 0, 0
	for _, d := range clickhouse.Dimensions {
		switch {
		case d.Name == "advertiser":
		case d.ID:
			r.IDs[id], _ = strconv.ParseUint(v.Where[d.Name], 10, 64) // set has checked it; empty is 0
			id++
		default:
			r.Texts[text] = v.Where[d.Name]
			text++
		}
	}
	return r
}
