package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Median returns the middle of values, or the mean of the two in the middle.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Column takes one figure of every round, in the order of the rounds.
func Column[T any](rounds []T, get func(T) float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = get(r)
	}
	return out
}

// Ratio compares two columns of the same rounds.
type Ratio struct {
	// Medians is the ratio of the medians; Min and Max are of single rounds.
	Medians, Min, Max float64
}

// Compare divides a by b.
func Compare(a, b []float64) Ratio {
	rounds := make([]float64, min(len(a), len(b)))
	for i := range rounds {
		rounds[i] = a[i] / b[i]
	}
	return Ratio{Median(a) / Median(b), slices.Min(rounds), slices.Max(rounds)}
}

// String is the ratio for a table.
func (r Ratio) String() string {
	return fmt.Sprintf("%.2f\t%.2f–%.2f", r.Medians, r.Min, r.Max)
}

// Noisy tells whether a reference varied so much that the run should be
// repeated.
func Noisy(reference []float64) bool {
	return slices.Max(reference) > 1.25*slices.Min(reference)
}

// Publish prints the text and writes it to the file.
func Publish(file string, text []byte) error {
	if _, err := os.Stdout.Write(text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
