package demo

import (
	"math"
	"math/rand/v2"
	"time"
)

// peak is at least the largest value of dayShape.
const peak = 1.9

// dayShape is how busy an hour of the local day is, 1 on average: quiet before
// dawn, a shoulder in the morning, busiest at eight in the evening. Two waves,
// so its mean over a day is 1 whatever their heights.
func dayShape(hour float64) float64 {
	day := 2 * math.Pi / 24
	return 1 + 0.65*math.Cos(day*(hour-19)) + 0.25*math.Cos(2*day*(hour-20.5))
}

// localHour is the time of day in a zone, in hours.
func localHour(at time.Time, zone *time.Location) float64 {
	t := at.In(zone)
	return float64(t.Hour()) + float64(t.Minute())/60 + float64(t.Second())/3600
}

// traffic is the stream of all advertisers together: a Poisson process whose
// rate follows the time of day of each. It never changes, so goroutines may
// share one; the random source is the caller's.
type traffic struct {
	runners []runner
	// visits is the average rate of each runner, and total their sum, per
	// second.
	visits []float64
	total  float64
}

// newTraffic returns a traffic of rate events a second on average over a day.
func newTraffic(rate float64) (*traffic, error) {
	t := &traffic{}
	shares := 0.0
	for i := range market {
		a, err := newRunner(&market[i])
		if err != nil {
			return nil, err
		}
		t.runners = append(t.runners, a)
		shares += a.share
	}
	for i := range t.runners {
		a := &t.runners[i]
		t.visits = append(t.visits, rate*a.share/shares/a.perVisit)
		t.total += t.visits[i]
	}
	return t, nil
}

// arrival is when an ad is shown, and whose.
type arrival struct {
	at time.Time
	by *runner
}

// next draws the first arrival after a time, by thinning: candidates come at
// the rate of the peak, and each stays with the likelihood of its hour.
func (t *traffic) next(r *rand.Rand, after time.Time) arrival {
	for {
		gap := r.ExpFloat64() / (t.total * peak)
		after = after.Add(time.Duration(gap * float64(time.Second)))
		by := &t.runners[t.draw(r)]
		if r.Float64()*peak < dayShape(localHour(after, by.zone)) {
			return arrival{at: after, by: by}
		}
	}
}

func (t *traffic) draw(r *rand.Rand) int {
	at := r.Float64() * t.total
	for i, rate := range t.visits {
		if at -= rate; at < 0 {
			return i
		}
	}
	return len(t.visits) - 1 // the sum was rounded
}
