package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/queue"
)

// closeAndChange closes the first two days of small, in UTC, and then the third,
// with a row that came late for the first.
func closeAndChange(t *testing.T, b *ledger) {
	t.Helper()
	closer, err := closing.New(closing.Config{Lateness: 6 * time.Hour, Interval: time.Minute}, b.writer, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cuts := b.compactor(t, nil)
	upto := func(day string) {
		t.Helper()
		b.cut(t, cuts)
		_, closed, waits, err := closer.Upto(t.Context(), "UTC", closing.LocalDay(at(day+"T12:00:00Z"), time.UTC))
		if err != nil || closed == nil {
			t.Fatalf("%s is not closed: %+v, %v", day, waits, err)
		}
	}
	upto("2026-11-02")
	b.insert(t, entry{Advertiser: 7, Minute: at("2026-11-01T10:00:00Z"), Type: 1, IDs: [5]uint64{1}, Texts: [7]string{6: "USD"}, Net: 1, Spend: 1_250_000})
	upto("2026-11-03")
}

// fixedReceipts know two copies of one event of advertiser 7: one that is
// counted, one that is not yet.
type fixedReceipts struct{}

// Find implements Receipts.
func (fixedReceipts) Find(_ context.Context, tenant access.Tenant, id string, _, _ time.Time) ([]Receipt, error) {
	if tenant.Advertiser() != 7 || id != "known" {
		return nil, nil
	}
	first := int64(4)
	counted := Receipt{
		Fate: "duplicate", EventType: "impression", Time: testLAT, Arrived: testLAT, Partition: 1, Offset: 5, DuplicateOf: &first,
		Flags: "user_agent", Lists: []ReceiptVote{{"user_agent", "bots", "2026-11"}}, Consent: "full",
		Cell: map[string]string{
			"minute": "2026-11-20T12:00:00Z", "campaign": "1", "ad_group": "0", "creative": "0", "placement": "0", "publisher": "0",
			"country": "US", "region": "", "device": "", "os": "", "browser": "", "variant": "", "currency": "USD",
		},
		Spend: "0.00125", Batch: &ReceiptBatch{"0a1b2c3d-0000-4000-8000-000000000001", 3, 9},
		Books: &closing.Place{Cut: 2, Timezone: "UTC", Day: "2026-11-20", File: "statement", Close: 3, ClosedAs: "2026-11-20"},
	}
	pending := counted
	pending.Fate, pending.DuplicateOf, pending.Flags, pending.Lists, pending.Batch, pending.Books = "pending", nil, "", nil, nil, nil
	return []Receipt{counted, pending}, nil
}

func (d *apiDriver) driveExports() {
	d.Helper()
	post := func(key, body string, status int) (export queue.Export) {
		d.Helper()
		_, text := d.do(apiCall{"postExport", "POST", "/v1/exports", body, status, []string{"Authorization", "Bearer " + key}})
		if err := json.Unmarshal(text, &export); status < 400 && err != nil {
			d.Fatal(err)
		}
		return export
	}
	// An export of everybody must not come of an advertiser in the wrong place.
	d.do(apiCall{"postExport", "POST", "/v1/exports?advertiser=7", `{"day":"2026-11-01"}`, 400, []string{"Authorization", "Bearer one"}})
	post("one", `{"day":"2026-13-01"}`, 400)
	post("one", `{"day":"2026-11-01","format":"xlsx"}`, 400)
	for body, field := range map[string]string{`{"day":20261101}`: "day", `{"day":"2026-11-01","advertiser":true}`: "advertiser", `{"dya":"2026-11-01"}`: `"dya"`} {
		_, text := d.do(apiCall{"postExport", "POST", "/v1/exports", body, 400, nil})
		if got := parse(d.T, text)["field"]; got != field {
			d.Errorf("%s: the field at fault is %v", body, got)
		}
	}
	post("eight", `{"day":"2026-11-01","advertiser":7}`, 404)
	post("one", `{"day":"2026-11-04"}`, 409)
	post("one", strings.Repeat(" ", maxBodyBytes+1), 413)
	for _, format := range []string{"parquet", "arrow", "csv"} {
		body := `{"day":"2026-11-01","format":"` + format + `","timezone":"UTC","advertiser":"7"}`
		id := post("one", body, 202).ID
		d.waitForExport(id)
		done := post("one", body, 200)
		for _, file := range done.Files {
			_, text := d.get("getExportFile", file.Path, "one", 200)
			if sum := sha256.Sum256(text); file.SHA256 != "" && hex.EncodeToString(sum[:]) != file.SHA256 {
				d.Errorf("%s: its SHA-256 is not %s", file.Path, file.SHA256)
			}
			d.get("getExportFile", file.Path, "one", 206, "Range", "bytes=0-3")
			d.get("getExportFile", file.Path, "one", 206, "Range", "bytes=0-1,3-3")
			d.get("getExportFile", file.Path, "one", 416, "Range", "bytes=1000000-")
			d.get("getExportFile", file.Path, "one", 412, "If-Match", `"another"`)
			d.get("getExportFile", file.Path, "eight", 404)
		}
		if file := done.Files[0]; file.SHA256 != "" {
			d.get("getExportFile", file.Path, "one", 304, "If-None-Match", `"`+file.SHA256+`"`)
		}
		d.get("getExport", "/v1/exports/"+id, "one", 200)
		d.get("getExport", "/v1/exports/"+id, "eight", 404)
		d.verifyExport(id, done.Files[0].Name)
		d.get("getExportFile", "/v1/exports/"+id+"/request.json", "one", 404)
	}
	d.get("getExport", "/v1/exports/nothing", "one", 404)
	d.do(apiCall{"postVerification", "POST", "/v1/exports/nothing/verify", "", 404, nil})
	// An export of all advertisers is for a key over all.
	all := d.waitForExport(post("all", `{"day":"2026-11-01"}`, 202).ID)
	d.get("getExport", "/v1/exports/"+all, "all", 200)
	d.get("getExport", "/v1/exports/"+all, "one", 404)
}

// waitForExport polls as a client would.
func (d *apiDriver) waitForExport(id string) string {
	d.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var export queue.Export
		_, text := d.get("getExport", "/v1/exports/"+id, "all", 200)
		if err := json.Unmarshal(text, &export); err != nil {
			d.Fatal(err)
		}
		switch {
		case export.Status == queue.Done:
			return id
		case export.Status != queue.Running || time.Now().After(end):
			d.Fatalf("the export stays %s: %s", export.Status, export.Detail)
		}
	}
}

