package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Odd logs are counted as they are meant.
func TestCountingOddLogs(t *testing.T) {
	b := startBooks(t)
	for _, f := range []struct {
		name string
		test func(t *testing.T, c *counting)
	}{
		{"28 29 clocks step", clocksStep},
		{"37 poison", poison},
		{"38 hot key", hotKey},
		{"39 idle partitions", idlePartitions},
	} {
		t.Run(f.name, func(t *testing.T) { f.test(t, startCounting(t, b)) })
	}
}

// Broker time jumps ahead, back to before, and back within the skew that is
// allowed; in between the aggregator is killed, so that state is rebuilt across
// the steps. A repeat is a repeat all the same.
func clocksStep(t *testing.T, c *counting) {
	t.Helper()
	now := time.Now()
	var ids []int
	for id := range 400 {
		ids = append(ids, id)
	}
	c.made = len(ids)
	for _, step := range []time.Duration{0, -90 * time.Second, 20 * time.Minute, 19 * time.Minute, 40 * time.Minute, 39 * time.Minute} {
		w := c.start("worker", "--aggregate-instance-id", "one")
		c.lat = now.Add(step)
		c.send(ids)
		c.produce(200)
		c.settle()
		w.end(syscall.SIGKILL)
	}
}

func poison(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	c.produce(500)
	ev := c.event(1 << 20)
	ev.TimeUs = 1 << 62 // far beyond every calendar
	future, err := ev.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	bad := [][]byte{[]byte("\xff\xff\xff secret@example.com"), []byte(strings.Repeat("x", 1<<20)), future, nil}
	for _, value := range bad {
		if err := c.log.ProduceSync(t.Context(), &kgo.Record{Topic: c.cfg.Topic, Partition: 2, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c.produce(500)
	c.settle()
	c.wait("the poison to be counted", func() bool { return w.metric("adtally_aggregate_events_poison_total") == float64(len(bad)) })
	if n := c.count("SELECT toUInt64(sum(mark_poison)) FROM ledger WHERE topic_id = ? AND kafka_partition = 2", c.id()); n != uint64(len(bad)) {
		t.Errorf("marks of partition 2 tell of %d poison records, want %d", n, len(bad))
	}
	for _, rec := range c.records(c.cfg.RejectedTopic(), len(bad)) {
		var r struct{ Reason, Route, Detail string }
		if err := json.Unmarshal(rec.Value, &r); err != nil || r.Reason != "not_an_event" || r.Route != "aggregate" || !strings.Contains(r.Detail, "partition 2 offset ") {
			t.Errorf("rejected record %s (%v)", rec.Value, err)
		}
		if strings.Contains(string(rec.Value), "example.com") {
			t.Errorf("rejected record %s tells what was sent", rec.Value)
		}
	}
}

// Half of the traffic is one id: it counts once, and the others are not held up.
func hotKey(t *testing.T, c *counting) {
	t.Helper()
	c.start("worker")
	c.made = 1
	hot := make([]int, 2000)
	for range 10 {
		c.send(hot)
		c.produce(2000)
	}
	c.settle()
}

// Nothing comes: time moves on every partition while it is owned, and on none
// while it is not.
func idlePartitions(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	through := func() int64 {
		var lat, marked int64
		err := c.conn.QueryRow(t.Context(), `SELECT toInt64(min(lat)), toInt64(count()) FROM (
SELECT toUnixTimestamp64Milli(max(mark_lat)) AS lat FROM ledger WHERE topic_id = ? AND advertiser = 0 GROUP BY kafka_partition)`, c.id()).Scan(&lat, &marked)
		if err != nil {
			t.Fatal(err)
		}
		if marked < countingPartitions {
			return 0
		}
		return lat
	}
	c.wait("every partition to be known", func() bool { return through() > 0 })
	first := through()
	c.wait("time to move on every partition", func() bool { return through() > first+2000 })
	w.end(syscall.SIGTERM)
	still := through()
	c.produce(100)
	time.Sleep(time.Second) // nobody owns anything for so long
	if now := through(); now != still {
		t.Errorf("without an owner time moved from %d to %d", still, now)
	}
	c.start("worker")
	c.wait("time to move on again", func() bool { return through() > still+1000 })
	c.settle()
}
