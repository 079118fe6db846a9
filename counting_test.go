package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/testkit"
)

// ledgers is a ClickHouse that tests share one after the other, each with a topic
// of its own.
type ledgers struct {
	server *testkit.ClickHouse
	conn   clickhouse.Conn
	topics uint64
}

func startBooks(t *testing.T) *ledgers {
	t.Helper()
	server := testkit.StartClickHouse(t)
	return &ledgers{server: server, conn: testkit.Open(t, server.AsWriter)}
}

// counting is a topic, and aggregators as processes of their own that count it
// through a tap. It knows what the books must say.
type counting struct {
	*ledgers
	t     *testing.T
	dir   string
	cfg   kafka.Config
	kafka *kfake.Cluster
	topic kafka.Topic
	log   *kgo.Client
	tap   *tap

	// advertiser is this topic's own.
	advertiser uint64

	mu sync.Mutex
	// made are the ids used so far; sent counts how often each was sent.
	made int
	sent map[int]int
	// lat is the broker time of the next records, 0 for now.
	lat time.Time
}

// patience is how long tests of counting wait for what must come. Mistakes that
// are planted on purpose are waited for less.
var patience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("TEST_PATIENCE")); err == nil {
		return d
	}
	return 90 * time.Second
}()

const (
	countingPartitions = 4
	countingUsers      = 199
)

func startCounting(t *testing.T, b *ledgers) *counting {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b.topics++
	c := &counting{ledgers: b, advertiser: b.topics, t: t, dir: t.TempDir(), kafka: cluster, tap: startTap(t, b.server.NativeAddr()), sent: make(map[int]int)}
	c.cfg = kafka.Config{
		Brokers: cluster.ListenAddrs(), Topic: strings.ReplaceAll(t.Name(), "/", "-"), Partitions: countingPartitions, Spread: 4,
		Replication: 1, Retention: 7 * 24 * time.Hour, UnsafeTopic: true,
	}
	c.log, err = kgo.NewClient(kgo.SeedBrokers(c.cfg.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(4<<20), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.log.Close)
	if c.topic, err = kafka.Ensure(t.Context(), c.log, c.cfg); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(c.dir, "password"), []byte(b.server.Writer().Password)); err != nil {
		t.Fatal(err)
	}
	return c
}

// servers are the flags that say where everything is.
func (c *counting) servers(clickHouse string) []string {
	return []string{
		"--kafka-brokers", strings.Join(c.cfg.Brokers, ","), "--kafka-topic", c.cfg.Topic, "--kafka-unsafe-topic", "--kafka-replication", "1",
		"--clickhouse-addr", clickHouse, "--clickhouse-user", c.server.Writer().User, "--clickhouse-password-file", filepath.Join(c.dir, "password"),
	}
}

// worker is an aggregator.
type worker struct {
	c     *counting
	name  string
	cmd   *exec.Cmd
	admin int
	ended chan struct{}
}

// start starts an aggregator; flags that come later count.
func (c *counting) start(name string, args ...string) *worker {
	return c.startProgram(os.Args[0], name, args...)
}

func (c *counting) startProgram(binary, name string, args ...string) *worker {
	c.t.Helper()
	ports, err := dev.FreePorts(1)
	if err != nil {
		c.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	w := &worker{c: c, name: name, admin: ports[0], ended: make(chan struct{})}
	all := slices.Concat([]string{
		"aggregate", "--admin-listen", loopback(w.admin), "--aggregate-session-timeout", "3s", "--aggregate-flush-interval", "20ms",
		"--aggregate-tick-interval", "200ms", "--aggregate-check-interval", "500ms", "--aggregate-horizon", "1h",
	}, c.servers(c.tap.addr), args)
	w.cmd = exec.Command(binary, all...)
	w.cmd.Env = append(os.Environ(), mainVariable+"=1")
	w.cmd.Stdout, w.cmd.Stderr = log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { _ = w.cmd.Wait(); close(w.ended) }()
	c.t.Cleanup(func() {
		w.signal(syscall.SIGCONT)
		w.end(syscall.SIGKILL)
		if c.t.Failed() {
			text := w.text()
			c.t.Logf("log of %s, its end:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return w
}

func (w *worker) text() string {
	text, err := os.ReadFile(filepath.Join(w.c.dir, w.name+".log"))
	if err != nil {
		w.c.t.Error(err)
	}
	return string(text)
}

func (w *worker) signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) } // it may have ended

// end ends the aggregator and waits for it.
func (w *worker) end(s syscall.Signal) {
	w.c.t.Helper()
	w.signal(s)
	select {
	case <-w.ended:
	case <-time.After(90 * time.Second):
		w.c.t.Errorf("%s did not end after %s", w.name, s)
		w.signal(syscall.SIGKILL)
		<-w.ended
	}
}

// refuses waits until the aggregator ends by itself with an error that says
// each of the words.
func (w *worker) refuses(words ...string) {
	w.c.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.c.t.Fatalf("%s goes on, want an end that says %q", w.name, words)
	}
	if code := w.cmd.ProcessState.ExitCode(); code != exitFailed {
		w.c.t.Errorf("%s ends with %d, want %d", w.name, code, exitFailed)
	}
	text := w.text()
	last := text[max(0, strings.LastIndex(text, "adtally: ")):]
	for _, word := range words {
		if !strings.Contains(last, word) {
			w.c.t.Errorf("%s ends with %q, want %q in it", w.name, last, word)
		}
	}
}

// metric reads a figure; names with labels are given with them.
func (w *worker) metric(name string) float64 {
	_, text := call(w.c.t.Context(), http.MethodGet, "http://"+loopback(w.admin)+"/metrics", "", nil)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				w.c.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// wait polls until done holds.
func (c *counting) wait(what string, done func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *counting) audit() (code int, text string) {
	var out strings.Builder
	code = run(c.t.Context(), append([]string{"audit"}, c.servers(c.server.NativeAddr())...), nil, nil, &out, &out)
	return code, out.String()
}

// replay counts the log again, beside the books.
func (c *counting) replay(args ...string) (code int, text string) {
	var out strings.Builder
	code = run(c.t.Context(), slices.Concat([]string{"replay", "--aggregate-horizon", "1h"}, c.servers(c.server.NativeAddr()), args), nil, nil, &out, &out)
	return code, out.String()
}

// replays checks that a replay of the whole log finds what the books say.
func (c *counting) replays() {
	c.t.Helper()
	if code, text := c.replay(); code != exitDone || !strings.Contains(text, " 0 cells differ") {
		c.t.Errorf("adtally replay: %d %s", code, text)
	}
}

// admin is Kafka's administrator.
func (c *counting) admin() *kadm.Client { return kadm.NewClient(c.log) }

// records reads n records from the beginning of a topic.
func (c *counting) records(topic string, n int) []*kgo.Record {
	c.t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.cfg.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
	defer cancel()
	var recs []*kgo.Record
	for len(recs) < n {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%s has %d records, want %d", topic, len(recs), n)
		}
		recs = append(recs, fetches.Records()...)
	}
	return recs
}

// count asks the books for one number.
func (c *counting) count(query string, args ...any) (n uint64) {
	c.t.Helper()
	if err := c.conn.QueryRow(c.t.Context(), query, args...).Scan(&n); err != nil {
		c.t.Fatal(fmt.Errorf("%s: %w", query, err))
	}
	return n
}

// id is the topic's id, as the ledger has it.
func (c *counting) id() uuid.UUID { return c.topic.ID }
