package queue

import (
	"context"
	"time"
)

// Verification is a check of an export: its files against the manifest, that
// against the closes and their chain, and all against the ledger.
type Verification struct {
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
func (x *Queue) waiting() int {
	n := 0
	for _, s := range x.states {
		if s.Status == Running {
			n++
		}
	}
	for _, v := range x.verified {
		if v.Status == Running {
			n++
		}
	}
	return n
}

// Verify begins a verification of an export, unless one is under way. It is false
// when too many wait.
func (x *Queue) Verify(s *Export) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v := x.verified[s.ID]; v != nil && v.Status == Running {
		return true
	}
	if x.waiting() >= maxWaiting {
		return false
	}
	v := &Verification{Status: Running, Faults: []string{}}
	x.verified[s.ID] = v
	x.wg.Go(func() { x.check(s, v) })
	return true
}

// check verifies one export when it is its turn.
func (x *Queue) check(s *Export, v *Verification) {
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
		v.Status, v.Detail = Failed, "It could not be verified; the reason is in the server's log."
		x.log.Error().Err(err).Str("export", s.ID).Msg("verification failed")
		return
	}
	v.Status, v.OK, v.Faults = Done, len(faults) == 0, append(v.Faults, faults...)
}

func (x *Queue) faults(ctx context.Context, s *Export) ([]string, error) {
	found, err := x.exporter.Verify(ctx, x.Folder(s))
	if err != nil {
		return nil, err
	}
	return found.Faults, nil
}
