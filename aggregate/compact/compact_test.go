package compact

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

// fixedZones are zones that tests change.
type fixedZones struct {
	mu    sync.Mutex
	zones map[uint64]*time.Location
}

func (z *fixedZones) Zones(context.Context) (map[uint64]*time.Location, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.zones, nil
}

func (z *fixedZones) set(zones map[uint64]*time.Location) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.zones = zones
}

func mustZone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return zone
}

func testConfig() Config {
	return Config{Interval: time.Minute, Idle: 15 * time.Minute, Keep: time.Hour, Timeout: time.Minute, Skew: 2 * time.Second}
}

func newCompactor(tb testing.TB, conn clickhouse.Conn, zones Zones) *Compactor {
	tb.Helper()
	c, err := New(testConfig(), conn, zones, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// world is a ledger with the truth about it.
type world struct {
	*testkit.Ledger
	rnd  *rand.Rand
	lat  time.Time
	rows []testkit.Row
}

func newWorld(tb testing.TB, conn clickhouse.Conn, seed uint64) *world {
	tb.Helper()
	return &world{
		Ledger: testkit.NewLedger(tb, conn, 3), rnd: rand.New(rand.NewPCG(seed, 1)),
		lat: time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC),
	}
}

// arrive writes a block of up to n rows to some of the partitions.
func (w *world) arrive(tb testing.TB, n int) {
	tb.Helper()
	w.lat = w.lat.Add(time.Duration(w.rnd.IntN(90)) * time.Minute)
	var spans []testkit.Span
	for p := range int32(3) {
		if w.rnd.IntN(4) == 0 {
			continue
		}
		span := testkit.Span{Partition: p}
		for range w.rnd.IntN(n + 1) {
			row := testkit.Row{
				Advertiser: 1 + w.rnd.Uint64N(4), Minute: w.lat.Add(-time.Duration(w.rnd.IntN(3000)) * time.Minute).Truncate(time.Minute),
				Type: uint8(1 + w.rnd.IntN(3)), Flags: uint32(w.rnd.IntN(2)),
				Net: w.rnd.Int64N(5), Duplicate: 1, Spend: w.rnd.Int64(), // sums go beyond 64 bits
			}
			row.IDs[0] = w.rnd.Uint64N(3)
			row.Texts[0] = []string{"US", "DE", ""}[w.rnd.IntN(3)]
			row.Texts[6] = []string{"USD", "EUR"}[w.rnd.IntN(2)]
			span.Rows = append(span.Rows, row)
		}
		w.rows = append(w.rows, span.Rows...)
		spans = append(spans, span)
	}
	if len(spans) > 0 {
		w.Block(tb, w.lat, spans...)
	}
}

// truth is the rows added up in Go: by cell, as the given time says.
func (w *world) truth(when func(r *testkit.Row) int64) map[string]string {
	type cell struct {
		gross, net int64
		spend      books.Sums
	}
	cells := map[string]*cell{}
	for i := range w.rows {
		r := &w.rows[i]
		key := spaced(r.Advertiser, when(r), r.Type, r.IDs[0], r.Texts[0], r.Texts[6], r.Flags)
		if cells[key] == nil {
			cells[key] = &cell{}
		}
		c := cells[key]
		c.gross, c.net = c.gross+r.Gross(), c.net+r.Net
		var spend books.Sums
		spend.Spend.SetInt64(r.Spend)
		c.spend.Spend.Add(&c.spend.Spend, &spend.Spend)
	}
	truth := map[string]string{}
	for key, c := range cells {
		truth[key] = spaced(c.gross, c.net, &c.spend.Spend)
	}
	return truth
}

// spaced joins values with blanks.
func spaced(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

// rolled is what a rollup table holds under the cover of a cut.
func rolled(tb testing.TB, conn clickhouse.Conn, table, when string, cover books.Cover) map[string]string {
	tb.Helper()
	ids := []uuid.UUID{}
	for i := range cover {
		if table == "rollup_day" {
			ids = append(ids, cover[i].Day)
		} else {
			ids = append(ids, cover[i].ID)
		}
	}
	rows, err := conn.Query(tb.Context(), `SELECT concat(toString(advertiser), ' ', toString(`+when+`), ' ', toString(event_type), ' ', toString(campaign), ' ',
		country, ' ', currency, ' ', toString(invalid_flags)), concat(toString(sum(gross)), ' ', toString(sum(net)), ' ', toString(sum(spend_nanos)))
		FROM `+table+` WHERE delta IN `+uuidArray(ids)+` GROUP BY 1, advertiser, `+when+`, event_type, campaign, country, currency, invalid_flags`)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			tb.Fatal(err)
		}
		got[key] = value
	}
	return got
}

