//go:build !unix

package window

func makeEntries(n int) []entry { return make([]entry, n) }

func freeEntries([]entry) {}
