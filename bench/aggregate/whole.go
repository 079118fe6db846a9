package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

// against is one candidate beside the bare loop of the same run.
type against struct {
	name      string
	shape     shape
	topic     topic
	reference *reference
	costs     []cost
	bare      []float64
}

// whole compares the whole aggregator with the bare loop.
func whole(ctx context.Context, l *lab) error {
	cases := []*against{
		{name: "uniform", shape: shape{events: l.events, cells: 388_000, tenants: 250, partitions: 8}},
		{name: "zipf 1.1", shape: shape{events: l.events, cells: 388_000, tenants: 250, partitions: 8, zipf: 1.1}},
	}
	begin, err := l.starting(ctx, 8)
	if err != nil {
		return err
	}
	for i, c := range cases {
		if c.topic, err = l.fill(ctx, fmt.Sprintf("whole-%d", i), c.shape); err != nil {
			return err
		}
		if c.reference, err = l.reference(ctx, c.shape); err != nil {
			return err
		}
		defer c.reference.Stop()
	}
	for round := range l.rounds {
		for i := range cases {
			if err := cases[(i+round)%len(cases)].round(ctx, l, begin); err != nil {
				return err
			}
		}
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "aggregate: the whole of it (fetch, decode, duplicates, fold, ledger) beside a bare loop over the same events in memory,\n%d rounds of %d events, CPU of the process less %s of start, %s\n\n",
		l.rounds, l.events, begin, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "keys\tB/event\tns/event\tmin–max\tbare ns\tbare / whole\tmin–max\tM events/s/core\trows/event\tClickHouse ns/event")
	for _, c := range cases {
		ns := measure.Column(c.costs, cost.perEvent)
		fmt.Fprintf(table, "%d %s\t%d\t%.0f\t%.0f–%.0f\t%.0f\t%s\t%.2f\t%.2f\t%.0f\n", c.shape.cells, c.name, c.reference.bytes,
			measure.Median(ns), slices.Min(ns), slices.Max(ns), measure.Median(c.bare), measure.Compare(c.bare, ns), 1e3/measure.Median(ns),
			measure.Median(measure.Column(c.costs, func(k cost) float64 { return float64(k.rows) / float64(k.events) })),
			measure.Median(measure.Column(c.costs, func(k cost) float64 { return float64(k.server.Nanoseconds()) / float64(k.events) })))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if slices.ContainsFunc(cases, func(c *against) bool { return measure.Noisy(c.bare) }) {
		fmt.Fprintln(&text, "\nThe reference itself varied by more than 1.25: the machine was noisy, run again.")
	}
	return measure.Publish(filepath.Join(l.out, "aggregate-whole.txt"), text.Bytes())
}

// round runs the bare loop right before and right after the candidate.
func (c *against) round(ctx context.Context, l *lab, begin time.Duration) error {
	before, err := c.reference.pass()
	if err != nil {
		return err
	}
	k, err := l.count(ctx, c.topic, begin)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := c.reference.pass()
	if err != nil {
		return err
	}
	c.costs, c.bare = append(c.costs, k), append(c.bare, (before+after)/2)
	fmt.Fprintf(os.Stderr, "%-10s %4.0f ns/event, bare %3.0f and %3.0f, %d rows, %s, %d MiB\n", c.name, k.perEvent(), before, after, k.rows, k.wall.Round(10*time.Millisecond), k.peak>>20)
	return nil
}
