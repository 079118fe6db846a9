package demo

import (
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// grace is how long an endpoint may take at the start before its absence is
	// news: everything starts at once.
	grace = 3 * time.Second
	// calm is how long nothing may fail before an endpoint is said to work
	// again; without it one that fails now and then would fill the log.
	calm = 5 * time.Second
)

// link knows whether an endpoint works, and logs when that changes. Its methods
// may be called concurrently.
type link struct {
	log  zerolog.Logger
	what string

	mu      sync.Mutex
	began   time.Time // first attempt
	failed  time.Time // last failure
	worked  bool      // at least once
	down    bool      // as logged
	failing int       // attempts that failed while down
}

func newLink(log zerolog.Logger, what string) *link { return &link{log: log, what: what} }

// note takes the outcome of one attempt.
func (l *link) note(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		l.began = now
	}
	if err == nil {
		l.ok(now)
		return
	}
	l.failed = now
	l.failing++
	if l.down || !l.worked && now.Sub(l.began) < grace {
		return
	}
	l.down = true
	l.log.Warn().Err(withoutURL(err)).Str("what", l.what).Msg("demo traffic is not taken")
}

func (l *link) ok(now time.Time) {
	l.worked = true
	if l.down && now.Sub(l.failed) >= calm {
		l.down = false
		l.log.Info().Str("what", l.what).Int("failed", l.failing).Msg("demo traffic is taken again")
	}
	if !l.down {
		l.failing = 0
	}
}

// withoutURL leaves out the address of a failed request, which is mostly token.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
