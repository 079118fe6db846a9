package plan

import (
	"strconv"
	"strings"
)

// MaxReachRows bounds the groups of a report of reach.
const MaxReachRows = 1_000_000

// Reach counts the users of each row. Its columns are the row's keys and the number.
// One row more than MaxReachRows says that there are too many.
func (p *Plan) Reach() *Statement {
	b := newBuilder(p)
	whole := source{grain: byQuarter, ranges: []span{{p.Start, p.End}}}
	var columns []string
	if p.Granularity.Type != "" {
		columns = append(columns, b.bucket(p, byQuarter)+" AS bucket")
	}
	for _, d := range p.Dimensions {
		columns = append(columns, d.Name)
	}
	columns = append(columns, "uniqCombined64Merge(users) AS reach")
	text := "SELECT\n    " + strings.Join(columns, ",\n    ") +
		"\nFROM uniques\nWHERE " + strings.Join(append([]string{tenantTerm, b.within(&whole, "u_")}, b.filterTerms...), "\n  AND ")
	if len(b.with) > 0 {
		text = "WITH\n    " + strings.Join(b.with, ",\n    ") + "\n" + text
	}
	st := &Statement{Totals: p.Grouped()}
	if st.Totals {
		text += "\nGROUP BY " + strings.Join(groupKeys(p), ", ") + " WITH TOTALS"
	}
	b.params["limit"] = strconv.Itoa(MaxReachRows + 1)
	st.SQL, st.Params = text+"\nLIMIT {limit:UInt64}", b.params
	return st
}
