package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where events go. URL and Key are required; every other zero value
// stands for what its comment says.
type Config struct {
	// URL is where beacons are taken, with the path prefix if there is one.
	URL string
	// Key has the scope ingest and covers the advertisers of the events.
	Key string
	// HTTP sends requests; none is one with a timeout of 10 s.
	HTTP *http.Client

	// Queue bounds the events that wait; more make Send wait. 10,000.
	Queue int
	// Batch bounds the events of a request; the server takes 200 by default. 200.
	Batch int
	// Linger is how long an event waits for others to share its request. 50 ms.
	Linger time.Duration
	// Senders is how many requests may be under way. 2.
	Senders int
	// MaxRetry is how long after its first attempt an event is sent again. The
	// server must remember ids for longer. 4 h.
	MaxRetry time.Duration
	// Drain is how long Run goes on sending when its context ends. 10 s.
	Drain time.Duration

	// OnRejected hears of events that do not count and are not sent again. It is
	// called by the senders and must not block.
	OnRejected func(Rejection)
	// OnRetry hears why a request is made again.
	OnRetry func(error)
}

// Rejection is an event that was given up.
type Rejection struct {
	// ID is that of the event.
	ID string
	// Reason is the server's, or gave_up after MaxRetry.
	Reason string
	// Field and Detail say what was wrong with it, where that is known.
	Field, Detail string
}

// ErrClosed says that Run has ended, or was not told to go on.
var ErrClosed = errors.New("adtally client is closed")

// maxBody is below what the server takes in one request.
const maxBody = 120_000

// Client sends events. Its methods are safe for concurrent use.
type Client struct {
	cfg     Config
	target  string
	queue   chan pending
	closing chan struct{}
	lost    atomic.Int64

	mu     sync.RWMutex // held for reading while something is put into the queue
	closed bool
}

// New returns a client that sends nothing until Run.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("adtally client: URL %q: an absolute http or https URL is wanted", cfg.URL)
	}
	if cfg.Key == "" {
		return nil, errors.New("adtally client: a key is needed")
	}
	cfg.setDefaults()
	return &Client{
		cfg: cfg, target: u.JoinPath("v1", "events").String(),
		queue: make(chan pending, cfg.Queue), closing: make(chan struct{}),
	}, nil
}

func (c *Config) setDefaults() {
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	if c.OnRejected == nil {
		c.OnRejected = func(Rejection) {}
	}
	if c.OnRetry == nil {
		c.OnRetry = func(error) {}
	}
	for _, d := range []struct {
		value *int
		def   int
	}{{&c.Queue, 10_000}, {&c.Batch, 200}, {&c.Senders, 2}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&c.Linger, 50 * time.Millisecond}, {&c.MaxRetry, 4 * time.Hour}, {&c.Drain, 10 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
}

// Send puts an event into the queue. While the queue is full it waits, until ctx
// is done. An error means that the event is not sent.
func (c *Client) Send(ctx context.Context, e Event) error {
	p, err := encode(e, time.Now())
	if err != nil {
		return fmt.Errorf("adtally client: %w", err)
	}
	if len(p.text) > maxBody {
		return fmt.Errorf("adtally client: an event of %d bytes is more than one request may have, %d", len(p.text), maxBody)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	select {
	case c.queue <- p:
		return nil
	case <-c.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("adtally client: the queue is full: %w", ctx.Err())
	}
}

// Run sends until ctx is done, then takes no more and sends what waits. Its
// error says how many events it could not send. A client runs once.
func (c *Client) Run(ctx context.Context) error {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for range c.cfg.Senders {
		wg.Go(func() { c.sender(sending) })
	}
	<-ctx.Done()
	close(c.closing)
	c.mu.Lock() // nobody is putting anything in
	c.closed = true
	close(c.queue)
	c.mu.Unlock()
	timer := time.AfterFunc(c.cfg.Drain, cancel)
	defer timer.Stop()
	wg.Wait()
	if n := c.lost.Load(); n > 0 {
		return fmt.Errorf("adtally client: %d events were not sent in %s", n, c.cfg.Drain)
	}
	return nil
}
