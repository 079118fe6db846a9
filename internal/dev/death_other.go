//go:build !linux

package dev

// dieWithParent does nothing where the kernel has no such signal: the pipe
// from the parent ends the child there.
func dieWithParent() error { return nil }