// verifyExport checks an export as it is, and after one byte of a file changed.
func (d *apiDriver) verifyExport(id, file string) {
	d.Helper()
	verify := func() *queue.Verification {
		d.Helper()
		d.do(apiCall{"postVerification", "POST", "/v1/exports/" + id + "/verify", "", 202, nil})
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			var export queue.Export
			_, text := d.get("getExport", "/v1/exports/"+id, "one", 200)
			if err := json.Unmarshal(text, &export); err != nil {
				d.Fatal(err)
			}
			if v := export.Verification; v.Status != queue.Running {
				return v
			}
			if time.Now().After(end) {
				d.Fatalf("the verification does not end: %s", text)
			}
		}
	}
	if v := verify(); v.Status != queue.Done || !v.OK || v.At == nil {
		d.Errorf("%s as it was written: %+v", file, v)
	}
	path := filepath.Join(d.exportsDir, id, "day=2026-11-01", file)
	text, err := os.ReadFile(path)
	if err != nil {
		d.Fatal(err)
	}
	text[len(text)/2]++
	if err := os.WriteFile(path, text, 0o600); err != nil {
		d.Fatal(err)
	}
	if v := verify(); v.OK || len(v.Faults) == 0 || !strings.Contains(v.Faults[0], file+" was changed") {
		d.Errorf("%s with one byte changed: %+v", file, v)
	}
	d.get("getExport", "/v1/exports/"+id, "eight", 404)
	d.do(apiCall{"postVerification", "POST", "/v1/exports/" + id + "/verify", "", 404, []string{"Authorization", "Bearer eight"}})
}

// driveBooks asks for closes, changes and receipts.
func (d *apiDriver) driveBooks() {
	d.Helper()
	_, text := d.get("getCloses", "/v1/closes?limit=2", "one", 200)
	if !strings.Contains(string(text), `"more":true`) || !strings.Contains(string(text), `"spend":"0.00125"`) {
		d.Errorf("closes: %s", text)
	}
	d.get("getCloses", "/v1/closes?advertiser=7&before=2026-11-02", "two", 200)
	d.get("getCloses", "/v1/closes", "two", 400)
	d.get("getCloses", "/v1/closes?limit=101", "one", 400)
	d.get("getCloses", "/v1/closes?advertiser=7", "eight", 404)

	_, text = d.get("getChanges", "/v1/changes", "one", 200)
	if !strings.Contains(string(text), `"day":"2026-11-01"`) {
		d.Errorf("changes: %s", text)
	}
	d.get("getChanges", "/v1/changes?since=1", "eight", 200)
	d.get("getChanges", "/v1/changes?since=yesterday", "one", 400)
	d.get("getChanges", "/v1/changes?advertiser=7", "eight", 404)

	since := "?since=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	d.get("getReceipt", "/v1/receipts/known"+since, "one", 200)
	d.get("getReceipt", "/v1/receipts/known", "eight", 404)
	d.get("getReceipt", "/v1/receipts/known?advertiser=7", "eight", 404)
	d.get("getReceipt", "/v1/receipts/known?since=yesterday", "one", 400)
	d.get("getReceipt", "/v1/receipts/known?until=tomorrow", "one", 400)
	d.get("getReceipt", "/v1/receipts/known?until=2020-01-01T00:00:00Z", "one", 400)
	d.get("getReceipt", "/v1/receipts/known"+since+"&until="+time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), "one", 200)
	d.get("getReceipt", "/v1/receipts/"+strings.Repeat("x", maxEventID+1), "one", 400)
}

// TestWhatIsOff asks a server without a folder for exports, a log and jobs.
func TestWhatIsOff(t *testing.T) {
	d := newAPIDriver(t, serve(t, testConfig(), &deadConn{}, newFixedKeys(), zerolog.Nop()))
	d.do(apiCall{"postExport", "POST", "/v1/exports", `{"day":"2026-11-01"}`, 501, nil})
	d.get("getExport", "/v1/exports/x", "one", 404)
	d.get("getReceipt", "/v1/receipts/x", "one", 501)
	d.do(apiCall{"postReportJob", "POST", "/v1/report-jobs", reports.Body(``), 501, nil})
}
