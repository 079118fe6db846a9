package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// growthEvents is the length of the logs in which one size grows.
const growthEvents = 2_000_000

// growth measures how the cost of an event grows with the number of keys, of
// partitions and of advertisers. More keys are also more rows for the ledger;
// the first curve leaves those out.
func growth(ctx context.Context, l *lab) error {
	base := shape{events: min(l.events, growthEvents), cells: 388_000, tenants: 250, partitions: 8}
	with := func(change func(*shape)) shape {
		s := base
		change(&s)
		return s
	}
	keys := []shape{
		with(func(s *shape) { s.cells = 10_000 }), with(func(s *shape) { s.cells = 100_000 }), with(func(s *shape) { s.cells = 1_000_000 }),
	}
	keyNames := []string{"10,000 keys", "100,000 keys", "1,000,000 keys"}
	curves := []curve{
		{"keys, up to the flush", keyNames, keys, l.foldOnly},
		{"keys", keyNames, keys, l.countOnly},
		{"partitions", []string{"8 partitions", "64 partitions", "512 partitions"}, []shape{
			base, with(func(s *shape) { s.partitions = 64 }), with(func(s *shape) { s.partitions = 512 }),
		}, l.countOnly},
		{"tenants", []string{"10 tenants", "1,000 tenants", "10,000 tenants"}, []shape{
			with(func(s *shape) { s.tenants = 10 }), with(func(s *shape) { s.tenants = 1000 }), with(func(s *shape) { s.tenants = 10_000 }),
		}, l.countOnly},
	}
	for _, c := range curves {
		if !strings.Contains(c.name, l.part) {
			continue
		}
		if err := l.curve(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// curve is one thing that grows.
type curve struct {
	name   string
	names  []string
	shapes []shape
	cost   func(ctx context.Context, t topic, begin time.Duration) (float64, error)
}

// curve measures the shapes in turn; the first is what others are compared with.
func (l *lab) curve(ctx context.Context, c curve) (err error) {
	var topics []topic
	defer func() { err = errors.Join(err, l.remove(ctx, topics...)) }()
	candidates := make([]candidate, len(c.shapes))
	for i, s := range c.shapes {
		l.runs++
		t, err := l.fill(ctx, fmt.Sprintf("growth-%d", l.runs), s)
		if err != nil {
			return err
		}
		topics = append(topics, t)
		begin, err := l.starting(ctx, s.partitions)
		if err != nil {
			return err
		}
		candidates[i] = candidate{c.names[i], l.rounds, func() (float64, error) { return c.cost(ctx, t, begin) }}
	}
	file := strings.NewReplacer(" ", "-", ",", "").Replace("aggregate-growth-" + c.name + ".txt")
	return l.beside(file, fmt.Sprintf("aggregate: growth with %s; CPU of the counting process, %d events", c.name, c.shapes[0].events), candidates)
}

// countOnly is what counting costs, with the ledger.
func (l *lab) countOnly(ctx context.Context, t topic, begin time.Duration) (float64, error) {
	k, err := l.count(ctx, t, begin)
	return k.perEvent(), err
}

// foldOnly is what counting costs until all is in the window.
func (l *lab) foldOnly(ctx context.Context, t topic, begin time.Duration) (float64, error) {
	k, err := l.hold(ctx, t)
	k.cpu -= begin
	return k.perEvent(), err
}

// candidate is something that counts, and returns nanoseconds of CPU per event.
type candidate struct {
	name   string
	rounds int
	run    func() (float64, error)
}

// beside runs candidates in turn, in a new order each round, and publishes
// their costs beside the first one's.
func (l *lab) beside(file, title string, candidates []candidate) error {
	names := make([]string, len(candidates))
	ns := make([][]float64, len(candidates))
	for round := range l.rounds {
		for i := range candidates {
			n := (i + round) % len(candidates)
			c := candidates[n]
			names[n] = c.name
			if round >= c.rounds {
				continue
			}
			v, err := c.run()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "%-38s %6.0f ns/event\n", c.name, v)
			ns[n] = append(ns[n], v)
		}
	}
	return l.publishRatios(file, title, names, ns)
}
