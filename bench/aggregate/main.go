// Command aggregate measures what counting costs, side by side with a bare loop
// over the same events and with the systems that would otherwise do it.
//
// Compared is CPU per event (user and system time of the counting process), not
// the rate. Reference and candidates run in turn, in a new order each round;
// published is the ratio of medians, with the smallest and largest ratio of a
// round. A run is void unless the books hold exactly the figures that the
// generator of the log counted.
//
// What is measured is the program itself: adtally aggregate in a process of its
// own on a topic that is already full, less what the same process takes to
// become ready on an empty one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

func main() { measure.Main(run) }

// settings are the knobs of the comparisons.
type settings struct {
	binary string
	rounds int
	events int
	// only and part narrow the sections, and the curves of growth.
	only, part string
	out        string
	schema     string
	// profile is a folder for CPU profiles of the counting process.
	profile string
}

// section is one comparison with a table of its own.
type section struct {
	name string
	run  func(context.Context, *lab) error
}

var sections = []section{
	{"whole", whole},
	{"engine", engine},
	{"growth", growth},
	{"memory", memory},
	{"replay", replay},
	{"java", java},
	{"rows", rows},
	{"fresh", fresh},
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "broker":
			return measure.ServeBroker(ctx, args[1], "0s")
		case "bare":
			return bareCommand(args[1:])
		}
	}
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&s.binary, "binary", "bin/adtally", "the program to measure")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds")
	flags.IntVar(&s.events, "events", 4_000_000, "events of the logs that are counted")
	flags.StringVar(&s.only, "only", "", "run only the sections whose name contains this; growth/NAME runs one of its curves")
	flags.StringVar(&s.out, "out", "bench/results", "folder for the tables")
	flags.StringVar(&s.schema, "schema", "proto/adtally/v1/event.proto", "the event's definition, for other systems")
	flags.StringVar(&s.profile, "profile", "", "folder for CPU profiles of the counting process")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.only, s.part, _ = strings.Cut(s.only, "/")
	for _, section := range sections {
		if !strings.Contains(section.name, s.only) {
			continue
		}
		started := time.Now()
		if err := inLab(ctx, s, section.run); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s took %s\n", section.name, time.Since(started).Round(time.Second))
	}
	return nil
}
