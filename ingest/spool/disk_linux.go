package spool

import (
	"errors"
	"os"
	"syscall"
)

func (f osFile) Allocate(size int64) error {
	err := f.onFD(func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return f.writeZeros(size)
	}
	return os.NewSyscallError("fallocate", err)
}

// Sync leaves out the times of the inode: that saves a write of the journal.
func (f osFile) Sync() error {
	return os.NewSyscallError("fdatasync", f.onFD(syscall.Fdatasync))
}

// onFD makes a system call again when a signal has interrupted it.
func (f osFile) onFD(call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); !errors.Is(failed, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, failed)
}
