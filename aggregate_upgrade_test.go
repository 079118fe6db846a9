package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/adtally/adtally/aggregate/window"
)

// nextVersion builds the program as it will be when its arithmetic has changed.
func nextVersion(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("aggregate/window/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	next := regexp.MustCompile(`CodeVersion = \d+`).ReplaceAll(text, []byte("CodeVersion = "+strconv.Itoa(window.CodeVersion+1)))
	changed, overlay, binary := filepath.Join(dir, "doc.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "adtally")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: next, overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the next version: %v\n%s", err, out)
	}
	return binary
}

// Row 31: instances of the old and of the next version share the partitions
// while one replaces the other, under load. No batch is of both.
func TestRollingUpgrade(t *testing.T) {
	next := nextVersion(t)
	c := startCounting(t, startBooks(t))
	versions := func() uint64 {
		return c.count("SELECT uniqExact(code_version) FROM ledger WHERE topic_id = ? AND mark_rows > 0", c.id())
	}
	old := []*worker{c.start("old1", "--aggregate-instance-id", "1"), c.start("old2", "--aggregate-instance-id", "2")}
	stop := c.flow()
	defer stop()
	c.wait("the old version to count", func() bool { return versions() == 1 })
	for i, w := range old {
		w.end(syscall.SIGTERM)
		c.startProgram(next, "new"+strconv.Itoa(i+1), "--aggregate-instance-id", strconv.Itoa(i+1))
		c.wait("the next version to count", func() bool { return versions() == 2 })
	}
	stop()
	c.settle()
	if n := c.count("SELECT count() FROM (SELECT batch_id FROM ledger WHERE topic_id = ? GROUP BY batch_id HAVING uniqExact(code_version) > 1)", c.id()); n != 0 {
		t.Errorf("%d batches are of two versions", n)
	}
	c.replays()
}
