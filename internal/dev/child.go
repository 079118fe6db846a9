package dev

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// childEnv marks a process as a ClickHouse child and names its parent.
const childEnv = "ADTALLY_INTERNAL_CLICKHOUSE_CHILD"

// engineKind is what a child becomes.
type engineKind string

const (
	// engineLibrary loads libchdb into the child.
	engineLibrary engineKind = "library"
	// engineBinary replaces the child by an installed clickhouse. It takes the
	// same arguments, but is less tried: its version is whatever is installed,
	// and off Linux nothing ends it when its parent is killed.
	engineBinary engineKind = "binary"
)

// engine is what runs the server: a kind and the file that it runs.
type engine struct {
	kind engineKind
	path string
}

// ChildMain is called first in main, and in TestMain of packages whose tests
// start a ClickHouse. In a process that was started as a ClickHouse child it
// becomes the server and never returns; in any other it does nothing.
func ChildMain() {
	parent, isChild := os.LookupEnv(childEnv)
	if !isChild {
		return
	}
	err := runAsChild(parent, os.Args)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1) //nolint:forbidigo // this process is the server; main is never reached
}

// runAsChild becomes the server. It returns only to say why it ended.
func runAsChild(parent string, args []string) error {
	runtime.LockOSThread() // the server's stack is the main thread's, which is large
	if len(args) < 3 {
		return fmt.Errorf("clickhouse child: %d arguments", len(args))
	}
	pid, err := strconv.Atoi(parent)
	if err != nil {
		return fmt.Errorf("read parent's pid: %w", err)
	}
	if err := dieWithParent(); err != nil {
		return err
	}
	if os.Getppid() != pid {
		return fmt.Errorf("parent %d has gone", pid) // before it could be watched
	}
	if err := os.Unsetenv(childEnv); err != nil {
		return fmt.Errorf("clear environment: %w", err)
	}
	kind, path, rest := engineKind(args[1]), args[2], args[3:]
	if kind == engineBinary {
		argv := append([]string{"clickhouse", "local"}, rest...)
		return fmt.Errorf("run %s: %w", path, syscall.Exec(path, argv, os.Environ())) //nolint:gosec // the parent's choice
	}
	go exitWithStdin()
	return queryCmdline(path, append([]string{"clickhouse"}, rest...))
}

// exitWithStdin ends the process when the parent's end of the pipe is closed.
// What was acknowledged is on disk, so there is nothing to wait for.
func exitWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1) //nolint:forbidigo // this process is the server; nobody is left to tell
}

// queryCmdline hands args to libchdb as if they were given to clickhouse local.
func queryCmdline(path string, args []string) error {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load clickhouse library: %w", err)
	}
	var run func(argc int32, argv unsafe.Pointer) uintptr
	purego.RegisterLibFunc(&run, lib, "chdb_query_cmdline")

	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]*byte, 0, len(args)+1)
	for _, a := range args {
		p := &append([]byte(a), 0)[0]
		pin.Pin(p)
		argv = append(argv, p)
	}
	argv = append(argv, nil)
	run(int32(len(args)), unsafe.Pointer(&argv[0])) //nolint:gosec // argv of a C main; its messages go to stderr
	return errors.New("clickhouse session ended")
}
