package report

import (
	"fmt"
	"slices"

	"github.com/adtally/adtally/query/problems"
)

func (r *Report) setFilters(req Request) *problems.Problem {
	if len(req.Filters) > MaxFilters {
		return problems.Field("filters", "too_many_filters", fmt.Sprintf("At most %d filters are taken.", MaxFilters))
	}
	for i, f := range req.Filters {
		checked, problem := newFilter(index("filters", i), f)
		if problem != nil {
			return problem
		}
		r.Filters = append(r.Filters, checked)
	}
	return nil
}

func newFilter(field string, f Filter) (Condition, *problems.Problem) {
	d := DimensionNamed(f.Dimension)
	switch {
	case d == nil:
		return Condition{}, problems.Unknown(field+".dimension", "unknown_dimension", f.Dimension, DimensionNames())
	case !slices.Contains(Ops, f.Op):
		return Condition{}, problems.Unknown(field+".op", "unknown_op", f.Op, Ops)
	case (f.Op == OpEq || f.Op == OpNe) && len(f.Values) != 1:
		return Condition{}, problems.Field(field+".values", "invalid_values", f.Op+" takes exactly one value.")
	case len(f.Values) == 0 || len(f.Values) > MaxFilterValues:
		return Condition{}, problems.Field(field+".values", "invalid_values",
			fmt.Sprintf("%s takes from 1 to %d values.", f.Op, MaxFilterValues))
	}
	for i, value := range f.Values {
		at := index(field+".values", i)
		if len(value) > MaxValueLen {
			return Condition{}, problems.Field(at, "value_too_long", fmt.Sprintf("A value has at most %d bytes.", MaxValueLen))
		}
		if _, ok := ParseID(value); d.ID && !ok {
			return Condition{}, problems.Field(at, "invalid_id", problems.Quote(value)+" is no id: a whole number from 0 to 2^64-1 is wanted.")
		}
	}
	return Condition{Dimension: d, Negated: f.Op == OpNotIn || f.Op == OpNe, Values: f.Values}, nil
}
