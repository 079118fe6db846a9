package main

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// The faults that counting must survive, on real processes. After each the
// books are those of a sum by hand, and adtally audit finds nothing.

func TestCountingFaults(t *testing.T) {
	b := startBooks(t)
	for _, f := range []struct {
		name string
		test func(t *testing.T, c *counting)
	}{
		{"15 killed at each step", killedAtEachStep},
		{"16 answers lost", answersLost},
		{"17 ClickHouse killed within an insert", clickHouseKilled},
		{"18 ClickHouse stopped", clickHouseStopped},
		{"19 stopped before the block is sent", stoppedBeforeSend},
		{"19 stopped within the block", stoppedWithinSend},
		{"20 two groups", twoGroups},
		{"21 rebalance storm", rebalanceStorm},
		{"22 offsets of the group", groupOffsets},
		{"33 a part is lost", partLost},
		{"36 merges stopped", mergesStopped},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := startCounting(t, b)
			f.test(t, c)
			c.replays()
		})
	}
}

func killedAtEachStep(t *testing.T, c *counting) {
	t.Helper()
	stop := c.flow()
	defer stop()
	for _, at := range []stage{atQuery, atHeader, atHalf, atSent, atAnswered, atReadBack} {
		w := c.start("worker", "--aggregate-instance-id", "one")
		skip := rand.IntN(4)
		if at == atReadBack {
			skip = 0 // only the first block of an ownership is read back
		}
		killed := c.tap.arm(at, skip, func() bool { w.end(syscall.SIGKILL); return false })
		c.wait(fmt.Sprintf("an insert to come to stage %d", at), func() bool { return closed(killed) })
	}
	c.start("worker", "--aggregate-instance-id", "one")
	stop()
	c.settle()
	c.wait("every user to be known", func() bool {
		return c.count("SELECT uniqCombined64Merge(users) FROM uniques WHERE advertiser = ?", c.advertiser) == countingUsers
	})
}

