package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/proto"
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
		{"synthetic duplicate", syntheticDuplicate},
		{"38 hot key", hotKey},
		{"39 idle partitions", idlePartitions},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := startCounting(t, b)
			f.test(t, c)
			c.replays()
		})
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
	where := func(place string) float64 {
		return w.metric(`adtally_conservation_events{partition="2",place="` + place + `"}`)
	}
	c.wait("the conservation to be published", func() bool { return where("rejected") == float64(len(bad)) })
	if where("counted") == 0 || where("missing") != 0 {
		t.Errorf("%v are counted and %v missing", where("counted"), where("missing"))
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

// An id comes again with another price: the first one counts, and people are
// told what came, without its user.
func syntheticDuplicate(t *testing.T, c *counting) {
	t.Helper()
	w := c.start("worker")
	c.produce(200)
	c.settle()
	ev := c.event(3)
	ev.PriceNanos += 5_000_000
	value, err := ev.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	partition := proto.Partition(ev, c.cfg.Spread, countingPartitions)
	sent, err := c.log.ProduceSync(t.Context(), &kgo.Record{Topic: c.cfg.Topic, Partition: partition, Value: value}).First()
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.sent[3]++
	c.mu.Unlock()
	c.settle()
	c.wait("the synthetic duplicate to be counted", func() bool { return w.metric("adtally_aggregate_events_synthetic_duplicate_total") == 1 })
	var r struct {
		Reason, Route, Detail, Body string
		Advertiser                  string `json:"advertiser_id"`
	}
	rec := c.records(c.cfg.RejectedTopic(), 1)[0]
	if err := json.Unmarshal(rec.Value, &r); err != nil {
		t.Fatalf("rejected record %s: %v", rec.Value, err)
	}
	if r.Reason != "synthetic_duplicate" || r.Route != "aggregate" || r.Advertiser != strconv.FormatUint(c.advertiser, 10) ||
		!strings.Contains(r.Detail, fmt.Sprintf("partition %d offset %d", partition, sent.Offset)) {
		t.Errorf("rejected record %s", rec.Value)
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil || body["price_nanos"] != strconv.FormatInt(ev.PriceNanos, 10) ||
		body["event_id"] != fmt.Sprintf("%016x%016x", ev.EventIdHi, ev.EventIdLo) || body["user_hash"] != "" {
		t.Errorf("rejected event %s (%v)", r.Body, err)
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

// A replay writes nothing, and names every cell that the ledger has otherwise.
func TestReplayNamesWhatDiffers(t *testing.T) {
	c := startCounting(t, startBooks(t))
	c.start("worker")
	c.produce(5000)
	c.settle()
	rows := func() uint64 {
		return c.count("SELECT count() FROM ledger WHERE topic_id = ? AND advertiser > 0", c.id())
	}
	before := rows()
	c.replays()
	if after := rows(); after != before {
		t.Errorf("a replay made %d rows of %d", after, before)
	}
	if code, text := c.replay("--since", time.Now().UTC().Format(time.DateOnly), "--partition", "1"); code != exitDone || strings.Contains(text, "\n        2") {
		t.Errorf("replay of one partition: %d %s", code, text)
	}
	err := c.conn.Exec(t.Context(), `INSERT INTO ledger (advertiser, minute, event_type, campaign, gross, net, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day)
SELECT advertiser, minute, event_type, 4711, 1, 1, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day FROM ledger
WHERE topic_id = $1 AND advertiser > 0 AND kafka_partition = 2 LIMIT 1`, c.id())
	if err != nil {
		t.Fatal(err)
	}
	code, text := c.replay("--format", "json")
	var report replayReport
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&report); err != nil || code != exitFailed || report.OK {
		t.Fatalf("replay of changed books: %d %s (%v)", code, text, err)
	}
	for _, p := range report.Partitions {
		switch {
		case p.Partition != 2 && p.Differing != 0:
			t.Errorf("partition %d: %+v", p.Partition, p.Differences)
		case p.Partition == 2 && (p.Differing != 1 || p.Differences[0].Dimensions["campaign"] != "4711" ||
			p.Differences[0].Ledger.Net != 1 || p.Differences[0].Log.Net != 0):
			t.Errorf("partition 2: %+v", p.Differences)
		}
	}
	if code, text := c.replay(); code != exitFailed || !strings.Contains(text, "4711") || !strings.Contains(text, " 1 cells differ") {
		t.Errorf("replay in words: %d %s", code, text)
	}
}
