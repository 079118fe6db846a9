package aggregate

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/proto"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

func testTopicOf(name string) Topic {
	return Topic{Name: name, ID: uuid.New(), Partitions: 4, Spread: 4, Scheme: proto.PartitionScheme}
}

// testSpan is a span of n clicks, a minute apart, in two campaigns.
func testSpan(partition int32, start, end int64) *Span {
	s := &Span{Partition: partition, Start: start, End: end, FirstLAT: 1_790_000_000_000, LastLAT: 1_790_000_000_000 + end, Epoch: 3}
	var key proto.IDKey
	var values [][]byte
	for o := start; o < end; o++ {
		ev := &proto.Event{
			Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1, CampaignId: uint64(o % 2), TimeUs: o * 60_000_000,
			Country: "DE", Pricing: proto.Pricing_PRICING_CPC, PriceNanos: 5, Currency: "EUR",
		}
		ev.SetEventID(key.Hash(uint64(partition), []byte{byte(o), byte(o >> 8)}))
		value, err := ev.MarshalVT()
		if err != nil {
			panic(err)
		}
		values = append(values, value)
	}
	foldInto(s, values...)
	return s
}

// foldInto counts records in s.
func foldInto(s *Span, values ...[]byte) {
	batch := make([]window.Record, len(values))
	for i, value := range values {
		batch[i] = window.Record{Value: value, LAT: s.FirstLAT}
	}
	window.NewState(window.Defaults(), ignore{}).FoldBatch(batch, &s.Delta)
}

// ignore is a window.Reporter that tells nobody.
type ignore struct{}

func (ignore) Poison(int, error) {}
func (ignore) Synthetic(int)     {}

func TestLedger(t *testing.T) {
	server := testkit.StartClickHouse(t)
	conn := testkit.Open(t, server.AsWriter)
	t.Run("columns are the table's", func(t *testing.T) { columnsAreTheTables(t, conn) })
	t.Run("topic", func(t *testing.T) { topicIsRecorded(t, NewLedger(conn, "test")) })
	t.Run("positions", func(t *testing.T) { positionsFollowTheMarks(t, conn) })
	t.Run("old positions", func(t *testing.T) { oldPositionsAreFound(t, conn) })
	t.Run("gaps", func(t *testing.T) { gapsAreTold(t, conn) })
	t.Run("broken chains", func(t *testing.T) { brokenChainsAreRefused(t, conn) })
	t.Run("totals", func(t *testing.T) { marksHoldTheTotals(t, conn) })
	t.Run("audit", func(t *testing.T) { auditSeesWhereRecordsWent(t, conn) })
	t.Run("audit of faults", func(t *testing.T) { auditNamesFaults(t, conn) })
	t.Run("audit of old marks", func(t *testing.T) { auditReadsOldMarks(t, conn) })
	t.Run("owners", func(t *testing.T) { ownersAreNoted(t, conn) })
	t.Run("open inserts", func(t *testing.T) { openInsertsAreEnded(t, conn) })
	t.Run("fenced", func(t *testing.T) { fencedBlockIsNotSent(t, conn) })
	t.Run("proven", func(t *testing.T) { firstBlockIsProven(t, conn) })
	t.Run("unsafe table", func(t *testing.T) { unsafeTableIsRefused(t, conn) })
	t.Run("users", func(t *testing.T) { usersAreCounted(t, conn) })
	t.Run("lost answers", func(t *testing.T) { lostAnswersAreResolved(t, server, conn) })
	t.Run("foreign block", func(t *testing.T) { foreignBlockIsSeen(t, conn) })
	t.Run("absent block", func(t *testing.T) { absentBlockIsOnlyFoundOut(t, conn) })
	t.Run("server killed", func(t *testing.T) { survivesKilledServer(t, server, conn) })
}

func columnsAreTheTables(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'ledger' ORDER BY position")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns := newColumns()
	i := 0
	for ; rows.Next(); i++ {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if i >= len(columns) || columns[i].name != name {
			t.Errorf("column %d of the table is %s, the insert has another", i, name)
		}
	}
	if i != len(columns) || rows.Err() != nil {
		t.Errorf("the table has %d columns, the insert %d (%v)", i, len(columns), rows.Err())
	}
}

