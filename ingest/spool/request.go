package spool

import (
	"fmt"
	"time"
)

// request is one Append on its way through the writer.
type request struct {
	frames  []byte
	entries int
	at      time.Time
	// done has room for the one answer, so that the writer never waits for a
	// caller that has given up.
	done  chan error
	timer *time.Timer

	// seal, in a request without frames, asks to end that segment if it has
	// not grown beyond sealEnd.
	seal    *segment
	sealEnd int64
}

func newRequest() *request {
	r := &request{done: make(chan error, 1), timer: time.NewTimer(time.Hour)}
	r.timer.Stop()
	return r
}

// encode copies entries into frames, in the goroutine of the caller.
func (r *request) encode(entries []Entry, now time.Time, seed uint32, limit int) error {
	r.frames, r.entries, r.at = r.frames[:0], len(entries), now
	at := now.UnixMicro()
	for i := range entries {
		e := &entries[i]
		if len(e.Data) > maxEntry || len(r.frames)+headSize+len(e.Data) > limit {
			return fmt.Errorf("entry %d of %d with %d bytes: %w", i, len(entries), len(e.Data), ErrTooLarge)
		}
		r.frames = appendEntry(r.frames, e, at, seed)
	}
	return nil
}
