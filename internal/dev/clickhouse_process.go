package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// serveQuery opens the listeners and then never ends: the server lives as long
// as the local session does.
const serveQuery = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; " +
	"SELECT sleepEachRow(3) FROM numbers(1000000000000) " +
	"SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"

// command is the child's command line; both engines take the same arguments.
func (c *ClickHouse) command(eng engine) *exec.Cmd {
	self, err := os.Executable()
	if runtime.GOOS == "linux" {
		self = "/proc/self/exe" // still there when the file was replaced by a new build
	}
	cmd := exec.Command(self, //nolint:gosec,noctx // our own binary; Run ends it in order
		string(eng.kind), eng.path,
		"--path", c.dataDir(),
		"--tcp_port", strconv.Itoa(c.cfg.NativePort),
		"--http_port", strconv.Itoa(c.cfg.HTTPPort),
		"--listen_host", "127.0.0.1",
		"--config-file", c.configFile(),
		"--log-level", "warning",
		"--query", serveQuery)
	if cmd.Err == nil && self == "" {
		cmd.Err = err
	}
	cmd.Args[0] = "adtally-clickhouse"
	cmd.Dir = c.cfg.Dir
	cmd.Env = append(os.Environ(), childEnv+"="+strconv.Itoa(os.Getpid()), "TZ=UTC")
	// A Ctrl-C on the terminal is for us alone: we stop the child last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// runChild runs one child to its end. It says whether the child ever answered.
func (c *ClickHouse) runChild(ctx context.Context, eng engine) (wasReady bool, err error) {
	// On Linux the child asks for a signal when the thread that made it ends,
	// so that thread must be ours for as long as the child lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := c.command(eng)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	if eng.kind == engineLibrary {
		alive, err := cmd.StdinPipe() // closed by the kernel if we die, however that happens
		if err != nil {
			return false, fmt.Errorf("open pipe: %w", err)
		}
		defer alive.Close()
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start clickhouse: %w", err)
	}
	c.pid.Store(int64(cmd.Process.Pid))
	defer c.pid.Store(0)
	if err := c.writePid(cmd.Process.Pid); err != nil {
		c.log.Error().Err(err).Msg("pid of clickhouse not noted")
	}
	defer os.Remove(c.pidFile())

	exited := make(chan struct{})
	answered := make(chan bool, 1)
	go func() { answered <- c.announce(exited, started) }()
	go func() { err = cmd.Wait(); close(exited) }()
	select {
	case <-exited:
	case <-ctx.Done():
		err = terminate(cmd.Process, exited)
	}
	if ctx.Err() != nil {
		return <-answered, err
	}
	return <-answered, fmt.Errorf("clickhouse: %w: %s", ending(err), said.lastLine())
}

// ending gives the end of a child without an error a name.
func ending(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// terminate asks p to end and makes it end; exited is closed when it has. The
// status of a process that our own signal ended tells nothing.
func terminate(p *os.Process, exited <-chan struct{}) error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-exited:
		return nil
	case <-time.After(stopTimeout):
	}
	_ = p.Kill()
	<-exited
	return fmt.Errorf("stop clickhouse: killed after %s", stopTimeout)
}

// announce waits for the child to answer or to end.
func (c *ClickHouse) announce(exited <-chan struct{}, started time.Time) bool {
	if c.waitReady(context.Background(), exited) != nil {
		return false
	}
	c.log.Info().Int("pid", c.Pid()).Str("native", c.NativeAddr()).Str("http", c.HTTPAddr()).
		Dur("took", time.Since(started)).Msg("clickhouse ready")
	return true
}

// waitReady asks both users' query until it is answered, gone is closed or ctx is done.
func (c *ClickHouse) waitReady(ctx context.Context, gone <-chan struct{}) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.ask(ctx, client, c.Writer())
		if err == nil {
			err = c.ask(ctx, client, c.Reader())
		}
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("wait for clickhouse: %w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// ask has the server answer one query as one user.
func (c *ClickHouse) ask(ctx context.Context, client *http.Client, as Credentials) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.HTTPAddr()+"/", strings.NewReader("SELECT 1"))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.SetBasicAuth(as.User, as.Password)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != "1" {
		return fmt.Errorf("clickhouse answered %s: %s", resp.Status, firstLine(body))
	}
	return nil
}

func (c *ClickHouse) dataDir() string    { return filepath.Join(c.cfg.Dir, "data") }
func (c *ClickHouse) configFile() string { return filepath.Join(c.cfg.Dir, "config.xml") }
func (c *ClickHouse) logFile() string    { return filepath.Join(c.cfg.Dir, "clickhouse.log") }
func (c *ClickHouse) pidFile() string    { return filepath.Join(c.cfg.Dir, "clickhouse.pid") }

// tail keeps the end of what a child said. It may be used by several goroutines.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write keeps the last 4 KiB.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - 4096; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

// lastLine is the last line that names an error, or the last line.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.buf)), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(line, "Exception") {
			return line
		}
	}
	return lines[len(lines)-1]
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return string(line)
}
