package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

// report asks for a report and drops the answer. It returns how many bytes it had.
func (b *books) report(ctx context.Context, body, accept string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/v1/reports", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer bench")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body) // for the message
		return 0, fmt.Errorf("report: %d %s", res.StatusCode, text)
	}
	return io.Copy(io.Discard, res.Body)
}

// native runs the statement that the last report ran, and drops the blocks.
func (b *books) native(ctx context.Context) error {
	b.reader.mu.Lock()
	last := b.reader.last
	b.reader.mu.Unlock()
	last.ID = ""
	last.OnBlock = func(int) error { return nil }
	return b.reader.Conn.Blocks(ctx, last)
}

// side is one of the things that are compared.
type side struct {
	name string
	run  func(context.Context) error
}

// alternate runs the sides in turn and returns the milliseconds of each run, by
// side and round.
func (l *lab) alternate(ctx context.Context, runs int, sides ...side) ([][][]float64, error) {
	times := make([][][]float64, len(sides))
	for i, s := range sides {
		if err := s.run(ctx); err != nil { // warm
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		times[i] = make([][]float64, l.rounds)
	}
	for round := range l.rounds {
		for n := range runs {
			for j := range sides {
				i := (j + n + round) % len(sides)
				began := time.Now()
				if err := sides[i].run(ctx); err != nil {
					return nil, fmt.Errorf("%s: %w", sides[i].name, err)
				}
				times[i][round] = append(times[i][round], float64(time.Since(began).Microseconds())/1000)
			}
		}
	}
	return times, nil
}

// medians is the median of each round.
func medians(rounds [][]float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = measure.Median(r)
	}
	return out
}

// table collects lines and publishes them.
type table struct {
	text bytes.Buffer
	w    *tabwriter.Writer
}

func newTable(title, head string) *table {
	t := &table{}
	fmt.Fprintf(&t.text, "%s\n\n", title)
	t.w = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t.w, head)
	return t
}

func (t *table) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (l *lab) publish(t *table, file string) error {
	return errors.Join(t.w.Flush(), measure.Publish(filepath.Join(l.out, file), t.text.Bytes()))
}
