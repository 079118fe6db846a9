package dev

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// alive reports whether a process with this id exists and is not a zombie.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

// commandLine is the process's arguments, or nothing when they cannot be read.
func commandLine(pid int) []string {
	if runtime.GOOS == "linux" {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			return nil
		}
		return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
	}
	out, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx,gosec // our own number, returns at once
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}

// processName is the base name of the program that runs as pid.
func processName(pid int) string {
	args := commandLine(pid)
	if len(args) == 0 || args[0] == "" {
		return "unknown"
	}
	return filepath.Base(args[0])
}

// hasOption reports whether args hold the option with the value. A value with
// spaces is split where the arguments come from ps; its first word is enough
// next to a pid that we wrote ourselves.
func hasOption(args []string, option, value string) bool {
	first, _, _ := strings.Cut(value, " ")
	for i := range len(args) - 1 {
		if args[i] == option && (args[i+1] == value || runtime.GOOS != "linux" && args[i+1] == first) {
			return true
		}
	}
	return false
}

// waitGone waits until pid is gone, for at most patience.
func waitGone(pid int, patience time.Duration) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); alive(pid); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// listenerPid finds the process that listens on a TCP port, 0 when it is not
// visible to us. Linux only.
func listenerPid(port int) int {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, err := os.ReadFile(table) //nolint:gosec // one of the two names above
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], ":"+hexPort(port)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return 0
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && inodes[target] {
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			return pid
		}
	}
	return 0
}

func hexPort(port int) string {
	return strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
}
