package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
	// reasonGaveUp is that of events that were tried for too long.
	reasonGaveUp = "gave_up"
)

// sender posts one batch after the other until the queue is closed and empty.
func (c *Client) sender(ctx context.Context) {
	var next *pending // what did not fit into the last batch
	for {
		var batch []pending
		batch, next = c.collect(ctx, next)
		if len(batch) == 0 {
			return
		}
		c.deliver(ctx, batch)
	}
}

// collect waits for an event, and then for a moment for others.
func (c *Client) collect(ctx context.Context, next *pending) (batch []pending, rest *pending) {
	if next == nil {
		p, ok := <-c.queue
		if !ok {
			return nil, nil
		}
		next = &p
	}
	batch = append(batch, *next)
	size := len(next.text)
	linger := time.NewTimer(c.cfg.Linger)
	defer linger.Stop()
	for len(batch) < c.cfg.Batch {
		select {
		case p, ok := <-c.queue:
			if !ok {
				return batch, nil
			}
			if size += len(p.text) + 1; size > maxBody {
				return batch, &p
			}
			batch = append(batch, p)
		case <-linger.C:
			return batch, nil
		case <-ctx.Done():
			return batch, nil
		}
	}
	return batch, nil
}

// deliver posts a batch until the server has answered for every event of it.
func (c *Client) deliver(ctx context.Context, batch []pending) {
	for wait := leastWait; len(batch) > 0; wait = min(2*wait, mostWait) {
		if ctx.Err() != nil {
			c.lost.Add(int64(len(batch)))
			return
		}
		now := time.Now()
		for i := range batch {
			if batch[i].first.IsZero() {
				batch[i].first = now
			}
		}
		asked, err := c.post(ctx, batch)
		if err == nil {
			return
		}
		if split, ok := errors.AsType[tooLarge](err); ok {
			c.deliver(ctx, batch[:len(batch)/2])
			batch = batch[len(batch)/2:]
			c.cfg.OnRetry(split)
			continue
		}
		c.cfg.OnRetry(err)
		batch = c.giveUp(batch)
		select {
		case <-time.After(max(asked, wait/2+rand.N(wait/2))):
		case <-ctx.Done():
		}
	}
}

// giveUp takes what was tried for too long off a batch.
func (c *Client) giveUp(batch []pending) []pending {
	kept := batch[:0]
	for _, p := range batch {
		if time.Since(p.first) > c.cfg.MaxRetry {
			c.cfg.OnRejected(Rejection{ID: p.id, Reason: reasonGaveUp})
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// tooLarge says that the server takes less in one request.
type tooLarge struct{ error }

// post sends a batch once. No error means that nothing of it is to be sent
// again; otherwise it returns how long the server asks to wait.
func (c *Client) post(ctx context.Context, batch []pending) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, bytes.NewReader(body(batch)))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return 0, fmt.Errorf("post events: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusAccepted:
		return 0, c.settle(batch, text)
	case res.StatusCode == http.StatusRequestEntityTooLarge && len(batch) > 1:
		return 0, tooLarge{answered(res.StatusCode, text)}
	case res.StatusCode == http.StatusBadRequest, res.StatusCode == http.StatusRequestEntityTooLarge:
		for _, p := range batch {
			c.cfg.OnRejected(Rejection{ID: p.id, Reason: "bad_request", Detail: string(text)})
		}
		return 0, nil
	default: // also a key that is not known: it may be on its way
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // none is 0
		return time.Duration(seconds) * time.Second, answered(res.StatusCode, text)
	}
}

func answered(status int, text []byte) error {
	return fmt.Errorf("the server answered %d: %s", status, text)
}

func body(batch []pending) []byte {
	out := []byte(`{"events":[`)
	for i := range batch {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, batch[i].text...)
	}
	return append(out, "]}"...)
}

// settle hears which events of a batch the server did not take.
func (c *Client) settle(batch []pending, text []byte) error {
	var said struct {
		Rejected []struct {
			Index         int
			Reason        string
			Field, Detail string
		}
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	for _, r := range said.Rejected {
		if r.Index >= 0 && r.Index < len(batch) {
			c.cfg.OnRejected(Rejection{ID: batch[r.Index].id, Reason: r.Reason, Field: r.Field, Detail: r.Detail})
		}
	}
	return nil
}
