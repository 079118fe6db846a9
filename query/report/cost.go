package report

import (
	"fmt"

	"github.com/adtally/adtally/query/problems"
)

// dimensionWeights say how many values a dimension may have, roughly and in
// comparison: an answer by creative has many more rows than one by device.
var dimensionWeights = map[string]float64{
	"advertiser": 0, "campaign": 4, "ad_group": 8, "creative": 16, "placement": 32, "publisher": 16,
	"country": 4, "region": 16, "device": 1, "os": 2, "browser": 4, "variant": 1, "currency": 1, "invalid_reason": 2,
}

// Cost estimates what a report takes before it is asked: days times the weight of
// buckets and dimensions. A day without dimensions is 1.
func (r *Report) Cost() float64 {
	days := max(r.End.Sub(r.Start).Hours()/24, 1)
	weight := 1.0
	for _, d := range r.Dimensions {
		weight += dimensionWeights[d.Name]
	}
	switch {
	case r.Granularity.Seconds == 0:
		return days * weight
	case r.Granularity.Seconds >= 3600:
		return days * weight * 2
	case r.Granularity.Seconds >= 900:
		return days * weight * 4
	default:
		return days * weight * 8
	}
}

// TooDear refuses a report that costs more than most; 0 is no bound.
func (r *Report) TooDear(most float64) *problems.Problem {
	cost := r.Cost()
	if most <= 0 || cost <= most {
		return nil
	}
	return problems.Field("dimensions", "too_costly", fmt.Sprintf(
		"The report would cost %.0f, and %.0f is the most: days times the weight of dimensions and granularity. Ask for fewer of them, or in parts.", cost, most))
}
