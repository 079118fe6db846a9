package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// oracle knows what was promised.
type oracle struct {
	appended, acked, drained map[string]bool
	next                     int
}

// sim is one life of a disk: the machine crashes several times, and calls fail.
type sim struct {
	oracle
	rng    *rand.Rand
	faults bool
	disk   *memDisk
}

// TestCrash is rows 1 and 2: the machine stops at a random call, and any part of
// what was not synced is gone. Every event that was acknowledged is drained at
// least once, in this life or a later one, and nothing else appears. Half of the
// seeds add failing calls: rows 9 and 10.
func TestCrash(t *testing.T) {
	seeds := uint64(1000)
	if testing.Short() {
		seeds = 100
	}
	var acked, drained, crashes, poisoned int
	for seed := range seeds {
		s := &sim{
			oracle: oracle{map[string]bool{}, map[string]bool{}, map[string]bool{}, 0},
			rng:    rand.New(rand.NewPCG(seed, 7)), faults: seed%2 == 1, disk: newMemDisk(seed),
		}
		for range 1 + s.rng.IntN(4) {
			poisoned += s.live(t, 20+s.rng.IntN(150))
			s.disk = s.disk.crash()
			crashes++
		}
		b := s.open(t)
		b.drain(t)
		s.note(t, b)
		for id := range s.acked {
			if !s.drained[id] {
				t.Fatalf("seed %d: %s was acknowledged and is lost", seed, id)
			}
		}
		if n := b.counter(t, "adtally_spool_lost_events_total"); n != 0 {
			t.Fatalf("seed %d: %d events reported lost", seed, n)
		}
		if n := b.counter(t, "adtally_spool_damaged_segments_total"); n != 0 && !s.faults {
			t.Fatalf("seed %d: %d segments taken for damaged", seed, n)
		}
		if n := b.Stats(); n.Segments != 0 || n.Events != 0 {
			t.Fatalf("seed %d: left after the drain: %+v", seed, n)
		}
		acked, drained = acked+len(s.acked), drained+len(s.drained)
	}
	t.Logf("%d seeds, %d crashes, %d events acknowledged, %d drained, %d segments poisoned", seeds, crashes, acked, drained, poisoned)
	if poisoned == 0 || acked < int(seeds)*10 {
		t.Error("the faults do not reach the spool")
	}
}

func (s *sim) open(t *testing.T) *bench {
	t.Helper()
	cfg := small()
	cfg.MaxBytes = 64 << 10
	b, err := tryOpen(cfg, s.disk)
	if err != nil {
		if errors.Is(err, errCrashed) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		t.Fatal(err)
	}
	b.out.before = func(context.Context) error {
		if s.rng.IntN(4) == 0 {
			return errors.New("kafka is down")
		}
		return nil
	}
	if s.disk.crashAt == 0 {
		b.out.before = nil
	}
	return b
}

// live runs the spool until the crash, ops calls from now.
func (s *sim) live(t *testing.T, ops int) (poisoned int) {
	t.Helper()
	s.disk.crashAt = s.disk.ops + ops
	s.disk.fault = func(op, _ string) error {
		reads := op == "open" || op == "read" || op == "size" || op == "list" // see TestUnreadable
		if s.faults && !reads && s.rng.IntN(30) == 0 {
			return []error{syscall.EIO, syscall.ENOSPC}[s.rng.IntN(2)]
		}
		return nil
	}
	b := s.open(t)
	if b == nil {
		s.disk.crashAt = 1
		return 0
	}
	defer func() { s.note(t, b) }()
	for s.disk.ops < s.disk.crashAt {
		switch n := s.rng.IntN(20); {
		case n < 12:
			s.append(t, b)
		case n < 19:
			_, _ = b.reader.step(t.Context(), b.out)
			s.note(t, b)
		default:
			b.seal()
		}
		// A disk without calls would never crash.
		s.disk.mu.Lock()
		s.disk.ops++
		s.disk.mu.Unlock()
	}
	return b.counter(t, "adtally_spool_poisoned_segments_total")
}

// append appends a group of several callers.
func (s *sim) append(t *testing.T, b *bench) {
	t.Helper()
	var batches [][]Entry
	for range 1 + s.rng.IntN(4) {
		var batch []Entry
		for range 1 + s.rng.IntN(3) {
			s.next++
			e := event(fmt.Sprintf("e%d", s.next), s.rng.IntN(300))
			s.appended[idOf(e)] = true
			batch = append(batch, e)
		}
		batches = append(batches, batch)
	}
	copies := make([][]Entry, len(batches))
	for i, batch := range batches {
		for _, e := range batch {
			e.Data = bytes.Clone(e.Data)
			copies[i] = append(copies[i], e)
		}
	}
	for i, err := range b.put(copies...) {
		for j := range batches[i] {
			if err == nil {
				s.acked[idOf(batches[i][j])] = true
			}
			clear(copies[i][j].Data) // the caller's memory is its own again
		}
	}
}

// note checks what was drained.
func (s *sim) note(t *testing.T, b *bench) {
	t.Helper()
	for _, id := range b.out.got() {
		if !s.appended[id] {
			t.Fatalf("%s was drained and never appended", id)
		}
		s.drained[id] = true
	}
	if len(b.out.side) > 0 {
		t.Fatal("young events went to the side")
	}
	b.out.produced = b.out.produced[:0]
}
