package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// download has npm fetch the package into dir and returns the tarball's path.
// npm is used and not HTTP because it knows the registry, proxy and
// certificates that this machine is set up for.
func (p libraryPackage) download(ctx context.Context, dir string, progress io.Writer) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errors.New("npm is needed once to fetch it: install Node.js, or put clickhouse on PATH, or set --clickhouse-addr")
	}
	cmd := exec.CommandContext(ctx, npm, "pack", p.name+"@"+p.version, "--silent", "--pack-destination", dir, //nolint:gosec // found on PATH, pinned arguments
		"--cache", filepath.Join(dir, "npm-cache"), // in reach of the progress line, and removed with dir
	)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.report(dir, progress, done)
	}()
	err = cmd.Run()
	close(done)
	<-watched
	if err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w: %s", p.name, p.version, err, said.lastLine())
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("npm pack %s@%s: %d packages written", p.name, p.version, len(found))
	}
	return found[0], nil
}

// report writes how much has arrived until done is closed: one line that
// changes on a terminal, a line now and then elsewhere.
func (p libraryPackage) report(dir string, w io.Writer, done <-chan struct{}) {
	every, begin, end := 5*time.Second, "", "\n"
	if isTerminal(w) {
		every, begin, end = 200*time.Millisecond, "\r", ""
	}
	const mb = 1_000_000
	fmt.Fprintf(w, "installing ClickHouse (%d MB, once) from %s@%s\n", p.size/mb, p.name, p.version)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			if begin != "" {
				fmt.Fprintln(w)
			}
			return
		case <-tick.C:
			// npm writes its cache and then a copy of it
			got := min(bytesBelow(dir), p.size)
			fmt.Fprintf(w, "%s  %d of %d MB%s", begin, got/mb, p.size/mb, end)
		}
	}
}

// bytesBelow sums the sizes of the files in dir; files that vanish count nothing.
func bytesBelow(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // the folder changes while we look
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
