//go:build !unix

package window

func mapBytes(size int) ([]byte, error) { return make([]byte, size), nil }

func unmapBytes([]byte) {}