// check compares the cover of the newest cut with the truth, assuming that the
// cut has everything.
func (w *world) check(tb testing.TB, zones map[uint64]*time.Location) {
	tb.Helper()
	cut, err := books.NewReader(w.Conn).Newest(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	quarters := w.truth(func(r *testkit.Row) int64 { return r.Minute.Unix() / 900 * 900 })
	same(tb, "quarters", rolled(tb, w.Conn, "rollup_quarter", "toUnixTimestamp(quarter)", cut.Cover), quarters)
	days := w.truth(func(r *testkit.Row) int64 {
		zone := zones[r.Advertiser]
		if zone == nil {
			zone = time.UTC
		}
		y, m, d := r.Minute.In(zone).Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
	})
	same(tb, "days", rolled(tb, w.Conn, "rollup_day", "local_day", cut.Cover), days)
}

func same(tb testing.TB, what string, got, want map[string]string) {
	tb.Helper()
	for key, value := range want {
		if got[key] != value {
			tb.Fatalf("%s: %s is %q, want %q", what, key, got[key], value)
		}
	}
	if len(got) != len(want) {
		tb.Fatalf("%s: %d cells, want %d", what, len(got), len(want))
	}
}

func TestCompact(t *testing.T) {
	server := testkit.StartClickHouse(t)
	f := func(name string, test func(t *testing.T, conn clickhouse.Conn)) {
		t.Run(name, func(t *testing.T) {
			cfg := server.AsWriter
			cfg.Database = "adtally_" + name // a server is slow to start, a database is not
			if err := clickhouse.Migrate(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			test(t, testkit.Open(t, cfg))
		})
	}
	f("sums", sumsAreThoseOfTheLedger)
	f("crash", crashAtAnyStepLeavesNothing)
	f("race", racingCompactorsMakeOneCut)
	f("zones", daysFollowTheZone)
	f("frozen", booksThatDoNotAddUpFreeze)
	f("gap", nothingBehindAGapCounts)
	f("views", viewsMeanTheSameRowsLater)
	f("sweep", replacedDeltasAreDropped)
	f("idle", idleBooksMakeNoCuts)
	f("retain", minutesGoWhenNobodyNeedsThem)
	f("needed", minutesStayWhileTheyAreNeeded)
}

func once(tb testing.TB, c *Compactor) *books.Cut {
	tb.Helper()
	cut, err := c.Once(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return cut
}

func sumsAreThoseOfTheLedger(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zones := &fixedZones{zones: map[uint64]*time.Location{
		2: mustZone(t, "Asia/Kathmandu"), 3: mustZone(t, "Europe/Berlin"), // clocks change on 29 March
	}}
	w := newWorld(t, conn, 7)
	c := newCompactor(t, conn, zones)
	deltas := 0
	for i := range 30 {
		w.arrive(t, 40)
		cut := once(t, c)
		if cut == nil {
			continue
		}
		deltas = max(deltas, len(cut.Cover))
		if i%6 == 5 {
			w.check(t, zones.zones)
		}
	}
	w.check(t, zones.zones)
	if deltas < 2 || deltas > 8 {
		t.Errorf("cuts had up to %d deltas", deltas)
	}
}

var errCrash = errors.New("crash")

func crashAtAnyStepLeavesNothing(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zones := &fixedZones{zones: map[uint64]*time.Location{2: mustZone(t, "America/New_York")}}
	w := newWorld(t, conn, 8)
	steps := map[string]bool{}
	for round := range 12 {
		w.arrive(t, 30)
		w.arrive(t, 30)
		if round == 6 { // days are made again
			zones.set(map[uint64]*time.Location{2: mustZone(t, "Asia/Kolkata"), 1: mustZone(t, "Asia/Kathmandu")})
		}
		for crashAt := 0; ; crashAt++ {
			c := newCompactor(t, conn, zones) // a new process each time
			n := 0
			c.step = func(what string) error {
				if n++; n > crashAt {
					steps[what] = true
					return errCrash
				}
				return nil
			}
			_, err := c.Once(t.Context())
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
		}
		w.check(t, zones.zones)
	}
	for _, step := range []string{"roll up quarters", "check quarters", "roll up days", "check days", "copy days", "roll up days again", "commit", "read back"} {
		if !steps[step] {
			t.Errorf("no crash at %q", step)
		}
	}
}

func racingCompactorsMakeOneCut(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zones := &fixedZones{}
	w := newWorld(t, conn, 9)
	lost := 0
	for range 8 {
		w.arrive(t, 30)
		var wg sync.WaitGroup
		errs := make([]error, 3)
		var meet sync.WaitGroup
		meet.Add(len(errs))
		for i := range errs {
			c := newCompactor(t, conn, zones)
			c.step = func(what string) error {
				if what == "commit" { // all of them come to the commit of the same cut
					meet.Done()
					meet.Wait()
				}
				return nil
			}
			wg.Go(func() {
				cut, err := c.Once(t.Context())
				errs[i] = err
				if cut == nil && err == nil {
					meet.Done()
				}
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, ErrTaken):
				t.Error(err)
			}
		}
		if won != 1 && won != len(errs) { // all without an error: there was nothing to do
			t.Fatalf("%d of %d compactors made the cut: %v", won, len(errs), errs)
		}
		lost += len(errs) - won
		w.check(t, nil)
	}
	if lost == 0 {
		t.Error("no race was lost")
	}
}

func daysFollowTheZone(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zones := &fixedZones{}
	w := newWorld(t, conn, 10)
	c := newCompactor(t, conn, zones)
	reader := books.NewReader(conn)
	for _, name := range []string{"UTC", "Asia/Tokyo", "America/St_Johns", "UTC"} {
		w.arrive(t, 60)
		once(t, c)
		w.arrive(t, 2)
		once(t, c)
		zone := mustZone(t, name)
		zones.set(map[uint64]*time.Location{1: zone, 3: zone})
		once(t, c) // nothing arrived, but the days are others
		w.check(t, map[uint64]*time.Location{1: zone, 3: zone})
		cut, err := reader.Newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range cut.Cover {
			m, err := reader.ZoneMap(t.Context(), cut.Cover[i].Zones)
			if err != nil || !m.Has(1, zone) || !m.Has(2, time.UTC) || m.Has(1, mustZone(t, "Asia/Seoul")) {
				t.Fatalf("delta %d after %s: %+v %v", i, name, m, err)
			}
		}
	}
}

func booksThatDoNotAddUpFreeze(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	w := newWorld(t, conn, 11)
	c := newCompactor(t, conn, &fixedZones{})
	w.arrive(t, 50)
	first := once(t, c)
	// A mark that promises a row more than there is.
	w.Block(t, w.lat, testkit.Span{Partition: 0, Rows: []testkit.Row{{Advertiser: 1, Minute: w.lat.Truncate(time.Minute), Type: 1, Net: 1}}})
	if err := conn.Exec(t.Context(), "ALTER TABLE ledger DELETE WHERE advertiser = 1 AND b_end = "+strconv.FormatUint(w.Next[0], 10)+" AND kafka_partition = 0 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	if cut, err := c.Once(t.Context()); !errors.Is(err, ErrFrozen) || cut != nil {
		t.Fatalf("missing row: %v %v", cut, err)
	}
	if c.count.frozen.Get() != 1 {
		t.Error("the metric does not say frozen")
	}
	newest, err := books.NewReader(conn).Newest(t.Context())
	if err != nil || newest.Number != first.Number {
		t.Fatalf("a cut was made of it: %+v %v", newest, err)
	}
	// Offsets that are counted twice.
	w.Next[1]--
	w.Block(t, w.lat, testkit.Span{Partition: 1})
	if _, err := c.Once(t.Context()); !errors.Is(err, ErrFrozen) {
		t.Fatalf("overlap: %v", err)
	}
}

func nothingBehindAGapCounts(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	w := newWorld(t, conn, 12)
	c := newCompactor(t, conn, &fixedZones{})
	row := testkit.Row{Advertiser: 1, Minute: w.lat, Type: 1, Net: 1}
	w.Block(t, w.lat, testkit.Span{Partition: 0, Rows: []testkit.Row{row}}, testkit.Span{Partition: 1, Rows: []testkit.Row{row}})
	w.rows = append(w.rows, row, row)
	once(t, c)
	w.Next[0] += 5
	w.Block(t, w.lat, testkit.Span{Partition: 0, Rows: []testkit.Row{row}}, testkit.Span{Partition: 1, Rows: []testkit.Row{row}})
	w.rows = append(w.rows, row) // only that of partition 1
	cut := once(t, c)
	if cut.Gaps != 1 || c.count.gaps.Get() != 1 {
		t.Errorf("cut has %d gaps", cut.Gaps)
	}
	w.check(t, nil)
	// The missing batch arrives, from a broker whose clock is days behind.
	w.Next[0] -= 7
	w.Block(t, w.lat.AddDate(0, 0, -9), testkit.Span{Partition: 0, Rows: []testkit.Row{row, row, row, row}})
	w.rows = append(w.rows, row, row, row, row, row)
	if cut := once(t, c); cut.Gaps != 0 {
		t.Errorf("cut has %d gaps", cut.Gaps)
	}
	w.check(t, nil)
}

func idleBooksMakeNoCuts(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	w := newWorld(t, conn, 13)
	c := newCompactor(t, conn, &fixedZones{})
	if cut := once(t, c); cut != nil {
		t.Fatalf("cut %d of nothing", cut.Number)
	}
	w.Block(t, w.lat, testkit.Span{Partition: 0, Rows: []testkit.Row{{Advertiser: 1, Minute: w.lat, Type: 1, Net: 1}}}, testkit.Span{Partition: 1}, testkit.Span{Partition: 2})
	first := once(t, c)
	if first.Number != 1 || first.Rows != 1 || first.Tiles != 3 || !first.CompleteThrough.Equal(w.lat.Add(-2*time.Second)) {
		t.Errorf("first cut is %+v", first)
	}
	w.Block(t, w.lat.Add(time.Minute), testkit.Span{Partition: 0}) // a tick
	if cut := once(t, c); cut != nil {
		t.Fatalf("cut %d of a tick", cut.Number)
	}
	c.cfg.Idle = 0
	if cut := once(t, c); cut == nil || cut.Rows != 0 || len(cut.Cover) != 1 {
		t.Fatalf("after the idle time: %+v", cut)
	}
}
