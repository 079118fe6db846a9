package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

// audit runs adtally audit against p.
func (p *program) audit() (report auditReport, code int, errs string) {
	p.t.Helper()
	var out, err strings.Builder
	code = run(p.t.Context(), []string{"audit", "--data", p.dir, "--format", "json"}, nil, strings.NewReader(""), &out, &err)
	if e := json.Unmarshal([]byte(out.String()), &report); e != nil {
		p.t.Fatalf("adtally audit: %d %s %s", code, out.String(), err.String())
	}
	return report, code, err.String()
}

// writer connects to the embedded ClickHouse of p.
func (p *program) writer() clickhouse.Conn {
	p.t.Helper()
	who, _, err := dev.ReadCredentials(clickHouseDir(p.dir))
	if err != nil {
		p.t.Fatal(err)
	}
	cfg := clickhouse.Config{Database: "adtally", DialTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, MaxConns: 4}
	return testkit.Open(p.t, asUser(cfg, loopback(p.ports.ClickHouseNative), who))
}

func TestAuditAddsUpAndNamesWhatDoesNot(t *testing.T) {
	p := startProgram(t)
	l := &load{p: p, advertiser: 9, events: 20_000, batch: 100, repeatEvery: 20}
	if err := l.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // crawlers are filtered
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.beacons("/v1/events"),
			strings.NewReader(`[{"type":"impression","id":"bot","advertiser_id":9,"campaign_id":1,"user_agent":"Googlebot/2.1"}]`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+p.key)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp.Status)
		}
	}
	want := l.expect()
	p.waitTotal(20*time.Second, 9, func(f figures) bool { return f.ImpressionsGross == want.ImpressionsGross+2 })

	report, code, errs := p.audit()
	total := report.Total
	if code != exitDone || !report.OK || len(report.Partitions) != 8 {
		t.Fatalf("audit: %d %+v %s", code, report, errs)
	}
	if total.Accepted-total.InFlight != 20_002 || total.Counted != want.Impressions+want.Clicks || total.Duplicate != want.Duplicates+1 || total.Filtered != 1 {
		t.Errorf("audit: %+v, want 20002 accepted, of which %d duplicates and one filtered", total, want.Duplicates+1)
	}
	for _, c := range report.Partitions {
		if c.Accepted != c.Counted+c.Duplicate+c.Filtered+c.Rejected+c.Pending+c.InFlight {
			t.Errorf("partition %d: %+v does not add up", c.Partition, c)
		}
	}
	if text := p.tool("audit", "--data", p.dir); !strings.Contains(text, "The books add up.") || !strings.Contains(text, "IN FLIGHT") {
		t.Errorf("audit in words: %s", text)
	}

	// A row that no event stands for.
	err := p.writer().Exec(t.Context(), `INSERT INTO ledger (advertiser, minute, event_type, campaign, gross, net, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day)
SELECT 9, now(), 1, 1, 1, 1, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day FROM ledger
WHERE advertiser = 0 AND kafka_partition = 3 AND mark_rows > 0 ORDER BY b_start LIMIT 1`)
	if err != nil {
		t.Fatal(err)
	}
	report, code, errs = p.audit()
	if code != exitFailed || report.OK || len(report.Partitions[3].Faults) != 1 || !strings.Contains(errs, "partition 3, offsets") {
		t.Errorf("audit of changed books: %d %s %+v", code, errs, report.Partitions[3])
	}
}
