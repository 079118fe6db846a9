package queue

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/query/export/manifest"
)

// TestExportIDsAreNoPaths looks for exports under ids that nobody gave out.
func TestExportIDsAreNoPaths(t *testing.T) {
	x := New(t.TempDir(), manifest.NewExporter(nil), zerolog.Nop())
	defer x.Close()
	for _, id := range []string{"", ".", "..", "../x", "0", "zz", "ABCDEF0123456789ABCDEF0123456789", "abcdef0123456789abcdef0123456789"} {
		if state := x.Find(id); state != nil {
			t.Errorf("%q: %+v", id, state)
		}
	}
}
