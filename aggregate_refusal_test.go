package main

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/adtally/adtally/internal/kafka"
)

// What must not be counted: the aggregator ends with an error that names the
// remedy, and the books stay as they are.
func TestCountingRefusals(t *testing.T) {
	b := startBooks(t)
	for _, f := range []struct {
		name string
		test func(t *testing.T, c *counting)
	}{
		{"23 log begins beyond the position", logBeginsLater},
		{"23 log is deleted while it is read", logDeletedBeneath},
		{"24 log was cut back", logCutBack},
		{"24 log was cut back and has grown", logCutBackAndGrown},
		{"25 topic made again", topicMadeAgain},
		{"26 partitions added", partitionsAdded},
		{"26 partitions added while it is counted", partitionsAddedBeneath},
		{"27 retention shorter than the horizon", retentionTooShort},
		{"27 log shorter than the horizon", logTooShort},
	} {
		t.Run(f.name, func(t *testing.T) { f.test(t, startCounting(t, b)) })
	}
}

// deleteRecords deletes what lies before an offset of every partition.
func (c *counting) deleteRecords(before func(partition int32) int64) {
	c.t.Helper()
	var o kadm.Offsets
	for p := range int32(countingPartitions) {
		o.AddOffset(c.cfg.Topic, p, before(p), -1)
	}
	answer, err := c.admin().DeleteRecords(c.t.Context(), o)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// ends are the ends of the log.
func (c *counting) ends() map[int32]kafka.Bounds {
	c.t.Helper()
	bounds, err := kafka.LogBounds(c.t.Context(), c.log, c.cfg.Topic)
	if err != nil {
		c.t.Fatal(err)
	}
	return bounds
}

// counted1000 counts a thousand events and ends.
func counted1000(c *counting) {
	c.t.Helper()
	w := c.start("before")
	c.produce(1000)
	c.settle()
	w.end(syscall.SIGTERM)
}

func logBeginsLater(t *testing.T, c *counting) {
	t.Helper()
	counted1000(c)
	c.produce(1000)
	ends := c.ends()
	c.deleteRecords(func(p int32) int64 { return ends[p].End - 1 })
	c.start("after").refuses("are gone that were not counted", "restore the topic")
}

func logDeletedBeneath(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker", "--aggregate-max-queued", "100", "--aggregate-max-events", "100")
	c.produce(1000)
	c.settle()
	if err := syscall.Kill(c.server.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(c.server.Pid(), syscall.SIGCONT) } // it may have ended
	defer resume()
	for range 30 { // beyond what the client fetches ahead
		c.produce(2000)
	}
	c.wait("fetching to pause", func() bool { return w.metric("adtally_aggregate_partition_pauses_total") > 0 })
	ends := c.ends()
	c.deleteRecords(func(p int32) int64 { return ends[p].End })
	c.produce(1000)
	resume()
	w.refuses("no longer holds the offset", "restore the topic")
}

// mark puts a mark of a partition into the books.
func (c *counting) mark(partition int32, from, to uint64, epoch int32) {
	c.t.Helper()
	err := c.conn.Exec(context.WithoutCancel(c.t.Context()), `INSERT INTO ledger (topic_id, kafka_partition, b_start, b_end, batch_id, leader_epoch, lineage, lat_day, mark_lat, mark_version, mark_records, mark_ticks)
VALUES ($1, $2, $3, $4, $5, $6, 1, today(), now64(3), 1, $7, $7)`, c.id(), partition, from, to, uuid.New(), epoch, to-from)
	if err != nil {
		c.t.Fatal(err)
	}
}

func logCutBack(t *testing.T, c *counting) {
	t.Helper()
	counted1000(c)
	end := uint64(c.ends()[1].End) // beyond it somebody has counted, and the log has lost it
	position := c.count("SELECT max(b_end) FROM ledger WHERE topic_id = ? AND kafka_partition = 1", c.id())
	c.mark(1, position, end+5, 0)
	c.start("after").refuses("partition 1", "the log was cut back", "restore the topic")
}

func logCutBackAndGrown(t *testing.T, c *counting) {
	t.Helper()
	counted1000(c)
	epoch := c.count("SELECT toUInt64(max(leader_epoch)) FROM ledger WHERE topic_id = ?", c.id())
	position := c.count("SELECT max(b_end) FROM ledger WHERE topic_id = ? AND kafka_partition = 1", c.id())
	c.mark(1, position, uint64(c.ends()[1].End)+5, int32(epoch))
	for range 8 { // each may leave a partition where it is
		c.kafka.ShufflePartitionLeaders()
	}
	c.produce(1000)
	c.start("after").refuses("partition 1", "cut back and written anew", "restore the topic")
}

func topicMadeAgain(t *testing.T, c *counting) {
	t.Helper()
	counted1000(c)
	if _, err := c.admin().DeleteTopic(t.Context(), c.cfg.Topic); err != nil {
		t.Fatal(err)
	}
	if _, err := kafka.Ensure(t.Context(), c.log, c.cfg); err != nil {
		t.Fatal(err)
	}
	c.start("after").refuses("deleted and made again", "give the new topic a new name")
}

func (c *counting) addPartition() {
	c.t.Helper()
	answer, err := c.admin().CreatePartitions(c.t.Context(), 1, c.cfg.Topic)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func partitionsAdded(t *testing.T, c *counting) {
	t.Helper()
	counted1000(c)
	c.addPartition()
	c.start("after").refuses("has 5 partitions", "make a new topic")
}

func partitionsAddedBeneath(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	c.produce(1000)
	c.settle()
	c.addPartition()
	w.refuses("has 5 partitions", "make a new topic")
}

func retentionTooShort(t *testing.T, c *counting) {
	t.Helper()
	minutes := "1800000"
	_, err := c.admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &minutes}}, c.cfg.Topic)
	if err != nil {
		t.Fatal(err)
	}
	c.start("worker").refuses("keeps events for 30m0s", "raise retention.ms")
}

// The log holds everything from the position on, but less before it than
// verdicts look back on.
func logTooShort(t *testing.T, c *counting) {
	t.Helper()
	c.lat = time.Now().Add(-30 * time.Minute)
	counted1000(c)
	c.lat = time.Time{}
	c.deleteRecords(func(int32) int64 { return 20 })
	c.start("after").refuses("repeats of what is gone would be counted again", "raise retention.ms")
}
