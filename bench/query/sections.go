package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

// The reports that are measured. The first advertiser has a third of all rows.
func body(advertiser int, from, to int, more string) string {
	return fmt.Sprintf(`{"advertiser":%d,"start":"%s","end":"%s","timezone":"UTC",%s}`, advertiser, day(from), day(to), more)
}

const (
	byDayAndCampaign = `"granularity":"day","dimensions":["campaign"],"metrics":["impressions","clicks","ctr","spend"],"limit":100000`
	byDay            = `"granularity":"day","metrics":["impressions","clicks","spend"]`
	byHour           = `"granularity":"hour","dimensions":["country"],"metrics":["impressions","clicks","spend"],"limit":100000`
	topCampaigns     = `"dimensions":["campaign","country"],"metrics":["impressions","spend"],"order_by":[{"field":"spend","direction":"desc"}],"limit":1000`
)

// main is the set of tables that most sections read.
func (l *lab) main(ctx context.Context) (*books, error) {
	b, err := l.open(ctx, "adtally_main")
	if err != nil {
		return nil, err
	}
	return b, b.fill(ctx, shape{rows: l.rows, days: days, advertisers: advertisers})
}

// overhead is what a report costs beyond its statement.
func overhead(ctx context.Context, l *lab) error {
	b, err := l.main(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	t := newTable("query: a report over HTTP beside the same SQL over the native protocol with its blocks dropped, ms",
		"report\trows of answer\treport\tnative\tmore\tratio\tmin–max\tp99 report\tp99 native")
	for _, q := range []struct{ name, body string }{
		{"one of 250, 30 days by day and campaign", body(100, 30, 60, byDayAndCampaign)},
		{"one of 250, 7 days by hour and country", body(100, 30, 37, byHour)},
		{"the largest, 90 days by day", body(1, 0, 90, byDay)},
		{"the largest, 90 days, top 1000 by spend", body(1, 0, 90, topCampaigns)},
		{"the largest, 90 days by day and campaign", body(1, 0, 90, byDayAndCampaign)},
	} {
		if _, err := b.report(ctx, q.body, ""); err != nil {
			return err
		}
		times, err := l.alternate(ctx, l.runs,
			side{"report", func(ctx context.Context) error { _, err := b.report(ctx, q.body, ""); return err }},
			side{"native", b.native})
		if err != nil {
			return err
		}
		report, native := medians(times[0]), medians(times[1])
		t.line("%s\t\t%.2f\t%.2f\t%+.2f\t%s\t%.2f\t%.2f", q.name, measure.Median(report), measure.Median(native),
			measure.Median(report)-measure.Median(native), measure.Compare(report, native), p99(times[0]), p99(times[1]))
	}
	return l.publish(t, "query-overhead.txt")
}

func p99(rounds [][]float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(rounds...)))
	return all[len(all)*99/100]
}

