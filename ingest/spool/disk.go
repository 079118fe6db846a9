package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// disk is the directory of the spool: the few calls of a file system that it
// makes, so that tests can break each of them.
type disk interface {
	names
	// Open opens a file for reading and writing. With create it must not exist.
	Open(name string, create bool) (file, error)
	// Space returns what others may still write to the volume, and its size.
	Space() (free, total uint64, err error)
	// Lock takes the directory for this process until the Closer is closed.
	Lock() (io.Closer, error)
}

// names changes the directory. Nothing of it is durable before Sync.
type names interface {
	List() ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	Sync() error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	content
}

// content is the part of a file that a commit depends on.
type content interface {
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate makes room for size bytes, which read as zeros.
	Allocate(size int64) error
	// Sync makes what was written, and the size, durable.
	Sync() error
}

type osDisk struct {
	path string
	root *os.Root
}

func openDisk(path string) (*osDisk, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	// The name of the spool in its parent must be as durable as the spool.
	parent, err := os.Open(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return nil, fmt.Errorf("open parent of spool directory: %w", err)
	}
	err = errors.Join(parent.Sync(), parent.Close())
	if err != nil {
		return nil, fmt.Errorf("sync parent of spool directory: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open spool directory: %w", err)
	}
	return &osDisk{path: path, root: root}, nil
}

func (d *osDisk) Open(name string, create bool) (file, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDisk) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d *osDisk) Remove(name string) error     { return d.root.Remove(name) }

func (d *osDisk) List() ([]string, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	found, err := dir.Readdirnames(-1)
	return found, errors.Join(err, dir.Close())
}

func (d *osDisk) Sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *osDisk) Space() (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.path, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", d.path, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// Lock uses flock: the kernel gives it up with the process, however that ends.
func (d *osDisk) Lock() (io.Closer, error) {
	f, err := d.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock spool %s: %w", d.path, err), f.Close())
	}
	return osLock{f, d.root}, nil
}

type osLock struct {
	f    *os.File
	root *os.Root
}

func (l osLock) Close() error { return errors.Join(l.f.Close(), l.root.Close()) }

// osFile is a file of the operating system. Sync and Allocate depend on it.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// writeZeros allocates where the system has no call for it.
func (f osFile) writeZeros(size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return nil
}
