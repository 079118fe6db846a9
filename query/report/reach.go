package report

import (
	"slices"

	"github.com/adtally/adtally/query/problems"
)

// Reach is the number of different users. It comes from sketches, which are kept
// per quarter of an hour, campaign, country and device, and which can be merged
// but not taken apart, added up or read as they were earlier. So it is answered
// only where a merge is right, and refused everywhere else.

// ReachDimensions are what reach can be asked by.
var ReachDimensions = []string{"advertiser", "campaign", "country", "device"}

const quarterSeconds = 900

// Unique says that the report needs the number of users.
func (r *Report) Unique() bool { return slices.ContainsFunc(r.Metrics, (*Metric).Unique) }

// checkReach refuses reach where it cannot be right.
func (r *Report) checkReach(req Request) *problems.Problem {
	i := slices.IndexFunc(r.Metrics, (*Metric).Unique)
	if i < 0 {
		return nil
	}
	name := r.Metrics[i].Name
	refuse := func(field, detail string) *problems.Problem {
		p := problems.Field(field, "reach_not_possible", name+" "+detail)
		return p.Allowing(ReachDimensions)
	}
	for i, d := range r.Dimensions {
		if !slices.Contains(ReachDimensions, d.Name) {
			return refuse(index("dimensions", i), "is known by campaign, country and device only, not by "+d.Name+".")
		}
	}
	for i, f := range r.Filters {
		if !slices.Contains(ReachDimensions, f.Dimension.Name) {
			return refuse(index("filters", i)+".dimension", "can be filtered by campaign, country and device only, not by "+f.Dimension.Name+".")
		}
	}
	for i, o := range r.Order {
		if o.Metric != nil && o.Metric.Unique() {
			return problems.Field(index("order_by", i)+".field", "reach_not_possible", "Rows cannot be sorted by "+o.Metric.Name+".")
		}
	}
	switch {
	case r.Granularity.Seconds > 0 && r.Granularity.Seconds < quarterSeconds:
		return problems.Field("granularity", "reach_not_possible", name+" is known by quarters of an hour: granularity quarter, hour, day, week, month or total is possible.")
	case r.Start.Unix()%quarterSeconds != 0:
		return problems.Field("start", "reach_not_possible", name+" is known by quarters of an hour: start must be on one.")
	case r.End.Unix()%quarterSeconds != 0:
		return problems.Field("end", "reach_not_possible", name+" is known by quarters of an hour: end must be on one.")
	case req.AsOf != "":
		return problems.Field("as_of", "reach_not_possible", name+" is known as it is now only, not as of an earlier version.")
	case req.Require == "final":
		return problems.Field("require", "reach_not_possible", name+" is an estimate and never final.")
	}
	return nil
}
