package dev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// errLocked says that another process holds the lock.
var errLocked = errors.New("in use")

// DirLock is the sole use of a directory by this process. The kernel gives it
// back when the process ends, however that happens.
type DirLock struct {
	f *os.File
}

// LockDir takes DIR/lock, creating dir when needed. When another process holds
// it, the error names that process and what to do.
func LockDir(dir string) (*DirLock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // the directory that the user chose
		return nil, fmt.Errorf("create directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // in the directory that the user chose
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("directory %s is %w by %s: stop it, or choose another directory with --data", dir, errLocked, holder(f))
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write lock: %w", err), f.Close())
	}
	return &DirLock{f: f}, nil
}

// Unlock gives the directory back. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *DirLock) Unlock() {
	_ = l.f.Close() // nothing was buffered; the lock is gone either way
}

// holder names the process whose pid is in the lock file.
func holder(f *os.File) string {
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	pid, err := strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d (%s)", pid, processName(pid))
}
