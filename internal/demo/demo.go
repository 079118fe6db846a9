package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/ingest/token"
)

const (
	workers = 8 // that send beacons and client batches
	// What may wait for them; what is more is dropped.
	maxBeacons = 256
	maxEvents  = 5000
	// drainTimeout is how long requests under way may take at the end.
	drainTimeout = 3 * time.Second

	maxRate     = 5000
	minRate     = 0.01
	maxBackfill = 30 * 24 * time.Hour // ingest takes events up to 31 days old
)

// Config says what to send and where. Zero values stand for the defaults.
type Config struct {
	// IngestURL is where the beacon endpoints are, with their path prefix.
	IngestURL string
	// Keyring signs the tokens.
	Keyring *token.Keyring
	// ServerKey is an API key with the scope ingest over the demo advertisers.
	ServerKey string
	// Rate is how many events a second are sent on average over a day; 20.
	Rate float64
	// FirstStart says that there is no history yet, so that it is sent first.
	FirstStart bool
	// Backfill is how far the history goes back; 48 h.
	Backfill time.Duration
	// BackfillEvents is about how many events the history has at most, however
	// long it is; 30000.
	BackfillEvents int
	// Seed chooses the traffic. The same seed makes the same history.
	Seed uint64
}

func (c *Config) complete() error {
	if c.Rate == 0 {
		c.Rate = 20
	}
	if c.Backfill == 0 {
		c.Backfill = 48 * time.Hour
	}
	if c.BackfillEvents == 0 {
		c.BackfillEvents = 30_000
	}
	at, err := url.Parse(c.IngestURL)
	switch {
	case err != nil:
		return fmt.Errorf("read ingest URL: %w", err)
	case at.Scheme != "http" && at.Scheme != "https" || at.Host == "":
		return fmt.Errorf("ingest URL %q: must begin with http:// or https:// and a host", c.IngestURL)
	case c.Keyring == nil || c.ServerKey == "":
		return errors.New("demo traffic needs signing keys and an API key")
	case !(c.Rate >= minRate && c.Rate <= maxRate):
		return fmt.Errorf("demo rate is %v, it must be %v to %v events a second", c.Rate, minRate, maxRate)
	case c.Backfill < slot || c.Backfill > maxBackfill:
		return fmt.Errorf("demo history of %v: it must be %v to %v", c.Backfill, slot, maxBackfill)
	case c.BackfillEvents < 1:
		return fmt.Errorf("demo history of %d events: it must be at least 1", c.BackfillEvents)
	}
	return nil
}

// Demo sends demo traffic.
type Demo struct {
	cfg     Config
	log     zerolog.Logger
	traffic *traffic
	out     *sender
}

// New returns a Demo that sends nothing yet.
func New(cfg Config, log zerolog.Logger) (*Demo, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t, err := newTraffic(cfg.Rate)
	if err != nil {
		return nil, err
	}
	q := requests{base: strings.TrimRight(cfg.IngestURL, "/"), key: cfg.ServerKey}
	return &Demo{cfg: cfg, log: log, traffic: t, out: newSender(q, log)}, nil
}

// Run sends the history, if told so, and then live traffic until ctx is done.
// It waits for ingest as long as it takes, and for its answers only briefly
// once ctx is done.
func (d *Demo) Run(ctx context.Context) error {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	var drain sync.WaitGroup
	drain.Go(func() { stopAfter(ctx, sending, stop) })
	defer d.out.client.CloseIdleConnections()
	defer drain.Wait()
	defer stop()
	start := time.Now()
	if d.cfg.FirstStart {
		if err := d.backfill(sending, ctx, start); err != nil {
			return fmt.Errorf("send demo history: %w", err)
		}
	}
	beacons := make(chan delivery, maxBeacons)
	events := make(chan []byte, maxEvents)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for x := range beacons {
				d.out.once(sending, x)
			}
		})
	}
	wg.Go(func() { d.out.batches(sending, ctx, events) })
	// Another start must not repeat the ids of this one.
	now := &live{
		traffic: d.traffic,
		ring:    d.cfg.Keyring,
		random:  randomFor("live", d.cfg.Seed, uint64(start.UnixNano())),
		beacons: beacons,
		events:  events,
		room:    newLink(d.log, "queue"),
	}
	err := now.run(ctx)
	close(beacons)
	close(events)
	wg.Wait()
	return err
}

// stopAfter ends the requests that are still under way a while after ctx is
// done. It returns when they have ended.
func stopAfter(ctx, sending context.Context, stop context.CancelFunc) {
	select {
	case <-ctx.Done():
	case <-sending.Done():
		return
	}
	select {
	case <-time.After(drainTimeout):
		stop()
	case <-sending.Done():
	}
}
