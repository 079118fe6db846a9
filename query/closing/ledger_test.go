package closing

import (
	"context"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

// ledger is a real one, that tests write as aggregate does.
type ledger struct {
	t          *testing.T
	conn       clickhouse.Conn
	topic      uuid.UUID
	partitions int
	ends       []uint64
	lats       []time.Time
	rows       []row
	cuts       uint64
}

// row is a row of the ledger, with the cut that first counted it.
type row struct {
	advertiser uint64
	minute     time.Time
	campaign   uint64 // unique, so that each row can be found again
	currency   string
	net        int64
	spend      int64
	partition  int
	end        uint64
	cut        uint64
}

func newLedger(t *testing.T, partitions int) *ledger {
	t.Helper()
	server := testkit.StartClickHouse(t)
	l := &ledger{
		t: t, conn: testkit.Open(t, server.AsWriter), topic: uuid.New(), partitions: partitions,
		ends: make([]uint64, partitions), lats: make([]time.Time, partitions),
	}
	err := l.conn.Exec(t.Context(), "INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES ('events', ?, ?, 4, 's', 1)", l.topic, uint32(partitions))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// batch writes rows and the mark of one partition as one block.
func (l *ledger) batch(partition int, lat time.Time, rows ...row) {
	l.t.Helper()
	start := l.ends[partition]
	end := start + uint64(len(rows)) + 1
	b, err := l.conn.PrepareBatch(l.t.Context(), `INSERT INTO ledger (advertiser, minute, event_type, campaign, currency, gross, net, spend_nanos,
		topic_id, lineage, kafka_partition, b_start, b_end, batch_id, lat_day, block_lat, mark_rows, mark_gross, mark_net, mark_spend_nanos, mark_lat)`)
	if err != nil {
		l.t.Fatal(err)
	}
	id := uuid.New()
	var net, spend int64
	add := func(r row, marks ...any) {
		values := []any{r.advertiser, r.minute, uint8(1), r.campaign, r.currency, r.net, r.net, r.spend, l.topic, uint32(1), int32(partition), start, end, id, lat, lat}
		if err := b.Append(append(values, marks...)...); err != nil {
			l.t.Fatal(err)
		}
	}
	for i := range rows {
		rows[i].partition, rows[i].end = partition, end
		net, spend = net+rows[i].net, spend+rows[i].spend
		add(rows[i], uint32(0), int64(0), int64(0), int64(0), time.Unix(0, 0))
	}
	add(row{minute: time.Unix(0, 0)}, uint32(len(rows)), net, net, spend, lat)
	if err := b.Send(); err != nil {
		l.t.Fatal(err)
	}
	l.ends[partition], l.lats[partition] = end, lat
	l.rows = append(l.rows, rows...)
}

// cut commits a cut over everything, as the compactor does but without rollups.
func (l *ledger) cut() {
	l.t.Helper()
	reader := books.NewReader(l.conn)
	last, err := reader.Newest(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	topics, err := reader.Topics(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	tail, err := reader.Tail(l.t.Context(), topics, last.Vector, books.Limit{})
	if err != nil {
		l.t.Fatal(err)
	}
	reached, _ := tail.To.Reached(topics[len(topics)-1])
	c := &books.Cut{
		Number: last.Number + 1, Attempt: uuid.New(), Previous: last.Attempt, CodeVersion: 1,
		CompleteThrough: books.CompleteThrough(reached, time.Second), Vector: tail.To, Added: books.Totals{}, KeptUntil: time.Now(),
	}
	if err := books.Commit(l.t.Context(), l.conn, c); err != nil {
		l.t.Fatal(err)
	}
	l.cuts = c.Number
	for i := range l.rows {
		if l.rows[i].cut == 0 {
			l.rows[i].cut = c.Number
		}
	}
}

func (l *ledger) account(advertiser uint64, zone string) {
	l.t.Helper()
	if err := access.NewStore(l.conn).PutAccount(l.t.Context(), access.Account{Advertiser: advertiser, Timezone: zone}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledger) closer(lateness time.Duration) *Closer {
	l.t.Helper()
	c, err := New(Config{Lateness: lateness, Interval: time.Minute}, l.conn, zerolog.Nop())
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// holds reads which rows a close has in a file, by campaign, with the spend.
func (l *ledger) holds(c *Close, adjustments bool) map[uint64]string {
	l.t.Helper()
	rows, err := RowsOf(l.t.Context(), l.conn, c, adjustments, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	q := rows.Select()
	list, err := l.conn.Query(clickhouse.With(l.t.Context(), "", nil, q.Params), "SELECT campaign_, toString(spend) FROM ("+q.SQL+")")
	if err != nil {
		l.t.Fatalf("%v\n%s", err, q.SQL)
	}
	defer list.Close()
	found := map[uint64]string{}
	for list.Next() {
		var campaign uint64
		var spend string
		if err := list.Scan(&campaign, &spend); err != nil {
			l.t.Fatal(err)
		}
		found[campaign] = spend
	}
	if err := list.Err(); err != nil {
		l.t.Fatal(err)
	}
	return found
}

var zones = []string{"UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo"}

// TestEveryRowIsInOneClose plays a fortnight in which clocks change, events come
// up to a week late, advertisers change their zone, and closers die at every step
// or run side by side.
func TestEveryRowIsInOneClose(t *testing.T) {
	const seed = 20261101
	rng := rand.New(rand.NewPCG(seed, 1))
	l := newLedger(t, 3)
	now := time.Date(2026, 10, 26, 9, 0, 0, 0, time.UTC) // New York, Cairo change soon
	campaign := uint64(0)
	for advertiser := range uint64(6) {
		if zone := zones[rng.IntN(len(zones))]; advertiser%3 != 0 {
			l.account(advertiser+1, zone)
		}
	}
	for range 16 {
		now = now.Add(time.Duration(6+rng.IntN(18)) * time.Hour)
		for partition := range 3 {
			var rows []row
			for range rng.IntN(4) {
				campaign++
				late := time.Duration(rng.IntN(5)) * time.Minute
				if rng.IntN(3) == 0 {
					late = time.Duration(rng.IntN(7*24*60)) * time.Minute
				}
				rows = append(rows, row{
					advertiser: 1 + rng.Uint64N(6), minute: now.Add(-late).Truncate(time.Minute), campaign: campaign,
					currency: []string{"USD", "EUR", ""}[rng.IntN(3)], net: 1 + rng.Int64N(5), spend: rng.Int64(),
				})
			}
			l.batch(partition, now, rows...)
		}
		if rng.IntN(2) == 0 {
			l.cut()
		}
		if rng.IntN(4) == 0 {
			l.account(1+rng.Uint64N(6), zones[rng.IntN(len(zones))])
		}
		l.closeSomehow(rng)
	}
	l.cut()
	l.closeSomehow(rng)
	l.checkAll()
}

// closeSomehow closes what is due: by one closer, by one that dies and another
// that goes on, or by two at once.
func (l *ledger) closeSomehow(rng *rand.Rand) {
	l.t.Helper()
	ctx := l.t.Context()
	switch rng.IntN(3) {
	case 0:
		died := l.closer(6 * time.Hour)
		at := []string{"commit", "committed"}[rng.IntN(2)]
		died.step = func(what string) error {
			if what == at {
				return context.Canceled
			}
			return nil
		}
		_, _ = died.Due(ctx) // it may have had nothing to do
	case 1:
		other := l.closer(6 * time.Hour)
		done := make(chan error, 1)
		go func() {
			_, err := other.Due(ctx)
			done <- err
		}()
		defer func() {
			if err := <-done; err != nil {
				l.t.Errorf("the other closer: %v", err)
			}
		}()
	}
	if _, err := l.closer(6 * time.Hour).Due(ctx); err != nil {
		l.t.Fatal(err)
	}
}

// checkAll holds the closes against the rules, row by row.
func (l *ledger) checkAll() {
	l.t.Helper()
	store := NewStore(l.conn)
	state, err := store.Load(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := store.CheckChain(l.t.Context(), state.Sequence); err != nil {
		l.t.Fatal(err)
	}
	type place struct {
		sequence    uint64
		adjustments bool
	}
	at := map[uint64]place{}
	sums := map[string]*big.Int{}
	for sequence := uint64(1); sequence <= state.Sequence; sequence++ {
		c, err := store.Get(l.t.Context(), sequence)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, adjustments := range []bool{false, true} {
			for campaign := range l.holds(c, adjustments) {
				if before, twice := at[campaign]; twice {
					l.t.Errorf("row %d is in %+v and in close %d", campaign, before, sequence)
				}
				at[campaign] = place{sequence, adjustments}
			}
			part := c.Statement
			if adjustments {
				part = c.Adjustments
			}
			for _, total := range part.Totals {
				n, _ := new(big.Int).SetString(total.SpendNanos, 10)
				if sums[total.Currency] == nil {
					sums[total.Currency] = new(big.Int)
				}
				sums[total.Currency].Add(sums[total.Currency], n)
			}
		}
	}
	adjusted, open := 0, 0
	for _, r := range l.rows {
		zone := state.ZoneAt(r.advertiser, r.minute)
		location, err := access.LoadZone(zone)
		if err != nil {
			l.t.Fatal(err)
		}
		want := place{}
		z, day := state.Zone(zone), LocalDay(r.minute, location)
		if k, ok := z.CutOf(day); ok && r.cut <= k {
			want.sequence, _ = z.Close(day)
		} else if z != nil {
			for later := max(day+1, z.First); later <= z.Last; later++ {
				if k, _ := z.CutOf(later); r.cut <= k {
					want.adjustments = true
					want.sequence, _ = z.Close(later)
					adjusted++
					break
				}
			}
		}
		if got := at[r.campaign]; got != want {
			l.t.Errorf("row %d of advertiser %d (%s, %s, cut %d) is in %+v, want %+v", r.campaign, r.advertiser, r.minute, zone, r.cut, got, want)
		}
		if want.sequence == 0 {
			open++
			if sums[r.currency] == nil {
				sums[r.currency] = new(big.Int)
			}
			sums[r.currency].Add(sums[r.currency], big.NewInt(r.spend))
		}
	}
	for currency, sum := range sums {
		want := new(big.Int)
		for _, r := range l.rows {
			if r.currency == currency {
				want.Add(want, big.NewInt(r.spend))
			}
		}
		if sum.Cmp(want) != 0 {
			l.t.Errorf("closes and open rows of %q add up to %s, the ledger to %s", currency, sum, want)
		}
	}
	l.t.Logf("%d closes of %d zones, %d rows, %d adjusted, %d open", state.Sequence, len(state.Zones()), len(l.rows), adjusted, open)
	if adjusted == 0 || open == len(l.rows) {
		l.t.Error("the play was too tame")
	}
}