// dashboard is what the choice of a rollup saves.
func dashboard(ctx context.Context, l *lab) error {
	b, err := l.main(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	t := newTable("query: 90 days by day from the rollup that the planner chooses, beside the same over minutes, ms",
		"dashboard\tplanned\tminutes\tratio\tmin–max")
	for _, q := range []struct {
		name       string
		advertiser int
	}{{"the largest advertiser, a third of all rows", 1}, {"one of 250", 100}} {
		planned := body(q.advertiser, 0, 90, byDay)
		minutes := fmt.Sprintf(`SELECT intDiv(toInt64(toUnixTimestamp(minute)), 86400) AS bucket, sumIf(net, event_type = 1), sumIf(net, event_type = 3),
			sum(toInt128(spend_nanos)), minIf(currency, spend_nanos != 0), maxIf(currency, spend_nanos != 0) FROM ledger
			WHERE advertiser = %d AND minute >= '%s 00:00:00' AND minute < '%s 00:00:00' GROUP BY bucket WITH TOTALS HAVING sum(gross) > 0 ORDER BY bucket LIMIT 1001`,
			q.advertiser, day(0), day(90))
		if _, err := b.report(ctx, planned, ""); err != nil {
			return err
		}
		times, err := l.alternate(ctx, l.runs,
			side{"planned", func(ctx context.Context) error { _, err := b.report(ctx, planned, ""); return err }},
			side{"minutes", func(ctx context.Context) error { return b.drop(ctx, minutes) }})
		if err != nil {
			return err
		}
		a, m := medians(times[0]), medians(times[1])
		t.line("%s\t%.2f\t%.2f\t%s", q.name, measure.Median(a), measure.Median(m), measure.Compare(a, m))
	}
	return l.publish(t, "query-dashboard.txt")
}

// drop runs the statement of the last report's shape, and drops the blocks.
func (b *books) drop(ctx context.Context, statement string) error {
	b.reader.mu.Lock()
	last := b.reader.last
	b.reader.mu.Unlock()
	last.ID, last.SQL, last.Params, last.OnBlock = "", statement, nil, func(int) error { return nil }
	return b.reader.Conn.Blocks(ctx, last)
}

// formats compares a large answer with what ClickHouse writes itself.
func formats(ctx context.Context, l *lab) error {
	b, err := l.open(ctx, "adtally_wide")
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.fill(ctx, shape{rows: 5_000_000, days: days, advertisers: 1, even: true, plain: true}); err != nil {
		return err
	}
	wide := body(1, 0, 90, `"granularity":"day","dimensions":["campaign"],"metrics":["impressions","impressions_gross","clicks","clicks_gross","spend"],"limit":500000`)
	if _, err := b.report(ctx, wide, ""); err != nil {
		return err
	}
	b.reader.mu.Lock()
	last := b.reader.last
	b.reader.mu.Unlock()
	params := url.Values{"database": {b.database}}
	for name, value := range last.Params {
		params.Set("param_"+name, value)
	}
	own := func(format string) func(context.Context) error {
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.server.HTTPAddr()+"/?"+params.Encode(), strings.NewReader(last.SQL+" FORMAT "+format))
			if err != nil {
				return err
			}
			who := l.server.Reader()
			req.SetBasicAuth(who.User, who.Password)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			n, err := io.Copy(io.Discard, res.Body)
			if err == nil && (res.StatusCode != http.StatusOK || n < 1000) {
				err = fmt.Errorf("ClickHouse over HTTP: %d", res.StatusCode)
			}
			return err
		}
	}
	t := newTable("query: 450,000 rows of an answer, ms", "format\treport\tbeside\treference\tratio\tmin–max")
	for _, f := range []struct {
		name, accept, beside string
		reference            func(context.Context) error
	}{
		{"JSON", "application/json", "ClickHouse JSONCompact over HTTP", own("JSONCompact")},
		{"CSV", "text/csv", "ClickHouse CSV over HTTP", own("CSVWithNames")},
		{"Arrow", "application/vnd.apache.arrow.stream", "native blocks dropped", b.native},
		{"Arrow", "application/vnd.apache.arrow.stream", "ClickHouse ArrowStream over HTTP", own("ArrowStream")},
		{"Parquet", "application/vnd.apache.parquet", "ClickHouse Parquet over HTTP", own("Parquet")},
	} {
		times, err := l.alternate(ctx, max(1, l.runs/10),
			side{"report", func(ctx context.Context) error { _, err := b.report(ctx, wide, f.accept); return err }},
			side{"reference", f.reference})
		if err != nil {
			return err
		}
		a, r := medians(times[0]), medians(times[1])
		t.line("%s\t%.0f\t%s\t%.0f\t%s", f.name, measure.Median(a), f.beside, measure.Median(r), measure.Compare(a, r))
	}
	return l.publish(t, "query-formats.txt")
}

