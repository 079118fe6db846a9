package query

import (
	"context"
	"net/http"
	"time"

	"github.com/adtally/adtally/internal/access"
)

// verification is a check of an export: its files against the manifest, that
// against the closes and their chain, and all against the ledger.
type verification struct {
	// Status is running, done, or failed when it could not be made.
	Status string `json:"status"`
	// OK says that nothing was found; it is meant once it is done.
	OK bool `json:"ok"`
	// Faults name what is wrong.
	Faults []string `json:"faults"`
	// At is when it ended.
	At     *time.Time `json:"at,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// waiting counts what is under way. Its caller holds mu.
func (x *exports) waiting() int {
	n := 0
	for _, s := range x.states {
		if s.Status == exportRunning {
			n++
		}
	}
	for _, v := range x.verified {
		if v.Status == exportRunning {
			n++
		}
	}
	return n
}

// verify begins a verification of an export, unless one is under way. It is false
// when too many wait.
func (x *exports) verify(s *exportState) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v := x.verified[s.ID]; v != nil && v.Status == exportRunning {
		return true
	}
	if x.waiting() >= maxExports {
		return false
	}
	v := &verification{Status: exportRunning, Faults: []string{}}
	x.verified[s.ID] = v
	x.wg.Go(func() { x.check(s, v) })
	return true
}

// check verifies one export when it is its turn.
func (x *exports) check(s *exportState, v *verification) {
	var faults []string
	var err error
	select {
	case <-x.turn:
		faults, err = x.faults(x.ctx, s)
		x.turn <- struct{}{}
	case <-x.ctx.Done():
		err = x.ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	at := time.Now().UTC()
	v.At = &at
	if err != nil {
		v.Status, v.Detail = exportFailed, "It could not be verified; the reason is in the server's log."
		x.log.Error().Err(err).Str("export", s.ID).Msg("verification failed")
		return
	}
	v.Status, v.OK, v.Faults = exportDone, len(faults) == 0, append(v.Faults, faults...)
}

func (x *exports) faults(ctx context.Context, s *exportState) ([]string, error) {
	found, err := x.exporter.Verify(ctx, x.folder(s))
	if err != nil {
		return nil, err
	}
	return found.Faults, nil
}

// postVerification begins a verification; the export's state says what it found.
func (s *Server) postVerification(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	state := s.exportOf(r, grant)
	if state == nil || state.Status != exportDone {
		noExport().write(w, requestIDOf(w))
		return
	}
	if !s.exports.verify(state) {
		tooManyExports().write(w, requestIDOf(w))
		return
	}
	w.Header().Set("Location", "/v1/exports/"+state.ID)
	writeJSONStatus(w, http.StatusAccepted, s.exports.find(state.ID))
}

func tooManyExports() *Problem {
	return newProblem(http.StatusTooManyRequests, "too_many_exports", "Too many exports wait for their turn.").retry(30)
}
