package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

// wideOpen keeps a window open until the log is counted.
var wideOpen = []string{"--aggregate-flush-interval", "30s", "--aggregate-max-rows", "400000", "--aggregate-max-events", "100000000"}

// memory measures what the process holds: the difference of two logs that
// differ in nothing but the number of keys, with the window open, or of ids, with
// windows that are flushed as usual.
func memory(ctx context.Context, l *lab) error {
	const few, many = 10_000, 1_000_000
	base := shape{events: l.events, cells: few, tenants: 250, partitions: 8}
	wide, longer := base, base
	wide.cells, longer.events = many, 3*l.events
	held := make([]cost, 4)
	for i, s := range []shape{base, wide, base, longer} {
		t, err := l.fill(ctx, fmt.Sprintf("memory-%d", i), s)
		if err != nil {
			return err
		}
		if i < 2 {
			held[i], err = l.hold(ctx, t)
		} else {
			held[i], err = l.count(ctx, t, 0)
		}
		if err := errors.Join(err, l.remove(ctx, t)); err != nil {
			return err
		}
		k := held[i]
		fmt.Fprintf(os.Stderr, "%d events, %d rows: %d MiB, at most %d MiB\n", k.events, k.rows, k.rss>>20, k.peak>>20)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "aggregate: resident memory of the process, %s\n\n", time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "difference\tof\tbytes each\tat most, with the flush")
	line := func(what string, n int64, a, b cost) {
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\n", what, n, float64(b.rss-a.rss)/float64(n), float64(b.peak-a.peak)/float64(n))
	}
	line("live key", int64(held[1].rows)-int64(held[0].rows), held[0], held[1])
	line("remembered id", held[3].events-held[2].events, held[2], held[3])
	if err := table.Flush(); err != nil {
		return err
	}
	return measure.Publish(filepath.Join(l.out, "aggregate-memory.txt"), text.Bytes())
}

// hold counts a topic and looks at the memory when all of it is in the window,
// and again after the flush.
func (l *lab) hold(ctx context.Context, t topic) (k cost, err error) {
	cfg, err := l.database(ctx)
	if err != nil {
		return k, err
	}
	c, err := l.counter(ctx, t, cfg, wideOpen...)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, c.stop(), l.drop(ctx, cfg)) }()
	if err := until(ctx, "the topic to be read", func() (bool, error) {
		n, err := c.metric(ctx, "adtally_aggregate_events_folded_total")
		return int64(n) >= t.records, err
	}); err != nil {
		return k, err
	}
	k.events = t.records
	if k.cpu, err = c.CPU(); err != nil {
		return k, err
	}
	if k.rss, _, err = c.Memory(); err != nil {
		return k, err
	}
	if err := c.counted(ctx); err != nil {
		return k, err
	}
	if _, k.peak, err = c.Memory(); err != nil {
		return k, err
	}
	k.rows, err = c.verify(ctx)
	return k, err
}

// metric reads one figure of the process; it is 0 before the counting begins.
func (c *counter) metric(ctx context.Context, name string) (value float64, err error) {
	text, err := get(ctx, "http://"+c.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscan(rest, &value)
			return value, err
		}
	}
	return 0, nil
}

// replay measures how fast an hour of log is read again after a restart.
func replay(ctx context.Context, l *lab) error {
	s := shape{events: l.events, cells: 388_000, tenants: 250, partitions: 8, span: time.Hour}
	t, err := l.fill(ctx, "replay", s)
	if err != nil {
		return err
	}
	begin, err := l.starting(ctx, s.partitions)
	if err != nil {
		return err
	}
	cfg, err := l.database(ctx)
	if err != nil {
		return err
	}
	first, err := l.counter(ctx, t, cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(first.counted(ctx), first.stop()); err != nil {
		return err
	}
	return l.beside("aggregate-replay.txt", fmt.Sprintf("aggregate: an hour of log (%d events) read again after a restart, CPU of the process until it is ready", t.records),
		[]candidate{{"replay", l.rounds, func() (float64, error) {
			c, err := l.counter(ctx, t, cfg)
			if err != nil {
				return 0, err
			}
			ns, err := c.rebuilt(ctx, begin)
			return ns, errors.Join(err, c.stop())
		}}})
}

// rebuilt waits until the process is ready and checks that it has read the
// whole log again.
func (c *counter) rebuilt(ctx context.Context, begin time.Duration) (float64, error) {
	if err := c.ready(ctx); err != nil {
		return 0, err
	}
	cpu, err := c.CPU()
	if err != nil {
		return 0, err
	}
	n, err := c.metric(ctx, "adtally_aggregate_events_rebuilt_total")
	if err != nil {
		return 0, err
	}
	if int64(n) != c.topic.records {
		return 0, fmt.Errorf("void: %.0f events were read again, want %d", n, c.topic.records)
	}
	if _, err := c.verify(ctx); err != nil { // it counted nothing twice
		return 0, err
	}
	return float64((cpu - begin).Nanoseconds()) / n, nil
}
