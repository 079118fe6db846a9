package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/adtally/adtally/bench/internal/measure"
)

// bareEvents is the length of the log of the bare loop.
const bareEvents = 2_000_000

// bareCommand is the process of the bare loop.
func bareCommand(args []string) error {
	s := shape{events: bareEvents, partitions: 8}
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	flags.IntVar(&s.cells, "cells", 0, "cells")
	flags.IntVar(&s.tenants, "tenants", 0, "advertisers")
	flags.Float64Var(&s.zipf, "zipf", 0, "exponent of their popularity")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return serveBare(s, os.Stdin, os.Stdout)
}

// reference is the bare loop in a process that waits to be asked.
type reference struct {
	*measure.Process
	lines *bufio.Scanner
	// bytes per event.
	bytes int
}

func (l *lab) reference(ctx context.Context, s shape) (*reference, error) {
	p, err := measure.Talk(ctx, l.self, "bare", "-cells", strconv.Itoa(s.cells), "-tenants", strconv.Itoa(s.tenants),
		"-zipf", strconv.FormatFloat(s.zipf, 'f', -1, 64))
	if err != nil {
		return nil, err
	}
	r := &reference{Process: p, lines: bufio.NewScanner(p.Out)}
	_, err = r.pass() // warms up
	return r, err
}

// pass counts the log in memory once and returns nanoseconds of CPU per event.
func (r *reference) pass() (float64, error) {
	if _, err := fmt.Fprintln(r.In); err != nil {
		return 0, err
	}
	if !r.lines.Scan() {
		return 0, fmt.Errorf("the bare loop ended: %s", r.Log())
	}
	var ns float64
	var live int
	if _, err := fmt.Sscan(r.lines.Text(), &ns, &live, &r.bytes); err != nil {
		return 0, fmt.Errorf("read answer of the bare loop: %w", err)
	}
	return ns, nil
}