func topicIsRecorded(t *testing.T, l *Ledger) {
	t.Helper()
	first := testTopicOf("recorded")
	got, err := l.OpenTopic(t.Context(), first)
	if err != nil || got.Lineage != 1 {
		t.Fatalf("first opening: %+v %v", got, err)
	}
	if got, err := l.OpenTopic(t.Context(), first); err != nil || got.Lineage != 1 {
		t.Errorf("second opening: %+v %v", got, err)
	}
	f := func(what string, change func(*Topic)) {
		t.Helper()
		other := first
		change(&other)
		if got, err := l.OpenTopic(t.Context(), other); err == nil || got.Lineage == 0 {
			t.Errorf("%s: %+v %v, want a refusal", what, got, err)
		}
	}
	f("made again", func(o *Topic) { o.ID = uuid.New() })
	f("more partitions", func(o *Topic) { o.Partitions++ })
	f("another spread", func(o *Topic) { o.Spread++ })
	f("another rule", func(o *Topic) { o.Scheme = "x" })
}

// owning is a fence that holds.
func owning() error { return nil }

func opened(t *testing.T, l *Ledger, name string) Topic {
	t.Helper()
	topic, err := l.OpenTopic(t.Context(), testTopicOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func insert(t *testing.T, l *Ledger, topic Topic, spans ...*Span) *Block {
	t.Helper()
	b := &Block{ID: uuid.New(), Topic: topic, Spans: spans, Fence: owning}
	if err := l.Insert(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func wantPosition(t *testing.T, l *Ledger, topic Topic, partition int32, next int64) {
	t.Helper()
	positions, err := l.Positions(t.Context(), topic, []int32{partition})
	if p := positions[partition]; err != nil || p.Next != next || p.Known != (next > 0) {
		t.Errorf("position of partition %d is %+v (%v), want %d", partition, p, err, next)
	}
}

func positionsFollowTheMarks(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic, other := opened(t, l, "positions"), opened(t, l, "other")
	wantPosition(t, l, topic, 0, 0)
	insert(t, l, topic, testSpan(0, 0, 10), testSpan(1, 0, 3))
	insert(t, l, topic, testSpan(0, 10, 11))
	empty := &Span{Partition: 1, Start: 3, End: 9, FirstLAT: 1_790_000_000_000, LastLAT: 1_790_000_000_500, Epoch: 4}
	insert(t, l, topic, empty) // ticks only: a mark without rows
	wantPosition(t, l, topic, 0, 11)
	wantPosition(t, l, topic, 1, 9)
	wantPosition(t, l, topic, 2, 0)
	wantPosition(t, l, other, 0, 0)
	positions, err := l.Positions(t.Context(), topic, []int32{1})
	if p := positions[1]; err != nil || p.LAT != empty.LastLAT || p.Epoch != 4 {
		t.Errorf("position %+v (%v), want the time and epoch of the last mark", p, err)
	}
}

// A partition that nobody has counted for days is found all the same.
func oldPositionsAreFound(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "old")
	later := func(s *Span, days int64) *Span {
		s.FirstLAT += days * 24 * time.Hour.Milliseconds()
		s.LastLAT += days * 24 * time.Hour.Milliseconds()
		return s
	}
	insert(t, l, topic, testSpan(0, 0, 5), testSpan(1, 0, 3))
	insert(t, l, topic, later(testSpan(0, 5, 7), 5))
	insert(t, l, topic, later(testSpan(0, 7, 9), 9))
	wantPosition(t, l, topic, 0, 9)
	wantPosition(t, l, topic, 1, 3)
	wantPosition(t, l, topic, 2, 0)
}

// What lies beyond a gap is counted, and only the gap is counted again.
func gapsAreTold(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "gap")
	insert(t, l, topic, testSpan(0, 2, 5))
	insert(t, l, topic, testSpan(0, 7, 9))
	positions, err := l.Positions(t.Context(), topic, []int32{0})
	p := positions[0]
	if err != nil || p.Next != 0 || !p.Known || !slices.Equal(p.Counted, []Range{{2, 5}, {7, 9}}) {
		t.Errorf("position %+v (%v), want 0 with 2 to 5 and 7 to 9 counted", p, err)
	}
	insert(t, l, topic, testSpan(0, 0, 2))
	insert(t, l, topic, testSpan(0, 5, 7))
	wantPosition(t, l, topic, 0, 9)
}

func brokenChainsAreRefused(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	f := func(name string, spans ...*Span) {
		t.Helper()
		topic := opened(t, l, name)
		for _, s := range spans {
			insert(t, l, topic, s)
		}
		if p, err := l.Positions(t.Context(), topic, []int32{0}); err == nil {
			t.Errorf("%s: position %+v, want an error", name, p)
		}
	}
	f("overlap", testSpan(0, 0, 5), testSpan(0, 4, 9))
	f("twice", testSpan(0, 0, 5), testSpan(0, 0, 5))
}

func marksHoldTheTotals(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "totals")
	insert(t, l, topic, testSpan(0, 0, 100), testSpan(1, 0, 50))
	var rows, marked uint64
	var gross, markGross, spend, markSpend int64
	err := conn.QueryRow(t.Context(), `SELECT countIf(advertiser > 0), sum(mark_rows), sum(gross), sum(mark_gross), sum(spend_nanos), sum(mark_spend_nanos)
FROM ledger WHERE topic_id = ?`, topic.ID).Scan(&rows, &marked, &gross, &markGross, &spend, &markSpend)
	if err != nil || rows != marked || rows != 150 || gross != markGross || gross != 150 || spend != markSpend || spend != 750 {
		t.Errorf("rows %d/%d gross %d/%d spend %d/%d (%v), want 150, 150, 750 twice each", rows, marked, gross, markGross, spend, markSpend, err)
	}
}

func foreignBlockIsSeen(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "foreign")
	insert(t, l, topic, testSpan(0, 0, 5))
	// The zombie's attempt is in doubt: it asks before it sends again.
	zombie := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 0, 7)}, Fence: owning}
	l.inDoubt, l.queryID = zombie.ID, "adtally-ledger-zombie"
	if err := l.Insert(t.Context(), zombie); !errors.Is(err, ErrForeign) {
		t.Errorf("insert over another owner's block: %v, want ErrForeign", err)
	}
	wantPosition(t, l, topic, 0, 5)
}

