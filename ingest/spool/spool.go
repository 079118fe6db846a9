package spool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// What Append returns, with the cause wrapped.
var (
	// ErrFull says that the spool has all the bytes it may have, or that the
	// volume has none left.
	ErrFull = errors.New("spool is full")
	// ErrPoisoned says that a write or an fsync failed, and that no further
	// segment could be written either.
	ErrPoisoned = errors.New("spool cannot write")
	// ErrTimeout says that the disk took longer than AppendTimeout. The events
	// may be in the spool all the same.
	ErrTimeout = errors.New("spool did not answer in time")
	// ErrTooLarge says that the entries can never be taken, now or later.
	ErrTooLarge = errors.New("entries are too large for the spool")
	// ErrClosed says that the spool takes no more events.
	ErrClosed = errors.New("spool is closed")
)

// What Open returns, with the cause wrapped.
var (
	// ErrVersion says that another version of the program wrote the spool.
	ErrVersion = errors.New("spool has an unknown format version")
	// ErrLocked says that another process uses the directory.
	ErrLocked = errors.New("spool is in use by another process")
)

// Spool is the log on disk. Append, Ready, Stats and Close may be called
// concurrently.
//
// Three goroutines of Run share it: the writer owns the active segment, the
// preparer makes the file of the next one, and Run itself drains.
type Spool struct {
	cfg     Config
	disk    disk
	log     zerolog.Logger
	metrics *spoolMetrics

	salt  uint64
	seed  uint32 // of the heads of all frames that this process writes
	limit int    // bytes of one group without its commit frame

	queue    chan *request
	requests sync.Pool
	wake     chan struct{} // a commit or a sealed segment: there may be work for the drain
	kick     chan struct{} // the prepared file was taken
	closing  chan struct{}
	stopped  chan struct{} // the writer has ended
	ended    chan struct{} // Run has ended
	shut     func()
	running  atomic.Bool
	unlock   func() error
	failure  atomic.Pointer[error] // why appends are refused at present

	writer writer
	spare  spare
	reader reader

	mu       sync.Mutex
	segments []*segment // oldest first; the writer appends, the drain removes
	kept     int64      // bytes of files that are not in segments
	damaged  int        // files that were kept for a human
	pending  int64      // events that are not drained yet
	oldest   time.Time  // of the pending events
}

// segment is what is known of one file. Spool.mu guards what changes; the writer
// alone changes end and count, and reads them without it.
type segment struct {
	seq, salt  uint64
	end, count int64 // committed bytes and events
	size       int64 // on disk
	sealed     bool  // the writer is done with it
	damaged    bool
	counted    bool // its losses were counted when it was scanned
}

// Stats is the state of the spool at one moment.
type Stats struct {
	Segments int           // not drained yet
	Damaged  int           // segments, drained or not; their files stay until a human removes them
	Bytes    int64         // on disk
	Events   int64         // not drained yet
	Age      time.Duration // of the oldest of them
}

// Open takes the directory, recovers what is in it, and returns a spool that
// runs when Run is called. Damage is logged and counted and does not fail Open;
// ErrVersion and ErrLocked do, and change nothing on disk.
func Open(cfg Config, log zerolog.Logger, set *metrics.Set) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		return nil, errors.New("open spool: no directory is set")
	}
	if cfg.Dir == "" {
		return nil, errors.New("spool directory is not set")
	}
	d, err := openDisk(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return open(cfg, d, log, set)
}

func open(cfg Config, d disk, log zerolog.Logger, set *metrics.Set) (*Spool, error) {
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("make spool salt: %w", err)
	}
	lock, err := d.Lock()
	if err != nil {
		return nil, err
	}
	s := &Spool{
		cfg: cfg, disk: d, log: log,
		salt:    order.Uint64(salt[:]),
		limit:   int(min(maxGroup, cfg.SegmentBytes-headerSize)) - commitSize,
		queue:   make(chan *request, queueLength),
		wake:    make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		ended:   make(chan struct{}),
		unlock:  sync.OnceValue(lock.Close),
	}
	s.seed = headSeed(s.salt)
	s.shut = sync.OnceFunc(func() { close(s.closing) })
	s.requests.New = func() any { return newRequest() }
	s.metrics = newMetrics(set, s)
	s.writer.init(s)
	s.spare.spool = s
	s.reader.spool = s
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

// Append returns nil when the entries are on disk, all of them. Of the entries
// it keeps nothing after it has returned. Before Run it waits.
func (s *Spool) Append(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	err := s.append(entries)
	if err != nil {
		s.metrics.refused[refusalOf(err)].Add(len(entries))
	}
	return err
}

func (s *Spool) append(entries []Entry) error {
	r, _ := s.requests.Get().(*request)
	if err := r.encode(entries, time.Now(), s.seed, s.limit); err != nil {
		s.requests.Put(r)
		return err
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	r.timer.Reset(s.cfg.AppendTimeout)
	select {
	case s.queue <- r:
	case <-s.closing:
		return ErrClosed
	case <-r.timer.C:
		return fmt.Errorf("queue for the disk: %w", ErrTimeout)
	}
	select {
	case err := <-r.done:
		r.timer.Stop()
		s.requests.Put(r)
		return err
	case <-r.timer.C: // the writer still has r
		return fmt.Errorf("wait for the disk: %w", ErrTimeout)
	case <-s.stopped:
	}
	select {
	case err := <-r.done:
		return err
	default: // it came into the queue behind the writer's last look
		return ErrClosed
	}
}

// Run takes appends and drains to d until ctx is done or Close is called. Then
// it commits what callers wait for, waits for the batch that d has in hand, and
// gives the directory up. What is left in the spool is not an error. A spool
// runs once.
func (s *Spool) Run(ctx context.Context, d Drain) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("spool ran already")
	}
	defer close(s.ended)
	defer context.AfterFunc(ctx, s.shut)()
	var wg sync.WaitGroup
	wg.Go(s.spare.run)
	wg.Go(s.writer.run)
	s.reader.run(ctx, d)
	wg.Wait()
	return errors.Join(s.spare.discard(), s.unlock())
}

// Close ends the spool, and returns when Run has. Without a Run it gives the
// directory up.
func (s *Spool) Close() error {
	s.shut()
	if s.running.CompareAndSwap(false, true) {
		close(s.ended)
		return s.unlock()
	}
	<-s.ended
	return nil
}

// Ready reports why an append would be refused at present, or nil. It recovers
// by itself, without an append.
func (s *Spool) Ready() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Stats returns the state of the spool.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Segments: len(s.segments), Damaged: s.damaged, Bytes: s.bytes(), Events: s.pending}
	for _, seg := range s.segments {
		if seg.damaged {
			st.Damaged++
		}
	}
	if s.pending > 0 {
		st.Age = max(time.Since(s.oldest), 0)
	}
	return st
}

// bytes returns what the spool takes on disk. The caller holds mu.
func (s *Spool) bytes() int64 {
	sum := s.kept
	for _, seg := range s.segments {
		sum += seg.size
	}
	return sum
}

// refusalOf returns the counter for err.
func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, ErrFull):
		return refusedFull
	case errors.Is(err, ErrTimeout):
		return refusedTimeout
	case errors.Is(err, ErrClosed):
		return refusedClosed
	case errors.Is(err, ErrTooLarge):
		return refusedSize
	default:
		return refusedFailed
	}
}

// notify wakes who waits at c, now or at its next look.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// closeQuietly closes f where its error changes nothing: all that matters was
// synced before, or is lost already.
func closeQuietly(f io.Closer) { _ = f.Close() }
