package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const killEnv = "ADTALLY_SPOOL_KILL"

// TestKill is row 1: a process that appends from 16 goroutines and drains is
// killed at a random moment, again and again on one directory. What it said was
// acknowledged was drained before or is drained after.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		untilKilled(t, dir)
		return
	}
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	acked, drained := map[string]bool{}, map[string]bool{}
	for round := range rounds {
		killOnce(t, dir, round, 200+rand.IntN(4000), acked, drained)
	}
	b := realDir(t, dir)
	b.out.took = make(chan struct{}, 1)
	left := int(b.Stats().Events)
	stop := b.start(t)
	for len(b.out.got()) < left {
		<-b.out.took
	}
	stop()
	for _, id := range b.out.got() {
		drained[id] = true
	}
	for id := range acked {
		if !drained[id] {
			t.Fatalf("%s was acknowledged and is lost", id)
		}
	}
	for id := range drained {
		if strings.HasPrefix(id, "WRONG") {
			t.Fatal(id)
		}
	}
	if n := b.counter(t, "adtally_spool_damaged_segments_total"); n != 0 {
		t.Errorf("%d damaged segments", n)
	}
	t.Logf("%d kills, %d events acknowledged, %d left in the spool at last", rounds, len(acked), left)
}

// killOnce kills the child after it has written that many lines.
func killOnce(t *testing.T, dir string, round, lines int, acked, drained map[string]bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir, fmt.Sprintf("ROUND=%d", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(out); s.Scan(); lines-- {
		if id, ok := strings.CutPrefix(s.Text(), "acked "); ok {
			acked[id] = true
		} else if id, ok := strings.CutPrefix(s.Text(), "drained "); ok {
			drained[id] = true
		} else {
			t.Errorf("child: %s", s.Text())
		}
		if lines == 0 {
			_ = cmd.Process.Kill() // it goes on to write until it is gone
		}
	}
	if err := cmd.Wait(); err == nil || lines > 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func untilKilled(t *testing.T, dir string) {
	t.Helper()
	b := realDir(t, dir)
	var mu sync.Mutex
	say := func(what string, entries []Entry) {
		mu.Lock()
		defer mu.Unlock()
		var text strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&text, "%s %s\n", what, idOf(e))
		}
		_, _ = os.Stdout.WriteString(text.String()) // one write: a line is whole
	}
	go func() { _ = b.Run(t.Context(), sayDrain{say}) }()
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				e := []Entry{event(fmt.Sprintf("r%sc%di%d", os.Getenv("ROUND"), c, i), i%600)}
				if err := b.Append(e); err != nil {
					t.Error(err)
					return
				}
				say("acked", e)
			}
		})
	}
	wg.Wait()
}

// sayDrain takes about half of what it is given.
type sayDrain struct{ say func(string, []Entry) }

func (d sayDrain) Produce(_ context.Context, entries []Entry) error {
	if rand.IntN(2) == 0 {
		return errors.New("kafka is down")
	}
	d.say("drained", entries)
	return nil
}

func (d sayDrain) Side(context.Context, []Entry) error { return errors.New("nothing is old") }
