package ingest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/adtally/adtally/internal/testkit/wait"
)

// gate holds produce requests back until it is opened.
type gate struct {
	open    chan struct{}
	arrived chan struct{} // closed when the first produce request is there
}

func holdProduce(cluster *kfake.Cluster) *gate {
	g := &gate{open: make(chan struct{}), arrived: make(chan struct{})}
	var once sync.Once
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { close(g.arrived) })
		cluster.SleepControl(func() { <-g.open })
		return nil, nil, false
	})
	return g
}

// warm sends beacons until one is acked in time: the producer is connected. It
// returns how many there are in the topic.
func warm(r *rig) int {
	r.t.Helper()
	wait.Until(r.t, 10*time.Second, "the first ack", func() bool { return r.do("GET", "/v/"+r.sign(nil), "").status == 200 })
	wait.Until(r.t, 10*time.Second, "the late acks", func() bool { return r.metric("adtally_ingest_produce_pending_events") == "0" })
	return r.stored()
}

// grown returns the value of a counter less what it was before.
func (r *rig) grown(name string) func() int {
	r.t.Helper()
	value := func() int {
		n, err := strconv.Atoi(r.metric(name))
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	before := value()
	return func() int { return value() - before }
}

func TestAnswerWaitsForTheAck(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.AckTimeout = 20 * time.Second })
	g := holdProduce(r.cluster)
	answered := make(chan answer, 2)
	go func() { answered <- r.do("GET", "/i/"+r.sign(nil), "") }()
	go func() { answered <- r.post("/v1/events", "["+minimal+","+minimal+"]") }()
	<-g.arrived
	wait.Until(t, 10*time.Second, "both requests wait", func() bool { return r.metric("adtally_ingest_produce_pending_events") == "3" })
	select {
	case a := <-answered:
		t.Fatalf("answered %d before the ack", a.status)
	default:
	}
	close(g.open)
	if a, b := <-answered, <-answered; a.status+b.status != 200+202 {
		t.Errorf("status %d and %d", a.status, b.status)
	}
	if r.stored() != 3 {
		t.Errorf("%d records, want 3", r.stored())
	}
	r.wantMetric("adtally_ingest_produce_pending_events", "0")
	r.wantMetric("adtally_ingest_produce_pending_bytes", "0")
}

func TestDeadlineLeavesTheProduceRunning(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.AckTimeout = 50 * time.Millisecond })
	n := warm(r)
	late := r.grown(`adtally_ingest_produced_events_total{outcome="late"}`)
	g := holdProduce(r.cluster)
	f := func(a answer) {
		t.Helper()
		a.want(t, 503, `"code":"unavailable"`)
		if a.header.Get("Retry-After") == "" {
			t.Errorf("headers %v", a.header)
		}
	}
	f(r.do("GET", "/i/"+r.sign(nil), ""))
	f(r.post("/v1/events", "["+minimal+","+minimal+"]"))
	f(r.post("/e", `[{"token":"`+r.sign(nil)+`","type":"conversion"}]`))
	click := r.do("GET", "/c/"+r.sign(nil), "")
	click.want(t, 302)
	if click.header.Get("Location") == "" {
		t.Error("the user was not redirected")
	}
	r.wantMetric(`adtally_ingest_clicks_lost_total{reason="late"}`, "1")
	if late() != 5 {
		t.Errorf("%d events late, want 5", late())
	}
	r.wantMetric(`adtally_ingest_events_accepted_total{type="click"}`, "0")
	if err := r.server.Ready(); err == nil || !strings.Contains(err.Error(), "not acknowledged") {
		t.Errorf("ready: %v", err)
	}
	close(g.open)
	wait.Until(t, 10*time.Second, "the late events are stored", func() bool { return r.stored() == n+5 })
	wait.Until(t, 10*time.Second, "readiness", func() bool { return r.server.Ready() == nil })
	r.wantMetric("adtally_ingest_produce_pending_bytes", "0")
	n = warm(r)
	r.events(n) // decodes all: the late records were not overwritten
}

func TestFullBufferRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) {
		c.AckTimeout = 50 * time.Millisecond
		c.ProduceOptions.MaxRecords = 3
	})
	n := warm(r)
	late := r.grown(`adtally_ingest_produced_events_total{outcome="late"}`)
	g := holdProduce(r.cluster)
	r.post("/v1/events", "["+minimal+","+minimal+"]").want(t, 503)
	r.post("/v1/events", "["+minimal+","+minimal+"]").want(t, 503) // would be 4
	if late() != 2 {
		t.Errorf("%d events late, want 2", late())
	}
	r.wantMetric(`adtally_ingest_produced_events_total{outcome="refused"}`, "2")
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 503) // the third
	click := r.do("GET", "/c/"+r.sign(nil), "")
	click.want(t, 302)
	r.wantMetric(`adtally_ingest_clicks_lost_total{reason="refused"}`, "1")
	close(g.open)
	wait.Until(t, 10*time.Second, "the events that had room are stored", func() bool { return r.stored() == n+3 })
	wait.Until(t, 10*time.Second, "room", func() bool { return r.metric("adtally_ingest_produce_pending_events") == "0" })
	r.post("/v1/events", "["+minimal+","+minimal+","+minimal+","+minimal+"]").want(t, 503)
	if got := r.stored(); got != n+3 {
		t.Errorf("%d records, want %d", got, n+3)
	}
	warm(r)
}

func TestBrokersGone(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(testPartitions, testTopic))
	if err != nil {
		t.Fatal(err)
	}
	r := startOn(t, cluster, func(c *Config) {
		c.AckTimeout = 50 * time.Millisecond
		c.DrainTimeout = time.Second
	})
	warm(r)
	cluster.Close()
	r.do("GET", "/i/"+r.sign(nil), "").want(t, 503)
	r.do("GET", "/c/"+r.sign(nil), "").want(t, 302)
	r.stop()
	err = <-r.ended
	r.ended <- nil // for the cleanup
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 events unacknowledged") {
		t.Errorf("Run: %v", err)
	}
}
