package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBeaconsAreTakenWhileCountingIsRefused lets the topic keep less than verdicts
// look back on. Counting would count repeats again, so it is refused; taking and
// reporting go on, the operator reads the remedy where he looks, and after it
// everything is counted.
func TestBeaconsAreTakenWhileCountingIsRefused(t *testing.T) {
	p := startProgram(t)
	l := &load{p: p, advertiser: 9, events: 500, batch: 100}
	if err := l.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := l.expect()
	p.waitTotal(30*time.Second, 9, func(f figures) bool { return f == want })
	p.keepLog("1800000")
	p.stop(syscall.SIGTERM)
	p.start()
	admin := func(path string) (int, string) {
		status, text := call(t.Context(), http.MethodGet, loopbackURL(p.ports.Admin)+path, "", nil)
		return status, string(text)
	}
	p.wait(30*time.Second, "the refusal", func() bool {
		status, text := admin("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "raise retention.ms of the topic")
	})
	event := []byte(`{"events":[{"type":"impression","id":"after","advertiser_id":9,"campaign_id":1}]}`)
	if status, text := call(t.Context(), http.MethodPost, p.beacons("/v1/events"), p.key, event); status != http.StatusAccepted {
		t.Errorf("a batch is answered %d %s", status, text)
	}
	if got, err := p.total(9); err != nil || got != want {
		t.Errorf("the report says %+v (%v), want what was counted: %+v", got, err, want)
	}
	if _, text := admin("/metrics"); !strings.Contains(text, "adtally_counting_refused 1\n") {
		t.Error("the metrics do not tell of the refusal")
	}
	p.keepLog("-1")
	p.stop(syscall.SIGTERM)
	p.start()
	p.waitTotal(30*time.Second, 9, func(f figures) bool { return f.Impressions == want.Impressions+1 })
}

// keepLog sets how long the embedded broker keeps events, in milliseconds.
func (p *program) keepLog(millis string) {
	p.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(loopback(p.ports.Kafka)))
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &millis}}
	if _, err := kadm.NewClient(client).AlterTopicConfigs(p.t.Context(), set, "adtally-events-v1"); err != nil {
		p.t.Fatal(err)
	}
}
