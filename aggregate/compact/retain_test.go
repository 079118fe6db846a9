package compact

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/testkit"
)

// aged is a ledger with a row on each of some days that are long past, and a cut
// after each, made old. The last day is today.
type aged struct {
	*world
	days []time.Time
	cuts []*books.Cut
}

const keptDays = 40

func retaining(tb testing.TB, conn clickhouse.Conn, zones Zones) *Compactor {
	tb.Helper()
	c := newCompactor(tb, conn, zones)
	c.cfg.LedgerDays = keptDays
	return c
}

func newAged(tb testing.TB, conn clickhouse.Conn, zones Zones) *aged {
	tb.Helper()
	a := &aged{world: newWorld(tb, conn, 21)}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for i, ago := range []int{60, 50, 41, 30, 1, 0} {
		at := today.AddDate(0, 0, -ago).Add(time.Hour)
		if ago == 0 {
			at = today
		}
		row := testkit.Row{Advertiser: 1 + uint64(i%2), Minute: at, Type: 1, Net: 1 << i, Spend: 7}
		a.Block(tb, at, testkit.Span{Partition: 0, Rows: []testkit.Row{row, row}}, testkit.Span{Partition: 1}, testkit.Span{Partition: 2})
		a.rows = append(a.rows, row, row)
		cut := once(tb, retaining(tb, conn, zones))
		a.exec(tb, fmt.Sprintf("ALTER TABLE cuts UPDATE created = created - toIntervalDay(%[1]d), kept_until = kept_until - toIntervalDay(%[1]d) WHERE cut = %[2]d SETTINGS mutations_sync = 2", ago, cut.Number))
		a.days, a.cuts = append(a.days, at), append(a.cuts, cut)
	}
	return a
}

func (a *aged) exec(tb testing.TB, statement string) {
	tb.Helper()
	if err := a.Conn.Exec(clickhouse.With(tb.Context(), "", clickhouse.Settings{"async_insert": 0}, nil), statement); err != nil {
		tb.Fatal(err)
	}
}

// close closes the days of a zone up to the end of one, with a cut.
func (a *aged) close(tb testing.TB, sequence int, zone string, end time.Time, cut uint64) {
	tb.Helper()
	a.exec(tb, fmt.Sprintf("INSERT INTO closes (sequence, timezone, day, starts, ends, cut) VALUES (%d, '%s', '%s', '%s', '%s', %d)",
		sequence, zone, end.AddDate(0, 0, -1).Format(time.DateOnly), end.AddDate(0, 0, -1).Format(time.DateTime), end.Format(time.DateTime), cut))
}

// left lists the days ago of which the ledger has rows.
func (a *aged) left(tb testing.TB) string {
	tb.Helper()
	var text []string
	for _, day := range a.days {
		var rows, marks uint64
		row := a.Conn.QueryRow(tb.Context(), "SELECT countIf(advertiser > 0), countIf(advertiser = 0) FROM ledger WHERE lat_day = '"+day.Format(time.DateOnly)+"'")
		if err := row.Scan(&rows, &marks); err != nil {
			tb.Fatal(err)
		}
		if marks != 3 {
			tb.Errorf("%s has %d marks, of three partitions", day.Format(time.DateOnly), marks)
		}
		if rows > 0 {
			text = append(text, strconv.Itoa(int(time.Since(day).Hours()/24)))
		}
	}
	return strings.Join(text, " ")
}

// age lets the grace of recorded days end.
func (a *aged) age(tb testing.TB) {
	tb.Helper()
	a.exec(tb, "ALTER TABLE dropped_days UPDATE created = created - INTERVAL 2 HOUR WHERE true SETTINGS mutations_sync = 2")
}

