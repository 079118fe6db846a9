// Command ingest measures what one beacon costs the server, side by side with a
// server that answers the same bytes and does nothing.
//
// Compared is CPU per event (user and system time of the server process), not
// the rate: on a small shared machine the loader and the broker take part of
// the rate, but not of the server's CPU. Reference and candidates run in turn,
// in a new order each round; published is the ratio of medians, with the
// smallest and largest ratio of a round. A case is void unless the broker holds
// exactly as many records as were answered.
package main

import (
	"context"
	"flag"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

func main() { measure.Main(run) }

// settings are the knobs of a comparison.
type settings struct {
	binary string
	rounds int
	warm   time.Duration
	length time.Duration
	out    string
	only   string
	// profile is a folder for a CPU profile of each case.
	profile string
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "static":
			return serveStatic(ctx, args[1])
		case "legacy":
			return serveLegacy(ctx, args[1])
		case "broker":
			return measure.ServeBroker(ctx, args[1], args[2])
		}
	}
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&s.binary, "binary", "bin/adtally", "the program to measure")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds")
	flags.DurationVar(&s.warm, "warm", 2*time.Second, "load before a measurement")
	flags.DurationVar(&s.length, "measure", 4*time.Second, "length of a measurement")
	flags.StringVar(&s.out, "out", "bench/results/ingest.txt", "file that also gets the table")
	flags.StringVar(&s.only, "only", "", "measure only the cases whose name ends with one of these, separated by semicolons, and the references")
	flags.StringVar(&s.profile, "profile", "", "folder for a CPU profile of each case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return compare(ctx, s)
}
