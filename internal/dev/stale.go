package dev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// writePid notes the child for the next start, in case this one is killed.
func (c *ClickHouse) writePid(pid int) error {
	return os.WriteFile(c.pidFile(), strconv.AppendInt(nil, int64(pid), 10), 0o600)
}

// reapStale removes the child of an earlier start that was killed. Such a child
// is on its way out; it is killed only when it is not gone shortly, and only
// when its command line shows that it serves our directory. Holding the
// directory's lock, we know that no living parent owns it.
func (c *ClickHouse) reapStale() error {
	raw, err := os.ReadFile(c.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pid of earlier clickhouse: %w", err)
	}
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(raw)))
	if pid <= 1 {
		return nil // cut short: the child died with its parent before it served
	}
	ours := func() bool { return hasOption(commandLine(pid), "--path", c.dataDir()) }
	// A process that is ending has no command line any more, but still its ports.
	if !ours() && len(commandLine(pid)) > 1 || waitGone(pid, 500*time.Millisecond) || !ours() {
		return nil
	}
	c.log.Warn().Int("pid", pid).Msg("killing clickhouse of an earlier start")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end clickhouse of an earlier start: process %d: %w: end it by hand", pid, err)
	}
	if !waitGone(pid, 5*time.Second) {
		return fmt.Errorf("clickhouse of an earlier start, process %d, does not end: end it by hand", pid)
	}
	return nil
}