func minutesGoWhenNobodyNeedsThem(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	a := newAged(t, conn, &fixedZones{})
	a.close(t, 1, "UTC", a.days[4].Truncate(24*time.Hour), a.cuts[4].Number)
	reader := books.NewReader(conn)
	all := a.left(t)
	// Each of the steps is where it ends, and two compactors go through them at once.
	steps := map[string]int{}
	for ended := false; !ended; {
		c := retaining(t, conn, &fixedZones{}) // a new process each time
		c.step = func(what string) error {
			if steps[what]++; steps[what]%2 == 1 {
				return errCrash
			}
			return nil
		}
		err := c.retain(t.Context())
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		ended = err == nil && steps["drop rows"] > 1
		dropped, err := reader.Dropped(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if dropped.Cut == 0 && a.left(t) != all {
			t.Fatal("rows went that were not recorded as dropped")
		}
		a.age(t)
		if steps["record day"]+steps["drop rows"] > 30 {
			t.Fatalf("the steps do not end: %v", steps)
		}
	}
	a.age(t)
	var racing sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		c := retaining(t, conn, &fixedZones{})
		racing.Go(func() { errs[i] = c.retain(t.Context()) })
	}
	racing.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	kept := strings.Fields(a.left(t))
	if len(kept) != 3 {
		t.Errorf("days with rows: %v, of %s", kept, all)
	}
	dropped, err := reader.Dropped(t.Context())
	if err != nil || !dropped.Through.Equal(a.days[2]) || dropped.Cut != a.cuts[2].Number ||
		!dropped.Since(a.days[2]) || dropped.Since(a.days[2].Add(time.Minute)) {
		t.Errorf("dropped: %+v %v", dropped, err)
	}
	// The books are whole, and go on.
	a.check(t, nil)
	a.lat = a.days[5]
	a.arrive(t, 20)
	once(t, retaining(t, conn, &fixedZones{}))
	a.check(t, nil)
	// Versions that need what is dropped are gone; the others are what they were.
	for i, cut := range a.cuts {
		view, err := reader.At(t.Context(), strconv.FormatUint(cut.Number, 10))
		if i < 2 {
			var gone *books.GoneError
			if !errors.As(err, &gone) || !errors.Is(err, books.ErrGone) || gone.Oldest != a.cuts[2].Number {
				t.Errorf("version %d: %v", cut.Number, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("version %d: %v", cut.Number, err)
			continue
		}
		net := int64(0)
		for _, d := range view.Deltas {
			net += d.Totals.All().Net
		}
		var tail int64
		params := clickhouse.Parameters{}
		row := conn.QueryRow(clickhouse.With(t.Context(), "", nil, params), "SELECT sum(net) FROM ledger WHERE advertiser > 0 AND "+view.Rest.Where("s_", params))
		if err := row.Scan(&tail); err != nil {
			t.Fatal(err)
		}
		if want := int64(2)<<(i+1) - 2; net+tail != want {
			t.Errorf("version %d has net %d, want %d", cut.Number, net+tail, want)
		}
	}
}

func minutesStayWhileTheyAreNeeded(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zones := &fixedZones{}
	a := newAged(t, conn, zones)
	recorded := func() (n uint64) {
		t.Helper()
		if err := retaining(t, conn, zones).retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM dropped_days").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := recorded(); n != 0 {
		t.Errorf("nothing is closed, and %d days are dropped", n)
	}
	end := a.days[4].Truncate(24 * time.Hour)
	a.close(t, 1, "UTC", a.days[1].Truncate(24*time.Hour), a.cuts[4].Number)
	zones.set(map[uint64]*time.Location{2: mustZone(t, "Asia/Tokyo")})
	if n := recorded(); n != 1 {
		t.Errorf("the first day is closed and of UTC alone, and %d days are dropped", n)
	}
	a.close(t, 2, "UTC", end, a.cuts[4].Number)
	if n := recorded(); n != 1 {
		t.Errorf("Tokyo has no closes, and %d days are dropped", n)
	}
	a.close(t, 3, "Asia/Tokyo", end, a.cuts[0].Number)
	if n := recorded(); n != 1 {
		t.Errorf("the close of Tokyo is of a cut before the second day, and %d days are dropped", n)
	}
	a.close(t, 4, "Asia/Tokyo", end, a.cuts[4].Number)
	// A row that is not what its mark says.
	a.exec(t, "INSERT INTO ledger SELECT * REPLACE (net + 1 AS net) FROM ledger WHERE advertiser > 0 AND lat_day = '"+a.days[1].Format(time.DateOnly)+"' LIMIT 1")
	if err := retaining(t, conn, zones).retain(t.Context()); !errors.Is(err, ErrFrozen) {
		t.Errorf("rows and marks differ: %v", err)
	}
	if c := newCompactor(t, conn, zones); c.retain(t.Context()) != nil {
		t.Error("off by default, it looked")
	}
	for _, days := range []int{-1, 1, 31, 40_000} {
		cfg := testConfig()
		cfg.LedgerDays = days
		if cfg.Validate() == nil {
			t.Errorf("--compact-ledger-days %d is taken", days)
		}
	}
}
