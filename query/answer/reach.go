package answer

import (
	"context"
	"fmt"
	"strconv"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/plan"
	"github.com/adtally/adtally/query/problems"
)

// reach is the number of users by the keys of rows, and of all rows together.
type reach struct {
	rows  map[string]int64
	total int64
}

// readReach counts users, if the report asks for them.
func (q *Query) readReach(ctx context.Context, conn clickhouse.Conn) (*reach, error) {
	if !q.Unique() {
		return nil, nil //nolint:nilnil // no reach is asked for
	}
	st := q.Reach()
	reader, users := newBlockReader(q.Plan, st), &clickhouse.IDColumn{}
	out := &reach{rows: map[string]int64{}}
	var held *block
	var heldUsers []uint64
	take := func() error {
		if len(out.rows)+held.rows > plan.MaxReachRows {
			return problems.Field("dimensions", "too_many_groups", fmt.Sprintf(
				"reach would have more than %d rows; ask for fewer days or dimensions at once.", plan.MaxReachRows))
		}
		for row := range held.rows {
			out.rows[held.rowKey(q.Plan, row)] = int64(heldUsers[row])
		}
		return nil
	}
	err := conn.Blocks(ctx, clickhouse.BlockQuery{
		SQL: st.SQL, ID: "adtally-reach-" + q.ID, Params: st.Params, Settings: q.Settings,
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
	if !st.Totals {
		err = take()
	}
	return out, err
}

// rowKey names a row by its keys.
func (b *block) rowKey(p *plan.Plan, row int) string {
	var key []byte
	if b.bucket != nil {
		key = strconv.AppendInt(key, b.bucket[row], 10)
	}
	for _, d := range p.Dimensions {
		text := b.keyText(p, d, row)
		key = append(strconv.AppendInt(append(key, ' '), int64(len(text)), 10), ':')
		key = append(key, text...)
	}
	return string(key)
}

// column is the reach of each row of a block.
func (u *reach) column(p *plan.Plan, b *block) []int64 {
	users := make([]int64, b.rows)
	if b.totals {
		users[0] = u.total
		return users
	}
	for row := range users {
		users[row] = u.rows[b.rowKey(p, row)]
	}
	return users
}
