package ops

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slackEnv marks a process that ran itself again, so that it does so once only.
const slackEnv = "_ADTALLY_TIMER_SLACK"

// SetTimerSlack lets the kernel fire the timers of this process late, by up to
// slack, together with whatever wakes it anyway. Call it before anything is
// opened: threads take their slack from the one that made them, the runtime has
// made some before main, and so the process runs itself again, under its pid and
// with its arguments and environment. Then it returns the slack in effect.
//
// What it saves is not our own timers but the runtime's monitor: in a process that
// is neither busy nor idle it looks every 20 µs, and each time takes the place
// of threads that are in a system call and want it back a moment later. See
// prctl(2), PR_SET_TIMERSLACK.
func SetTimerSlack(slack time.Duration) (time.Duration, error) {
	if _, again := os.LookupEnv(slackEnv); again {
		return timerSlack(), os.Unsetenv(slackEnv)
	}
	if slack <= 0 || timerSlack() == slack {
		return timerSlack(), nil
	}
	runtime.LockOSThread() // what runs again has the slack of this thread
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		return 0, fmt.Errorf("set timer slack: %w", err)
	}
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), slackEnv+"=1")) //nolint:gosec // this program itself
	return 0, fmt.Errorf("run again with timer slack: %w", err)
}

// timerSlack is that of this thread.
func timerSlack() time.Duration {
	ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}
