//go:build !unix

package window

func makeLines(n int) []line { return make([]line, n) }

func freeLines([]line) {}
