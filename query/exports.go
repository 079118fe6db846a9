package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/manifest"
	files "github.com/adtally/adtally/query/export/statement"
)

// maxExports bounds the exports that wait for their turn; one runs at a time.
const maxExports = 32

// exportState is an export as clients see it.
type exportState struct {
	ID         string       `json:"id"`
	Status     string       `json:"status"`
	Day        string       `json:"day"`
	Format     files.Format `json:"format"`
	Timezone   string       `json:"timezone,omitempty"`
	Advertiser uint64       `json:"advertiser,string,omitempty"`
	Rows       uint64       `json:"rows_written,omitempty"`
	OfRows     uint64       `json:"of_rows,omitempty"`
	Files      []exportFile `json:"files,omitempty"`
	// Verification is the last one that was asked for, nil before any.
	Verification *verification `json:"verification,omitempty"`
	Detail       string        `json:"detail,omitempty"`
}

type exportFile struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Rows   uint64 `json:"rows,omitempty"`
}

// The states of an export.
const (
	exportRunning     = "running"
	exportDone        = "done"
	exportFailed      = "failed"
	exportInterrupted = "interrupted"
)

// exports makes the exports that are asked for over HTTP. An export's id follows
// from what is asked and from the closes, so asking again is asking for the same.
type exports struct {
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
	states map[string]*exportState
	// verified are the verifications of this process, by export.
	verified map[string]*verification
}

func newExports(dir string, exporter *manifest.Exporter, log zerolog.Logger) *exports {
	ctx, stop := context.WithCancel(context.Background())
	x := &exports{dir: dir, exporter: exporter, turn: make(chan struct{}, 1), log: log, ctx: ctx, stop: stop, states: map[string]*exportState{}, verified: map[string]*verification{}}
	x.turn <- struct{}{}
	return x
}

// close ends what is under way and waits for it.
func (x *exports) close() {
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

// start begins an export, or finds it under way or done. nil means that too many
// wait.
func (x *exports) start(req *manifest.Request, id string) (*exportState, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.states[id]; s != nil && s.Status == exportRunning {
		return s.copy(), nil
	}
	if s := x.stored(id); s != nil && s.Status == exportDone {
		return s, nil
	}
	if x.waiting() >= maxExports {
		return nil, nil //nolint:nilnil // that is the result
	}
	s := &exportState{ID: id, Status: exportRunning, Day: req.Day, Format: req.Format, Timezone: req.Timezone, Advertiser: req.Advertiser}
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

func (s *exportState) copy() *exportState {
	c := *s
	return &c
}

// run writes one export when it is its turn.
func (x *exports) run(req *manifest.Request, s *exportState) {
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
	s.Status, s.Detail = exportFailed, "The export failed; its reason is in the server's log."
	if x.ctx.Err() != nil {
		s.Status, s.Detail = exportInterrupted, "The export was interrupted; post it again."
	}
	x.log.Error().Err(err).Str("export", s.ID).Msg("export failed")
}

// find returns an export, or nil.
func (x *exports) find(id string) *exportState {
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
func (x *exports) stored(id string) *exportState {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 || id != strings.ToLower(id) {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(x.dir, id, "request.json")) //nolint:gosec // the id is hex digits
	if err != nil {
		return nil
	}
	s := &exportState{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil
	}
	m, err := manifest.Read(x.folder(s))
	if err != nil {
		s.Status, s.Detail = exportInterrupted, "The export was interrupted; post it again."
		return s
	}
	s.Status = exportDone
	for i := range m.Files {
		f := &m.Files[i]
		s.Files = append(s.Files, exportFile{Name: f.Name, Path: "/v1/exports/" + id + "/" + f.Name, Bytes: f.Bytes, SHA256: f.SHA256, Rows: f.Rows})
	}
	s.Files = append(s.Files, exportFile{Name: manifest.Name, Path: "/v1/exports/" + id + "/" + manifest.Name})
	return s
}

func (x *exports) folder(s *exportState) string {
	return filepath.Join(x.dir, s.ID, "day="+s.Day)
}

func (s *Server) postExport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	if s.exports == nil {
		newProblem(http.StatusNotImplemented, "exports_off", "This server makes no exports: it has no folder for them (--query-exports-dir).").write(w, requestIDOf(w))
		return
	}
	if r.URL.RawQuery != "" {
		unexpectedQuery().write(w, requestIDOf(w))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		bodyProblem(err).write(w, requestIDOf(w))
		return
	}
	req, problem := parseExport(body, grant)
	if problem != nil {
		problem.write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	closes, err := s.exports.exporter.Closes(ctx, req)
	if errors.Is(err, closing.ErrNoClose) {
		p := newProblem(http.StatusConflict, "not_closed", req.Day+" is not closed yet.")
		p.Field = "day"
		p.write(w, requestIDOf(w))
		return
	}
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	state, err := s.exports.start(req, idOf(req, closes))
	switch {
	case err != nil:
		s.fail(w, r, err)
		return
	case state == nil:
		tooManyExports().write(w, requestIDOf(w))
		return
	}
	w.Header().Set("Location", "/v1/exports/"+state.ID)
	if state.Status == exportRunning {
		writeJSONStatus(w, http.StatusAccepted, state)
		return
	}
	writeJSONStatus(w, http.StatusOK, state)
}

// exportOf returns the export of a request's path, if the key may see it.
func (s *Server) exportOf(r *http.Request, grant access.Grant) *exportState {
	if s.exports == nil {
		return nil
	}
	state := s.exports.find(r.PathValue("id"))
	if state == nil || !grant.All && (state.Advertiser == 0 || !grant.Covers(state.Advertiser)) {
		return nil
	}
	return state
}

func noExport() *Problem {
	return newProblem(http.StatusNotFound, "export_not_found", "There is no such export for this key.")
}

func (s *Server) getExport(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil {
		noExport().write(w, requestIDOf(w))
		return
	}
	writeJSONStatus(w, http.StatusOK, state)
}

// getExportFile sends a file, or a range of it.
func (s *Server) getExportFile(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil || state.Status != exportDone {
		noExport().write(w, requestIDOf(w))
		return
	}
	i := slices.IndexFunc(state.Files, func(f exportFile) bool { return f.Name == r.PathValue("file") })
	if i < 0 {
		noExport().write(w, requestIDOf(w))
		return
	}
	file := state.Files[i]
	f, err := os.Open(filepath.Join(s.exports.folder(state), file.Name))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", fileType(file.Name))
	h.Set("Content-Disposition", `attachment; filename="`+file.Name+`"`)
	if file.SHA256 != "" {
		h.Set("ETag", `"`+file.SHA256+`"`)
	}
	sendFile(w, r, time.Time{}, f)
}

func fileType(name string) string {
	switch filepath.Ext(name) {
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".arrow":
		return "application/vnd.apache.arrow.stream"
	case ".csv":
		return "text/csv; charset=utf-8; header=present"
	default:
		return "application/json"
	}
}
