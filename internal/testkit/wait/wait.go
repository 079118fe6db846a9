// Package wait is for tests that wait for what another goroutine or process brings
// about. It needs nothing of adtally, so that any package's tests may use it.
package wait

import (
	"testing"
	"time"
)

// interval is the time between two looks.
const interval = 2 * time.Millisecond

// Until polls cond until it holds, and fails the test if it does not within a time.
func Until(tb testing.TB, within time.Duration, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(interval) {
		if time.Now().After(end) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}
