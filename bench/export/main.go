// Command export measures how fast a statement becomes a file, side by side with
// ClickHouse's own formats.
//
// Both sides run the same SELECT on the same server and cores and end with a file;
// ours is hashed and fsynced too, in a process of its own whose peak memory is
// read. Rounds alternate and change their order; published is the ratio of medians
// of wall time, with the smallest and largest ratio of a round.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/closing"
)

func main() { measure.Main(run) }

// job is what the measured process does.
type job struct {
	ClickHouse clickhouse.Config
	Query      closing.Query
	Format     string
	Path       string
}

// result is what a run took.
type result struct {
	Seconds float64
	Bytes   int64
	// CPU is that of the measured process, PeakMiB its peak memory; zero for
	// ClickHouse itself.
	CPU     float64
	PeakMiB float64
}

type settings struct {
	rows, rounds int
	only, out    string
	binary       string
}

// wants says that a part is to be measured.
func (s *settings) wants(part string) bool {
	return s.only == "" || slices.Contains(strings.Split(s.only, ","), part)
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "write" {
		return write(ctx)
	}
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.rows, "rows", 10_000_000, "rows of the statement")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds of each format")
	flags.StringVar(&s.only, "only", "", "parquet, arrow, proof, memory or some of them, with commas; none means all")
	flags.StringVar(&s.binary, "adtally", "bin/adtally", "the built program, for the proof")
	flags.StringVar(&s.out, "out", "bench/results/export.txt", "file that also gets the table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return compare(ctx, s)
}

// formats pairs ours with ClickHouse's, and the ratios that are allowed.
var formats = []struct {
	ours, theirs string
	wall, size   float64
}{
	{"parquet", "Parquet SETTINGS output_format_parquet_compression_method='zstd'", 1.2, 1.1},
	{"arrow", "ArrowStream", 1.5, 0},
}

func compare(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "adtally-bench-export-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	b, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.fill(ctx, s.rows); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "a statement of %d rows and 24 columns to a file, %d rounds; wall seconds, median (min to max)\n", s.rows, s.rounds)
	for _, f := range formats {
		if s.rounds == 0 || !s.wants(f.ours) {
			continue
		}
		if err := b.compare(ctx, &text, f.ours, f.theirs, f.wall, f.size, s.rounds); err != nil {
			return err
		}
	}
	if s.wants("proof") {
		if err := b.proof(ctx, &text, s.binary); err != nil {
			return err
		}
	}
	if s.wants("memory") {
		if err := b.peaks(ctx, &text, s.rows); err != nil {
			return err
		}
	}
	fmt.Print(text.String())
	if err := os.MkdirAll(filepath.Dir(s.out), 0o755); err != nil { //nolint:gosec // results are for others to read
		return err
	}
	return os.WriteFile(s.out, []byte(text.String()), 0o644) //nolint:gosec // results are for others to read
}

// compare alternates between ours and theirs.
func (b *bench) compare(ctx context.Context, text *strings.Builder, ours, theirs string, wall, size float64, rounds int) error {
	var us, them []result
	for round := range rounds {
		sides := []func() error{
			func() error { r, err := b.ours(ctx, ours, b.statement()); us = append(us, r); return err },
			func() error { r, err := b.theirs(ctx, theirs, b.statement()); them = append(them, r); return err },
		}
		if round%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
	}
	seconds := func(r result) float64 { return r.Seconds }
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = us[i].Seconds / them[i].Seconds
	}
	ratio := median(us, seconds) / median(them, seconds)
	fmt.Fprintf(text, "%-8s ours %s, %d MiB, %.2f CPU s, peak %.0f MiB; ClickHouse %s, %d MiB; wall %.2f (%.2f to %.2f), allowed %.1f",
		ours, spread(us), us[0].Bytes>>20, median(us, func(r result) float64 { return r.CPU }), slices.MaxFunc(us, byPeak).PeakMiB,
		spread(them), them[0].Bytes>>20, ratio, slices.Min(ratios), slices.Max(ratios), wall)
	if size > 0 {
		fmt.Fprintf(text, "; size %.2f, allowed %.1f", float64(us[0].Bytes)/float64(them[0].Bytes), size)
	}
	text.WriteByte('\n')
	return nil
}

func byPeak(a, b result) int { return int(a.PeakMiB - b.PeakMiB) }

func median(list []result, of func(result) float64) float64 {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func spread(list []result) string {
	seconds := func(a, b result) int { return int(1e6 * (a.Seconds - b.Seconds)) }
	return fmt.Sprintf("%.2f (%.2f to %.2f)", median(list, func(r result) float64 { return r.Seconds }),
		slices.MinFunc(list, seconds).Seconds, slices.MaxFunc(list, seconds).Seconds)
}

// ours runs the measured process.
func (b *bench) ours(ctx context.Context, format string, query closing.Query) (r result, err error) {
	path := filepath.Join(b.dir, "ours."+format)
	defer func() { _ = os.Remove(path) }() // only its size is wanted
	input, err := json.Marshal(job{b.cfg, query, format, path})
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "write") //nolint:gosec // this program
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
	began := time.Now()
	output, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(output, &r)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, err
}

// peaks measures memory from a tenth to ten times the rows, without the sort.
func (b *bench) peaks(ctx context.Context, text *strings.Builder, rows int) error {
	for _, n := range []int{rows / 10, rows, 10 * rows} {
		r, err := b.ours(ctx, "parquet", b.plain(n, rows))
		if err != nil {
			return err
		}
		fmt.Fprintf(text, "parquet  %11d rows without the sort: %.2f s, peak %.0f MiB\n", n, r.Seconds, r.PeakMiB)
	}
	return nil
}