func answersLost(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	stop := c.flow()
	defer stop()
	for range 5 {
		lost := c.tap.arm(atSent, rand.IntN(3), func() bool {
			time.Sleep(200 * time.Millisecond) // the server is done meanwhile
			return false
		})
		c.wait("an answer to be lost", func() bool { return closed(lost) })
	}
	stop()
	c.settle()
	if n := w.metric("adtally_aggregate_insert_retries_total"); n != 0 {
		t.Logf("%v blocks were sent again", n)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func clickHouseKilled(t *testing.T, c *counting) {
	t.Helper()
	c.start("worker")
	stop := c.flow()
	defer stop()
	for _, at := range []stage{atHalf, atSent, atHeader} {
		killed := c.tap.arm(at, rand.IntN(3), func() bool {
			if err := syscall.Kill(c.server.Pid(), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			return true
		})
		c.wait("ClickHouse to be killed", func() bool { return closed(killed) })
		c.wait("ClickHouse to be back", func() bool { _, err := c.counted(); return err == nil })
	}
	stop()
	c.settle()
}

// The log goes on while nothing can be written: what is not read stays in Kafka,
// and memory does not grow with it.
func clickHouseStopped(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker", "--aggregate-max-events", "2000", "--aggregate-max-queued", "2000")
	c.produce(1000)
	c.settle()
	if err := syscall.Kill(c.server.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(c.server.Pid(), syscall.SIGCONT) } // it may have ended
	defer resume()
	for range 60 {
		c.produce(1000)
	}
	c.wait("fetching to pause", func() bool { return w.metric("adtally_aggregate_partition_pauses_total") > 0 })
	read := func() float64 { return w.metric("adtally_aggregate_events_folded_total") }
	before := read()
	time.Sleep(3 * time.Second) // the stop has a length
	if n := read(); n > 30_000 || n != before {
		t.Errorf("%v events are in memory, after 3 s %v: want a bound", before, n)
	}
	resume()
	c.settle()
}

// A zombie: its insert is open, another owner takes over, and it goes on.
func stoppedBeforeSend(t *testing.T, c *counting) {
	t.Helper()
	zombieAt(t, c, atHeader)
}

// The same, but half of the block is on the server already.
func stoppedWithinSend(t *testing.T, c *counting) {
	t.Helper()
	zombieAt(t, c, atHalf)
}

func zombieAt(t *testing.T, c *counting, at stage) {
	t.Helper()
	zombie := c.start("zombie")
	c.produce(500)
	c.settle()
	stop := c.flow()
	defer stop()
	tookOver, wakeUp := make(chan struct{}), make(chan struct{})
	stopped := c.tap.arm(at, 2, func() bool {
		zombie.signal(syscall.SIGSTOP)
		close(tookOver)
		<-wakeUp
		return true
	})
	c.wait("an insert to be stopped", func() bool { return closed(tookOver) })
	before := c.count("SELECT max(b_end) FROM ledger WHERE topic_id = ?", c.id())
	c.start("heir")
	c.wait("the heir to count", func() bool {
		return c.count("SELECT max(b_end) FROM ledger WHERE topic_id = ?", c.id()) > before+100
	})
	time.Sleep(6 * time.Second) // two session timeouts, as the stop must last
	zombie.signal(syscall.SIGCONT)
	close(wakeUp)
	c.wait("the insert to go on", func() bool { return closed(stopped) })
	time.Sleep(time.Second) // the zombie does what it would
	stop()
	c.settle()
}

func twoGroups(t *testing.T, c *counting) {
	t.Helper()
	c.start("first")
	c.produce(500)
	c.settle()
	stop := c.flow()
	defer stop()
	second := c.start("second", "--aggregate-group", "another")
	second.refuses("adtally-aggregate", "two groups")
	stop()
	c.settle()
}

func rebalanceStorm(t *testing.T, c *counting) {
	t.Helper()
	c.start("steady")
	stop := c.flow()
	defer stop()
	names := []string{"a", "b"}
	workers := map[string]*worker{}
	for range 12 {
		name := names[rand.IntN(len(names))]
		if w := workers[name]; w == nil {
			workers[name] = c.start(name)
		} else {
			w.end([]syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL}[rand.IntN(3)])
			delete(workers, name)
		}
		pause(300*time.Millisecond, 1500*time.Millisecond)
	}
	stop()
	c.settle()
}

func groupOffsets(t *testing.T, c *counting) {
	t.Helper()
	const group = "adtally-aggregate"
	offsets := func(at int64) kadm.Offsets {
		var o kadm.Offsets
		for p := range int32(countingPartitions) {
			o.AddOffset(c.cfg.Topic, p, at, -1)
		}
		return o
	}
	for _, meddle := range []func() error{
		func() error { return c.admin().CommitAllOffsets(t.Context(), group, offsets(0)) },
		func() error { return c.admin().CommitAllOffsets(t.Context(), group, offsets(1<<40)) },
		func() error { _, err := c.admin().DeleteGroup(t.Context(), group); return err },
	} {
		w := c.start("worker")
		c.produce(1000)
		c.settle()
		w.end(syscall.SIGTERM)
		if err := meddle(); err != nil {
			t.Fatal(err)
		}
		c.produce(500)
	}
	c.start("worker")
	c.settle()
}

// The server loses a batch that it has acknowledged, from within what is
// counted: it is counted again while counting goes on, and nothing else.
func partLost(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	for range 5 {
		c.produce(300)
		c.settle()
	}
	err := c.conn.Exec(t.Context(), `DELETE FROM ledger WHERE topic_id = $1 AND batch_id IN (
SELECT batch_id FROM ledger WHERE topic_id = $1 AND advertiser = 0 AND mark_rows > 0 AND b_start > 0 ORDER BY b_start LIMIT 1)`, c.id())
	if err != nil {
		t.Fatal(err)
	}
	if code, text := c.audit(); code != exitFailed {
		t.Fatalf("audit of the loss: %d %s", code, text)
	}
	c.settle()
	if w.metric(`adtally_audit_faults_total{kind="gap"}`) == 0 {
		t.Error("no gap was noticed: the test shows nothing")
	}
}

func mergesStopped(t *testing.T, c *counting) {
	t.Helper()
	alter := func(change string) {
		t.Helper()
		if err := c.conn.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	w := c.start("worker")
	alter("SYSTEM STOP MERGES ledger")
	alter("ALTER TABLE ledger MODIFY SETTING parts_to_delay_insert = 10, parts_to_throw_insert = 20")
	defer alter("SYSTEM START MERGES ledger")
	stop := c.flow()
	defer stop()
	c.wait("the ledger to refuse a block", func() bool { return w.metric("adtally_aggregate_too_many_parts_total") > 0 })
	c.wait("the interval to widen", func() bool { return w.metric("adtally_aggregate_flush_interval_seconds") > 0.05 })
	stop()
	alter("SYSTEM START MERGES ledger")
	alter("ALTER TABLE ledger RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
	c.settle()
}
