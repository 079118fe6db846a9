package aggregate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
)

// viewsBy are impressions of one campaign by the users, a minute apart.
func viewsBy(t *testing.T, users ...uint64) *window.Delta {
	t.Helper()
	var values [][]byte
	var key proto.IDKey
	for i, user := range users {
		ev := &proto.Event{
			Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: 7, CampaignId: 3, Country: "DE", Device: "mobile",
			TimeUs: 1_790_000_100_000_000 + int64(i)*60_000_000, UserHash: user,
		}
		ev.SetEventID(key.Hash(uint64(i), nil))
		ev.SetImpressionID(ev.EventID())
		value, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value, value) // the repeat is no net impression
	}
	s := &Span{FirstLAT: 1_790_000_000_000 + int64(len(users))*60_000}
	foldInto(s, values...)
	return &s.Delta
}

type brokenUniques struct {
	fails int
	got   []Users
}

func (b *brokenUniques) InsertUsers(_ context.Context, cells []Users) error {
	if b.fails--; b.fails >= 0 {
		return errors.New("as the test asked")
	}
	b.got = append(b.got, cells...)
	return nil
}

func TestUsersWaitUntilTheyAreWritten(t *testing.T) {
	store := &brokenUniques{fails: 2}
	u := newUniques(store, zerolog.Nop(), metrics.NewSet())
	u.add(viewsBy(t, 11, 12, 11, 0))
	u.write()
	u.add(viewsBy(t, 13))
	u.write()
	u.write()
	u.write() // nothing waits any more
	if len(store.got) != 1 {
		t.Fatalf("%d cells are written, want one: %+v", len(store.got), store.got)
	}
	c := store.got[0]
	slices.Sort(c.Hashes)
	if c.Advertiser != 7 || c.Campaign != 3 || c.Country != "DE" || c.Device != "mobile" || c.Quarter%900 != 0 || !slices.Equal(c.Hashes, []uint64{11, 11, 12, 13}) {
		t.Errorf("cell %+v", c)
	}
}

func usersAreCounted(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	u := newUniques(NewLedger(conn, "test"), zerolog.Nop(), metrics.NewSet())
	for _, users := range [][]uint64{{1, 2, 3}, {3, 4}, {1, 2, 3}} { // also again
		u.add(viewsBy(t, users...))
		u.write()
	}
	var n uint64
	if err := conn.QueryRow(t.Context(), "SELECT uniqCombined64Merge(users) FROM uniques WHERE advertiser = 7").Scan(&n); err != nil || n != 4 {
		t.Errorf("%d users (%v), want 4", n, err)
	}
}

// noted is a ledger that also notes users.
type noted struct {
	*faultyLedger
	users sync.Map
}

func (n *noted) InsertUsers(_ context.Context, cells []Users) error {
	for _, c := range cells {
		for _, user := range c.Hashes {
			n.users.Store(user, true)
		}
	}
	return nil
}

// An owner has died between its block and its users: the next one tells them.
func TestUsersAreToldAgain(t *testing.T) {
	b := newBench(t, 1)
	ledger := &noted{faultyLedger: &faultyLedger{t: t}}
	var key proto.IDKey
	for id := range uint64(20) {
		ev := &proto.Event{Type: proto.EventType_EVENT_TYPE_IMPRESSION, AdvertiserId: 1, CampaignId: 1, TimeUs: time.Now().UnixMicro(), UserHash: id + 1}
		ev.SetEventID(key.Hash(id, nil))
		value, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.client.ProduceSync(t.Context(), &kgo.Record{Topic: testTopic, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		b.sent++
		b.unique[id] = struct{}{}
	}
	stop := b.start(ledger)
	b.waitCounted(ledger.faultyLedger)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	ledger.users.Clear() // as if it had died before
	b.start(ledger)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n := 0
		ledger.users.Range(func(any, any) bool { n++; return true })
		if n == 20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d users are told, want 20", n)
		}
	}
}
