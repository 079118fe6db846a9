package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/query/export"
)

// Readers that are not ours must find the types and values that the answer had.
func TestReadersOfArrowAndParquet(t *testing.T) {
	python, err := exec.Command("../scripts/readers.sh").Output()
	if err != nil {
		t.Fatalf("install the readers: %v %s", err, stderrOf(err))
	}
	_, url := small(t)
	body := reports.Body(`"timezone":"Asia/Kathmandu","granularity":"hour","dimensions":["campaign","browser"],"metrics":["impressions","spend","cpc"]`)
	files := map[string]string{}
	for _, format := range []string{export.ArrowStream, export.Parquet} {
		res, text := call(t, "POST", url+"/v1/reports", "one", body, "Accept", format)
		if res.status != 200 || res.header.Get("Content-Type") != format || res.header.Get("X-Adtally-Rows") != "2" {
			t.Fatalf("%s: %d %v", format, res.status, res.header)
		}
		files[format] = filepath.Join(t.TempDir(), "report"+export.Extension(format))
		if err := os.WriteFile(files[format], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(strings.TrimSpace(string(python)), "testdata/readers.py", files[export.ArrowStream], files[export.Parquet]).Output()
	if err != nil {
		t.Fatalf("read: %v %s", err, stderrOf(err))
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	f := func(name, want string) {
		t.Helper()
		if have := fmt.Sprintf("%q", got[name]); have != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, have, want)
		}
	}
	arrowTypes := `["timestamp[us, tz=UTC]" "uint64" "dictionary<values=string, indices=int32, ordered=0>" "int64" "decimal128(38, 9)" "decimal128(38, 6)" "dictionary<values=string, indices=int32, ordered=0>"]`
	f("arrow_types", arrowTypes)
	f("parquet_types", arrowTypes)
	rows := `[["2026-11-01 09:15:00+00:00" "1" "=cmd|'/C calc'!A0" "1000" "1.250000000" "0.416667" "provisional"]` +
		` ["2026-11-02 23:15:00+00:00" "18446744073709551615" "say \"a\",\r\nb" "10" "1E-9" <nil> "provisional"]]`
	f("arrow_rows", rows)
	f("parquet_rows", rows)
	f("duckdb_parquet_types", `["TIMESTAMP WITH TIME ZONE" "UBIGINT" "VARCHAR" "BIGINT" "DECIMAL(38,9)" "DECIMAL(38,6)" "VARCHAR"]`)
	f("duckdb_sum", `"1.250000001"`)
	f("polars_types", `["Datetime(time_unit='us', time_zone='UTC')" "UInt64" "Categorical" "Int64" "Decimal(precision=38, scale=9)" "Decimal(precision=38, scale=6)" "Categorical"]`)
	for _, name := range []string{"arrow_meta", "parquet_meta"} {
		meta := got[name].(map[string]any)
		if meta["adtally.timezone"] != "Asia/Kathmandu" || meta["adtally.rows"] != "2" || meta["adtally.currency"] != "USD" || meta["adtally.finality"] != "provisional" {
			t.Errorf("%s: %v", name, meta)
		}
	}
}

func stderrOf(err error) string {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(e.Stderr)
	}
	return ""
}
