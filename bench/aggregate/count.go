package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
)

// cost is what counting a topic took.
type cost struct {
	events int64
	rows   uint64
	// cpu is of the counting process without its start, server of ClickHouse.
	cpu, server time.Duration
	wall        time.Duration
	// resident memory in bytes, at the end and at its most.
	rss, peak int64
}

// perEvent is the CPU of the counting process in nanoseconds per event.
func (c cost) perEvent() float64 { return float64(c.cpu.Nanoseconds()) / float64(c.events) }

// counter is a running adtally aggregate.
type counter struct {
	*measure.Process
	admin string
	conn  clickhouse.Conn
	cfg   clickhouse.Config
	topic topic
}

// counter starts adtally aggregate on a topic and a database. The caller stops
// it.
func (l *lab) counter(ctx context.Context, t topic, cfg clickhouse.Config, args ...string) (*counter, error) {
	ports, err := dev.FreePorts(1)
	if err != nil {
		return nil, err
	}
	c := &counter{admin: fmt.Sprintf("127.0.0.1:%d", ports[0]), cfg: cfg, topic: t}
	if c.conn, err = clickhouse.Open(cfg); err != nil {
		return nil, err
	}
	all := append([]string{
		"aggregate", "--admin-listen", c.admin, "--log-level", "warn",
		"--kafka-brokers", l.broker, "--kafka-topic", t.name, "--kafka-partitions", strconv.Itoa(int(t.partitions)),
		"--kafka-spread", strconv.Itoa(spread), "--kafka-replication", "1", "--kafka-unsafe-topic",
		"--clickhouse-addr", cfg.Addr[0], "--clickhouse-database", cfg.Database, "--clickhouse-user", cfg.User,
		"--clickhouse-password-file", cfg.PasswordFile,
		"--aggregate-group", "bench-" + cfg.Database, "--aggregate-tick-interval", "1h", // the log stays as it is
	}, args...)
	if c.Process, err = measure.Start(ctx, c.admin, l.binary, all...); err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return c, nil
}

func (c *counter) stop() error {
	c.Stop()
	return c.conn.Close()
}

// until polls done until it holds.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(5 * time.Minute)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.New("waited for " + what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// counted waits until the marks say that the whole topic is counted.
func (c *counter) counted(ctx context.Context) error {
	return until(ctx, "the topic to be counted", func() (bool, error) {
		var n int64
		row := c.conn.QueryRow(ctx, "SELECT sum(b_end - b_start) FROM ledger WHERE advertiser = 0")
		err := row.Scan(&n)
		return n >= c.topic.records, err
	})
}

// ready waits until the process says that it counts.
func (c *counter) ready(ctx context.Context) error {
	return until(ctx, "the process to be ready", func() (bool, error) {
		_, err := get(ctx, "http://"+c.admin+"/readyz")
		return err == nil, nil
	})
}

// get returns the body of a good answer.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(url + " answers " + resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// verify compares the books with what the generator of the log counted.
func (c *counter) verify(ctx context.Context) (rows uint64, err error) {
	var got totals
	row := c.conn.QueryRow(ctx, `SELECT count(), sum(gross), sum(net), sum(duplicate), sum(invalid), sum(spend_nanos), sumWithOverflow(toUInt64(gross) * (`+weightSQL+`))
FROM ledger WHERE advertiser > 0`)
	if err := row.Scan(&rows, &got.Gross, &got.Net, &got.Duplicate, &got.Invalid, &got.Spend, &got.Weighted); err != nil {
		return 0, err
	}
	if got != c.topic.want {
		return 0, fmt.Errorf("void: the books of %s hold %+v, want %+v", c.topic.name, got, c.topic.want)
	}
	return rows, nil
}

// starting measures what the process takes until it is ready, with an empty
// topic of as many partitions.
func (l *lab) starting(ctx context.Context, partitions int32) (time.Duration, error) {
	empty, err := l.fill(ctx, fmt.Sprintf("empty-%d-%d", partitions, l.runs), shape{partitions: partitions})
	if err != nil {
		return 0, err
	}
	cfg, err := l.database(ctx)
	if err != nil {
		return 0, err
	}
	c, err := l.counter(ctx, empty, cfg)
	if err != nil {
		return 0, err
	}
	err = c.ready(ctx)
	cpu, cpuErr := c.CPU()
	return cpu, errors.Join(err, cpuErr, c.stop())
}

// count counts a topic once into a new database. begin is what the start of the
// process takes.
func (l *lab) count(ctx context.Context, t topic, begin time.Duration, args ...string) (k cost, err error) {
	cfg, err := l.database(ctx)
	if err != nil {
		return k, err
	}
	server, err := measure.CPU(l.server.Pid())
	if err != nil {
		return k, err
	}
	started := time.Now()
	c, err := l.counter(ctx, t, cfg, args...)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, c.stop(), l.drop(ctx, cfg)) }()
	if l.profile != "" {
		go c.keepProfile(ctx, filepath.Join(l.profile, t.name+".pprof"))
	}
	if err := c.counted(ctx); err != nil {
		return k, err
	}
	k.wall = time.Since(started)
	k.events = t.records
	if k.cpu, err = c.CPU(); err != nil {
		return k, err
	}
	k.cpu -= begin
	if k.server, err = measure.CPU(l.server.Pid()); err != nil {
		return k, err
	}
	k.server -= server
	if k.rss, k.peak, err = c.Memory(); err != nil {
		return k, err
	}
	k.rows, err = c.verify(ctx)
	return k, err
}

// drop removes a database.
func (l *lab) drop(ctx context.Context, cfg clickhouse.Config) error {
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		return err
	}
	return errors.Join(conn.Exec(ctx, "DROP DATABASE "+cfg.Database+" SYNC"), conn.Close())
}

// keepProfile writes ten seconds of CPU profile to the file.
func (c *counter) keepProfile(ctx context.Context, file string) {
	text, err := get(ctx, "http://"+c.admin+"/debug/pprof/profile?seconds=10")
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: profile:", err)
	}
}
