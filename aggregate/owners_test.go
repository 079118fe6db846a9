package aggregate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/adtally/adtally/internal/clickhouse"
)

func ownersAreNoted(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	first, second := NewLedger(conn, "a"), NewLedger(conn, "b")
	topic := opened(t, first, "owned")
	ids := []int32{0, 1}
	claimed := func(l *Ledger) Claims {
		t.Helper()
		claims, err := l.Claimed(t.Context(), topic, ids)
		if err != nil {
			t.Fatal(err)
		}
		return claims
	}
	nobody := claimed(first)
	if len(nobody.Unreleased) != 0 || nobody.Replicated {
		t.Errorf("claims at first: %+v", nobody)
	}
	if err := first.Claim(t.Context(), topic, ids, nobody); err != nil {
		t.Fatal(err)
	}
	if c := claimed(first); len(c.Unreleased) != 0 {
		t.Errorf("our own claims: %+v", c)
	}
	if err := second.Claim(t.Context(), topic, ids[1:], nobody); err == nil {
		t.Error("two claim a partition at the same time, and the second is not told")
	}
	if err := second.Release(t.Context(), topic, ids[1:]); err != nil {
		t.Fatal(err)
	}
	if c := claimed(second); len(c.Unreleased) != 1 || c.Unreleased[0] != first.owner {
		t.Errorf("claims of the first: %+v, want partition 0 of group a", c)
	}
	if err := first.Release(t.Context(), topic, ids[:1]); err != nil {
		t.Fatal(err)
	}
	if c := claimed(second); len(c.Unreleased) != 0 {
		t.Errorf("claims after the release: %+v", c)
	}
}

// A zombie has opened its insert when the next owner comes, and goes on when
// that has ended it.
func openInsertsAreEnded(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	zombie, next := NewLedger(conn, "a"), NewLedger(conn, "a")
	topic := opened(t, next, "zombie")
	open, ended := make(chan struct{}), make(chan struct{})
	b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 0, 5)}, Fence: func() error {
		close(open)
		<-ended
		return nil // as if its clock had stood still
	}}
	result := make(chan error, 1)
	go func() { result <- zombie.Insert(context.Background(), b) }()
	<-open
	if err := next.EndOthers(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := <-result; !errors.Is(err, ErrAbsent) {
		t.Errorf("insert of the zombie: %v, want ErrAbsent", err)
	}
	wantPosition(t, next, topic, 0, 0)
}

func fencedBlockIsNotSent(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "fenced")
	b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 0, 5)}, Fence: func() error { return errNoLease }}
	if err := l.Insert(t.Context(), b); !errors.Is(err, ErrAbsent) || !errors.Is(err, errNoLease) {
		t.Errorf("fenced insert: %v", err)
	}
	wantPosition(t, l, topic, 0, 0)
}

// The first block of an ownership is read back, and shows whoever counts the
// same offsets.
func firstBlockIsProven(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l, other := NewLedger(conn, "test"), NewLedger(conn, "test")
	topic := opened(t, l, "proven")
	insert(t, other, topic, testSpan(0, 0, 9))
	b := &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(0, 5, 7)}, Fence: owning, Prove: true}
	if err := l.Insert(t.Context(), b); !errors.Is(err, ErrForeign) {
		t.Errorf("insert within another's block: %v, want ErrForeign", err)
	}
	b = &Block{ID: uuid.New(), Topic: topic, Spans: []*Span{testSpan(1, 0, 7)}, Fence: owning, Prove: true}
	if err := l.Insert(t.Context(), b); err != nil {
		t.Error(err)
	}
}

func unsafeTableIsRefused(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	f := func(setting, unsafe, safe string) {
		t.Helper()
		alter := func(value string) {
			if err := conn.Exec(t.Context(), "ALTER TABLE ledger MODIFY SETTING "+setting+" = "+value); err != nil {
				t.Fatal(err)
			}
		}
		alter(unsafe)
		defer alter(safe)
		if _, err := l.OpenTopic(t.Context(), testTopicOf("unsafe")); !errors.Is(err, errServer) {
			t.Errorf("%s = %s: %v, want a refusal", setting, unsafe, err)
		}
	}
	f("fsync_after_insert", "0", "1")
	f("non_replicated_deduplication_window", "0", "1000")
}

