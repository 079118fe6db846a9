//go:build !linux

package ops

import "time"

// SetTimerSlack does nothing: only Linux has it.
func SetTimerSlack(time.Duration) (time.Duration, error) { return 0, nil }
