// Command query measures what reports cost, side by side with ClickHouse itself
// on the same rows: some ten million rows of rollups by quarters of an hour,
// made inside ClickHouse and added up by the program's own compactor.
//
// Compared is the time until the last byte, one client at a time unless a table
// says otherwise. Reference and candidate run in turn; published is the ratio of
// medians, with the smallest and largest ratio of a round.
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
	rounds int
	runs   int
	rows   int
	only   string
	out    string
	data   string
}

// section is one comparison with a table of its own.
type section struct {
	name string
	run  func(context.Context, *lab) error
}

var sections = []section{
	{"overhead", overhead},
	{"formats", formats},
	{"dashboard", dashboard},
	{"tail", tail},
	{"clients", clients},
	{"growth", growth},
}

func run(ctx context.Context, args []string) error {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "rounds")
	flags.IntVar(&s.runs, "runs", 40, "runs of each query in a round")
	flags.IntVar(&s.rows, "rows", 10_000_000, "rows of the ledger")
	flags.StringVar(&s.only, "only", "", "run only the sections whose name contains this")
	flags.StringVar(&s.out, "out", "bench/results", "folder for the tables")
	flags.StringVar(&s.data, "data", "", "folder to keep the data in between runs; none for a temporary one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return inLab(ctx, s, func(ctx context.Context, l *lab) error {
		for _, section := range sections {
			if !strings.Contains(section.name, s.only) {
				continue
			}
			started := time.Now()
			if err := section.run(ctx, l); err != nil {
				return fmt.Errorf("%s: %w", section.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s took %s\n", section.name, time.Since(started).Round(time.Second))
		}
		return nil
	})
}
