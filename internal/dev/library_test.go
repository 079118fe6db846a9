package dev

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeNpm puts an npm on PATH that delivers a package with library as its
// library and counts its calls. It returns that package and the call log.
func fakeNpm(t *testing.T, library string) (pkg libraryPackage, calls string) {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, f := range [][2]string{{"package/index.js", "//"}, {"package/libchdb.so", library}} {
		ok(t, tw.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}))
		_, err := tw.Write([]byte(f[1]))
		ok(t, err)
	}
	ok(t, tw.Close())
	ok(t, zw.Close())

	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	tarball := filepath.Join(dir, "package.bin")
	ok(t, os.WriteFile(tarball, b.Bytes(), 0o600))
	// npm pack NAME --silent --pack-destination DIR --cache DIR
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>'%s'\n/bin/cp '%s' \"$5/package-1.tgz\"\necho package-1.tgz\n", calls, tarball)
	ok(t, os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o700))
	t.Setenv("PATH", dir)
	sum := sha512.Sum512(b.Bytes())
	return libraryPackage{
		name: "@test/lib", version: "1.0.0", size: int64(b.Len()),
		integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
	}, calls
}

// left lists what an installation left in the cache.
func left(t *testing.T, cache string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(cache)
	ok(t, err)
	for _, e := range entries {
		if e.Name() != "installing" { // the lock
			names = append(names, e.Name())
		}
	}
	return names
}

func TestLibraryInstall(t *testing.T) {
	pkg, calls := fakeNpm(t, "the library")
	cache := filepath.Join(t.TempDir(), "cache")
	var progress bytes.Buffer
	path, err := pkg.ensure(t.Context(), cache, &progress)
	ok(t, err)
	f := func() {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != "the library" {
			t.Errorf("library is %q, %v", got, err)
		}
		if got := left(t, cache); len(got) != 1 {
			t.Errorf("cache holds %q", got)
		}
	}
	f()
	if !strings.Contains(progress.String(), "installing ClickHouse") || strings.Contains(progress.String(), "\r") {
		t.Errorf("progress %q", progress.String())
	}

	_, err = pkg.ensure(t.Context(), cache, &progress) // already there
	ok(t, err)
	if got, _ := os.ReadFile(calls); bytes.Count(got, []byte("\n")) != 1 {
		t.Errorf("npm was called again: %s", got)
	}

	ok(t, os.WriteFile(path, []byte("the lib"), 0o600)) // cut short
	_, err = pkg.ensure(t.Context(), cache, &progress)
	ok(t, err)
	f()

	ok(t, os.Remove(filepath.Join(filepath.Dir(path), "complete"))) // killed before the end
	ok(t, os.Mkdir(filepath.Join(cache, "installing-123"), 0o700))
	_, err = pkg.ensure(t.Context(), cache, &progress)
	ok(t, err)
	f()
}

func TestLibraryInstallOnce(t *testing.T) {
	pkg, calls := fakeNpm(t, "the library")
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := pkg.ensure(t.Context(), cache, new(bytes.Buffer)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := os.ReadFile(calls); bytes.Count(got, []byte("\n")) != 1 {
		t.Errorf("npm was called more than once: %s", got)
	}
}

func TestLibraryWrongHash(t *testing.T) {
	fakeNpm(t, "something else")
	cache := t.TempDir()
	_, err := EnsureLibrary(t.Context(), cache, nil) // wants the pinned package
	wantError(t, err, "install ClickHouse library", "not the pinned package", "sha512-")
	if got := left(t, cache); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestLibraryWithoutNpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := EnsureLibrary(t.Context(), t.TempDir(), nil)
	wantError(t, err, "npm is needed once", "install Node.js", "--clickhouse-addr")
}

func TestLibraryNpmFails(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\necho 'no network' >&2\nexit 3\n"), 0o700))
	t.Setenv("PATH", dir)
	cache := t.TempDir()
	_, err := EnsureLibrary(t.Context(), cache, nil)
	wantError(t, err, "npm pack", "exit status 3", "no network")
	if got := left(t, cache); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestLibraryInterrupted(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\nexec "+sleep+" 60\n"), 0o700))
	t.Setenv("PATH", dir)
	cache := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := EnsureLibrary(ctx, cache, nil); err == nil {
		t.Error("no error")
	}
	if got := left(t, cache); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}
