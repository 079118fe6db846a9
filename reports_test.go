package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// keyStatus is what the key gets for a small report.
func (p *program) keyStatus(key string) int {
	status, _ := call(p.t.Context(), http.MethodGet, p.reports("/v1/reports?start=2026-11-01&end=2026-11-02&metrics=clicks"), key, nil)
	return status
}

func TestKeysOfReports(t *testing.T) {
	p := startProgram(t)
	key := p.tool("key", "create", "--data", p.dir, "--scope", "report", "--advertiser", "7", "--name", "dashboard")
	id := strings.Split(key, "_")[1]
	if status := p.keyStatus(key); status != http.StatusOK {
		t.Fatalf("a new key: %d", status)
	}
	for name, wrong := range map[string]string{"lower case": strings.ToLower(key), "trailing NUL": key + "%00", "none": ""} {
		if status := p.keyStatus(wrong); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := call(t.Context(), http.MethodGet, p.reports("/v1/reports?start=2026-11-01&end=2026-11-02&metrics=clicks&key="+key), "", nil); status != http.StatusUnauthorized {
		t.Errorf("a key in the query string: %d", status)
	}
	if status, _ := call(t.Context(), http.MethodPost, p.beacons("/v1/events"), key, []byte(`{"events":[]}`)); status != http.StatusForbidden {
		t.Errorf("a reporting key on the ingest path: %d", status)
	}
	second := p.tool("key", "rotate", "--data", p.dir, id)
	if p.keyStatus(second) != http.StatusOK || p.keyStatus(key) != http.StatusOK {
		t.Error("both keys are taken while one is replaced")
	}
	p.tool("key", "revoke", "--data", p.dir, id)
	p.wait(5*time.Second, "the revoked key to end", func() bool { return p.keyStatus(key) == http.StatusUnauthorized })
	if p.keyStatus(second) != http.StatusOK {
		t.Error("the new key ended with the old one")
	}
	list := p.tool("key", "list", "--data", p.dir)
	if !strings.Contains(list, "revoked") || strings.Contains(list, key) || strings.Contains(list, second) {
		t.Errorf("the list: %s", list)
	}
	log, err := os.ReadFile(filepath.Join(p.dir, "test.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{key, second, p.key} {
		if bytes.Contains(log, []byte(secret[21:])) {
			t.Error("a key is in the log")
		}
	}
}

// A storm of heavy reports of one advertiser is answered 429; ingest and another
// advertiser go on as if nothing happened.
func TestReportStorm(t *testing.T) {
	p := startProgram(t)
	now := time.Now().UTC()
	heavy := fmt.Appendf(nil, `{"advertiser":1,"start":%q,"end":%q,"timezone":"Asia/Kathmandu","granularity":"hour",
		"dimensions":["campaign","creative","country","device"],"metrics":["impressions","spend","ctr"],"limit":100000}`,
		now.AddDate(-1, 0, 0).Format(time.DateOnly), now.AddDate(0, 0, 1).Format(time.DateOnly))
	key := p.tool("key", "create", "--data", p.dir, "--scope", "report", "--advertiser", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served, refused, failed atomic.Int64
	var storm sync.WaitGroup
	storming := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	for range 200 {
		storm.Go(func() {
			for ctx.Err() == nil {
				switch p.heavyReport(ctx, storming, key, heavy) {
				case http.StatusOK:
					served.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
					time.Sleep(10 * time.Millisecond) // or the storm is all that two cores do
				case 0: // the storm is over
				default:
					failed.Add(1)
				}
			}
		})
	}
	p.wait(60*time.Second, "the storm to be refused", func() bool { return refused.Load() > 200 })
	l := &load{p: p, advertiser: 2, events: 2000, batch: 100}
	if err := l.send(t.Context()); err != nil { // the first 503 would end it
		t.Errorf("ingest during the storm: %v", err)
	}
	p.waitTotal(60*time.Second, 2, func(f figures) bool { return f == l.expect() })
	cancel()
	storm.Wait()
	if served.Load() == 0 || failed.Load() != 0 {
		t.Errorf("%d reports were served, %d refused, %d failed", served.Load(), refused.Load(), failed.Load())
	}
}

// heavyReport asks once; a refusal must say when to come again.
func (p *program) heavyReport(ctx context.Context, client *http.Client, key string, body []byte) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.reports("/v1/reports"), bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
		return -1
	}
	return resp.StatusCode
}

// What a tenant owns is not there for another: by body, filter, cursor, job,
// cached answer and alias.
func TestTenantsOfTheProgramAreApart(t *testing.T) {
	p := startProgram(t)
	for advertiser := 1; advertiser <= 2; advertiser++ {
		l := &load{p: p, advertiser: advertiser, events: 100 * advertiser, batch: 50}
		if err := l.send(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.waitTotal(60*time.Second, advertiser, func(f figures) bool { return f == l.expect() })
	}
	one := p.tool("key", "create", "--data", p.dir, "--scope", "report", "--advertiser", "1")
	two := p.tool("key", "create", "--data", p.dir, "--scope", "report", "--advertiser", "2")
	now := time.Now().UTC()
	report := func(key, more string) (int, map[string]any) {
		t.Helper()
		status, text := call(t.Context(), http.MethodPost, p.reports("/v1/reports"), key, fmt.Appendf(nil,
			`{"start":%q,"end":%q,"dimensions":["campaign"],"metrics":["impressions_gross"],"limit":1%s}`,
			now.AddDate(0, 0, -1).Format(time.DateOnly), now.AddDate(0, 0, 2).Format(time.DateOnly), more))
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return status, got
	}
	status, mine := report(one, "")
	if status != http.StatusOK || fmt.Sprint(mine["totals"]) != "map[impressions_gross:90]" {
		t.Fatalf("own report: %d %v", status, mine)
	}
	if status, theirs := report(two, ""); status != http.StatusOK || fmt.Sprint(theirs["totals"]) != "map[impressions_gross:180]" {
		t.Errorf("the other's report: %d %v", status, theirs)
	}
	cursor := mine["meta"].(map[string]any)["next_cursor"].(string)
	if status, got := report(one, `,"cursor":"`+cursor+`"`); status != http.StatusOK || fmt.Sprint(got["totals"]) != fmt.Sprint(mine["totals"]) {
		t.Errorf("own cursor: %d %v", status, got)
	}
	if status, got := report(two, `,"cursor":"`+cursor+`"`); status != http.StatusBadRequest || got["code"] != "invalid_cursor" {
		t.Errorf("a foreign cursor: %d %v", status, got)
	}
	if status, got := report(two, `,"advertiser":1`); status != http.StatusNotFound {
		t.Errorf("a foreign advertiser: %d %v", status, got)
	}
	if _, got := report(two, `,"filters":[{"dimension":"advertiser","op":"eq","values":[1]}]`); fmt.Sprint(got["rows"]) != "[]" {
		t.Errorf("a foreign filter: %v", got)
	}
	_, text := call(t.Context(), http.MethodPost, p.reports("/v1/report-jobs"), one, fmt.Appendf(nil,
		`{"start":%q,"end":%q,"metrics":["clicks"]}`, now.Format(time.DateOnly), now.AddDate(0, 0, 1).Format(time.DateOnly)))
	var job struct{ ID string }
	if err := json.Unmarshal(text, &job); err != nil || job.ID == "" {
		t.Fatalf("a job: %s", text)
	}
	path := p.reports("/v1/report-jobs/" + job.ID)
	p.wait(60*time.Second, "the job", func() bool {
		status, _ := call(t.Context(), http.MethodGet, path, one, nil)
		return status == http.StatusOK
	})
	for _, foreign := range []string{path, path + "/result", path + "?advertiser=1"} {
		if status, got := call(t.Context(), http.MethodGet, foreign, two, nil); status != http.StatusNotFound {
			t.Errorf("a foreign job: %d %s", status, got)
		}
	}
	_, text = call(t.Context(), http.MethodPost, p.reports("/graphql"), two, []byte(`{"query":"{ mine: account { advertiser } theirs: account(advertiser: 1) { name } }"}`))
	if !bytes.Contains(text, []byte("advertiser_not_found")) || bytes.Contains(text, []byte(`"name"`)) {
		t.Errorf("an alias: %s", text)
	}
}
