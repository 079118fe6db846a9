package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/kafka"
)

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	var c ingestCmd
	c.Kafka.Topic, c.Spool.Dir = "events", t.TempDir()
	f := func(partitions int32, want string) {
		t.Helper()
		known, err := c.recall()
		if err != nil {
			t.Fatal(err)
		}
		err = c.remember(known, kafka.Topic{Name: "events", Partitions: partitions})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d partitions: %v, want %q", partitions, err, want)
		}
	}
	f(8, "")
	f(8, "")
	f(12, "has 12 partitions, but events were written to it with 8")
	f(8, "")
	c.Kafka.Topic = "other"
	if known, err := c.recall(); err != nil || known.Topic != "" {
		t.Errorf("of another topic %+v is remembered (%v)", known, err)
	}
}

func TestARoleThatWaitsForBrokersIsAliveAndNotReady(t *testing.T) {
	ports, err := dev.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		args := []string{"aggregate", "--kafka-brokers", loopback(ports[0]), "--admin-listen", loopback(ports[1])}
		ended <- run(ctx, args, nil, nil, io.Discard, io.Discard)
	}()
	admin := loopbackURL(ports[1])
	deadline := time.Now().Add(30 * time.Second)
	for {
		if status, _ := call(ctx, http.MethodGet, admin+"/livez", "", nil); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the role does not show that it lives")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if status, text := call(ctx, http.MethodGet, admin+"/readyz", "", nil); status != http.StatusServiceUnavailable || !strings.Contains(string(text), "starting") {
		t.Errorf("readyz: %d %s", status, text)
	}
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("ends with %d", code)
	}
}
