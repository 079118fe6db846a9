package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/export"
)

// Reach is the number of different users. It comes from sketches, which are kept
// per quarter of an hour, campaign, country and device, and which can be merged
// but not taken apart, added up or read as they were earlier. So it is answered
// only where a merge is right, and refused everywhere else.

// reachDimensions are what reach can be asked by.
var reachDimensions = []string{"advertiser", "campaign", "country", "device"}

const (
	quarterSeconds = 900
	// maxReachRows bounds the groups of one report.
	maxReachRows = 1_000_000
)

// unique says that the metric needs the number of users.
func (m *metric) unique() bool { return m.kind == kindReach || m.kind == kindFrequency }

func (r *Report) unique() bool { return slices.ContainsFunc(r.metrics, (*metric).unique) }

// checkReach refuses reach where it cannot be right.
func (r *Report) checkReach(req Request) *Problem {
	i := slices.IndexFunc(r.metrics, (*metric).unique)
	if i < 0 {
		return nil
	}
	name := r.metrics[i].name
	refuse := func(field, detail string) *Problem {
		p := badField(field, "reach_not_possible", name+" "+detail)
		return p.allowing(reachDimensions)
	}
	for i, d := range r.dimensions {
		if !slices.Contains(reachDimensions, d.Name) {
			return refuse(index("dimensions", i), "is known by campaign, country and device only, not by "+d.Name+".")
		}
	}
	for i, f := range r.filters {
		if !slices.Contains(reachDimensions, f.dimension.Name) {
			return refuse(index("filters", i)+".dimension", "can be filtered by campaign, country and device only, not by "+f.dimension.Name+".")
		}
	}
	for i, o := range r.order {
		if o.metric != nil && o.metric.unique() {
			return badField(index("order_by", i)+".field", "reach_not_possible", "Rows cannot be sorted by "+o.metric.name+".")
		}
	}
	switch {
	case r.granularity.seconds > 0 && r.granularity.seconds < quarterSeconds:
		return badField("granularity", "reach_not_possible", name+" is known by quarters of an hour: granularity quarter, hour, day, week, month or total is possible.")
	case r.start.Unix()%quarterSeconds != 0:
		return badField("start", "reach_not_possible", name+" is known by quarters of an hour: start must be on one.")
	case r.end.Unix()%quarterSeconds != 0:
		return badField("end", "reach_not_possible", name+" is known by quarters of an hour: end must be on one.")
	case req.AsOf != "":
		return badField("as_of", "reach_not_possible", name+" is known as it is now only, not as of an earlier version.")
	case req.Require == "final":
		return badField("require", "reach_not_possible", name+" is an estimate and never final.")
	}
	return nil
}

// reachStatement counts the users of each row. Its columns are the row's keys and
// the number.
func reachStatement(r *Report) *statement {
	b := newBuilder(r)
	whole := source{grain: byQuarter, ranges: []span{{r.start, r.end}}}
	var columns []string
	if r.granularity.typ != "" {
		columns = append(columns, b.bucket(r, byQuarter)+" AS bucket")
	}
	for _, d := range r.dimensions {
		columns = append(columns, d.Name)
	}
	columns = append(columns, "uniqCombined64Merge(users) AS reach")
	text := "SELECT\n    " + strings.Join(columns, ",\n    ") +
		"\nFROM uniques\nWHERE " + strings.Join(append([]string{tenantTerm, b.within(&whole, "u_")}, b.filterTerms...), "\n  AND ")
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	st := &statement{totals: r.grouped()}
	if st.totals {
		text += "\nGROUP BY " + strings.Join(groupKeys(r), ", ") + " WITH TOTALS"
	}
	b.params["limit"] = strconv.Itoa(maxReachRows + 1)
	st.sql, st.params = text+"\nLIMIT {limit:UInt64}", b.params
	return st
}

// reach is the number of users by the keys of rows, and of all rows together.
type reach struct {
	rows  map[string]int64
	total int64
}

// readReach counts users, if the report asks for them.
func (s *Server) readReach(ctx context.Context, r *Report, id string, settings map[string]string) (*reach, error) {
	if !r.unique() {
		return nil, nil //nolint:nilnil // no reach is asked for
	}
	st := reachStatement(r)
	reader, users := newBlockReader(r, st), &clickhouse.IDColumn{}
	out := &reach{rows: map[string]int64{}}
	var held *block
	var heldUsers []uint64
	take := func() error {
		if len(out.rows)+held.rows > maxReachRows {
			return badField("dimensions", "too_many_groups", fmt.Sprintf(
				"reach would have more than %d rows; ask for fewer days or dimensions at once.", maxReachRows))
		}
		for row := range held.rows {
			out.rows[held.rowKey(r, row)] = int64(heldUsers[row])
		}
		return nil
	}
	err := s.conn.Blocks(ctx, clickhouse.BlockQuery{
		SQL: st.sql, ID: "adtally-reach-" + id, Params: st.params, Settings: settings,
		Columns: append(reader.columns(), users),
		OnBlock: func(rows int) error {
			if held != nil {
				if err := take(); err != nil {
					return err
				}
			}
			held, heldUsers = reader.take(rows), users.Take()
			return nil
		},
	})
	if err != nil || held == nil {
		return out, err
	}
	out.total = int64(heldUsers[0])
	if !st.totals {
		err = take()
	}
	return out, err
}

// rowKey names a row by its keys.
func (b *block) rowKey(r *Report, row int) string {
	var key []byte
	if b.bucket != nil {
		key = strconv.AppendInt(key, b.bucket[row], 10)
	}
	for _, d := range r.dimensions {
		text := b.keyText(r, d, row)
		key = append(strconv.AppendInt(append(key, ' '), int64(len(text)), 10), ':')
		key = append(key, text...)
	}
	return string(key)
}

// column is the reach of each row of a block.
func (u *reach) column(r *Report, b *block) []int64 {
	users := make([]int64, b.rows)
	if b.totals {
		users[0] = u.total
		return users
	}
	for row := range users {
		users[row] = u.rows[b.rowKey(r, row)]
	}
	return users
}

// vector shows reach, or impressions through reach.
func (m *metric) reachVector(impressions, users []int64) export.Vector {
	if m.kind == kindReach {
		return export.Vector{Ints: users}
	}
	return rates(impressions, users)
}
