package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// result is what a loader saw.
type result struct {
	requests int64
	// latencies are from the time at which a request was due; open loop only.
	latencies []time.Duration
}

// percentile returns the p-th of a hundred.
func (r *result) percentile(p float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	slices.Sort(r.latencies)
	return r.latencies[min(len(r.latencies)-1, int(p/100*float64(len(r.latencies))))]
}

// loader sends prepared requests over keep-alive connections.
type loader struct {
	addr     string
	requests [][]byte
	conns    int
	// rate is requests per second in all, 0 for as many as possible.
	rate float64
	// ok is what the status line of a good answer begins with.
	ok string

	done atomic.Int64
	next atomic.Int64
}

// conn is one connection with its reader.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// run loads for the given time.
func (l *loader) run(ctx context.Context, length time.Duration) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, l.conns)
	lists := make([][]time.Duration, l.conns)
	begin := time.Now()
	for i := range l.conns {
		wg.Go(func() {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			lists[i], err = l.drive(ctx, &conn{c, bufio.NewReaderSize(c, 4096)}, begin, i)
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return nil, err
	}
	return &result{requests: l.done.Load(), latencies: slices.Concat(lists...)}, nil
}

// drive sends over one connection until ctx is done. With a rate it sends at
// the times that are due, late or not, and measures from those times.
func (l *loader) drive(ctx context.Context, c *conn, begin time.Time, index int) ([]time.Duration, error) {
	var latencies []time.Duration
	for n := 0; ctx.Err() == nil; n++ {
		due := time.Now()
		if l.rate > 0 {
			due = begin.Add(time.Duration((float64(n)*float64(l.conns) + float64(index)) / l.rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				select {
				case <-ctx.Done():
					return latencies, nil
				case <-time.After(wait):
				}
			}
		}
		request := l.requests[l.next.Add(1)%int64(len(l.requests))]
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		if err := l.answer(c.r); err != nil {
			return nil, err
		}
		l.done.Add(1)
		if l.rate > 0 {
			latencies = append(latencies, time.Since(due))
		}
	}
	return latencies, nil
}

var contentLength = []byte("Content-Length: ")

// answer reads one answer.
func (l *loader) answer(r *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if first && !bytes.HasPrefix(line, []byte(l.ok)) {
			return errors.New("answered " + string(bytes.TrimSpace(line)))
		}
		if rest, found := bytes.CutPrefix(line, contentLength); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(rest))); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return err
}
