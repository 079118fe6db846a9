package dev

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Broker is a real Apache Kafka broker on one directory, run by
// scripts/kafka.sh. Its methods may be called from one goroutine at a time.
type Broker struct {
	script, dir string
	port        int
}

// StartBroker starts a broker on dir and returns when it serves; script is the
// path of scripts/kafka.sh. The broker outlives ctx and this process: end it
// with Stop or Kill.
func StartBroker(ctx context.Context, script, dir string, port int) (*Broker, error) {
	b := &Broker{script: script, dir: dir, port: port}
	return b, b.Start(ctx)
}

// Addr is where the broker serves.
func (b *Broker) Addr() string { return loopback(b.port) }

// Start starts it again, on the same port and data.
func (b *Broker) Start(ctx context.Context) error {
	return b.run(ctx, "start", b.dir, strconv.Itoa(b.port))
}

// Stop ends it in order.
func (b *Broker) Stop(ctx context.Context) error { return b.run(ctx, "stop", b.dir) }

// Kill ends it with SIGKILL.
func (b *Broker) Kill(ctx context.Context) error { return b.run(ctx, "kill", b.dir) }

func (b *Broker) run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, b.script, args...).CombinedOutput() //nolint:gosec // the caller's own script
	if err != nil {
		return fmt.Errorf("kafka broker: %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
