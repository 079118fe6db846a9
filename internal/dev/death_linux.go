package dev

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel kill this process when the thread that started
// it ends. It covers what the pipe does not: a child that is not scheduled, or
// one that was replaced by another program.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tie process to its parent: %w", err)
	}
	return nil
}
