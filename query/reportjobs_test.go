package query

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/jobs"
)

func testJobs(t *testing.T) jobs.Config {
	t.Helper()
	return jobs.Config{Dir: t.TempDir(), MaxBytes: 1 << 30, Timeout: time.Minute, Keep: time.Hour, Workers: 1, MaxOpen: 20}
}

// waitForJob polls as a client would.
func waitForJob(t *testing.T, url, key, id string) jobAnswer {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		res, text := call(t, "GET", url+"/v1/report-jobs/"+id, key, "")
		var job jobAnswer
		if err := json.Unmarshal(text, &job); err != nil {
			t.Fatal(err)
		}
		switch {
		case res.status == http.StatusOK:
			return job
		case res.status == http.StatusAccepted && res.header.Get("Retry-After") == "":
			t.Fatal("no Retry-After")
		case res.status != http.StatusAccepted && res.status != http.StatusServiceUnavailable:
			t.Fatalf("poll: %d %s", res.status, text)
		case time.Now().After(end):
			t.Fatalf("the job stays %s", job.State)
		}
	}
}

func TestReportJobs(t *testing.T) {
	b, _ := small(t)
	cfg := testConfig()
	cfg.Jobs = testJobs(t)
	ctx, cancel := context.WithCancel(t.Context())
	url, ended := serveUntil(ctx, t, New(cfg, b.reader, newFixedKeys(), zerolog.Nop(), metrics.NewSet()))
	body := reports.Body(`"granularity":"day","dimensions":["campaign"],"metrics":["impressions","spend"]`)
	submit := func(key, body string, want int, header ...string) jobAnswer {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			res, text := call(t, "POST", url+"/v1/report-jobs", key, body, header...)
			if res.status == http.StatusServiceUnavailable && time.Now().Before(end) {
				continue // the jobs on disk are being read
			}
			if res.status != want {
				t.Fatalf("%s: %d %s", body, res.status, text)
			}
			var job jobAnswer
			_ = json.Unmarshal(text, &job) // a problem otherwise
			if want == 202 && res.header.Get("Location") == "" {
				t.Error("no Location")
			}
			return job
		}
	}
	job := submit("one", body, 202, "Idempotency-Key", "monthly", "Accept", "text/csv")
	done := waitForJob(t, url, "one", job.ID)
	if done.State != jobs.Done || done.Result.Rows != 2 {
		t.Fatalf("got %+v", done)
	}
	if again := submit("one", body, 200, "Idempotency-Key", "monthly", "Accept", "text/csv"); again.ID != job.ID {
		t.Errorf("the same again: %s, %s", job.ID, again.ID)
	}
	submit("one", reports.Body(`"metrics":["impressions"]`), 409, "Idempotency-Key", "monthly")
	res, text := call(t, "GET", url+done.Result.URL, "one", "")
	want := "day,campaign,impressions,spend,finality\r\n2026-11-01,1,1000,1.25,provisional\r\n2026-11-02,18446744073709551615,10,0.000000001,provisional\r\n"
	if string(text) != want || fmt.Sprintf("%x", sha256.Sum256(text)) != done.Result.SHA256 || done.Result.Bytes != int64(len(text)) ||
		res.header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" {
		t.Errorf("result: %v %q", res.header, text)
	}
	res, text = call(t, "GET", url+done.Result.URL, "one", "", "Range", "bytes=4-11")
	if res.status != http.StatusPartialContent || string(text) != "campaign" {
		t.Errorf("a part: %d %q", res.status, text)
	}
	if res, _ = call(t, "GET", url+done.Result.URL, "one", "", "If-None-Match", `"`+done.Result.SHA256+`"`); res.status != http.StatusNotModified {
		t.Errorf("what the client has: %d", res.status)
	}

	// Other tenants: by id, by a guessed id, by naming the owner.
	for _, path := range []string{"/v1/report-jobs/" + job.ID, "/v1/report-jobs/" + job.ID + "/result", "/v1/report-jobs/" + job.ID[:25] + "a"} {
		if res, text := call(t, "GET", url+path+"?advertiser=8", "two", ""); res.status != 404 {
			t.Errorf("another tenant gets %s: %d %s", path, res.status, text)
		}
	}
	if res, _ := call(t, "GET", url+"/v1/report-jobs/"+job.ID+"?advertiser=8", "one", ""); res.status != 404 {
		t.Errorf("a foreign advertiser: %d", res.status)
	}
	if res, _ := call(t, "GET", url+"/v1/report-jobs/..%2f..%2fetc%2fpasswd", "one", ""); res.status != 404 {
		t.Errorf("a path: %d", res.status)
	}

	// What cannot be answered fails with its reason, what is wrong is refused at once.
	mixed := submit("two", reports.Body(`"advertiser":8,"metrics":["spend"]`), 202)
	res, text = poll(t, url, mixed.ID)
	if parse(t, text)["state"] != "failed" || parse(t, text)["failure"].(map[string]any)["code"] != "mixed_currencies" {
		t.Errorf("mixed currencies: %d %s", res.status, text)
	}
	submit("one", reports.Body(`"cursor":"x"`), 400)
	submit("one", reports.Body(`"advertiser":8`), 404)
	submit("one", reports.Body(`"limit":100000000`), 400)

	// A restart keeps the job and its result.
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	url = serve(t, cfg, b.reader, newFixedKeys(), zerolog.Nop())
	if kept := waitForJob(t, url, "one", job.ID); kept.Result.SHA256 != done.Result.SHA256 {
		t.Errorf("after a restart: %+v", kept)
	}
	if again := submit("one", body, 200, "Idempotency-Key", "monthly", "Accept", "text/csv"); again.ID != job.ID {
		t.Errorf("after a restart the same is another job: %s", again.ID)
	}
}

func poll(t *testing.T, url, id string) (reply, []byte) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		res, text := call(t, "GET", url+"/v1/report-jobs/"+id+"?advertiser=8", "two", "")
		if res.status == http.StatusOK || time.Now().After(end) {
			return res, text
		}
	}
}

func TestJobsNeedADirectory(t *testing.T) {
	url := serve(t, testConfig(), &deadConn{}, newFixedKeys(), zerolog.Nop())
	res, text := call(t, "POST", url+"/v1/report-jobs", "one", reports.Body(``))
	if res.status != http.StatusNotImplemented || parse(t, text)["code"] != "jobs_off" {
		t.Errorf("got %d %s", res.status, text)
	}
	if res, _ := call(t, "GET", url+"/v1/report-jobs/x", "one", ""); res.status != 404 {
		t.Errorf("got %d", res.status)
	}
}
