package aggregate

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
)

// placed is a ledger whose partition 0 is counted up to a position; nothing is
// written to it.
type placed struct {
	faultyLedger
	position Position
	// moves is set if somebody counts on, and owner if he has noted himself.
	moves bool
	owner Owner
}

func (p *placed) Positions(context.Context, Topic, []int32) (map[int32]Position, error) {
	if p.moves {
		p.position.Next++
	}
	return map[int32]Position{0: p.position}, nil
}

func (p *placed) Claimed(context.Context, Topic, []int32) (Claims, error) {
	if p.owner.Group == "" {
		return Claims{}, nil
	}
	return Claims{Unreleased: map[int32]Owner{0: p.owner}}, nil
}

// takes asks where an instance would begin to read.
func (b *bench) takes(l *placed) (start int64, err error) {
	b.t.Helper()
	cfg := testConfig()
	cfg.SessionTimeout = 100 * time.Millisecond
	a, err := New(cfg, b.topic, l, nil, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		b.t.Fatal(err)
	}
	a.client = b.client
	starts, _, err := a.starts(b.t.Context(), []int32{0})
	return starts[0], err
}

func (b *bench) wantRefusal(l *placed, remedy string) {
	b.t.Helper()
	if start, err := b.takes(l); !errors.As(err, new(*refusal)) || !strings.Contains(err.Error(), remedy) {
		b.t.Errorf("reading begins at %d (%v), want a refusal that says: %s", start, err, remedy)
	}
}

func TestStartFollowsThePosition(t *testing.T) {
	b := newBench(t, 1)
	b.send(rand.New(rand.NewPCG(1, 9)), 100)
	now := time.Now().UnixMilli()
	f := func(l *placed, want int64) {
		t.Helper()
		if start, err := b.takes(l); err != nil || start != want {
			t.Errorf("position %+v: reading begins at %d (%v), want %d", l.position, start, err, want)
		}
	}
	f(&placed{}, 0)
	f(&placed{position: Position{Next: 50, Known: true, LAT: now}}, 0)
	f(&placed{position: Position{Next: 50, Known: true, LAT: now + (3 * time.Hour).Milliseconds()}}, 50)
	f(&placed{position: Position{Next: 50, Known: true, LAT: now}, owner: Owner{ID: uuid.New(), Group: "a ghost"}}, 0)
}

func TestStartIsRefusedWhereTheLogDoesNotBearIt(t *testing.T) {
	b := newBench(t, 1)
	b.send(rand.New(rand.NewPCG(2, 9)), 100)
	now := time.Now().UnixMilli()
	b.wantRefusal(&placed{position: Position{Next: 101, Known: true, LAT: now, Epoch: -1}}, "the log was cut back; restore the topic")
	offsets := make(kadm.Offsets)
	offsets.AddOffset(testTopic, 0, 20, -1)
	if _, err := kadm.NewClient(b.client).DeleteRecords(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	b.wantRefusal(&placed{position: Position{Epoch: -1}}, "nothing of it is counted")
	b.wantRefusal(&placed{position: Position{Next: 19, Known: true, LAT: now, Epoch: -1}}, "1 events are gone that were not counted")
	b.wantRefusal(&placed{position: Position{Next: 50, Known: true, LAT: now, Epoch: -1}}, "raise retention.ms")
}

func TestStartIsRefusedWhereTheLogWasWrittenAnew(t *testing.T) {
	b := newBench(t, 1)
	b.send(rand.New(rand.NewPCG(3, 9)), 50)
	epoch := b.leaderEpoch()
	for range 50 { // each may leave the partition where it is
		b.cluster.ShufflePartitionLeaders()
	}
	b.send(rand.New(rand.NewPCG(4, 9)), 50)
	now := time.Now().UnixMilli()
	b.wantRefusal(&placed{position: Position{Next: 51, Known: true, LAT: now, Epoch: epoch}}, "cut back and written anew")
}

func TestLivingOwnerIsNotTakenForAGhost(t *testing.T) {
	b := newBench(t, 1)
	b.send(rand.New(rand.NewPCG(5, 9)), 10)
	b.wantRefusal(&placed{moves: true, owner: Owner{ID: uuid.New(), Group: "others"}}, "an instance of group others")
}

// leaderEpoch is that of the last record.
func (b *bench) leaderEpoch() int32 {
	b.t.Helper()
	ends, err := kadm.NewClient(b.client).ListEndOffsets(b.t.Context(), testTopic)
	if err != nil {
		b.t.Fatal(err)
	}
	end, _ := ends.Lookup(testTopic, 0)
	return end.LeaderEpoch
}
