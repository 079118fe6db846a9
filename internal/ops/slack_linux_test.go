package ops

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// slackMode makes the test program one that sets its slack and prints it.
const slackMode = "TEST_TIMER_SLACK"

func TestMain(m *testing.M) {
	wanted, err := time.ParseDuration(os.Getenv(slackMode))
	if err != nil {
		os.Exit(m.Run())
	}
	slack, err := SetTimerSlack(wanted)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// A thread that is made now has it as well, and a child must not be marked.
	made := make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		made <- timerSlack()
	}()
	_, marked := os.LookupEnv(slackEnv)
	fmt.Println(os.Getpid(), os.Args[1:], slack, <-made, marked)
}

func TestTimerSlackHoldsForTheWholeProcess(t *testing.T) {
	for wanted, has := range map[string]string{"7ms": "7ms", "0s": timerSlack().String()} {
		cmd := exec.Command(os.Args[0], "some", "arguments")
		cmd.Env = append(os.Environ(), slackMode+"="+wanted)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", wanted, err, out)
		}
		if got, want := string(out), fmt.Sprintf("%d [some arguments] %s %s false\n", cmd.Process.Pid, has, has); got != want {
			t.Errorf("slack %s: %q, want %q", wanted, got, want)
		}
	}
}
