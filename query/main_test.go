package query

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/aggregate/compact"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/limit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

// ledger is an empty ledger with its two users.
type ledger struct {
	*testkit.Ledger
	writer, reader clickhouse.Conn
}

func newLedger(t *testing.T, partitions int) *ledger {
	t.Helper()
	server := testkit.StartClickHouse(t)
	writer := testkit.Open(t, server.AsWriter)
	return &ledger{
		Ledger: testkit.NewLedger(t, writer, partitions),
		writer: writer,
		reader: testkit.Open(t, server.AsReader),
	}
}

// entry is a row of the ledger.
type entry = testkit.Row

// testLAT is when blocks come, unless a test says otherwise.
var testLAT = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// insert writes entries as a block of the first partition.
func (l *ledger) insert(t *testing.T, entries ...entry) {
	t.Helper()
	l.Block(t, testLAT, testkit.Span{Rows: entries})
}

// compactor returns one that makes cuts of the ledger. zones are those of accounts.
func (l *ledger) compactor(t *testing.T, zones map[uint64]*time.Location) *compact.Compactor {
	t.Helper()
	cfg := compact.Config{Interval: time.Minute, Idle: time.Hour, Keep: time.Hour, Timeout: time.Minute, Skew: 2 * time.Second}
	c, err := compact.New(cfg, l.writer, fixedZones(zones), zerolog.Nop(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *ledger) cut(t *testing.T, c *compact.Compactor) {
	t.Helper()
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (l *ledger) exec(t *testing.T, statement string) {
	t.Helper()
	if err := l.writer.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

type fixedZones map[uint64]*time.Location

func (z fixedZones) Zones(context.Context) (map[uint64]*time.Location, error) { return z, nil }

// fixedKeys are keys that need no tables.
type fixedKeys struct {
	grants   map[string]access.Grant
	notReady bool
}

func (k *fixedKeys) Lookup(_ context.Context, bearer string) (access.Grant, error) {
	if k.notReady {
		return access.Grant{}, access.ErrNotReady
	}
	grant, ok := k.grants[bearer]
	if !ok {
		return access.Grant{}, access.ErrUnknownKey
	}
	return grant, nil
}

func (k *fixedKeys) Account(advertiser uint64) access.Account { return reports.Account(advertiser) }

func (k *fixedKeys) Accounts() []access.Account {
	return []access.Account{reports.Account(7), reports.Account(8)}
}

func newFixedKeys() *fixedKeys {
	return &fixedKeys{grants: map[string]access.Grant{
		"one": reports.OneAdvertiser, "two": reports.TwoAdvertisers, "all": reports.Everyone,
		"report": {KeyID: "report", Scopes: access.ScopeReport, Advertisers: []uint64{7}},
		"ingest": {KeyID: "ingest", Scopes: access.ScopeIngest, All: true},
	}}
}

func testConfig() Config {
	return Config{
		Timeout: 30 * time.Second, Skew: 2 * time.Second, MaxMemory: 1 << 30,
		Config: limit.Config{MaxReports: 8, MaxWaiting: 64, MaxWait: 10 * time.Second},
	}
}

// serve runs a Server on a real listener until the test ends.
func serve(t *testing.T, cfg Config, conn clickhouse.Conn, keys Keys, log zerolog.Logger) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	url, ended := serveUntil(ctx, t, New(cfg, conn, keys, log, metrics.NewSet()))
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return url
}

func serveUntil(ctx context.Context, t *testing.T, server *Server) (url string, ended <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, ln) }()
	return "http://" + ln.Addr().String(), done
}
