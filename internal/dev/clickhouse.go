package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxStarts is how many children may end in a row before they were ready.
	maxStarts = 5
	// settled is how long a child must live for its next start not to wait.
	settled = 10 * time.Second
	// stopTimeout is what a child gets between SIGTERM and SIGKILL.
	stopTimeout = 10 * time.Second
)

// errEnded says that what was waited for has ended.
var errEnded = errors.New("clickhouse ended")

// ClickHouseConfig says where a ClickHouse child lives.
type ClickHouseConfig struct {
	// Dir holds data, generated configuration, log and passwords.
	Dir string
	// NativePort and HTTPPort are served on 127.0.0.1.
	NativePort, HTTPPort int
	// Library is a libchdb.so to run. When empty, a clickhouse on PATH is run,
	// and without one the library is installed into LibraryCache.
	Library string
	// LibraryCache is where the library is installed; DefaultLibraryCache when empty.
	LibraryCache string
	// Progress receives the progress of that installation; nil for none.
	Progress io.Writer
}

// ClickHouse is a ClickHouse server in a supervised child process.
// Its methods may be called from any goroutine; Run is called once.
type ClickHouse struct {
	cfg         ClickHouseConfig
	log         zerolog.Logger
	credentials credentials
	pid         atomic.Int64
	done        chan struct{} // closed when Run has returned
	err         error         // what Run returned; read after done
}

// NewClickHouse prepares a server on cfg.Dir, and its passwords when this is
// the first time. Nothing runs before Run.
func NewClickHouse(cfg ClickHouseConfig, log zerolog.Logger) (*ClickHouse, error) {
	if cfg.NativePort == 0 || cfg.HTTPPort == 0 {
		return nil, errors.New("clickhouse: both ports must be set")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	c := &ClickHouse{cfg: cfg, log: log, done: make(chan struct{})}
	if c.credentials, err = ensureCredentials(dir); err != nil {
		return nil, err
	}
	return c, nil
}

// NativeAddr is where the native protocol is served.
func (c *ClickHouse) NativeAddr() string { return loopback(c.cfg.NativePort) }

// HTTPAddr is where HTTP is served.
func (c *ClickHouse) HTTPAddr() string { return loopback(c.cfg.HTTPPort) }

// Writer is the user that owns the databases named adtally….
func (c *ClickHouse) Writer() Credentials { return c.credentials.Writer }

// Reader is the user that may only read the databases named adtally…, within limits.
func (c *ClickHouse) Reader() Credentials { return c.credentials.Reader }

// Pid is the process id of the present child, 0 while there is none.
func (c *ClickHouse) Pid() int { return int(c.pid.Load()) }

// Run serves until ctx is done and the child is gone. A child that dies is
// started again on the same ports and data.
func (c *ClickHouse) Run(ctx context.Context) error {
	c.err = c.run(ctx)
	close(c.done)
	return c.err
}

func (c *ClickHouse) run(ctx context.Context) error {
	lock, err := LockDir(c.cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	eng, err := c.engine(ctx)
	if ctx.Err() != nil {
		return nil // stopped while the library was being fetched; nothing runs yet
	}
	if err != nil {
		return err
	}
	if err := c.reapStale(); err != nil {
		return err
	}
	if err := c.writeConfig(eng); err != nil {
		return err
	}
	for _, port := range []int{c.cfg.NativePort, c.cfg.HTTPPort} {
		if err := checkPort(port); err != nil {
			return fmt.Errorf("start clickhouse: %w", err)
		}
	}
	return c.supervise(ctx, eng)
}

// engine chooses what runs the server.
func (c *ClickHouse) engine(ctx context.Context) (engine, error) {
	if c.cfg.Library != "" {
		return engine{kind: engineLibrary, path: c.cfg.Library}, nil
	}
	if path, err := exec.LookPath("clickhouse"); err == nil {
		return engine{kind: engineBinary, path: path}, nil
	}
	path, err := EnsureLibrary(ctx, c.cfg.LibraryCache, c.cfg.Progress)
	if err != nil {
		return engine{}, err
	}
	return engine{kind: engineLibrary, path: path}, nil
}

// supervise keeps one child running until ctx is done.
func (c *ClickHouse) supervise(ctx context.Context, eng engine) error {
	var wait time.Duration
	for failed := 0; ; {
		started := time.Now()
		wasReady, err := c.runChild(ctx, eng)
		if ctx.Err() != nil {
			return err
		}
		if wasReady {
			failed = 0
		} else if failed++; failed == maxStarts {
			return fmt.Errorf("start clickhouse: ended %d times before it was ready: %w; see %s", failed, err, c.logFile())
		}
		if wait = min(max(2*wait, 50*time.Millisecond), 5*time.Second); time.Since(started) > settled {
			wait = 0
		}
		c.log.Error().Err(err).Dur("wait", wait).Msg("clickhouse ended, starting it again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Ready waits until the server answers queries of both users, or until it is
// known that it will not.
func (c *ClickHouse) Ready(ctx context.Context) error {
	err := c.waitReady(ctx, c.done)
	if errors.Is(err, errEnded) && c.err != nil {
		return c.err
	}
	return err
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