func TestLease(t *testing.T) {
	var answer error
	var code int16
	l := &lease{
		group: "g", valid: 50 * time.Millisecond, now: make(chan struct{}, 1), change: make(chan struct{}),
		member: func() (string, int32) { return "m", 3 },
		beat: func(_ context.Context, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error) {
			if req.Group != "g" || req.MemberID != "m" || req.Generation != 3 {
				t.Errorf("heartbeat %+v", req)
			}
			return &kmsg.HeartbeatResponse{ErrorCode: code}, answer
		},
	}
	f := func(what string, beat error, refused *kerr.Error, valid bool) {
		t.Helper()
		l.renewed = time.Now().Add(-time.Hour)
		answer, code = beat, 0
		if refused != nil {
			code = refused.Code
		}
		l.renew(t.Context())
		if age, _ := l.age(); (age < time.Minute) != valid {
			t.Errorf("%s: the lease is %s old", what, age)
		}
	}
	f("answered", nil, nil, true)
	f("rebalance", nil, kerr.RebalanceInProgress, true)
	f("lost", context.DeadlineExceeded, nil, false)
	f("unknown member", nil, kerr.UnknownMemberID, false)
	f("fenced instance", nil, kerr.FencedInstanceID, false)
	f("old generation", nil, kerr.IllegalGeneration, false)

	if err := l.hold(); !errors.Is(err, errNoLease) {
		t.Errorf("hold of an old lease: %v", err)
	}
	l.renewed = time.Now().Add(-2 * time.Minute).Round(0) // the machine slept: only the time of day has gone on
	if err := l.hold(); !errors.Is(err, errNoLease) {
		t.Errorf("hold after sleep: %v", err)
	}
	code = 0
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { l.run(ctx); close(ended) }()
	if err := l.hold(); err != nil {
		t.Errorf("hold of a lease that is renewed: %v", err)
	}
	cancel()
	<-ended
}

func TestPace(t *testing.T) {
	p := newPace(Config{FlushInterval: 100 * time.Millisecond, MaxFlushInterval: time.Second})
	f := func(what string, change func(), want time.Duration) {
		t.Helper()
		if change(); p.now != want {
			t.Errorf("%s: %s, want %s", what, p.now, want)
		}
	}
	f("a quick insert", func() { p.wrote(10*time.Millisecond, 0) }, 100*time.Millisecond)
	f("a slow insert", func() { p.wrote(60*time.Millisecond, 0) }, 200*time.Millisecond)
	f("a refused block", p.failed, 400*time.Millisecond)
	f("many of them", func() { p.failed(); p.failed(); p.failed() }, time.Second)
	f("a quick insert again", func() { p.wrote(100*time.Millisecond, 0) }, 500*time.Millisecond)
	f("neither", func() { p.wrote(200*time.Millisecond, 0) }, 500*time.Millisecond)
	f("quick ones", func() { p.wrote(0, 0); p.wrote(0, 0); p.wrote(0, 0) }, 100*time.Millisecond)
	p = newPace(Config{FlushInterval: 100 * time.Millisecond, MaxFlushInterval: time.Second})
	p.wrote(20*time.Millisecond, 0)
	p.wrote(time.Millisecond, 0)
	if got := p.wait(); got != 82500*time.Microsecond {
		t.Errorf("a block is begun after %s, want the interval less what blocks take", got)
	}
	if p.wrote(40*time.Millisecond, 0); p.wait() != 75*time.Millisecond {
		t.Errorf("a block is begun after %s, want three quarters of the interval at least", p.wait())
	}
	if p.holds(0, true) {
		t.Error("a flush of fresh records is held up")
	}
	p.wrote(0, 2*time.Second)
	if !p.holds(999*time.Millisecond, true) || p.holds(999*time.Millisecond, false) || p.holds(time.Second, true) {
		t.Error("old records must be held while there are more, and not longer than the widest interval")
	}
}
