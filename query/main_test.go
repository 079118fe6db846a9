package query

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

// books is an empty ledger.
type books struct {
	writer, reader clickhouse.Conn
	topic          uuid.UUID
}

func newBooks(t *testing.T) *books {
	t.Helper()
	server := testkit.StartClickHouse(t)
	return &books{
		writer: testkit.Open(t, server.AsWriter),
		reader: testkit.Open(t, server.AsReader),
		topic:  uuid.New(),
	}
}

// entry is a row of the ledger.
type entry struct {
	advertiser uint64
	minute     time.Time
	eventType  uint8
	ids        [5]uint64 // campaign, ad_group, creative, placement, publisher
	texts      [7]string // country, region, device, os, browser, variant, currency
	// gross is the sum of the four.
	net, duplicate, invalid, orphan int64
	spend                           int64
}

func (b *books) insert(t *testing.T, entries ...entry) {
	t.Helper()
	batch, err := b.writer.PrepareBatch(t.Context(), `INSERT INTO ledger (advertiser, minute, event_type,
		campaign, ad_group, creative, placement, publisher, country, region, device, os, browser, variant, currency,
		gross, net, duplicate, invalid, orphan, spend_nanos, topic_id, lat_day)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		err := batch.Append(e.advertiser, e.minute, e.eventType, e.ids[0], e.ids[1], e.ids[2], e.ids[3], e.ids[4],
			e.texts[0], e.texts[1], e.texts[2], e.texts[3], e.texts[4], e.texts[5], e.texts[6],
			e.net+e.duplicate+e.invalid+e.orphan, e.net, e.duplicate, e.invalid, e.orphan, e.spend,
			b.topic, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}

// addTopic records the topic generation, addMark the position of a partition.
func (b *books) addTopic(t *testing.T, partitions uint32) {
	t.Helper()
	b.exec(t, fmt.Sprintf("INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES ('events', '%s', %d, 4, 's', 1)", b.topic, partitions))
}

func (b *books) addMark(t *testing.T, partition int, end uint64, lat time.Time) {
	t.Helper()
	b.exec(t, fmt.Sprintf("INSERT INTO ledger (advertiser, kafka_partition, b_end, topic_id, lineage, lat_day, mark_lat) VALUES (0, %d, %d, '%s', 1, '%s', '%s')",
		partition, end, b.topic, lat.UTC().Format(dateLayout), lat.UTC().Format("2006-01-02 15:04:05.000")))
}

func (b *books) exec(t *testing.T, statement string) {
	t.Helper()
	if err := b.writer.Exec(clickhouse.With(t.Context(), "", clickhouse.Settings{"async_insert": 0}, nil), statement); err != nil {
		t.Fatal(err)
	}
}

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

func (k *fixedKeys) Account(advertiser uint64) access.Account { return testAccount(advertiser) }

func newFixedKeys() *fixedKeys {
	return &fixedKeys{grants: map[string]access.Grant{
		"one": oneAdvertiser, "two": twoAdvertiser, "all": everyone,
		"ingest": {KeyID: "ingest", Scopes: access.ScopeIngest, All: true},
	}}
}

func testConfig() Config {
	return Config{Timeout: 30 * time.Second, MaxReports: 8, Skew: 2 * time.Second}
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
