package ingest

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/adtally/adtally/proto"
)

// TestGoldenEvents decodes records as they lie in topics of every release: each
// .hex says what its .json says, for ever. Files may be added, never edited.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../proto/testdata/event_*.hex")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d golden records, %v", len(files), err)
	}
	for _, file := range files {
		want := new(proto.Event)
		if err := protojson.Unmarshal(read(t, strings.TrimSuffix(file, ".hex")+".json"), want); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		record, err := hex.DecodeString(string(bytes.ReplaceAll(read(t, file), []byte("\n"), nil)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, aliased := new(proto.Event), new(proto.Event)
		if err := got.UnmarshalVT(record); err != nil || !protobuf.Equal(got, want) {
			t.Errorf("%s: %v, got %v, want %v", file, err, got, want)
		}
		if err := aliased.UnmarshalVTUnsafe(record); err != nil || !protobuf.Equal(aliased, want) {
			t.Errorf("%s: %v, got %v, want %v", file, err, aliased, want)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
