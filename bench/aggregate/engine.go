package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/clickhouse"
)

// slowRounds is the number of rounds of what takes long.
const slowRounds = 3

// engineEvents is the length of the log for ClickHouse's Kafka engine, which is
// slow with one event per message.
const engineEvents = 400_000

// rollupSQL makes the same roll-up as the ledger, but for duplicates, which
// ClickHouse does not take out: the engine's own table, the table of sums and
// the view between them.
const rollupSQL = ` TABLE rollup (
    advertiser UInt64, minute DateTime('UTC'), event_type UInt8, campaign UInt64, ad_group UInt64, creative UInt64,
    placement UInt64, publisher UInt64, country LowCardinality(String), region LowCardinality(String),
    device LowCardinality(String), os LowCardinality(String), browser LowCardinality(String),
    variant LowCardinality(String), currency LowCardinality(String), invalid_flags UInt32,
    gross Int64, spend_nanos Int64
) ENGINE = SummingMergeTree ORDER BY (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, invalid_flags);
CREATE TABLE definition (text String) ENGINE = Memory AS SELECT '%[5]s';
CREATE TABLE queue (
    type Int32, time_us Int64, advertiser_id UInt64, campaign_id UInt64, ad_group_id UInt64, creative_id UInt64,
    placement_id UInt64, publisher_id UInt64, country String, region String, device String, os String, browser String,
    variant String, currency String, price_nanos Int64, invalid_flags UInt32
) ENGINE = Kafka SETTINGS kafka_broker_list = '%[1]s', kafka_topic_list = '%[2]s', kafka_group_name = '%[3]s',
    kafka_format = '%[4]s', kafka_num_consumers = 2, kafka_thread_per_consumer = 1, format_schema_source = 'query',
    kafka_schema = 'SELECT text FROM %[6]s.definition', format_schema_message_name = 'Event';
CREATE MATERIALIZED VIEW counting TO rollup AS
SELECT advertiser_id AS advertiser, toDateTime(intDiv(time_us, 60000000) * 60, 'UTC') AS minute, toUInt8(type) AS event_type,
    campaign_id AS campaign, ad_group_id AS ad_group, creative_id AS creative, placement_id AS placement, publisher_id AS publisher,
    country, region, device, os, browser, variant, currency, invalid_flags,
    toInt64(count()) AS gross, sum(price_nanos) AS spend_nanos
FROM queue
GROUP BY ALL`

// engine compares the aggregator with ClickHouse's own Kafka engine.
func engine(ctx context.Context, l *lab) error {
	s := shape{events: l.events, cells: 388_000, tenants: 250, partitions: 8}
	ours, err := l.fill(ctx, "engine-ours", s)
	if err != nil {
		return err
	}
	s.events = engineEvents
	single, err := l.fill(ctx, "engine-single", s)
	if err != nil {
		return err
	}
	s.events = l.events
	packed, err := l.fillPacked(ctx, "engine-packed", s, 100)
	if err != nil {
		return err
	}
	begin, err := l.starting(ctx, s.partitions)
	if err != nil {
		return err
	}
	return l.beside("aggregate-engine.txt", "aggregate: the counting process beside ClickHouse's Kafka engine with a materialized view; "+
		"CPU of adtally aggregate, or of the server,\nwhich takes out no duplicates", []candidate{
		{"adtally aggregate", l.rounds, func() (float64, error) {
			k, err := l.count(ctx, ours, begin)
			return k.perEvent(), err
		}},
		{"Kafka engine, 1 event per message", slowRounds, func() (float64, error) { return l.countByEngine(ctx, single, "ProtobufSingle") }},
		{"Kafka engine, 100 events per message", l.rounds, func() (float64, error) { return l.countByEngine(ctx, packed, "Protobuf") }},
	})
}

// publishRatios writes the table of comparisons with the first of names.
func (l *lab) publishRatios(file, title string, names []string, ns [][]float64) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s,\n%d rounds, %s\n\n", title, l.rounds, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "who\tns/event\tmin–max\tx adtally\tmin–max")
	for i, name := range names {
		fmt.Fprintf(table, "%s\t%.0f\t%.0f–%.0f\t%s\n", name, measure.Median(ns[i]), slices.Min(ns[i]), slices.Max(ns[i]), measure.Compare(ns[i], ns[0]))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return measure.Publish(filepath.Join(l.out, file), text.Bytes())
}

// countByEngine counts a topic in ClickHouse alone and returns the server's CPU
// in nanoseconds per event.
func (l *lab) countByEngine(ctx context.Context, t topic, format string) (ns float64, err error) {
	cfg, err := l.database(ctx)
	if err != nil {
		return 0, err
	}
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, conn.Exec(ctx, "DROP TABLE IF EXISTS counting SYNC"), conn.Exec(ctx, "DROP TABLE IF EXISTS queue SYNC"), conn.Close(), l.drop(ctx, cfg))
	}()
	before, err := measure.CPU(l.server.Pid())
	if err != nil {
		return 0, err
	}
	schema, err := os.ReadFile(l.schema)
	if err != nil {
		return 0, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(string(schema))
	script := fmt.Sprintf(rollupSQL, l.broker, t.name, "bench-"+cfg.Database, format, quoted, cfg.Database)
	for statement := range strings.SplitSeq(script, ";\nCREATE") {
		if err := conn.Exec(ctx, "CREATE"+statement); err != nil {
			return 0, err
		}
	}
	if err := until(ctx, "the engine to count the topic", func() (bool, error) {
		var n int64
		err := conn.QueryRow(ctx, "SELECT sum(gross) FROM rollup").Scan(&n)
		return n >= t.want.Gross, err
	}); err != nil {
		return 0, err
	}
	after, err := measure.CPU(l.server.Pid())
	if err != nil {
		return 0, err
	}
	var gross int64
	var weighted uint64
	if err := conn.QueryRow(ctx, "SELECT sum(gross), sumWithOverflow(toUInt64(gross) * ("+weightSQL+")) FROM rollup").Scan(&gross, &weighted); err != nil {
		return 0, err
	}
	if gross != t.want.Gross || weighted != t.want.Weighted {
		return 0, fmt.Errorf("void: the engine counts %d events weighing %d, want %d and %d", gross, weighted, t.want.Gross, t.want.Weighted)
	}
	return float64((after - before).Nanoseconds()) / float64(gross), nil
}
