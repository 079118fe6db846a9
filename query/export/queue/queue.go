// Package queue makes the exports that are asked for over HTTP, one at a time, and
// remembers how far each is: in memory while it is under way, in its folder after.
package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/manifest"
	files "github.com/adtally/adtally/query/export/statement"
)

// maxWaiting bounds the exports that wait for their turn; one runs at a time.
const maxWaiting = 32

// Export is an export as clients see it. The fields that are not explained are what
// was asked.
type Export struct {
	ID         string       `json:"id"`
	Status     string       `json:"status"`
	Day        string       `json:"day"`
	Format     files.Format `json:"format"`
	Timezone   string       `json:"timezone,omitempty"`
	Advertiser uint64       `json:"advertiser,string,omitempty"`
	Rows       uint64       `json:"rows_written,omitempty"`
	OfRows     uint64       `json:"of_rows,omitempty"`
	Files      []File       `json:"files,omitempty"`
	// Verification is the last one that was asked for, nil before any.
	Verification *Verification `json:"verification,omitempty"`
	Detail       string        `json:"detail,omitempty"`
}

// File is one file of an export.
type File struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Rows   uint64 `json:"rows,omitempty"`
}

// The states of an export.
const (
	Running     = "running"
	Done        = "done"
	Failed      = "failed"
	Interrupted = "interrupted"
)

// Queue makes the exports that are asked for over HTTP. An export's id follows
// from what is asked and from the closes, so asking again is asking for the same.
type Queue struct {
	dir      string
	exporter *manifest.Exporter
	// turn holds one token: whoever has it writes.
	turn chan struct{}
	log  zerolog.Logger
	wg   sync.WaitGroup
	// stop ends those that are under way.
	ctx  context.Context //nolint:containedctx // that of all exports, from New to the end of Run
	stop context.CancelFunc

	mu     sync.Mutex
	states map[string]*Export
	// verified are the verifications of this process, by export.
	verified map[string]*Verification
}

// New returns a Queue that writes below dir. It begins nothing.
func New(dir string, exporter *manifest.Exporter, log zerolog.Logger) *Queue {
	ctx, stop := context.WithCancel(context.Background())
	x := &Queue{dir: dir, exporter: exporter, turn: make(chan struct{}, 1), log: log, ctx: ctx, stop: stop, states: map[string]*Export{}, verified: map[string]*Verification{}}
	x.turn <- struct{}{}
	return x
}

// Close ends what is under way and waits for it.
func (x *Queue) Close() {
	x.stop()
	x.wg.Wait()
}

// idOf names an export by what it holds.
func idOf(req *manifest.Request, closes []*closing.Close) string {
	h := sha256.New()
	for _, text := range []string{req.Day, string(req.Format), req.Timezone, strconv.FormatUint(req.Advertiser, 10)} {
		_, _ = io.WriteString(h, text+"\x00") // never fails
	}
	for _, c := range closes {
		_, _ = io.WriteString(h, c.Hash) // never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ErrFull says that too many exports wait for their turn.
var ErrFull = errors.New("too many exports wait")

// Start begins an export, or finds it under way or done. The error is ErrFull,
// closing.ErrNoClose for a day that is not closed, or that of the ledger or the disk.
func (x *Queue) Start(ctx context.Context, req *manifest.Request) (*Export, error) {
	closes, err := x.exporter.Closes(ctx, req)
	if err != nil {
		return nil, err
	}
	id := idOf(req, closes)
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.states[id]; s != nil && s.Status == Running {
		return s.copy(), nil
	}
	if s := x.stored(id); s != nil && s.Status == Done {
		return s, nil
	}
	if x.waiting() >= maxWaiting {
		return nil, ErrFull
	}
	s := &Export{ID: id, Status: Running, Day: req.Day, Format: req.Format, Timezone: req.Timezone, Advertiser: req.Advertiser}
	req.Dir = filepath.Join(x.dir, id)
	if err := os.MkdirAll(req.Dir, 0o700); err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(req.Dir, "request.json"), text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	x.states[id] = s
	req.Progress = func(_ string, rows, of uint64) {
		x.mu.Lock()
		s.Rows, s.OfRows = rows, of
		x.mu.Unlock()
	}
	x.wg.Go(func() { x.run(req, s) })
	return s.copy(), nil
}

func (s *Export) copy() *Export {
	c := *s
	return &c
}

// run writes one export when it is its turn.
func (x *Queue) run(req *manifest.Request, s *Export) {
	var err error
	select {
	case <-x.turn:
		_, _, err = x.exporter.Export(x.ctx, req)
		x.turn <- struct{}{}
	case <-x.ctx.Done():
		err = x.ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		delete(x.states, s.ID) // its manifest says the rest
		return
	}
	s.Status, s.Detail = Failed, "The export failed; its reason is in the server's log."
	if x.ctx.Err() != nil {
		s.Status, s.Detail = Interrupted, "The export was interrupted; post it again."
	}
	x.log.Error().Err(err).Str("export", s.ID).Msg("export failed")
}

// Find returns an export, or nil.
func (x *Queue) Find(id string) *Export {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.states[id]; s != nil {
		return s.copy()
	}
	s := x.stored(id)
	if s != nil && x.verified[id] != nil {
		v := *x.verified[id]
		s.Verification = &v
	}
	return s
}

// stored reads an export from its folder. Only ids of our own making are looked
// for: no path can be made of them.
func (x *Queue) stored(id string) *Export {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 || id != strings.ToLower(id) {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(x.dir, id, "request.json")) //nolint:gosec // the id is hex digits
	if err != nil {
		return nil
	}
	s := &Export{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil
	}
	m, err := manifest.Read(x.Folder(s))
	if err != nil {
		s.Status, s.Detail = Interrupted, "The export was interrupted; post it again."
		return s
	}
	s.Status = Done
	for i := range m.Files {
		f := &m.Files[i]
		s.Files = append(s.Files, File{Name: f.Name, Path: "/v1/exports/" + id + "/" + f.Name, Bytes: f.Bytes, SHA256: f.SHA256, Rows: f.Rows})
	}
	s.Files = append(s.Files, File{Name: manifest.Name, Path: "/v1/exports/" + id + "/" + manifest.Name})
	return s
}

// Folder is where the files of an export are.
func (x *Queue) Folder(s *Export) string {
	return filepath.Join(x.dir, s.ID, "day="+s.Day)
}
