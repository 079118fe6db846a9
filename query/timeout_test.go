package query

import (
	"testing"
	"time"
)

// A read-only user may not send settings, and clickhouse-go makes one of every
// deadline it can see.
func TestWithTimeoutShowsNoDeadline(t *testing.T) {
	ctx, cancel := withTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, ok := ctx.Deadline(); ok {
		t.Error("the context has a deadline")
	}
	<-ctx.Done()
}
