package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"
)

const (
	requestTimeout = 5 * time.Second
	firstWait      = 200 * time.Millisecond
	longestWait    = 10 * time.Second
	maxAnswer      = 256 << 10 // bytes of an answer that are read
	batchAge       = time.Second
)

// sender sends requests and judges their answers. Its methods may be called
// concurrently.
type sender struct {
	requests
	client                   *http.Client
	beacons, clients, server *link
}

func newSender(q requests, log zerolog.Logger) *sender {
	return &sender{
		requests: q,
		client: &http.Client{
			Timeout: requestTimeout,
			Transport: &http.Transport{
				MaxIdleConns:        2 * workers,
				MaxIdleConnsPerHost: 2 * workers,
				IdleConnTimeout:     30 * time.Second, // shorter than ingest keeps them
			},
			// Where a click leads is not ours to visit.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		beacons: newLink(log, "beacons"),
		clients: newLink(log, "client batches"),
		server:  newLink(log, "server events"),
	}
}

// statusError is an answer that is not the one of a request that was taken.
type statusError struct {
	status int
	after  time.Duration // that the server asks to wait
}

// Error says what was answered.
func (e *statusError) Error() string {
	return "answered " + strconv.Itoa(e.status) + " " + http.StatusText(e.status)
}

// forGood reports whether the same request would be refused again: it is
// malformed. A key that is not known yet may be soon.
func forGood(err error) bool {
	answer, ok := errors.AsType[*statusError](err)
	if !ok {
		return false
	}
	switch answer.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return answer.status < http.StatusInternalServerError
	}
}

// once sends a delivery as a browser would: what is not taken is gone.
func (s *sender) once(ctx context.Context, d delivery) {
	var req *http.Request
	var err error
	on := s.beacons
	want := http.StatusOK
	if d.route == clientBatch {
		on, want = s.clients, http.StatusAccepted
		req, err = s.clientBatch(ctx, d)
	} else {
		if d.isClick() {
			want = http.StatusFound
		}
		req, err = s.beacon(ctx, d)
	}
	if err == nil {
		err = s.do(req, want)
	}
	on.note(err, time.Now())
}

// retry sends a batch until it is answered, or running is done. It reports
// whether it was taken. A request under way lives as long as ctx.
func (s *sender) retry(ctx, running context.Context, b *batch) bool {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		req, err := s.serverRequest(ctx, b)
		if err == nil {
			err = s.do(req, http.StatusAccepted)
		}
		s.server.note(err, time.Now())
		if _, partly := errors.AsType[*rejectedError](err); err == nil || partly {
			return true
		}
		if forGood(err) {
			return false
		}
		pause := wait/2 + rand.N(wait/2)
		if answer, ok := errors.AsType[*statusError](err); ok {
			pause = max(pause, min(answer.after, longestWait))
		}
		select {
		case <-running.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// batches sends events in batches, each at most batchAge after its first
// event, until the channel is closed.
func (s *sender) batches(ctx, running context.Context, events <-chan []byte) {
	tick := time.NewTicker(batchAge)
	defer tick.Stop()
	b := new(batch)
	send := func() {
		if b.n > 0 {
			s.retry(ctx, running, b)
			b = new(batch)
		}
	}
	for {
		select {
		case <-tick.C:
			send()
		case e, ok := <-events:
			if !ok {
				send()
				return
			}
			if !b.add(e) {
				send()
				b.add(e)
			}
		}
	}
}

// do sends one request and reads its answer to the end, so that the connection
// is used again.
func (s *sender) do(req *http.Request, want int) (err error) {
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != want {
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // absent is 0
		return &statusError{status: res.StatusCode, after: time.Duration(seconds) * time.Second}
	}
	if want != http.StatusAccepted {
		return nil
	}
	return readRejected(body)
}

// rejectedError is a batch that was taken but for some of its events.
type rejectedError struct {
	count  int
	reason string
}

// Error says how many were rejected and why the first was.
func (e *rejectedError) Error() string {
	return strconv.Itoa(e.count) + " events of a batch were rejected, the first as " + e.reason
}

func readRejected(body []byte) error {
	var answer struct {
		Rejected []struct {
			Reason string `json:"reason"`
		} `json:"rejected"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read answer of batch: %w", err)
	}
	if len(answer.Rejected) > 0 {
		return &rejectedError{count: len(answer.Rejected), reason: answer.Rejected[0].Reason}
	}
	return nil
}
