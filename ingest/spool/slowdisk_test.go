package spool

import (
	"sync/atomic"
	"time"
)

// slowDisk takes slowSync for each fsync while slow is set.
type slowDisk struct {
	*memDisk
	slow atomic.Bool
}

const slowSync = 5 * time.Millisecond

func (d *slowDisk) Open(name string, create bool) (file, error) {
	f, err := d.memDisk.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &slowFile{f, d}, nil
}

type slowFile struct {
	file
	d *slowDisk
}

func (f *slowFile) Sync() error {
	if f.d.slow.Load() {
		time.Sleep(slowSync)
	}
	return f.file.Sync()
}

// hungDisk does not come back from an fsync while hang is set, until release.
type hungDisk struct {
	*memDisk
	hang    atomic.Bool
	release chan struct{}
}

func (d *hungDisk) Open(name string, create bool) (file, error) {
	f, err := d.memDisk.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &hungFile{f, d}, nil
}

type hungFile struct {
	file
	d *hungDisk
}

func (f *hungFile) Sync() error {
	if f.d.hang.Load() {
		<-f.d.release
	}
	return f.file.Sync()
}
