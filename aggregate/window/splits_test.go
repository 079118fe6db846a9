package window_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/testkit/oracle"
)

// ignore is a Reporter for tests that look at the books only.
type ignore struct{}

func (ignore) Poison(int, error) {}
func (ignore) Synthetic(int)     {}

// checkSplits compares every span of a log that is folded in random batches and
// spans, with a restart before each span, with the oracle.
func checkSplits(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := oracle.RandomConfig(r)
	log := oracle.RandomLog(r, 400, cfg)
	all := oracle.Judge(cfg, log)
	encoded := oracle.Encode(log)

	state := window.NewState(cfg, ignore{})
	records, gross := int64(0), int64(0)
	for start := 0; start < len(log); {
		end := min(start+1+r.IntN(60), len(log))
		var d window.Delta
		for at := start; at < end; {
			to := min(at+1+r.IntN(40), end)
			state.FoldBatch(encoded[at:to], &d)
			at = to
		}
		want := oracle.Books(all, start, end)
		if got := oracle.Sum(oracle.Rows(&d)); !slices.Equal(got, want) {
			t.Fatalf("seed %d: books of [%d, %d) are\n%v\nwant\n%v", seed, start, end, got, want)
		}
		if len(want) != d.Len() {
			t.Fatalf("seed %d: %d cells have %d rows", seed, len(want), d.Len())
		}
		restarted := foldRestarted(encoded, start, end, r.IntN(10), cfg)
		if got := oracle.Sum(oracle.Rows(restarted)); !slices.Equal(got, want) || restarted.Totals() != d.Totals() {
			t.Fatalf("seed %d: books of [%d, %d) after a restart are\n%v %+v\nwant\n%v %+v", seed, start, end, got, restarted.Totals(), want, d.Totals())
		}
		totals := d.Totals()
		records += totals.Records - totals.Ticks - totals.Poison
		gross += totals.Gross
		if totals.Gross != totals.Net+totals.Duplicate+totals.Invalid+totals.Orphan || records != gross+totals.Pending {
			t.Fatalf("seed %d: totals of [%d, %d) do not add up: %+v, %d events and gross %d so far", seed, start, end, totals, records, gross)
		}
		start = end
	}
}

// foldRestarted counts log[start:end] as an owner does that has just taken the
// partition over: it reads again what the look-back asks for, or a little more.
func foldRestarted(log []window.Record, start, end, more int, cfg window.Config) *window.Delta {
	newest := int64(0)
	for _, rec := range log[:start] {
		newest = max(newest, rec.LAT)
	}
	from := start
	for i, rec := range log[:start] {
		if rec.LAT >= newest-cfg.Lookback().Milliseconds() {
			from = max(i-more, 0)
			break
		}
	}
	state := window.NewState(cfg, ignore{})
	state.FoldBatch(log[from:start], nil)
	d := new(window.Delta)
	state.FoldBatch(log[start:end], d)
	return d
}

func TestSplitsAndRestartsGiveTheSameBooks(t *testing.T) {
	for seed := range uint64(300) {
		checkSplits(t, seed)
	}
}

func FuzzSplitSpans(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkSplits(t, seed) })
}
