package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit/wait"
)

func library(tb testing.TB) string {
	tb.Helper()
	path, err := EnsureLibrary(tb.Context(), "", os.Stderr)
	ok(tb, err)
	return path
}

func newClickHouse(tb testing.TB, dir string) *ClickHouse {
	tb.Helper()
	ports := freePorts(tb, 2)
	c, err := NewClickHouse(ClickHouseConfig{Dir: dir, NativePort: ports[0], HTTPPort: ports[1], Library: library(tb)}, zerolog.New(zerolog.NewTestWriter(tb)))
	ok(tb, err)
	return c
}

// query answers with the server's text, or with its error.
func query(c *ClickHouse, as Credentials, sql string, settings ...string) (string, error) {
	u := url.URL{Scheme: "http", Host: c.HTTPAddr(), Path: "/"}
	q := u.Query()
	for i := 0; i < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequest(http.MethodPost, u.String(), strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(as.User, as.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return strings.TrimSpace(string(body)), err
}

func mustQuery(tb testing.TB, c *ClickHouse, sql string) string {
	tb.Helper()
	out, err := query(c, c.Writer(), sql)
	ok(tb, err)
	return out
}

func TestClickHouse(t *testing.T) {
	dir := t.TempDir()
	c := newClickHouse(t, dir)
	stop := start(t, c)
	mustQuery(t, c, "CREATE DATABASE adtally")
	mustQuery(t, c, "CREATE TABLE adtally.t (x Int64) ENGINE = MergeTree ORDER BY x")
	mustQuery(t, c, "INSERT INTO adtally.t SELECT number FROM numbers(10)")

	t.Run("reader may", func(t *testing.T) { readerMay(t, c) })
	t.Run("reader may not", func(t *testing.T) { mayNot(t, c, c.Reader()) })
	t.Run("default may not", func(t *testing.T) { mayNot(t, c, Credentials{User: "default"}) })
	t.Run("writer is kept to its databases", func(t *testing.T) { writerMayNot(t, c) })
	t.Run("settings hold", func(t *testing.T) { settingsHold(t, c) })
	t.Run("child is restarted after kill -9", func(t *testing.T) { survivesKill(t, c) })

	pid := c.Pid()
	ok(t, stop())
	if alive(pid) {
		t.Errorf("child %d survives Run", pid)
	}
	if _, err := os.Stat(c.pidFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file remains: %v", err)
	}

	again := newClickHouse(t, dir) // other ports, same data and passwords
	start(t, again)
	if again.Writer() != c.Writer() {
		t.Error("second start made new passwords")
	}
	if got := mustQuery(t, again, "SELECT count() FROM adtally.t"); got != "1010" {
		t.Errorf("second start has %s rows, want 1010", got)
	}
}

func readerMay(t *testing.T, c *ClickHouse) {
	t.Helper()
	f := func(want, sql string, settings ...string) {
		t.Helper()
		got, err := query(c, c.Reader(), sql, settings...)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
	f("45", "SELECT sum(x) FROM adtally.t")
	f("4", "SELECT {p:UInt64} + 1", "param_p", "3")
	f("1", "SELECT 1", "max_execution_time", "65", "max_result_rows", "5", "extremes", "0", "max_block_size", "1000")
	// As an export may, and a report that says nothing may not.
	const many = "SELECT number FROM numbers(20000001) FORMAT Null"
	f("", many, "max_result_rows", "1000000000000", "max_result_bytes", "1000000000000000")
	if _, err := query(c, c.Reader(), many); err == nil || !strings.Contains(err.Error(), "TOO_MANY_ROWS_OR_BYTES") {
		t.Errorf("a result beyond the profile's limit: %v", err)
	}
}

func mayNot(t *testing.T, c *ClickHouse, who Credentials) {
	t.Helper()
	f := func(want, sql string, settings ...string) {
		t.Helper()
		got, err := query(c, who, sql, settings...)
		if err == nil {
			t.Errorf("%s is allowed to: %s: %q", who.User, sql, got)
			return
		}
		if !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "QUOTA_EXCEEDED") {
			t.Errorf("%s: %v; want %s", sql, err, want)
		}
	}
	const denied = "ACCESS_DENIED"
	f(denied, "INSERT INTO adtally.t VALUES (1)")
	f(denied, "ALTER TABLE adtally.t DELETE WHERE 1")
	f(denied, "DROP TABLE adtally.t")
	f(denied, "CREATE TABLE adtally.z (x Int64) ENGINE = MergeTree ORDER BY x")
	f(denied, "CREATE TABLE default.z (x Int64) ENGINE = Memory")
	f(denied, "CREATE TEMPORARY TABLE z (x Int64) ENGINE = Memory")
	f(denied, "SELECT * FROM url('http://127.0.0.1:1/x', CSV, 's String')")
	f(denied, "SELECT * FROM file('/etc/passwd', LineAsString, 's String')")
	f(denied, "SELECT * FROM `/etc/passwd`") // tables of database default are files
	f(denied, fmt.Sprintf("SELECT * FROM remote('%s', 'adtally.t', '%s', '%s')", c.NativeAddr(), c.Writer().User, c.Writer().Password))
	f(denied, "SELECT * FROM s3('https://bucket.s3.amazonaws.com/x.csv', CSV, 's String')")
	f(denied, "SELECT * FROM system.processes")
	f(denied, "SELECT * FROM system.users")
	f(denied, "SYSTEM SHUTDOWN")
	f(denied, "SYSTEM STOP LISTEN TCP")
	f(denied, "KILL QUERY WHERE 1 SYNC")
	f(denied, "CREATE USER x")
	if who.User == "default" {
		f(denied, "SELECT * FROM adtally.t")
		return
	}
	f("READONLY", "SET readonly = 0")
	f("READONLY", "SELECT 1", "readonly", "0")
	f("SETTING_CONSTRAINT_VIOLATION", "SELECT 1", "max_execution_time", "0")
	f("SETTING_CONSTRAINT_VIOLATION", "SELECT 1", "max_memory_usage", "0")
	f("SETTING_CONSTRAINT_VIOLATION", "SELECT 1 SETTINGS max_result_rows = 0")
	who.Password = "wrong"
	f("AUTHENTICATION_FAILED", "SELECT 1")
}

func writerMayNot(t *testing.T, c *ClickHouse) {
	t.Helper()
	for _, sql := range []string{
		"CREATE DATABASE other",
		"CREATE TABLE default.z (x Int64) ENGINE = Memory",
		"SELECT * FROM url('http://127.0.0.1:1/x', CSV, 's String')",
		"SYSTEM SHUTDOWN",
	} {
		if got, err := query(c, c.Writer(), sql); err == nil || !strings.Contains(err.Error(), "ACCESS_DENIED") {
			t.Errorf("%s: %q, %v; want ACCESS_DENIED", sql, got, err)
		}
	}
	mustQuery(t, c, "CREATE DATABASE adtally_other")
	mustQuery(t, c, "DROP DATABASE adtally_other")
	mustQuery(t, c, "KILL QUERY WHERE query_id = 'none' SYNC")
}

func settingsHold(t *testing.T, c *ClickHouse) {
	t.Helper()
	f := func(want, sql string) {
		t.Helper()
		if got := mustQuery(t, c, sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	f("1\n1", "SELECT value FROM system.merge_tree_settings WHERE name IN ('fsync_after_insert', 'fsync_part_directory')")
	f("2", "SELECT value FROM system.server_settings WHERE name = 'background_pool_size'")
	f("67108864", "SELECT value FROM system.server_settings WHERE name = 'mark_cache_size'")
	f("0", "SELECT count() FROM system.tables WHERE database = 'system' AND match(name, '_log$')")
	f("0", "SELECT getSetting('async_insert')::UInt8")
	f("0", "SELECT dateDiff('hour', toDateTime('2026-07-01 00:00:00'), toDateTime('2026-07-01 00:00:00', 'UTC'))")
	for _, name := range []string{"credentials.json", "users.xml", "config.xml"} {
		info, err := os.Stat(filepath.Join(c.cfg.Dir, name))
		ok(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

func survivesKill(t *testing.T, c *ClickHouse) {
	t.Helper()
	for range 2 {
		mustQuery(t, c, "INSERT INTO adtally.t SELECT number FROM numbers(500)")
		pid := c.Pid()
		ok(t, syscall.Kill(pid, syscall.SIGKILL))
		wait.Until(t, 20*time.Second, "another child answers", func() bool {
			if p := c.Pid(); p == 0 || p == pid {
				return false
			}
			_, err := query(c, c.Writer(), "SELECT 1")
			return err == nil
		})
	}
	if got := mustQuery(t, c, "SELECT count() FROM adtally.t"); got != "1010" {
		t.Errorf("%s rows after kill -9, want 1010", got)
	}
}

func TestClickHouseDiesWithParent(t *testing.T) {
	dir := t.TempDir()
	ports := freePorts(t, 2)
	mode := fmt.Sprintf("clickhouse %s %d %d %s", dir, ports[0], ports[1], library(t))
	c, err := NewClickHouse(ClickHouseConfig{Dir: dir, NativePort: ports[0], HTTPPort: ports[1], Library: library(t)}, zerolog.Nop())
	ok(t, err)

	parent := startHelper(t, mode)
	if !alive(parent.child) {
		t.Fatal("no child")
	}
	mustQuery(t, c, "CREATE DATABASE adtally_db")
	mustQuery(t, c, "CREATE TABLE adtally_db.t (x Int64) ENGINE = MergeTree ORDER BY x")
	parent.kill(t)
	killed := time.Now()

	start(t, c) // at once, on the same ports and data
	if took := time.Since(killed); took > 3*time.Second {
		t.Errorf("ready %s after kill -9 of the parent", took)
	}
	if alive(parent.child) {
		t.Errorf("child %d outlives its parent", parent.child)
	}
	mustQuery(t, c, "SELECT count() FROM adtally_db.t")
}

// TestClickHouseBinary runs what an installed clickhouse would be: a program on
// PATH with the same arguments. It holds the library, too.
func TestClickHouseBinary(t *testing.T) {
	self, err := os.Executable()
	ok(t, err)
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexport %s='local %s'\nexec '%s' \"$@\"\n", helperEnv, library(t), self)
	ok(t, os.WriteFile(filepath.Join(bin, "clickhouse"), []byte(script), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	dir := t.TempDir()
	ports := freePorts(t, 2)
	parent := startHelper(t, fmt.Sprintf("clickhouse %s %d %d", dir, ports[0], ports[1]))
	if got := strings.Join(commandLine(parent.child), " "); !strings.Contains(got, " local --path ") {
		t.Errorf("child is %q", got)
	}
	parent.kill(t)
	wait.Until(t, 20*time.Second, "child ends with its parent", func() bool { return !alive(parent.child) })

	c, err := NewClickHouse(ClickHouseConfig{Dir: dir, NativePort: ports[0], HTTPPort: ports[1]}, zerolog.Nop())
	ok(t, err)
	stop := start(t, c)
	mustQuery(t, c, "CREATE DATABASE adtally")
	ok(t, stop())
}

func TestClickHouseEndsWithPipe(t *testing.T) {
	c := newClickHouse(t, t.TempDir())
	eng := engine{kind: engineLibrary, path: c.cfg.Library}
	ok(t, c.writeConfig(eng))
	cmd := c.command(eng)
	pipe, err := cmd.StdinPipe()
	ok(t, err)
	ok(t, cmd.Start())
	ended := make(chan struct{})
	ok(t, c.waitReady(t.Context(), ended))
	ok(t, pipe.Close())
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("child outlives its pipe")
		_ = cmd.Process.Kill()
		<-ended
	}
}

func TestClickHouseStaleChild(t *testing.T) {
	c := newClickHouse(t, t.TempDir())
	stale := startHelper(t, "hang", "--path", c.dataDir())
	ok(t, c.writePid(stale.cmd.Process.Pid))
	go func() { _ = stale.wait() }() // a zombie is gone only when it is waited for
	ok(t, c.reapStale())
	if alive(stale.cmd.Process.Pid) {
		t.Error("stale child lives")
	}

	foreign := startHelper(t, "hang", "--path", "/elsewhere") // its number was reused
	ok(t, c.writePid(foreign.cmd.Process.Pid))
	ok(t, c.reapStale())
	if !alive(foreign.cmd.Process.Pid) {
		t.Error("a process that is not ours was killed")
	}
}

func TestClickHouseRefuses(t *testing.T) {
	t.Run("port taken", func(t *testing.T) {
		c := newClickHouse(t, t.TempDir())
		ln, err := net.Listen("tcp", c.NativeAddr())
		ok(t, err)
		defer ln.Close()
		wantError(t, c.Run(t.Context()), "port "+strconv.Itoa(c.cfg.NativePort), "process "+strconv.Itoa(os.Getpid()), "--free-ports")
	})
	t.Run("directory in use", func(t *testing.T) {
		c := newClickHouse(t, t.TempDir())
		other := startHelper(t, "lock "+c.cfg.Dir)
		wantError(t, c.Run(t.Context()), c.cfg.Dir, "process "+strconv.Itoa(other.cmd.Process.Pid), "--data")
		other.kill(t)
		lock, err := LockDir(c.cfg.Dir) // the kernel gave it back
		ok(t, err)
		lock.Unlock()
	})
	t.Run("child never starts", func(t *testing.T) {
		c := newClickHouse(t, t.TempDir())
		c.cfg.Library = filepath.Join(c.cfg.Dir, "nothing.so")
		run := make(chan error, 1)
		go func() { run <- c.Run(t.Context()) }()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := c.Ready(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("Ready: %v; want the reason, at once", err)
		}
		wantError(t, <-run, "nothing.so", c.logFile())
	})
}
