package experiment

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 5e-5 }

// The values were checked against statsmodels, proportion_confint(method="wilson").
func TestWilson(t *testing.T) {
	f := func(successes, trials int64, confidence, low, high float64) {
		t.Helper()
		got, err := Wilson(Counts{trials, successes}, confidence)
		if err != nil || !near(got.Low, low) || !near(got.High, high) {
			t.Errorf("%d of %d: %v %v, want %v to %v", successes, trials, got, err, low, high)
		}
	}
	f(0, 10, 0.95, 0, 0.27753)
	f(10, 10, 0.95, 0.72247, 1)
	f(5, 10, 0.95, 0.23659, 0.76341)
	f(120, 10_000, 0.95, 0.01004, 0.01433)
	f(0, 0, 0.95, 0, 1)
	for _, c := range []Counts{{1, 2}, {1, -1}, {-1, -1}} {
		if _, err := Wilson(c, 0.95); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
}

// The values were checked against statsmodels, proportions_ztest.
func TestCompare(t *testing.T) {
	f := func(control, variant Counts, difference, z, p float64) {
		t.Helper()
		got, err := Compare(control, variant)
		if err != nil || !near(got.Difference, difference) || !near(got.Z, z) || !near(got.P, p) {
			t.Errorf("%v %v: %+v %v", control, variant, got, err)
		}
	}
	f(Counts{1000, 100}, Counts{1000, 130}, 0.03, 2.10274, 0.03549)
	f(Counts{1000, 130}, Counts{1000, 100}, -0.03, -2.10274, 0.03549)
	f(Counts{1000, 100}, Counts{500, 50}, 0, 0, 1)
	f(Counts{1000, 0}, Counts{1000, 0}, 0, 0, 1)
	f(Counts{10, 10}, Counts{10, 10}, 0, 0, 1)
	if got, err := Compare(Counts{}, Counts{10, 1}); err != nil || got.P != 1 || !math.IsNaN(got.Difference) {
		t.Errorf("no trials: %+v %v", got, err)
	}
	if _, err := Compare(Counts{1, 2}, Counts{10, 1}); err == nil {
		t.Error("more successes than trials are taken")
	}
}