// tail is what the ledger behind the last cut adds to reports.
func tail(ctx context.Context, l *lab) error {
	b, err := l.main(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	behind, err := l.open(ctx, "adtally_behind")
	if err != nil {
		return err
	}
	defer behind.close()
	if err := behind.fill(ctx, shape{rows: l.rows, days: days, advertisers: advertisers}); err != nil {
		return err
	}
	if err := behind.lag(ctx, l.rows/days/24); err != nil {
		return err
	}
	t := newTable("query: reports with an hour of the ledger behind the last cut, beside the same without, ms",
		"report\tan hour behind\tnothing behind\tratio\tmin–max")
	for _, q := range []struct{ name, body string }{
		{"one of 250, 30 days by day and campaign", body(100, 61, 91, byDayAndCampaign)},
		{"the largest, 90 days by day", body(1, 1, 91, byDay)},
		{"the largest, 90 days by day and campaign", body(1, 1, 91, byDayAndCampaign)},
	} {
		times, err := l.alternate(ctx, l.runs,
			side{"behind", func(ctx context.Context) error { _, err := behind.report(ctx, q.body, ""); return err }},
			side{"settled", func(ctx context.Context) error { _, err := b.report(ctx, q.body, ""); return err }})
		if err != nil {
			return err
		}
		a, r := medians(times[0]), medians(times[1])
		t.line("%s\t%.2f\t%.2f\t%s", q.name, measure.Median(a), measure.Median(r), measure.Compare(a, r))
	}
	return l.publish(t, "query-tail.txt")
}

// lag adds an hour's rows that no cut has: sixty blocks, as of a minute each.
// Data that was kept has them already.
func (b *books) lag(ctx context.Context, rows int) error {
	var behind uint64
	err := b.writer.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM ledger WHERE advertiser = 0 AND b_start >= %d", days)).Scan(&behind)
	if err != nil || behind > 0 {
		return err
	}
	for minute := range 60 {
		at := firstDay.AddDate(0, 0, days).Add(time.Duration(minute) * time.Minute)
		offset := days + minute
		err := b.exec(ctx, fmt.Sprintf(`
INSERT INTO ledger (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, gross, net, duplicate, spend_nanos,
    topic_id, kafka_partition, b_start, b_end, lineage, lat_day, block_lat)
SELECT if(rand(1) %% 3 = 0, 1, 1 + rand(2) %% %[1]d) AS a, '%[2]s', if(rand(4) %% 8 = 0, 3, 1), a * 1000 + rand(5) %% 20 AS c, c * 10, c * 100, 7, 8,
    ['US', 'DE'][1 + rand(6) %% 2], '', ['mobile', 'desktop'][1 + rand(7) %% 2], 'ios', 'safari', '', 'USD', 20, 19, 1, 19 * 2500000,
    '%[3]s', 0, %[4]d, %[4]d + 1, 1, '%[5]s', '%[2]s'
FROM numbers(%[6]d)`, advertisers, at.Format(time.DateTime), topicID, offset, at.Format(time.DateOnly), max(1, rows/60)))
		if err != nil {
			return err
		}
	}
	return b.insertMarks(ctx, days)
}

// pace is how often each of several clients asks.
const pace = 200 * time.Millisecond

// clients is the latency of a usual report for several clients at once, each of
// which asks five times a second, of another advertiser each time.
func clients(ctx context.Context, l *lab) error {
	b, err := l.main(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	t := newTable("query: one month of one of 250 advertisers by day and campaign, asked by each client five times a second, ms",
		"clients\treports/s\tp50\tp99\tp50 of native\tp99 of native")
	for _, n := range []int{1, 16} {
		report, rate, err := l.crowd(ctx, n, func(ctx context.Context, i int) error {
			_, err := b.report(ctx, body(2+i%(advertisers-2), 30, 60, byDayAndCampaign), "")
			return err
		})
		if err != nil {
			return err
		}
		native, _, err := l.crowd(ctx, n, func(ctx context.Context, _ int) error { return b.native(ctx) })
		if err != nil {
			return err
		}
		t.line("%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f", n, rate, report[len(report)/2], report[len(report)*99/100], native[len(native)/2], native[len(native)*99/100])
	}
	return l.publish(t, "query-clients.txt")
}

// crowd runs work by some clients at their pace and returns the sorted
// milliseconds, counted from when each was due.
func (l *lab) crowd(ctx context.Context, n int, work func(ctx context.Context, i int) error) ([]float64, float64, error) {
	var mu sync.Mutex
	var all []float64
	var failed error
	var wg sync.WaitGroup
	began := time.Now()
	for c := range n {
		wg.Go(func() {
			due := began.Add(pace * time.Duration(c) / time.Duration(n))
			for i := range l.runs * l.rounds / 2 {
				time.Sleep(time.Until(due))
				err := work(ctx, c*31+i*7)
				took := float64(time.Since(due).Microseconds()) / 1000
				due = due.Add(pace)
				mu.Lock()
				if err != nil {
					failed = err
				}
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all, float64(len(all)) / time.Since(began).Seconds(), failed
}

// growth compares the same report over more history, and beside more tenants.
func growth(ctx context.Context, l *lab) error {
	t := newTable("query: the same month of one advertiser beside more of everything else, ms", "tables\tmedian\tto the first\tmin–max")
	for _, group := range [][]struct {
		name string
		shape
	}{
		{
			{"1 x the history", shape{rows: l.rows / 16, days: days, advertisers: advertisers, even: true}},
			{"16 x the history", shape{rows: l.rows, days: days * 16, advertisers: advertisers, even: true}},
		},
		{
			{"10 tenants", shape{rows: 40_000, days: days, advertisers: 10, even: true}},
			{"1,000 tenants", shape{rows: 400_000, days: days, advertisers: 1000, even: true}},
			{"100,000 tenants", shape{rows: l.rows, days: days, advertisers: 100_000, even: true}},
		},
	} {
		var sides []side
		for i, g := range group {
			b, err := l.open(ctx, fmt.Sprintf("adtally_growth_%d_%d", len(group), i))
			if err != nil {
				return err
			}
			defer b.close()
			if err := b.fill(ctx, g.shape); err != nil {
				return err
			}
			sides = append(sides, side{g.name, func(ctx context.Context) error {
				_, err := b.report(ctx, body(5, 30, 60, byDayAndCampaign), "")
				return err
			}})
		}
		times, err := l.alternate(ctx, l.runs, sides...)
		if err != nil {
			return err
		}
		first := medians(times[0])
		for i, s := range sides {
			own := medians(times[i])
			t.line("%s\t%.2f\t%s", s.name, measure.Median(own), measure.Compare(own, first))
		}
	}
	return l.publish(t, "query-growth.txt")
}
