package compact

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/testkit"
)

// read adds up a view: its deltas, and the rest from the ledger.
func read(tb testing.TB, conn clickhouse.Conn, v *books.View) string {
	tb.Helper()
	ids := make([]uuid.UUID, len(v.Deltas))
	for i := range v.Deltas {
		ids[i] = v.Deltas[i].ID
	}
	params := clickhouse.Parameters{}
	var rows uint64
	var gross, net int64
	var spend string
	row := conn.QueryRow(clickhouse.With(tb.Context(), "", nil, params), `SELECT count(), sum(gross), sum(net), toString(sum(spend)) FROM (
		SELECT gross, net, spend_nanos AS spend FROM rollup_quarter WHERE delta IN `+uuidArray(ids)+`
		UNION ALL SELECT gross, net, toInt128(spend_nanos) FROM ledger WHERE advertiser > 0 AND (`+v.Rest.Where("r_", params)+`))`)
	if err := row.Scan(&rows, &gross, &net, &spend); err != nil {
		tb.Fatal(err)
	}
	return spaced(gross, net, spend)
}

func (w *world) total() string {
	var gross, net int64
	sums := books.Totals{"": {}}
	for i := range w.rows {
		gross, net = gross+w.rows[i].Gross(), net+w.rows[i].Net
		add := &books.Sums{}
		add.Spend.SetInt64(w.rows[i].Spend)
		sums.Add(books.Totals{"": add})
	}
	return spaced(gross, net, &sums[""].Spend)
}

func viewsMeanTheSameRowsLater(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	w := newWorld(t, conn, 14)
	c := newCompactor(t, conn, &fixedZones{})
	reader := books.NewReader(conn)
	type seen struct {
		name, total string
		reached     time.Time
	}
	var views []seen
	look := func() {
		v, err := reader.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		total := read(t, conn, v)
		if want := w.total(); total != want {
			t.Fatalf("view %s is %s, want %s", v.Name, total, want)
		}
		views = append(views, seen{v.Name, total, v.Reached()})
	}
	look()
	for i := range 20 {
		w.arrive(t, 30)
		look()
		if i%3 == 2 {
			once(t, c)
			look()
		}
	}
	again := func(what string) {
		t.Helper()
		for _, s := range views {
			v, err := reader.At(t.Context(), s.name)
			if err != nil {
				t.Fatalf("%s: view %s: %v", what, s.name, err)
			}
			if total := read(t, conn, v); total != s.total || !v.Reached().Equal(s.reached) || v.Name != s.name {
				t.Errorf("%s: view %s is %s at %s, was %s at %s", what, s.name, total, v.Reached(), s.total, s.reached)
			}
		}
	}
	again("from the covers of their cuts")
	// A log that is recorded later, before all others, changes no name.
	older := &testkit.Ledger{Conn: conn, Topic: uuid.UUID{}, Lineage: 7, Next: make([]uint64, 1)}
	if err := conn.Exec(t.Context(), "INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage, created) VALUES ('older', '00000000-0000-0000-0000-000000000000', 1, 1, 's', 7, toDateTime64(0, 3))"); err != nil {
		t.Fatal(err)
	}
	again("beside another log")
	row := testkit.Row{Advertiser: 3, Minute: w.lat.Truncate(time.Minute), Type: 1, Net: 5}
	older.Block(t, w.lat, testkit.Span{Rows: []testkit.Row{row}})
	w.rows = append(w.rows, row)
	look()
	w.arrive(t, 30)
	look()
	once(t, c)
	look()
	again("beside another log that grows")
	if err := conn.Exec(t.Context(), "ALTER TABLE cuts UPDATE kept_until = created WHERE true SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	again("from the newest cover")

	f := func(name string, want error) {
		t.Helper()
		if _, err := reader.At(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("view %q: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{
		"", "x", "-1", "01", "1000", "1.", ".AQE", "18446744073709551616", "1.AQE=", "1.!", "1.AQ", "1.____", "3.AX0", "0.AwAA", "1.AQEBAQEBAQEBAQEBAQEBAQEB",
		views[1].name + "AA", views[1].name[:len(views[1].name)-2], views[1].name + views[1].name[2:], "1" + views[1].name[1:] + "A",
	} {
		f(name, books.ErrNoView)
	}
	// The ledger of the first days is dropped.
	if err := conn.Exec(t.Context(), "ALTER TABLE ledger DROP PARTITION '2026-03-28'"); err != nil {
		t.Fatal(err)
	}
	f(views[1].name, books.ErrGone)
	newest, err := reader.Now(t.Context())
	if err != nil || read(t, conn, newest) != w.total() {
		t.Errorf("the newest view is %v, want %s", err, w.total())
	}
}

func replacedDeltasAreDropped(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	w := newWorld(t, conn, 15)
	c := newCompactor(t, conn, &fixedZones{})
	c.cfg.Keep = 0
	partitions := func() int {
		list, err := c.partitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	w.arrive(t, 60)
	once(t, c)
	for range 10 {
		w.arrive(t, 40)
		once(t, c)
	}
	cut := once(t, c)
	if cut != nil {
		t.Fatalf("cut %d of nothing", cut.Number)
	}
	newest, err := books.NewReader(conn).Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, most := partitions(), 2*len(newest.Cover)+2; got > most {
		t.Errorf("%d partitions for %d deltas", got, len(newest.Cover))
	}
	w.check(t, nil)
	// What a crashed attempt left is dropped when it is old, not before.
	c.step = func(what string) error {
		if what == "commit" {
			return errCrash
		}
		return nil
	}
	w.arrive(t, 40)
	before := partitions()
	if _, err := c.Once(t.Context()); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if partitions() == before {
		t.Fatal("the attempt left nothing")
	}
	if err := c.sweep(t.Context(), newest); err != nil || partitions() == before {
		t.Errorf("fresh litter is dropped: %v", err)
	}
}
