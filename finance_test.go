package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command runs a command of the program against a running instance.
func (p *program) command(args ...string) (string, error) {
	cmd := exec.Command(os.Args[0], append(args, "--data", p.dir)...)
	cmd.Env = append(os.Environ(), mainVariable+"=1")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// must is command, and waits for a server that was just ended: libchdb aborts when
// a client dies while it connects, and is started again.
func (p *program) must(args ...string) string {
	p.t.Helper()
	away := []string{"connection re", "broken pipe", "EOF", "shutting down"}
	deadline := time.Now().Add(time.Minute)
	for {
		text, err := p.command(args...)
		if err == nil {
			return text
		}
		if time.Now().After(deadline) || !slices.ContainsFunc(away, func(sign string) bool { return strings.Contains(text, sign) }) {
			p.t.Fatalf("%v: %v\n%s", args, err, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// postEvents sends events of a day, by server.
func (p *program) postEvents(from, to, advertiser int, at time.Time) {
	p.t.Helper()
	var events []string
	for i := from; i < to; i++ {
		events = append(events, fmt.Sprintf(`{"type":"impression","id":"f%d","time":"%s","advertiser_id":%d,"campaign_id":%d,"country":"US","price":"2.5","pricing":"cpm","currency":"USD"}`,
			i, at.Add(time.Duration(i)*time.Second).UTC().Format(time.RFC3339), advertiser, i%3+1))
	}
	status, text := call(p.t.Context(), http.MethodPost, p.beacons("/v1/events"), p.key, []byte(`{"events":[`+strings.Join(events, ",")+`]}`))
	if status != http.StatusAccepted {
		p.t.Fatalf("events: %d %s", status, text)
	}
}

// TestADayIsClosedAndProved takes a day through the built program: events, a close,
// exports killed while they write, late events, verdicts, and the next day.
func TestADayIsClosedAndProved(t *testing.T) {
	p := startProgram(t, "--no-close-days")
	day := time.Now().UTC().AddDate(0, 0, -3).Truncate(24 * time.Hour)
	d0, d1 := day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)
	p.postEvents(0, 90, 7, day.Add(time.Hour))
	p.waitImpressions(7, day, 90)

	p.wait(time.Minute, "the day to close", func() bool { // each partition needs a first batch
		text, err := p.command("close", "--day", d0, "--close-lateness", "0s")
		return err == nil && strings.Contains(text, "closed "+d0+" in UTC: close 1 ")
	})
	if text := p.must("close", "--day", d0, "--close-lateness", "0s"); !strings.Contains(text, "was closed before: close 1 ") {
		t.Errorf("close says %s", text)
	}
	out := t.TempDir()
	p.exportThroughKills(out, d0)
	if text := p.must("export", "--verify", out); !strings.Contains(text, "agree") {
		t.Errorf("verify says %s", text)
	}

	// What comes late, and a verdict on what was closed, are adjustments.
	p.postEvents(90, 100, 7, day.Add(time.Hour))
	p.waitImpressions(7, day, 100)
	verdicts := filepath.Join(t.TempDir(), "verdicts.csv")
	if err := os.WriteFile(verdicts, []byte("advertiser,day,campaign,events\n7,"+d0+",2,5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	why := []string{"--reason", "partner", "--author", "ann", "--reference", "T-1"}
	p.must(append([]string{"reclassify", "--verdicts", verdicts}, why...)...)
	if text, err := p.command(append([]string{"reclassify", "--verdicts", verdicts}, why...)...); err == nil {
		t.Errorf("the same verdicts again: %s", text)
	}
	p.waitImpressions(7, day, 95)
	p.must("close", "--day", d1, "--close-lateness", "0s")
	p.must("export", "--day", d1, "--out", out, "--format", "csv")
	text, err := os.ReadFile(filepath.Join(out, "day="+d1, "adjustments.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(",late,")); n == 0 {
		t.Errorf("no late rows in %s", text)
	}
	if !bytes.Contains(text, []byte(",reclassification,ann,T-1,")) {
		t.Errorf("no verdict in %s", text)
	}
	before := readAll(t, filepath.Join(out, "day="+d0))
	p.must("export", "--day", d0, "--out", out)
	if after := readAll(t, filepath.Join(out, "day="+d0)); before != after {
		t.Error("the statement of a closed day changed")
	}
	if text := p.must("export", "--verify", out, "--from-log"); !strings.Contains(text, "counted again: the ledger agrees") {
		t.Errorf("from the log: %s", text)
	}
	p.checkFinanceHTTP(d0, d1)
	if text, err := p.command("close", "--day", time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)); err == nil || !strings.Contains(text, "partition") {
		t.Errorf("closing tomorrow: %v %s", err, text)
	}
}

// exportThroughKills kills exports at more and more bytes written, then lets one
// end, and holds the files against an export that was left alone.
func (p *program) exportThroughKills(out, day string) {
	p.t.Helper()
	for delay := 2 * time.Millisecond; delay < 400*time.Millisecond; delay += delay/2 + time.Millisecond {
		cmd := exec.Command(os.Args[0], "export", "--day", day, "--out", out, "--data", p.dir)
		cmd.Env = append(os.Environ(), mainVariable+"=1")
		if err := cmd.Start(); err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(delay) // the point of the kill; whatever it hits must hold
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	p.must("export", "--day", day, "--out", out)
	alone := p.t.TempDir()
	p.must("export", "--day", day, "--out", alone)
	if got, want := readAll(p.t, filepath.Join(out, "day="+day)), readAll(p.t, filepath.Join(alone, "day="+day)); got != want {
		p.t.Error("after kills the files are others")
	}
}

// readAll reads the files of a folder into one text.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, entry := range list {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %d\n%s\n", entry.Name(), len(text), text)
	}
	return all.String()
}

// waitImpressions waits until a report of the day says so many.
func (p *program) waitImpressions(advertiser int, day time.Time, want int) {
	p.t.Helper()
	url := p.reports(fmt.Sprintf("/v1/reports?advertiser=%d&start=%s&end=%s&timezone=UTC&metrics=impressions", advertiser,
		day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)))
	p.wait(time.Minute, fmt.Sprintf("%d impressions", want), func() bool {
		_, text := call(p.t.Context(), http.MethodGet, url, p.key, nil)
		var answer struct{ Totals struct{ Impressions int } }
		return json.Unmarshal(text, &answer) == nil && answer.Totals.Impressions == want
	})
}

// checkFinanceHTTP asks for the same over HTTP, also with keys that may not.
func (p *program) checkFinanceHTTP(d0, d1 string) {
	t := p.t
	t.Helper()
	status, text := call(t.Context(), http.MethodPost, p.reports("/v1/exports"), p.key, []byte(`{"day":"`+d0+`"}`))
	var export struct {
		ID, Status string
		Files      []struct{ Name, Path, SHA256 string }
	}
	if err := json.Unmarshal(text, &export); err != nil || status/100 != 2 {
		t.Fatalf("export: %d %s", status, text)
	}
	p.wait(time.Minute, "the export", func() bool {
		_, text = call(t.Context(), http.MethodGet, p.reports("/v1/exports/"+export.ID), p.key, nil)
		return json.Unmarshal(text, &export) == nil && export.Status == "done"
	})
	if len(export.Files) != 3 {
		t.Fatalf("files %+v", export.Files)
	}
	_, whole := call(t.Context(), http.MethodGet, p.reports(export.Files[0].Path), p.key, nil)
	req, err := http.NewRequest(http.MethodGet, p.reports(export.Files[0].Path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Range", "bytes=10-")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var rest bytes.Buffer
	if _, err := rest.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(rest.Bytes(), whole[10:]) {
		t.Errorf("range: %d, %d of %d bytes, %v", resp.StatusCode, rest.Len(), len(whole), err)
	}
	other := strings.Fields(p.must("key", "create", "--scope", "finance", "--scope", "report", "--advertiser", "8"))[0]
	for _, path := range []string{"/v1/exports/" + export.ID, export.Files[0].Path, "/v1/exports/" + strings.Repeat("0", 32), "/v1/exports/..%2f..%2fx", "/v1/closes?advertiser=7"} {
		if status, text := call(t.Context(), http.MethodGet, p.reports(path), other, nil); status != http.StatusNotFound {
			t.Errorf("%s for another tenant: %d %s", path, status, text)
		}
	}
	_, text = call(t.Context(), http.MethodGet, p.reports("/v1/closes?advertiser=7"), p.key, nil)
	if !strings.Contains(string(text), `"day":"`+d1+`"`) || !strings.Contains(string(text), `"spend":"0.225"`) {
		t.Errorf("closes: %s", text)
	}
	_, text = call(t.Context(), http.MethodGet, p.reports("/v1/receipts/f3?advertiser=7"), p.key, nil)
	for _, want := range []string{`"fate":"counted"`, `"file":"statement"`, `"closed_as":"` + d0 + `"`, `"spend":"0.0025"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("receipt of f3 without %s: %s", want, text)
		}
	}
	soon, long := time.Now().Add(time.Minute).UTC().Format(time.RFC3339), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	if _, text := call(t.Context(), http.MethodGet, p.reports("/v1/receipts/f3?advertiser=7&until="+soon), p.key, nil); !strings.Contains(string(text), `"fate":"counted"`) {
		t.Errorf("receipt of f3 until %s: %s", soon, text)
	}
	if status, text := call(t.Context(), http.MethodGet, p.reports("/v1/receipts/f3?advertiser=7&until="+long), p.key, nil); status != http.StatusNotFound {
		t.Errorf("a receipt of f3 from before it came: %d %s", status, text)
	}
	_, text = call(t.Context(), http.MethodGet, p.reports("/v1/receipts/f95?advertiser=7"), p.key, nil)
	if !strings.Contains(string(text), `"file":"adjustments"`) || !strings.Contains(string(text), `"closed_as":"`+d1+`"`) {
		t.Errorf("receipt of a late event: %s", text)
	}
	if status, text := call(t.Context(), http.MethodGet, p.reports("/v1/receipts/f3"), other, nil); status != http.StatusNotFound {
		t.Errorf("a receipt for another tenant: %d %s", status, text)
	}
	cert := p.must("erase", "--advertiser", "7", "--user", "u-1")
	if !strings.Contains(cert, `"remains_until": "20`) || strings.Contains(cert, "u-1") {
		t.Errorf("certificate: %s", cert)
	}
	_, text = call(t.Context(), http.MethodGet, p.reports("/v1/changes?advertiser=7&since=0"), p.key, nil)
	if !strings.Contains(string(text), `"late"`) || !strings.Contains(string(text), `"reclassification"`) {
		t.Errorf("changes: %s", text)
	}
}
