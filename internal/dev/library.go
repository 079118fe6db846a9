package dev

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// libraryFile is the file of the package that is kept.
const libraryFile = "libchdb.so"

// libraryPackage is a pinned package of the npm registry.
type libraryPackage struct {
	name, version string
	integrity     string // as npm writes it: the algorithm and the tarball's hash in base64
	size          int64  // of the tarball, for the progress line
}

// pinnedLibrary is the package for this platform. Only packages whose hash was
// checked here are in it; the publisher has more.
func pinnedLibrary() (libraryPackage, error) {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return libraryPackage{
			name:      "@chdb/lib-linux-x64-gnu",
			version:   "26.7.3-stable.1",
			integrity: "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==",
			size:      177_817_999,
		}, nil
	}
	return libraryPackage{}, fmt.Errorf("no ClickHouse library is pinned for %s/%s: install clickhouse so that it is on PATH, or set --clickhouse-addr", runtime.GOOS, runtime.GOARCH)
}

// DefaultLibraryCache is the folder that installed libraries are kept in.
func DefaultLibraryCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	return filepath.Join(dir, "adtally"), nil
}

// EnsureLibrary returns the path of the ClickHouse library in cacheDir
// (DefaultLibraryCache when empty) and installs it there through npm the first
// time, checked against the pinned hash. Several processes may call it at once.
func EnsureLibrary(ctx context.Context, cacheDir string, progress io.Writer) (string, error) {
	pkg, err := pinnedLibrary()
	if err != nil {
		return "", err
	}
	if cacheDir == "" {
		if cacheDir, err = DefaultLibraryCache(); err != nil {
			return "", err
		}
	}
	if progress == nil {
		progress = io.Discard
	}
	path, err := pkg.ensure(ctx, cacheDir, progress)
	if err != nil {
		return "", fmt.Errorf("install ClickHouse library: %w", err)
	}
	return path, nil
}

// ensure returns the path of the installed library and installs it if needed.
func (p libraryPackage) ensure(ctx context.Context, cacheDir string, progress io.Writer) (string, error) {
	dir := filepath.Join(cacheDir, "clickhouse-"+p.version)
	if path, ok := p.installed(dir); ok {
		return path, nil
	}
	lock, err := waitLockDir(ctx, filepath.Join(cacheDir, "installing"))
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if path, ok := p.installed(dir); ok {
		return path, nil // by the process that held the lock
	}
	return filepath.Join(dir, libraryFile), p.install(ctx, cacheDir, dir, progress)
}

// waitLockDir takes the directory's lock, waiting for whoever installs now.
func waitLockDir(ctx context.Context, dir string) (*DirLock, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, err := LockDir(dir)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another installation: %w", err)
		case <-tick.C:
		}
	}
}

// marker is the content of the file that makes an installation complete: what
// it was made from, and the library's size. Hashing half a gigabyte at each
// start would cost more than the start.
func (p libraryPackage) marker(size int64) string {
	return fmt.Sprintf("%s %d\n", p.integrity, size)
}

func (p libraryPackage) installed(dir string) (string, bool) {
	path := filepath.Join(dir, libraryFile)
	info, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	made, err := os.ReadFile(filepath.Join(dir, "complete")) //nolint:gosec // in the cache that the user chose
	return path, err == nil && string(made) == p.marker(info.Size())
}

// install puts the library into dir, whole or not at all.
func (p libraryPackage) install(ctx context.Context, cacheDir, dir string, progress io.Writer) error {
	stale, _ := filepath.Glob(filepath.Join(cacheDir, "installing-*"))
	for _, d := range stale { // of a process that was killed: we hold the lock
		_ = os.RemoveAll(d)
	}
	tmp, err := os.MkdirTemp(cacheDir, "installing-")
	if err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	tarball, err := p.download(ctx, tmp, progress)
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "unpacking ClickHouse")
	out := filepath.Join(tmp, "out")
	if err := os.Mkdir(out, 0o750); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	size, err := p.unpack(tarball, filepath.Join(out, libraryFile))
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(out, "complete"), strings.NewReader(p.marker(size))); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove incomplete installation: %w", err)
	}
	if err := os.Rename(out, dir); err != nil {
		return fmt.Errorf("put library in place: %w", err)
	}
	return syncDir(cacheDir)
}

// unpack checks the tarball's hash and then extracts the library to path.
func (p libraryPackage) unpack(tarball, path string) (int64, error) {
	f, err := os.Open(tarball) //nolint:gosec // in a directory that we made
	if err != nil {
		return 0, fmt.Errorf("open package: %w", err)
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return 0, fmt.Errorf("read package: %w", err)
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != p.integrity {
		return 0, fmt.Errorf("%s@%s is not the pinned package: its hash is %s, want %s", p.name, p.version, got, p.integrity)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read package: %w", err)
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		return 0, fmt.Errorf("read package: %w", err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err != nil {
			return 0, fmt.Errorf("find %s in package: %w", libraryFile, err)
		}
		if h.Name == "package/"+libraryFile {
			return h.Size, writeSynced(path, tr)
		}
	}
}

// writeSynced writes a new file and waits until it is on disk.
func writeSynced(name string, from io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in a directory that we made
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the cache that the user chose
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
