package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ledger"
)

// books are the ledger and the log that a tool compares.
type books struct {
	target
	Kafka kafka.Config `embed:"" prefix:"kafka-"`
}

type auditCmd struct {
	books
	Since  string `help:"Read batches since this day of broker time (2026-11-20) instead of all; what lies before is not judged." env:"-"`
	Format string `help:"How to print: text or json." enum:"text,json" default:"text" env:"-"`
}

// conservation is where every record of a partition's log went. The words are
// those of the conservation ledger: accepted = counted + duplicate + filtered +
// rejected + pending + in flight.
type conservation struct {
	Partition int32 `json:"partition"`
	Accepted  int64 `json:"accepted"`
	Counted   int64 `json:"counted"`
	Duplicate int64 `json:"duplicate"`
	// Filtered is Invalid and Orphan together.
	Filtered int64 `json:"filtered"`
	Invalid  int64 `json:"invalid"`
	Orphan   int64 `json:"orphan"`
	Rejected int64 `json:"rejected"`
	Pending  int64 `json:"pending"`
	InFlight int64 `json:"in_flight"`

	Position        uint64         `json:"position"`
	CompleteThrough *time.Time     `json:"complete_through"`
	Ticks           int64          `json:"ticks"`
	Batches         uint64         `json:"batches"`
	Faults          []ledger.Fault `json:"faults"`
}

// auditReport is the answer in JSON.
type auditReport struct {
	Topic      string         `json:"topic"`
	TopicID    string         `json:"topic_id"`
	Lineage    uint32         `json:"lineage"`
	OK         bool           `json:"ok"`
	Partitions []conservation `json:"partitions"`
	Total      conservation   `json:"total"`
}

// Run audits the ledger and prints what it found.
func (c *auditCmd) Run(ctx context.Context, e *env) error {
	report, err := c.audit(ctx)
	if err != nil {
		return err
	}
	err = printAs(e.stdout, c.Format, report)
	if err == nil && !report.OK {
		err = report.failure()
	}
	return err
}

func (c *auditCmd) audit(ctx context.Context) (_ *auditReport, err error) {
	since, err := sinceDay(c.Since)
	if err != nil {
		return nil, err
	}
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	topic, err := ledger.LastTopic(ctx, conn, c.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	if topic.Lineage == 0 {
		return nil, c.noTopic()
	}
	// The log is read last: it is never behind the ledger then.
	partitions, err := ledger.Audit(ctx, conn, topic, ledger.Extent{Since: since})
	if err != nil {
		return nil, err
	}
	bounds, err := c.bounds(ctx)
	if err != nil {
		return nil, err
	}
	return newAuditReport(topic, partitions, bounds), nil
}

// sinceDay reads --since; the zero time stands for all.
func sinceDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return day, wrongUsage("--since %q: must be a day as 2026-11-20", text)
	}
	return day, nil
}

// noTopic is the error of a ledger that does not count the topic.
func (b *books) noTopic() error {
	return fmt.Errorf("the ledger counts no topic %s; name another with --kafka-topic", b.Kafka.Topic)
}

// bounds asks the brokers what the log holds.
func (b *books) bounds(ctx context.Context) (map[int32]kafka.Bounds, error) {
	opts, err := b.brokers()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return kafka.LogBounds(ctx, client, b.Kafka.Topic)
}

// brokers are those of --kafka-brokers, or of the running adtally run.
func (b *books) brokers() ([]kgo.Opt, error) {
	cfg := b.Kafka
	if b.Data != "" && len(cfg.Brokers) == 0 {
		s, err := readState(b.Data)
		if err != nil {
			return nil, err
		}
		if s.Ports.Kafka == 0 {
			return nil, wrongUsage("the adtally run in %s uses other brokers: name them with --kafka-brokers", b.Data)
		}
		cfg.Brokers = []string{"127.0.0.1:" + strconv.Itoa(s.Ports.Kafka)}
	}
	return kafkaOptions(cfg), nil
}

func newAuditReport(topic ledger.Topic, partitions []ledger.Partition, bounds map[int32]kafka.Bounds) *auditReport {
	r := &auditReport{Topic: topic.Name, TopicID: topic.ID.String(), Lineage: topic.Lineage, OK: true, Total: conservation{Partition: -1, Faults: []ledger.Fault{}}}
	for id := range int32(topic.Partitions) {
		p := ledger.Partition{ID: id}
		if i := slices.IndexFunc(partitions, func(p ledger.Partition) bool { return p.ID == id }); i >= 0 {
			p = partitions[i]
		}
		r.add(conserve(&p, bounds[id]))
	}
	return r
}

