package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The faults that ingest must survive, on real processes. After each, what was
// answered 2xx counts exactly once, 4xx never, and the rest at most once.

// underFault drives traffic while disturb does its worst, then checks.
func underFault(t *testing.T, c *cluster, disturb func()) {
	t.Helper()
	o := &oracle{c: c, fates: make(map[int]fate)}
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() { o.drive(enough); close(ended) }()
	disturb()
	close(enough)
	<-ended
	o.check()
}

// pause lets traffic flow for a random while: the moment of a fault is random,
// not waited for.
func pause(least, most time.Duration) { time.Sleep(least + rand.N(most-least)) }

// Row 1: kill -9 under load, a hundred times.
func TestIngestKilledManyTimes(t *testing.T) {
	c := startCluster(t)
	underFault(t, c, func() {
		for range 100 {
			pause(10*time.Millisecond, 150*time.Millisecond)
			if err := c.child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.child.Wait() // killed
			c.start()
		}
	})
}

// Row 3: stopped for a while, then continued.
func TestIngestStoppedAndContinued(t *testing.T) {
	c := startCluster(t)
	underFault(t, c, func() {
		for range 2 {
			pause(200*time.Millisecond, 500*time.Millisecond)
			if err := c.child.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			pause(11*time.Second, 12*time.Second) // clients give up after 10 s
			if err := c.child.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			pause(500*time.Millisecond, time.Second)
		}
	})
}

// Rows 4 and 5: the broker appends and answers an error, or refuses for a
// while.
func TestProduceAnswersErrors(t *testing.T) {
	f := func(name string, err *kerr.Error, lasting time.Duration) {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t)
			underFault(t, c, func() {
				pause(200*time.Millisecond, 500*time.Millisecond)
				fault := c.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1})
				pause(lasting, lasting+time.Second)
				fault.Remove()
				pause(500*time.Millisecond, time.Second)
			})
			if c.metric(`adtally_ingest_produced_events_total{outcome="spooled"}`) == 0 {
				t.Error("nothing was spooled: the fault did not last")
			}
		})
	}
	f("timed out after append", kerr.RequestTimedOut, 3*time.Second)
	f("not enough replicas", kerr.NotEnoughReplicas, 5*time.Second)
	f("not enough replicas after append", kerr.NotEnoughReplicasAfterAppend, 3*time.Second)
}

// Row 6: all brokers are away for longer than the spool has room; then events
// are refused, and accepted again when the brokers are back.
func TestBrokersAway(t *testing.T) {
	c := startCluster(t, "--spool-max-bytes", "3145728")
	underFault(t, c, func() {
		pause(200*time.Millisecond, 500*time.Millisecond)
		c.gate.shut()
		c.wait("the spool to be full", func() bool {
			return c.metric(`adtally_spool_refused_events_total{reason="full"}`) > 0
		})
		c.gate.open()
		before := c.metric(`adtally_ingest_produced_events_total{outcome="acked"}`)
		c.wait("Kafka to acknowledge again", func() bool {
			return c.metric(`adtally_ingest_produced_events_total{outcome="acked"}`) > before
		})
	})
}

// An instance that starts while all brokers are away takes events all the same.
func TestIngestStartsWhileBrokersAreAway(t *testing.T) {
	c := startCluster(t)
	underFault(t, c, func() {
		pause(200*time.Millisecond, 500*time.Millisecond)
		c.gate.shut()
		_ = c.child.Process.Kill() // started again below
		_ = c.child.Wait()         // killed
		c.start()
		c.wait("events to be spooled", func() bool {
			return c.metric(`adtally_ingest_produced_events_total{outcome="spooled"}`) > 0
		})
		c.gate.open()
		c.wait("Kafka to acknowledge again", func() bool {
			return c.metric(`adtally_ingest_produced_events_total{outcome="acked"}`) > 0
		})
	})
}

// Row 7: every answer of the brokers takes two seconds, and one in twenty is
// lost with its connection.
func TestBrokersSlowAndLossy(t *testing.T) {
	c := startCluster(t)
	underFault(t, c, func() {
		c.gate.delay.Store(int64(2 * time.Second))
		c.gate.loss.Store(20)
		pause(10*time.Second, 12*time.Second)
		c.gate.delay.Store(0)
		c.gate.loss.Store(0)
		pause(500*time.Millisecond, time.Second)
	})
}

// Row 8: partitions change their leaders all the time.
func TestLeadersShuffled(t *testing.T) {
	c := startCluster(t)
	underFault(t, c, func() {
		for range 20 {
			pause(200*time.Millisecond, 300*time.Millisecond)
			c.kafka.ShufflePartitionLeaders()
		}
	})
}

// Row 9: the spool's volume is full while Kafka is away.
func TestSpoolVolumeFull(t *testing.T) {
	volume := t.TempDir()
	if err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting a small volume needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(volume, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := startCluster(t, "--spool-dir", filepath.Join(volume, "spool"), "--spool-reserve-bytes", "0")
	underFault(t, c, func() {
		c.gate.shut()
		c.wait("the volume to be full", func() bool {
			return c.metric(`adtally_spool_refused_events_total{reason="full"}`) > 0
		})
		c.gate.open()
		pause(2*time.Second, 3*time.Second)
	})
}

// Row 10: fsync of the spool fails. Nothing is acknowledged from that file, and
// the path to Kafka lives.
func TestSpoolFsyncFails(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("failing system calls of another process needs strace, which is not installed")
	}
	c := startCluster(t)
	_ = c.child.Process.Kill() // started again below, under strace
	_ = c.child.Wait()         // killed
	c.wrap = []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync:error=EIO:when=5+7"}
	c.start()
	underFault(t, c, func() {
		pause(200*time.Millisecond, 500*time.Millisecond)
		c.gate.shut()
		pause(4*time.Second, 5*time.Second)
		c.gate.open()
		pause(time.Second, 2*time.Second)
	})
}
