package spool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

const tmpfsEnv = "ADTALLY_SPOOL_TMPFS"

// TestTmpfs is row 9 on a real file system of 16 MiB: the test runs itself again
// in a mount namespace of its own, where root, or any user who may make user
// namespaces, can mount one.
func TestTmpfs(t *testing.T) {
	if dir := os.Getenv(tmpfsEnv); dir != "" {
		inTmpfs(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestTmpfs$", "-test.v")
	cmd.Env = append(os.Environ(), tmpfsEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP"):
		t.Skipf("no tmpfs here:\n%s", out)
	case errors.As(err, &exit):
		t.Fatalf("%v\n%s", err, out)
	case err != nil:
		t.Skipf("no mount namespace here: %v", err)
	}
	t.Logf("%s", out)
}

func inTmpfs(t *testing.T, dir string) {
	t.Helper()
	// Without this the mount would show outside too, where / is shared.
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Skipf("make mounts private: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	for _, reserve := range []int64{0, 256 << 20} {
		cfg := Config{Dir: fmt.Sprint(dir, "/", reserve), SegmentBytes: 3 << 20, MaxBytes: 1 << 30, ReserveBytes: reserve, MaxAge: time.Hour, AppendTimeout: time.Minute}
		acked := fillUp(t, cfg)
		b := reopen(t, cfg)
		if got := b.Stats().Events; got != int64(len(acked)) {
			t.Fatalf("%d events after a restart, %d were acknowledged", got, len(acked))
		}
		stop := b.start(t)
		for len(b.out.got()) < len(acked) {
			<-b.out.took
		}
		if got := b.out.got(); !slices.Equal(got, acked) {
			t.Fatal("other events were drained than acknowledged")
		}
		stop()
		t.Logf("reserve %d: %d events in 16 MiB, all drained after a restart", reserve, len(acked))
	}
}

// fillUp appends batches until the volume is full, removes what somebody else had
// on it, and shows that the same spool is ready again by itself. Nothing is
// drained.
func fillUp(t *testing.T, cfg Config) (acked []string) {
	t.Helper()
	balloon := filepath.Join(filepath.Dir(cfg.Dir), "balloon") // what somebody else has on the volume
	if err := os.WriteFile(balloon, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b := reopen(t, cfg)
	b.out.fail = errors.New("kafka is down")
	stop := b.start(t)
	for n := 0; ; n++ {
		var batch []Entry
		for i := range 100 {
			batch = append(batch, event(fmt.Sprintf("n%di%d", n, i), 500))
		}
		err := b.Append(batch)
		if err == nil {
			acked = append(acked, ids(batch)...)
			continue
		}
		wantErr(t, err, ErrFull)
		if cfg.ReserveBytes == 0 {
			wantErr(t, err, syscall.ENOSPC) // from fallocate
		}
		break
	}
	if len(acked) < 8_000 {
		t.Fatalf("only %d events fit", len(acked))
	}
	wantErr(t, b.Ready(), ErrFull)
	if err := os.Remove(balloon); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); b.Ready() != nil; {
		if time.Now().After(deadline) {
			t.Fatalf("still %v", b.Ready())
		}
		runtime.Gosched()
	}
	if err := b.Append([]Entry{event("again", 1)}); err != nil {
		t.Fatal(err)
	}
	stop()
	return append(acked, "again")
}

func reopen(t *testing.T, cfg Config) *bench {
	t.Helper()
	set := metrics.NewSet()
	s, err := Open(cfg, zerolog.Nop(), set)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{s, set, &sink{took: make(chan struct{}, 1)}}
}
