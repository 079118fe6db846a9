package reconcile

import (
	"math/big"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

func TestParseFailure(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := Parse([]byte(text))
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want %q", text, err, part)
			}
		}
	}
	f("", "line 1", "day")
	f("day,views\n", "line 1", `"views"`, "impressions")
	f("day\n2026-11-20\n", "line 1", "figures")
	f("impressions\n1\n", "column day is missing")
	f("day,clicks,clicks\n", "twice")
	f("day,clicks\n", "no lines")
	f("day,clicks\n2026-11-20,1\n20.11.2026,2\n", "line 3", `day "20.11.2026"`, "2026-11-20")
	f("day,clicks\n2026-11-20,\"1,000\"\n", "line 2", `clicks "1,000"`, "without separators")
	f("day,clicks\n2026-11-20,-1\n", "line 2", "whole number")
	f("day,spend\n2026-11-20,1e3\n", "line 2", "plain decimal")
	f("day,spend,currency\n2026-11-20,1,usd\n", "line 2", "upper-case")
	f("day,campaign,clicks\n2026-11-20,Spring sale,1\n", "line 2", "campaign's id")
	f("day,clicks\n2026-11-20\n", "line 2", "wrong number of fields")
}

// TestGapsAddUp holds that theirs is ours and all causes, and no cause gets more
// than we hold of it.
func TestGapsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	number := func() big.Int { return *big.NewInt(rng.Int64N(40)) }
	for range 5000 {
		ours := &figures{net: number()}
		theirs := &figures{net: number(), duplicate: number(), invalid: number(), late: number()}
		gross := rng.IntN(2) == 0
		figure := number()
		g := explain(&figure, ours, theirs, gross)
		sum := new(big.Int)
		for _, p := range g.parts()[1:] {
			sum.Add(sum, *p)
		}
		if sum.Cmp(&figure) != 0 {
			t.Fatalf("theirs is %s, the parts add up to %s: %+v", &figure, sum, g)
		}
		if g.Invalid.Cmp(&theirs.invalid) > 0 || g.Duplicates.Cmp(&theirs.duplicate) > 0 || g.Late.CmpAbs(&theirs.late) > 0 {
			t.Fatalf("a cause got more than there is: %+v", g)
		}
	}
}

// TestExplain makes another side that counts by its own clock, keeps repeats and
// does not know of what came late.
func TestExplain(t *testing.T) {
	conn := testkit.Open(t, testkit.StartClickHouse(t).AsWriter)
	l := testkit.NewLedger(t, conn, 1)
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	row := func(at time.Time, net, duplicate, invalid int64) testkit.Row {
		return testkit.Row{
			Advertiser: 7, Minute: at, Type: 1, IDs: [5]uint64{3}, Texts: [7]string{6: "USD"},
			Net: net, Duplicate: duplicate, Invalid: invalid, Spend: net * 1000,
		}
	}
	l.Block(t, day.Add(20*time.Hour), testkit.Span{Rows: []testkit.Row{row(day.Add(12*time.Hour), 100, 5, 7), row(day.Add(2*time.Hour), 10, 0, 0)}})
	l.Block(t, day.Add(80*time.Hour), testkit.Span{Rows: []testkit.Row{row(day.Add(13*time.Hour), 4, 0, 0)}})
	lines, err := Parse([]byte("day,campaign,impressions,spend,currency\n2026-11-20,3,107,0.000107,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	gaps, err := Explain(t.Context(), conn, &Request{Advertiser: 7, Zone: time.UTC, Their: newYork, Lateness: 6 * time.Hour, Lines: lines, Gross: true})
	if err != nil {
		t.Fatal(err)
	}
	f := func(g *Gap, want string) {
		t.Helper()
		if got := strings.Join(g.Cells(), " "); got != want {
			t.Errorf("%s: theirs, ours, timezone, duplicates, invalid, late, consent, unexplained %s, want %s", g.Metric, got, want)
		}
	}
	// By our clock 114; ten of them are of the day before in New York. They count
	// the 5 repeats and 7 invalid ones, have not the 4 late ones, and lack 5 more.
	f(&gaps[0], "107 114 -10 5 7 -4 0 -5")
	f(&gaps[1], "0.000107 0.000114 -0.00001 0 0 0 0 0.000003")
	sums := Sum(gaps)
	if len(sums) != 2 {
		t.Errorf("%d sums", len(sums))
	}
}