// A block in doubt whose partition was lost meanwhile must not be sent by the
// look for it.
func absentBlockIsOnlyFoundOut(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "absent")
	b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 0, 5)}, Fence: owning}
	l.inDoubt, l.queryID = b.ID, "adtally-ledger-absent"
	if err := l.Insert(t.Context(), b); !errors.Is(err, ErrAbsent) {
		t.Errorf("insert of a block in doubt: %v, want ErrAbsent", err)
	}
	wantPosition(t, l, topic, 0, 0)
	if err := l.Insert(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wantPosition(t, l, topic, 0, 5)
}

func lostAnswersAreResolved(t *testing.T, server *testkit.ClickHouse, direct clickhouse.Conn) {
	t.Helper()
	proxy := &cutter{target: server.NativeAddr()}
	cfg := server.AsWriter
	cfg.Addr = []string{proxy.start(t)}
	cfg.ReadTimeout = 5 * time.Second
	l := NewLedger(testkit.Open(t, cfg), "test")
	topic := opened(t, NewLedger(direct, "test"), "lost answers")

	proxy.loseAnswers.Store(true)
	b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 0, 50)}, Fence: owning}
	lost := false
	deadline := time.Now().Add(60 * time.Second)
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := l.Insert(ctx, b)
		cancel()
		if err == nil {
			break
		}
		lost = true
		if attempt == 3 {
			proxy.loseAnswers.Store(false)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if !lost {
		t.Error("no answer was lost: the test shows nothing")
	}
	wantPosition(t, l, topic, 0, 50)
	var gross int64
	if err := direct.QueryRow(t.Context(), "SELECT sum(gross) FROM ledger WHERE topic_id = ?", topic.ID).Scan(&gross); err != nil || gross != 50 {
		t.Errorf("gross is %d (%v), want 50", gross, err)
	}
}

func survivesKilledServer(t *testing.T, server *testkit.ClickHouse, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "killed")
	for start := int64(0); start < 50; start += 10 {
		if start == 20 {
			process, err := os.FindProcess(server.Pid())
			if err == nil {
				err = process.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, start, start+10)}, Fence: owning}
		deadline := time.Now().Add(60 * time.Second)
		for err := l.Insert(t.Context(), b); err != nil; err = l.Insert(t.Context(), b) {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	wantPosition(t, l, topic, 0, 50)
}
