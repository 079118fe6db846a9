package access

import (
	"os"
	"testing"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

// newTables returns connections to empty tables, as the writer and as the
// read-only user.
func newTables(t *testing.T) (writer, reader clickhouse.Conn) {
	t.Helper()
	server := testkit.StartClickHouse(t)
	return testkit.Open(t, server.AsWriter), testkit.Open(t, server.AsReader)
}
