package query

import (
	"testing"

	"github.com/adtally/adtally/internal/testkit/reports"
)

func TestParseExport(t *testing.T) {
	bad := func(body, code string) {
		t.Helper()
		if _, problem := parseExport([]byte(body), reports.Everyone); problem == nil || problem.Code != code {
			t.Errorf("%s: %v, want %s", body, problem, code)
		}
	}
	bad(`{`, "invalid_json")
	bad(`{"day":"2026-11-20"} {}`, "invalid_json")
	bad(`{"day":"2026-11-20","path":"../../x"}`, "unknown_field")
	bad(`{"day":20261120}`, "invalid_type")
	bad(`{}`, "invalid_day")
	bad(`{"day":"../../etc"}`, "invalid_day")
	bad(`{"day":"2026-11-31"}`, "invalid_day")
	bad(`{"day":"2026-11-20","format":"xlsx"}`, "unknown_format")
	bad(`{"day":"2026-11-20","timezone":"../../etc"}`, "unknown_timezone")
	bad(`{"day":"2026-11-20","advertiser":0}`, "invalid_advertiser")

	if req, problem := parseExport([]byte(`{"day":"2026-11-20"}`), reports.Everyone); problem != nil || req.Advertiser != 0 || req.Format != "parquet" {
		t.Errorf("%+v, %v", req, problem)
	}
	// A key over one advertiser gets that one, never all.
	only, _ := reports.OneAdvertiser.Only()
	if req, problem := parseExport([]byte(`{"day":"2026-11-20"}`), reports.OneAdvertiser); problem != nil || req.Advertiser != only {
		t.Errorf("%+v, %v", req, problem)
	}
	if _, problem := parseExport([]byte(`{"day":"2026-11-20"}`), reports.TwoAdvertisers); problem == nil || problem.Code != "advertiser_required" {
		t.Errorf("%v", problem)
	}
	if _, problem := parseExport([]byte(`{"day":"2026-11-20","advertiser":999}`), reports.OneAdvertiser); problem == nil || problem.Code != "advertiser_not_found" {
		t.Errorf("%v", problem)
	}
}
