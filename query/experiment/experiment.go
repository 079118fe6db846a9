package experiment

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Counts is how often something could happen in a variant, and how often it did.
type Counts struct {
	// Trials is the number of tries, Successes how many of them succeeded.
	Trials, Successes int64
}

// Interval is a range that holds the true rate with a given confidence.
type Interval struct {
	Low, High float64
}

// Comparison is a variant's rate beside that of the control.
type Comparison struct {
	// Difference is the variant's rate less the control's, Lift the same in parts
	// of the control's rate (NaN if that is 0).
	Difference, Lift float64
	// Z is the statistic of the two-proportion test, P the chance of one at least
	// as far from 0 if both rates are the same.
	Z, P float64
}

// ErrCounts says that counts are no experiment: more successes than trials, or
// negative ones.
var ErrCounts = errors.New("successes must be from 0 to trials")

func (c Counts) check() error {
	if c.Successes < 0 || c.Trials < c.Successes {
		return ErrCounts
	}
	return nil
}

// Rate is successes per trial, NaN without trials.
func (c Counts) Rate() float64 { return float64(c.Successes) / float64(c.Trials) }

// Wilson returns the score interval of a rate. confidence lies between 0 and 1.
// Without trials it is everything from 0 to 1.
func Wilson(c Counts, confidence float64) (Interval, error) {
	if err := c.check(); err != nil {
		return Interval{}, err
	}
	if c.Trials == 0 {
		return Interval{0, 1}, nil
	}
	z := distuv.UnitNormal.Quantile(1 - (1-confidence)/2)
	n, p := float64(c.Trials), c.Rate()
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	interval := Interval{Low: max(0, centre-half), High: min(1, centre+half)}
	if c.Successes == 0 {
		interval.Low = 0
	}
	if c.Successes == c.Trials {
		interval.High = 1
	}
	return interval, nil
}

// Compare tests a variant against the control. Without trials on either side, or
// without any difference that could be seen, P is 1.
func Compare(control, variant Counts) (Comparison, error) {
	if err := errors.Join(control.check(), variant.check()); err != nil {
		return Comparison{}, err
	}
	if control.Trials == 0 || variant.Trials == 0 {
		return Comparison{Difference: math.NaN(), Lift: math.NaN(), P: 1}, nil
	}
	c := Comparison{Difference: variant.Rate() - control.Rate(), P: 1}
	c.Lift = c.Difference / control.Rate()
	if control.Successes == 0 {
		c.Lift = math.NaN()
	}
	n1, n2 := float64(control.Trials), float64(variant.Trials)
	pooled := (float64(control.Successes) + float64(variant.Successes)) / (n1 + n2)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/n1 + 1/n2))
	if deviation == 0 {
		return c, nil
	}
	c.Z = c.Difference / deviation
	c.P = 2 * distuv.UnitNormal.Survival(math.Abs(c.Z))
	return c, nil
}
