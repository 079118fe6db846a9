package accept

import (
	"strings"
	"testing"

	"github.com/adtally/adtally/query/export"
)

func TestBest(t *testing.T) {
	f := func(accept, want string) {
		t.Helper()
		got, ok := Best(strings.Split(accept, "|"), export.Formats)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", accept, got, want)
		}
	}
	f("", export.JSON)
	f("*/*", export.JSON)
	f("application/json", export.JSON)
	f("text/csv", export.CSV)
	f("text/*", export.CSV)
	f("TEXT/CSV; charset=utf-8", export.CSV)
	f("text/html, application/xhtml+xml, */*;q=0.8", export.JSON)
	f("application/json;q=0.5, text/csv", export.CSV)
	f("application/json;q=0.5|text/csv;q=0.9", export.CSV)
	f("application/json;q=0, */*", export.CSV)
	f("application/vnd.apache.arrow.stream", export.ArrowStream)
	f("application/vnd.apache.parquet, */*;q=0.1", export.Parquet)
	f("application/xml", "none")
	f("text/csv;q=0", "none")
	f(";;;", "none")
}