// conserve holds the books of a partition against its log.
func conserve(p *ledger.Partition, log kafka.Bounds) conservation {
	c := conservation{
		Partition: p.ID, Counted: p.Net, Duplicate: p.Duplicate, Invalid: p.Invalid, Orphan: p.Orphan, Filtered: p.Invalid + p.Orphan,
		Rejected: p.Poison, Pending: p.Pending, InFlight: log.End - int64(p.Position),
		Position: p.Position, Ticks: p.Ticks, Batches: p.Marks, Faults: p.Faults,
	}
	if c.Faults == nil {
		c.Faults = []ledger.Fault{}
	}
	c.Accepted = p.Records - p.Ticks + c.InFlight
	if p.Marks > 0 {
		c.CompleteThrough = &p.LAT
	}
	switch {
	case log.End < int64(p.Position):
		c.Faults = append(c.Faults, ledger.Fault{
			Kind: "log", From: uint64(log.End), To: p.Position,
			Text: fmt.Sprintf("offset %d is counted, but the log ends at %d: it was cut back", p.Position, log.End),
		})
	case log.First > int64(p.Position):
		c.Faults = append(c.Faults, ledger.Fault{
			Kind: "log", From: p.Position, To: uint64(log.First),
			Text: fmt.Sprintf("offsets %d to %d are not counted and gone from the log", p.Position, log.First-1),
		})
	}
	return c
}

// add takes the figures of a partition into the report.
func (r *auditReport) add(c conservation) {
	r.Partitions = append(r.Partitions, c)
	r.OK = r.OK && len(c.Faults) == 0
	t := &r.Total
	t.Accepted += c.Accepted
	t.Counted += c.Counted
	t.Duplicate += c.Duplicate
	t.Filtered += c.Filtered
	t.Invalid += c.Invalid
	t.Orphan += c.Orphan
	t.Rejected += c.Rejected
	t.Pending += c.Pending
	t.InFlight += c.InFlight
	t.Ticks += c.Ticks
	t.Batches += c.Batches
	if c.CompleteThrough != nil && (t.CompleteThrough == nil || c.CompleteThrough.Before(*t.CompleteThrough)) {
		t.CompleteThrough = c.CompleteThrough
	}
}

// failure is the error of books that do not add up; it names the first place.
func (r *auditReport) failure() error {
	total := 0
	var first string
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if total == 0 && len(p.Faults) > 0 {
			first = fmt.Sprintf("partition %d, offsets %d to %d: %s", p.Partition, p.Faults[0].From, p.Faults[0].To, p.Faults[0].Text)
		}
		total += len(p.Faults)
	}
	return fmt.Errorf("the books do not add up in %d place(s): %s", total, first)
}

func (r *auditReport) text(w io.Writer) error {
	fmt.Fprintf(w, "topic %s (%s), lineage %d\naccepted = counted + duplicate + filtered + rejected + pending + in flight\n\n", r.Topic, r.TopicID, r.Lineage)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "PARTITION\tACCEPTED\tCOUNTED\tDUPLICATE\tFILTERED\tREJECTED\tPENDING\tIN FLIGHT\tPOSITION\tBATCHES\tCOMPLETE THROUGH\t")
	line := func(name string, c *conservation, position string) {
		through := "-"
		if c.CompleteThrough != nil {
			through = c.CompleteThrough.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%s\t\n", name, c.Accepted, c.Counted, c.Duplicate, c.Filtered, c.Rejected,
			c.Pending, c.InFlight, position, c.Batches, through)
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		line(strconv.Itoa(int(p.Partition)), p, strconv.FormatUint(p.Position, 10))
	}
	line("all", &r.Total, "")
	if err := table.Flush(); err != nil {
		return err
	}
	for i := range r.Partitions {
		for _, f := range r.Partitions[i].Faults {
			fmt.Fprintf(w, "\npartition %d: %s: %s", r.Partitions[i].Partition, f.Kind, f.Text)
		}
	}
	verdict := "\nThe books add up.\n"
	if !r.OK {
		verdict = "\n\nThe books DO NOT add up.\n"
	}
	_, err := io.WriteString(w, verdict)
	return err
}
