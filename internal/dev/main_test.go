package dev

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// helperEnv makes the test binary a process that tests can kill.
const helperEnv = "DEV_TEST_HELPER"

func TestMain(m *testing.M) {
	ChildMain()
	if mode := os.Getenv(helperEnv); mode != "" {
		if err := helper(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper serves what mode says until stdin is closed, and says "ready".
func helper(mode string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	f := strings.Fields(mode)
	switch f[0] {
	case "lock":
		lock, err := LockDir(f[1])
		if err != nil {
			return err
		}
		defer lock.Unlock()
		fmt.Println("ready 0")
		<-ctx.Done()
		return nil
	case "local": // what an installed clickhouse does
		return queryCmdline(f[1], os.Args[1:])
	case "hang":
		fmt.Println("ready 0")
		<-ctx.Done()
		return nil
	case "kafka":
		port, _ := strconv.Atoi(f[2])
		k, err := NewKafka(KafkaConfig{Dir: f[1], Port: port}, zerolog.New(os.Stderr))
		if err != nil {
			return err
		}
		return serveHelper(ctx, k, func() int { return 0 })
	case "clickhouse":
		native, _ := strconv.Atoi(f[2])
		http, _ := strconv.Atoi(f[3])
		cfg := ClickHouseConfig{Dir: f[1], NativePort: native, HTTPPort: http}
		if len(f) > 4 {
			cfg.Library = f[4]
		}
		c, err := NewClickHouse(cfg, zerolog.New(os.Stderr))
		if err != nil {
			return err
		}
		return serveHelper(ctx, c, c.Pid)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

type server interface {
	Run(ctx context.Context) error
	Ready(ctx context.Context) error
}

func serveHelper(ctx context.Context, s server, pid func() int) error {
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	fmt.Println("ready", pid())
	return <-done
}

// helperProcess is a re-executed test binary.
type helperProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
	wait  func() error // cmd.Wait, which may be called once only
	child int          // the pid that it said
}

// startHelper returns when the helper is ready. It is gone when the test ends.
func startHelper(tb testing.TB, mode string, args ...string) *helperProcess {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	ok(tb, err)
	stdout, err := cmd.StdoutPipe()
	ok(tb, err)
	ok(tb, cmd.Start())
	h := &helperProcess{cmd: cmd, stdin: stdin, wait: sync.OnceValue(cmd.Wait)}
	tb.Cleanup(func() { h.kill(tb) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	ok(tb, err)
	_, err = fmt.Sscanf(line, "ready %d", &h.child)
	ok(tb, err)
	return h
}

// kill is kill -9; doing it twice is harmless.
func (h *helperProcess) kill(tb testing.TB) {
	tb.Helper()
	_ = h.cmd.Process.Kill()
	_ = h.wait()
}

// stop lets it end in order.
func (h *helperProcess) stop(tb testing.TB) {
	tb.Helper()
	ok(tb, h.stdin.Close())
	ok(tb, h.wait())
}

// start runs s until the test ends or stop is called, and waits until it is ready.
func start(tb testing.TB, s server) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Error(err)
		}
	})
	ready, cancelReady := context.WithTimeout(ctx, 30*time.Second)
	defer cancelReady()
	ok(tb, s.Ready(ready))
	return stop
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wantError checks that err is one line that holds every part.
func wantError(tb testing.TB, err error, parts ...string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want one with %q", parts)
	}
	if strings.Contains(err.Error(), "\n") {
		tb.Errorf("error has several lines: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("error %q lacks %q", err, part)
		}
	}
}

func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports, err := FreePorts(n)
	ok(tb, err)
	return ports
}
