package corrections

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

func TestParseVerdictsFailure(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := ParseVerdicts([]byte(text))
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want %q", text, err, part)
			}
		}
	}
	f("", "no lines")
	f("advertiser,day,planet\n", "line 1", `"planet"`, "campaign")
	f("advertiser,day\n7,20.11.2026\n", "line 2", "day", "2026-11-20")
	f("advertiser,day\n0,2026-11-20\n", "line 2", "id from 1")
	f("advertiser\n7\n", "line 2", "day is missing")
	f("advertiser,start,end\n7,2026-11-20T10:00:30Z,2026-11-20T11:00:00Z\n", "line 2", "whole minute")
	f("advertiser,start,end\n7,2026-11-20T11:00:00Z,2026-11-20T10:00:00Z\n", "line 2", "start before end")
	f("advertiser,day,events\n7,2026-11-20,0\n", "line 2", "whole number from 1")
	f("advertiser,day,event_type\n7,2026-11-20,view\n", "line 2", "impression")
	f("advertiser,day,campaign\n7,2026-11-20,x\n", "line 2", "campaign", "an id")
	f("advertiser,day,net\n7,2026-11-20,5\n", "line 2", "needs time")
	f(`{"advertiser":7,"day":"2026-11-20","events":true}`, "line 1", "events")
	f(`{"advertiser":7,"time":"2026-11-20T10:00:00Z","event_type":"click","campaign":2,"spend":"1.0000000001","currency":"USD"}`, "line 1", "9 places")
	f(`{"advertiser":7,"time":"2026-11-20T10:00:00Z","event_type":"click","campaign":2,"spend":"-1"}`, "line 1", "currency")
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func fill(t *testing.T) clickhouse.Conn {
	t.Helper()
	conn := testkit.Open(t, testkit.StartClickHouse(t).AsWriter)
	l := testkit.NewLedger(t, conn, 1)
	row := func(minute int, campaign uint64, net, spend int64) testkit.Row {
		return testkit.Row{
			Advertiser: 7, Minute: noon.Add(time.Duration(minute) * time.Minute), Type: 1,
			IDs: [5]uint64{campaign}, Texts: [7]string{"US", `a\n'b`, "", "", "", "", "USD"}, Net: net, Spend: spend,
		}
	}
	l.Block(t, noon.Add(time.Hour), testkit.Span{Rows: []testkit.Row{row(0, 2, 10, 101), row(1, 2, 10, 200), row(0, 3, 4, 40)}})
	l.Block(t, noon.Add(2*time.Hour), testkit.Span{Rows: []testkit.Row{row(0, 2, 5, 50)}})
	return conn
}

type sums struct {
	net, invalid, gross, spend int64
}

func read(t *testing.T, conn clickhouse.Conn, where string) (s sums) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT sum(net), sum(invalid), sum(gross), sum(spend_nanos) FROM ledger WHERE advertiser = 7 AND "+where).Scan(&s.net, &s.invalid, &s.gross, &s.spend); err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t *testing.T, conn clickhouse.Conn, text string) error {
	t.Helper()
	verdicts, err := ParseVerdicts([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Apply(t.Context(), conn, Why{Kind: "reclassification", Reason: "r", Author: "a", Reference: "f", Digest: hex.EncodeToString([]byte(text))},
		func(ctx context.Context) ([]Row, error) { return Reclassify(ctx, conn, verdicts) })
	return err
}

// TestCorrections changes whole cells, parts of cells and amounts, and holds that
// gross stays, spend is exact, and the batches join like any others.
func TestCorrections(t *testing.T) {
	conn := fill(t)
	if err := apply(t, conn, "advertiser,day,campaign,region\n7,2026-11-20,3,a\\n'b\n"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, conn, "campaign = 3"); got != (sums{net: 0, invalid: 4, gross: 4, spend: 0}) {
		t.Errorf("a whole cell: %+v", got)
	}
	// 17 of campaign 2: all 15 of the first minute with their 151, then 2 of 10
	// with a fifth of 200.
	part := "advertiser,day,campaign,events\n7,2026-11-20,2,17\n"
	if err := apply(t, conn, part); err != nil {
		t.Fatal(err)
	}
	if got := read(t, conn, "campaign = 2"); got != (sums{net: 8, invalid: 17, gross: 25, spend: 160}) {
		t.Errorf("a part of cells: %+v", got)
	}
	if got := read(t, conn, "invalid_flags > 0"); got.invalid != 21 {
		t.Errorf("flagged %+v", got)
	}
	if err := apply(t, conn, part); !errors.Is(err, ErrApplied) {
		t.Errorf("the same file again: %v", err)
	}
	if err := apply(t, conn, "advertiser,day,campaign,events\n7,2026-11-20,2,9\n"); err == nil || !strings.Contains(err.Error(), "only 8 of the 9") {
		t.Errorf("more events than there are: %v", err)
	}
	if err := apply(t, conn, "advertiser,day,country\n7,2026-11-20,ZZ\n"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("no cell: %v", err)
	}
	if err := apply(t, conn, `{"advertiser":7,"time":"2026-11-20T12:00:00Z","event_type":"impression","campaign":9,"net":-2,"spend":"-0.000000005","currency":"USD"}`); err != nil {
		t.Fatal(err)
	}
	if got := read(t, conn, "campaign = 9"); got != (sums{net: -2, gross: -2, spend: -5}) {
		t.Errorf("an amount: %+v", got)
	}
	reader := books.NewReader(conn)
	topics, err := reader.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) != 2 || topics[0].Name != "corrections" {
		t.Errorf("topics %+v: corrections must never be the newest", topics)
	}
	tail, err := reader.Tail(t.Context(), topics, nil, books.Limit{})
	if err != nil || len(tail.Gaps)+len(tail.Overlaps) > 0 || len(tail.To) != 2 {
		t.Errorf("tail %+v: %v", tail, err)
	}
	// Minutes that the ledger keeps no longer cannot be corrected.
	err = conn.Exec(t.Context(), "INSERT INTO dropped_days (day, through, cut) SETTINGS async_insert = 0 VALUES ('2026-11-20', '2026-11-20 12:00:00', 1)")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"advertiser,day,campaign\n7,2026-11-20,2\n", `{"advertiser":7,"time":"2026-11-20T12:00:00Z","event_type":"click","campaign":9,"net":1}`} {
		if err := apply(t, conn, text); !errors.Is(err, books.ErrDropped) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTwoAtOnce lets two correct at the same time: both land, one after the other.
func TestTwoAtOnce(t *testing.T) {
	conn := fill(t)
	done := make(chan error, 2)
	for _, campaign := range []string{"2", "3"} {
		go func() { done <- apply(t, conn, "advertiser,day,campaign\n7,2026-11-20,"+campaign+"\n") }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := read(t, conn, "true"); got != (sums{net: 0, invalid: 29, gross: 29, spend: 0}) {
		t.Errorf("%+v", got)
	}
}
