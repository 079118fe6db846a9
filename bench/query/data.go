package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/aggregate/compact"
	"github.com/adtally/adtally/internal/clickhouse"
)

// What the rows are like: campaigns of advertisers on days. The first advertiser
// has a third of all rows, the others share the rest evenly.
const (
	days        = 90
	advertisers = 250
	campaigns   = 5000
	topicID     = "10000000-0000-4000-8000-000000000001"
)

// firstDay is when the rows begin.
var firstDay = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

func day(n int) string { return firstDay.AddDate(0, 0, n).Format(time.DateOnly) }

// shape says how many rows to make.
type shape struct {
	rows, days, advertisers int
	// even spreads the rows evenly over the advertisers, plain gives a campaign
	// one country and one device.
	even, plain bool
}

// fill makes a ledger inside ClickHouse, and a cut of it. Every day of broker
// time is one batch of one partition.
func (b *books) fill(ctx context.Context, s shape) error {
	var known uint64
	if err := b.writer.QueryRow(ctx, "SELECT count() FROM cuts").Scan(&known); err != nil {
		return err
	}
	if known > 0 {
		return nil
	}
	started := time.Now()
	err := b.exec(ctx, "INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES ('bench', '"+topicID+"', 1, 4, 's', 1)")
	if err != nil {
		return err
	}
	for from := 0; from < s.days; from += 10 {
		if err := b.insertDays(ctx, s, from, min(from+10, s.days)); err != nil {
			return err
		}
	}
	if err := b.insertMarks(ctx, 0); err != nil {
		return err
	}
	took := time.Since(started)
	if err := b.cut(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d rows made in %s, cut in %s\n", b.database, s.rows, took.Round(time.Second), (time.Since(started) - took).Round(time.Second))
	return b.exec(ctx, "OPTIMIZE TABLE ledger")
}

// insertDays writes the rows of some days. A campaign has two countries and two
// devices; one row in eight is of clicks.
func (b *books) insertDays(ctx context.Context, s shape, from, to int) error {
	first := fmt.Sprintf("if(rand(1) %% 3 = 0, 1, 1 + rand(2) %% %d)", s.advertisers)
	if s.even {
		first = fmt.Sprintf("1 + rand(2) %% %d", s.advertisers)
	}
	kinds := 2
	if s.plain {
		kinds = 1
	}
	perAdvertiser := max(1, campaigns/s.advertisers)
	return b.exec(ctx, fmt.Sprintf(`
INSERT INTO ledger (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, invalid_flags, gross, net, duplicate, invalid, orphan, spend_nanos,
    topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day, block_lat)
SELECT advertiser, toDateTime('%[1]s 00:00:00', 'UTC') + 86400 * d + 60 * (rand(3) %% 1440) AS at, if(rand(4) %% 8 = 0, 3, 1),
    advertiser * 1000 + rand(5) %% %[2]d AS campaign, campaign * 10, campaign * 100, 7, 8,
    ['US', 'DE'][1 + rand(6) %% %[8]d], '', ['mobile', 'desktop'][1 + rand(7) %% %[8]d], 'ios', 'safari', '', 'USD', 0,
    gross, net, gross - net, 0, 0, net * 2500000,
    '%[3]s', 0, d, d + 1, generateUUIDv4(), 1, toDate(at), toDateTime('%[1]s 00:00:00', 'UTC') + 86400 * d
FROM (
    SELECT intDiv(number * %[4]d, %[5]d) + %[6]d AS d, toUInt64(%[7]s) AS advertiser,
        toInt64(10 + rand(8) %% 90) AS net, net + toInt64(rand(9) %% 5) AS gross
    FROM numbers(%[5]d)
)`, day(0), perAdvertiser, topicID, to-from, s.rows/s.days*(to-from), from, first, kinds))
}

// insertMarks writes the marks of the days from the given one on.
func (b *books) insertMarks(ctx context.Context, from int) error {
	return b.exec(ctx, fmt.Sprintf(`
INSERT INTO ledger (advertiser, minute, topic_id, kafka_partition, b_start, b_end, lineage, lat_day, block_lat,
    mark_rows, mark_gross, mark_net, mark_spend_nanos, mark_lat)
SELECT 0, 0, topic_id, 0, b_start, b_end, 1, lat_day, any(block_lat), count(), sum(gross), sum(net), sum(spend_nanos), max(minute) + 60
FROM ledger WHERE advertiser > 0 AND b_start >= %d GROUP BY topic_id, b_start, b_end, lat_day`, from))
}

// cut makes a cut of what is there.
func (b *books) cut(ctx context.Context) error {
	cfg := compact.Config{Interval: time.Minute, Idle: time.Hour, Keep: time.Hour, Timeout: time.Hour, Skew: time.Second}
	c, err := compact.New(cfg, b.writer, utc{}, zerolog.Nop(), metrics.NewSet())
	if err != nil {
		return err
	}
	_, err = c.Once(ctx)
	return err
}

func (b *books) exec(ctx context.Context, statement string) error {
	return b.writer.Exec(clickhouse.With(ctx, "", clickhouse.Settings{
		"async_insert": 0, "max_execution_time": 600, "max_partitions_per_insert_block": 2000,
	}, nil), statement)
}

// utc is every account's zone.
type utc struct{}

// Zones implements compact.Zones.
func (utc) Zones(context.Context) (map[uint64]*time.Location, error) { return nil, nil }
