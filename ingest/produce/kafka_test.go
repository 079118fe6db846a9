package produce

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/adtally/adtally/internal/testkit/wait"
)

// long is a wait that ends with an outcome on the slowest machine.
const long = 20 * time.Second

func TestProduceFaults(t *testing.T) {
	t.Parallel()
	f := func(err *kerr.Error, want Outcome, atLeast int) {
		t.Helper()
		r := start(t, nil)
		h := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: 3})
		r.want(2, 0, long, want)
		if h.Hits() < 1 {
			t.Errorf("%v: the fault was not met", err)
		}
		if n := r.stored(); n < atLeast {
			t.Errorf("%v: %d records, want at least %d", err, n, atLeast)
		}
	}
	// What may pass is tried until it does, however often.
	f(kerr.RequestTimedOut, Acked, 2)
	f(kerr.NotEnoughReplicas, Acked, 2)
	f(kerr.NotEnoughReplicasAfterAppend, Acked, 2)
	f(kerr.NotLeaderForPartition, Acked, 2)
	f(kerr.UnknownTopicOrPartition, Acked, 2)
	// What never passes is not claimed.
	f(kerr.TopicAuthorizationFailed, Refused, 0)
	f(kerr.InvalidRecord, Refused, 0)
}

func TestRetriedRecordsCountOnce(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	// The broker writes and says that it did not: the retry is the same batch
	// of an idempotent producer.
	r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
	for range 10 {
		r.want(1, 0, long, Acked)
	}
	if n := r.stored(); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
}

func TestMemoryBoundRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.MaxBytes, c.MaxRecords = 1<<20, 1<<20 })
	open := make(chan struct{})
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.SleepControl(func() { <-open })
		return nil, nil, false
	})
	for r.append(100, 0, 5*time.Millisecond) != Refused {
		if n := r.kafka.bytes.Load(); n > 1<<20 {
			t.Fatalf("%d bytes pending, the bound is 1 MiB", n)
		}
	}
	close(open)
	wait.Until(t, 20*time.Second, "room", func() bool { return r.kafka.bytes.Load() == 0 && r.kafka.records.Load() == 0 })
	r.want(100, 0, long, Acked)
}

// TestOnePartitionWithoutLeader keeps the others at work, and apart from it.
func TestOnePartitionWithoutLeader(t *testing.T) {
	t.Parallel()
	const stuck, good = 3, 5
	r := start(t, nil)
	r.want(1, good, long, Acked)
	h := r.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: testTopic, Partitions: []int32{stuck},
		Err: kerr.NotLeaderForPartition, Count: -1,
	})
	r.want(1, stuck, time.Second, Late)
	for range 20 {
		r.want(1, good, long, Acked)
	}
	if !r.kafka.lanes[stuck].behind() || r.kafka.lanes[good].behind() {
		t.Errorf("behind: %v and %v", r.kafka.lanes[stuck].behind(), r.kafka.lanes[good].behind())
	}
	if err := r.kafka.Ready(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(partition %d)", stuck)) {
		t.Errorf("ready: %v", err)
	}
	h.Remove()
	wait.Until(t, 20*time.Second, "the late event is stored", func() bool { return r.stored() == 22 })
	wait.Until(t, 20*time.Second, "readiness", func() bool { return r.kafka.Ready() == nil })
}
