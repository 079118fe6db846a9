package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/recount"
	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/ledger"
)

type replayCmd struct {
	books
	Aggregate aggregate.Rules `embed:"" prefix:"aggregate-"`
	Since     string          `help:"Count batches again since this day of broker time (2026-11-20) instead of all." env:"-"`
	Partition []int32         `help:"Partitions to count again; all of them unless given." env:"-"`
	Limit     int             `help:"Differing cells to print of each partition at most." default:"20" env:"-"`
	Format    string          `help:"How to print: text or json." enum:"text,json" default:"text" env:"-"`
}

// replayReport is the answer in JSON.
type replayReport struct {
	Topic      string            `json:"topic"`
	OK         bool              `json:"ok"`
	Records    int64             `json:"records"`
	Partitions []replayPartition `json:"partitions"`
}

type replayPartition struct {
	Partition    int32        `json:"partition"`
	From         int64        `json:"from"`
	To           int64        `json:"to"`
	ReadFrom     int64        `json:"read_from"`
	CodeVersions []uint32     `json:"code_versions"`
	Cells        int          `json:"cells"`
	Differing    int          `json:"differing_cells"`
	Differences  []replayCell `json:"differences"`
}

// replayCell is a cell that the ledger and the log tell differently.
type replayCell struct {
	Minute     time.Time         `json:"minute"`
	EventType  string            `json:"event_type"`
	Flags      string            `json:"invalid_flags,omitempty"`
	Dimensions map[string]string `json:"dimensions"`
	Ledger     replayFigures     `json:"ledger"`
	Log        replayFigures     `json:"log"`
}

type replayFigures struct {
	Gross      int64 `json:"gross"`
	Net        int64 `json:"net"`
	Duplicate  int64 `json:"duplicate"`
	Invalid    int64 `json:"invalid"`
	Orphan     int64 `json:"orphan"`
	SpendNanos int64 `json:"spend_nanos"`
}

// Run counts the log again and prints where the ledger says something else.
func (c *replayCmd) Run(ctx context.Context, e *env) error {
	report, err := c.replay(ctx, e)
	if err != nil {
		return err
	}
	err = printAs(e.stdout, c.Format, report)
	if err == nil && !report.OK {
		err = errors.New("the ledger is not what the log says")
	}
	return err
}

func (c *replayCmd) replay(ctx context.Context, e *env) (_ *replayReport, err error) {
	since, err := sinceDay(c.Since)
	if err != nil {
		return nil, err
	}
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	brokers, err := c.brokers()
	if err != nil {
		return nil, err
	}
	topic, err := ledger.LastTopic(ctx, conn, c.Kafka.Topic)
	if err == nil && topic.Lineage == 0 {
		err = c.noTopic()
	}
	if err != nil {
		return nil, err
	}
	bar := newProgress(e.stderr)
	defer bar.end()
	again := recount.Replay{Rules: c.Aggregate.Window(), Topic: topic, Conn: conn, Options: brokers, Since: since, Progress: bar.records}
	report := &replayReport{Topic: topic.Name, OK: true}
	for id := range int32(topic.Partitions) {
		if len(c.Partition) > 0 && !slices.Contains(c.Partition, id) {
			continue
		}
		r, err := again.Run(ctx, id)
		if err != nil {
			return nil, err
		}
		report.add(&r, c.Limit)
	}
	return report, nil
}

func (r *replayReport) add(p *recount.Replayed, limit int) {
	out := replayPartition{
		Partition: p.Partition, From: p.From, To: p.To, ReadFrom: p.ReadFrom, CodeVersions: p.Versions,
		Cells: p.Cells, Differing: len(p.Differences), Differences: []replayCell{},
	}
	for i := range p.Differences[:min(limit, len(p.Differences))] {
		out.Differences = append(out.Differences, cellOf(&p.Differences[i]))
	}
	r.Partitions = append(r.Partitions, out)
	r.Records += p.To - p.From
	r.OK = r.OK && len(p.Differences) == 0
}

func cellOf(d *recount.Difference) replayCell {
	k := d.Key()
	id := func(n uint64) string { return strconv.FormatUint(n, 10) }
	figures := func(r *window.Row) replayFigures {
		return replayFigures{r.Gross, r.Net, r.Duplicate, r.Invalid, r.Orphan, r.SpendNanos}
	}
	return replayCell{
		Minute: time.Unix(k.Minute*60, 0).UTC(), EventType: k.Type.Name(), Flags: k.Flags.String(),
		Dimensions: map[string]string{
			"advertiser": id(k.Advertiser), "campaign": id(k.Campaign), "ad_group": id(k.AdGroup), "creative": id(k.Creative),
			"placement": id(k.Placement), "publisher": id(k.Publisher), "country": k.Country, "region": k.Region,
			"device": k.Device, "os": k.OS, "browser": k.Browser, "variant": k.Variant, "currency": k.Currency,
		},
		Ledger: figures(&d.Ledger), Log: figures(&d.Log),
	}
}

func (r *replayReport) text(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "PARTITION\tFROM\tTO\tREAD FROM\tCODE\tCELLS\tDIFFERING\t")
	differing := 0
	for _, p := range r.Partitions {
		differing += p.Differing
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%s\t%d\t%d\t\n", p.Partition, p.From, p.To, p.ReadFrom, strings.Trim(fmt.Sprint(p.CodeVersions), "[]"), p.Cells, p.Differing)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range r.Partitions {
		for _, d := range p.Differences {
			fmt.Fprintf(w, "\npartition %d, %s %s %s %v\n  ledger %+v\n  log    %+v\n",
				p.Partition, d.Minute.Format(time.RFC3339), d.EventType, d.Flags, d.Dimensions, d.Ledger, d.Log)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d records counted again, %d cells differ.\n", r.Records, differing)
	return err
}
