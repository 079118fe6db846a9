package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
)

const (
	rowBlocks = 10
	rowsBlock = 100_000
)

// rowsOf is a way to write rows into the ledger; it writes one block.
type rowsOf struct {
	name  string
	write func(context.Context, clickhouse.Conn, *aggregate.Block) error
}

// rowCost is CPU in seconds per million rows.
type rowCost struct{ client, server float64 }

// rows compares ways to write rows into the ledger. The client is this process.
func rows(ctx context.Context, l *lab) error {
	block, err := newBlock()
	if err != nil {
		return err
	}
	ways := []rowsOf{
		{"Append, row by row", appendRows},
		{"AppendStruct", appendStructs},
		{"the ledger of adtally", nil},
	}
	costs := make([][]rowCost, len(ways))
	for round := range l.rounds {
		for i := range ways {
			n := (i + round) % len(ways)
			c, err := l.writeRows(ctx, ways[n], block)
			if err != nil {
				return fmt.Errorf("%s: %w", ways[n].name, err)
			}
			fmt.Fprintf(os.Stderr, "%-24s client %.3f, server %.3f s per million rows\n", ways[n].name, c.client, c.server)
			costs[n] = append(costs[n], c)
		}
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "aggregate: writing rows into the ledger, %d blocks of %d rows, merges stopped, CPU in seconds per million rows,\n%d rounds, %s\n\n",
		rowBlocks, rowsBlock, l.rounds, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "way\tclient\tserver\tboth\tmin–max\tx adtally\tmin–max")
	both := func(c rowCost) float64 { return c.client + c.server }
	ours := measure.Column(costs[len(ways)-1], both)
	for i, way := range ways {
		sum := measure.Column(costs[i], both)
		fmt.Fprintf(table, "%s\t%.3f\t%.3f\t%.3f\t%.3f–%.3f\t%s\n", way.name,
			measure.Median(measure.Column(costs[i], func(c rowCost) float64 { return c.client })),
			measure.Median(measure.Column(costs[i], func(c rowCost) float64 { return c.server })),
			measure.Median(sum), slices.Min(sum), slices.Max(sum), measure.Compare(sum, ours))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return measure.Publish(filepath.Join(l.out, "aggregate-rows.txt"), text.Bytes())
}

// writeRows writes the block again and again into a new ledger.
func (l *lab) writeRows(ctx context.Context, way rowsOf, b *aggregate.Block) (c rowCost, err error) {
	cfg, err := l.database(ctx)
	if err != nil {
		return c, err
	}
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Close(), l.drop(ctx, cfg)) }()
	if err := conn.Exec(ctx, "SYSTEM STOP MERGES ledger"); err != nil {
		return c, err
	}
	write := way.write
	if write == nil {
		ours := aggregate.NewLedger(conn, "bench")
		if b.Topic, err = ours.OpenTopic(ctx, b.Topic); err != nil {
			return c, err
		}
		write = func(ctx context.Context, _ clickhouse.Conn, b *aggregate.Block) error { return ours.Insert(ctx, b) }
	}
	for n := range rowBlocks + 1 {
		if n == 1 { // the first one warms up
			if c, err = l.bothCPU(); err != nil {
				return c, err
			}
		}
		b.ID = uuid.New()
		b.Spans[0].Start, b.Spans[0].End = int64(n*rowsBlock), int64((n+1)*rowsBlock)
		if err := write(ctx, conn, b); err != nil {
			return c, err
		}
	}
	after, err := l.bothCPU()
	if err != nil {
		return c, err
	}
	var got, gross int64
	if err := conn.QueryRow(ctx, "SELECT toInt64(count()), sum(gross) FROM ledger WHERE advertiser > 0").Scan(&got, &gross); err != nil {
		return c, err
	}
	if total := b.Spans[0].Delta.Totals(); got != (rowBlocks+1)*int64(total.Rows) || gross != (rowBlocks+1)*total.Gross {
		return c, fmt.Errorf("void: %d rows with %d events are in the ledger", got, gross)
	}
	scale := 1e6 / float64(rowBlocks*b.Spans[0].Delta.Len())
	return rowCost{(after.client - c.client) * scale, (after.server - c.server) * scale}, nil
}

// bothCPU is the CPU in seconds of this process and of the server.
func (l *lab) bothCPU() (rowCost, error) {
	client, err := ownCPU()
	if err != nil {
		return rowCost{}, err
	}
	server, err := measure.CPU(l.server.Pid())
	return rowCost{client.Seconds(), server.Seconds()}, err
}

// newBlock counts events until there are enough rows.
func newBlock() (*aggregate.Block, error) {
	now := time.Now()
	span := &aggregate.Span{FirstLAT: now.UnixMilli(), LastLAT: now.UnixMilli()}
	state := window.NewState(window.Defaults(), nil)
	gen := newTraffic(shape{events: 3 * rowsBlock, cells: 4 * rowsBlock, tenants: 250, partitions: 1}, now)
	err := gen.run(func(_ int32, lat int64, value []byte) error {
		if span.Delta.Len() < rowsBlock {
			state.FoldBatch([]window.Record{{Value: value, LAT: lat}}, &span.Delta)
		}
		return nil
	})
	topic := aggregate.Topic{Name: "bench", ID: uuid.New(), Partitions: 1, Spread: spread, Scheme: proto.PartitionScheme}
	return &aggregate.Block{Topic: topic, Spans: []*aggregate.Span{span}, Fence: func() error { return nil }}, err
}
