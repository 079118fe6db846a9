package jobs

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// State is how far a job is.
type State string

// The states of a job.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Job is one report that runs behind its request.
type Job struct {
	// ID names the job within its tenant.
	ID string `json:"id"`
	// Tenant is the advertiser whose job it is.
	Tenant uint64 `json:"tenant"`
	// State is how far it is.
	State State `json:"state"`
	// Format is the media type of the result, Request the report as it was asked.
	Format  string          `json:"format"`
	Request json.RawMessage `json:"request"`
	// Created, Finished and Expires are its times.
	Created  time.Time `json:"created"`
	Finished time.Time `json:"finished,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	// Rows, Bytes and SHA256 (hex) describe the result.
	Rows   int    `json:"rows,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Attempts is how often it was begun.
	Attempts int `json:"attempts,omitempty"`
	// Failure is why it failed, for the client.
	Failure json.RawMessage `json:"failure,omitempty"`
}

// ended says that nothing more happens to the job.
func (j *Job) ended() bool { return j.State == Done || j.State == Failed }

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const idLen = 26 // 130 bits

// newID returns a fresh id, or the one that belongs to the idempotency key.
func newID(tenant uint64, idempotencyKey string) string {
	var seed [32]byte
	if idempotencyKey == "" {
		_, _ = rand.Read(seed[:]) // never fails: it ends the process instead
	} else {
		seed = sha256.Sum256(fmt.Appendf(nil, "%d\n%s", tenant, idempotencyKey))
	}
	return idEncoding.EncodeToString(seed[:])[:idLen]
}

// validID says that a text may be the name of a file of ours.
func validID(id string) bool {
	return len(id) == idLen && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// disk keeps records and results in one directory.
type disk struct{ dir string }

func (d disk) record(id string) string { return filepath.Join(d.dir, id+".json") }
func (d disk) result(id string) string { return filepath.Join(d.dir, id+".result") }
func (d disk) part(id string) string   { return filepath.Join(d.dir, id+".part") }

// put writes a record so that it is there wholly or not at all, also after a
// power cut.
func (d disk) put(j *Job) error {
	text, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	f, err := os.CreateTemp(d.dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write job: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.record(j.ID))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what is left of it is of no use
		return fmt.Errorf("write job: %w", err)
	}
	return d.sync()
}

// sync makes renames last.
func (d disk) sync() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return fmt.Errorf("sync jobs: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// load reads every record, and removes what a crash left half written.
func (d disk) load() ([]*Job, error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of jobs: %w", err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	var list []*Job
	for _, e := range entries {
		name := filepath.Join(d.dir, e.Name())
		if strings.HasPrefix(e.Name(), ".new-") || strings.HasSuffix(name, ".part") {
			_ = os.Remove(name) // it is tried again at the next start
			continue
		}
		id, isRecord := strings.CutSuffix(e.Name(), ".json")
		if !isRecord || !validID(id) {
			continue
		}
		text, err := os.ReadFile(name) //nolint:gosec // in the directory that the operator chose
		if err != nil {
			return nil, fmt.Errorf("read job: %w", err)
		}
		j := &Job{}
		if err := json.Unmarshal(text, j); err != nil || j.ID != id {
			return nil, fmt.Errorf("read job %s: the record is damaged; move it away: %w", name, err)
		}
		list = append(list, j)
	}
	return list, nil
}

// remove takes a job and its result away, the record last.
func (d disk) remove(id string) error {
	for _, name := range []string{d.part(id), d.result(id), d.record(id)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove job: %w", err)
		}
	}
	return nil
}

// sameRequest says that two submissions ask the same.
func (j *Job) sameRequest(request json.RawMessage, format string) bool {
	var a, b bytes.Buffer
	if json.Compact(&a, j.Request) != nil || json.Compact(&b, request) != nil {
		return false
	}
	return j.Format == format && bytes.Equal(a.Bytes(), b.Bytes())
}
