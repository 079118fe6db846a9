//go:build !linux

package spool

// Allocate writes zeros: slower than fallocate, and as good.
func (f osFile) Allocate(size int64) error { return f.writeZeros(size) }
