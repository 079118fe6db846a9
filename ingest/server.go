package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/consent"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/ops"
	"github.com/adtally/adtally/proto"
)

// Grant is what an API key may do.
type Grant interface {
	Allows(scope string) bool
	Covers(advertiser uint64) bool
}

// Keys knows the API keys.
type Keys interface {
	// Lookup returns the grant of the key that a request carried. Its error is
	// ErrUnknownKey, or says why that cannot be told at present.
	Lookup(ctx context.Context, bearer string) (Grant, error)
}

// ErrUnknownKey says that there is no such key, or that it is revoked.
var ErrUnknownKey = errors.New("unknown API key")

// Sink brings batches to where they are durable. Its methods may be called
// concurrently.
type Sink interface {
	// Partition returns the partition that e belongs to.
	Partition(e *proto.Event) int32
	// Append writes b and waits for its outcome, at most wait. After
	// produce.Late the sink holds b until the outcome is there.
	Append(b *produce.Batch, wait time.Duration) produce.Outcome
	// Ready reports why batches would not be acked at present, or nil.
	Ready() error
	// Close waits for the batches that are still under way, until ctx is done,
	// and ends the sink. Its error says what was left.
	Close(ctx context.Context) error
}

// Rejects keeps what was rejected, so that people can see what they lose and
// why. It is best effort.
type Rejects interface {
	// Put takes r, of which it keeps nothing. It never blocks.
	Put(r *produce.Rejected)
}

// Deps is what a Server works with.
type Deps struct {
	Sink Sink
	// Tokens points to the keys of beacon tokens. Whoever reloads them swaps
	// the pointer; requests under way keep the keys they began with.
	Tokens *atomic.Pointer[token.Keyring]
	Keys   Keys
	// IDKey hashes ids. It must stay the same as long as ids may repeat.
	IDKey proto.IDKey
	// Consent decides on identifiers. Without it no event carries a decision
	// and no user is hashed.
	Consent *consent.Decider
	// Users hashes the users that servers name; nil hashes none.
	Users *consent.UserHasher
	// Lists points to what flags and describes the senders of events, and is
	// swapped as Tokens is; nil flags and describes none.
	Lists *atomic.Pointer[Lists]
	// Rejects takes what is not counted; nil leaves it at the answers and
	// metrics.
	Rejects Rejects
	Log     zerolog.Logger
	Metrics *metrics.Set
}

// Server answers beacons.
type Server struct {
	cfg     Config
	deps    Deps
	ids     *proto.IDKey
	limits  limits
	trusted *network.Prefixes
	// tenants limits advertisers, if they are limited; reported limits what goes
	// to the rejected topic without a key.
	tenants  *tenants
	reported [vouchers]bucket
	log      zerolog.Logger // sampled: what goes wrong per request is counted always
	metrics  *serverMetrics
	script   *pageScript

	inFlight atomic.Int64
	serving  atomic.Bool

	// The memory of single beacons and of batches is kept apart, so that a
	// beacon that waits for Kafka does not hold a batch's.
	singles, batches, readers sync.Pool
}

var errNotServing = errors.New("not serving beacons")

// New returns a server that does nothing yet.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("ingest settings: %w", err)
	}
	trusted, err := network.ParsePrefixes(cfg.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("ingest settings: trusted proxies: %w", err)
	}
	if deps.Sink == nil || deps.Keys == nil || deps.Metrics == nil || deps.Tokens == nil || deps.Tokens.Load() == nil {
		return nil, errors.New("ingest needs a sink, token keys, API keys and metrics")
	}
	s := &Server{
		cfg:     cfg,
		deps:    deps,
		ids:     &deps.IDKey,
		limits:  limits{maxAge: cfg.MaxEventAge.Microseconds(), future: cfg.FutureBound.Microseconds()},
		trusted: trusted,
		log:     ops.Sampled(deps.Log),
		script:  newPageScript(),
	}
	if cfg.TenantRate > 0 {
		s.tenants = newTenants(cfg.TenantRate, cfg.burst())
	}
	s.metrics = newServerMetrics(deps.Metrics, s)
	s.singles.New = func() any { return newScratch(&s.singles) }
	s.batches.New = func() any { return newScratch(&s.batches) }
	s.readers.New = func() any { return new(reader) }
	return s, nil
}

// Ready reports why beacons cannot be accepted at present, or nil.
func (s *Server) Ready() error {
	if !s.serving.Load() {
		return errNotServing
	}
	return s.deps.Sink.Ready()
}

// Run serves beacons until ctx is done. Then it stops accepting, waits for the
// requests in flight, closes the sink, and returns; its error says what was
// left undone.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	srv := s.httpServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lingering{ln}) }()
	s.serving.Store(true)
	var err error
	select {
	case err = <-served:
		s.serving.Store(false)
		if err == nil {
			err = errors.New("the listener was closed")
		}
		err = fmt.Errorf("serve beacons: %w", err)
	case <-ctx.Done():
		s.serving.Store(false)
		err = s.drain(srv, served)
	}
	// What is owed at shutdown does not end with the context that asked for it.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	return errors.Join(err, s.deps.Sink.Close(closing))
}

// drain answers what is in flight. Requests still arrive during the delay: the
// load balancer has not seen yet that the server is not ready.
func (s *Server) drain(srv *fasthttp.Server, served <-chan error) error {
	select {
	case <-time.After(s.cfg.DrainDelay):
	case err := <-served:
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	if err := srv.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("wait for connections to close, %d requests in flight: %w", s.inFlight.Load(), err)
	}
	return <-served
}

// httpServer holds the settings that keep one client from harming the others:
// nothing is unbounded, and every error is answered and closes the connection.
func (s *Server) httpServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.serve,
		HeaderReceived:               s.headerReceived,
		ExpectHandler:                s.expect,
		ErrorHandler:                 s.unreadable,
		ReadTimeout:                  s.cfg.ReadTimeout,
		WriteTimeout:                 s.cfg.WriteTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		ReadBufferSize:               s.cfg.MaxHeader,
		MaxRequestBodySize:           s.cfg.MaxBody,
		Concurrency:                  s.cfg.MaxConns,
		MaxConnsPerIP:                s.cfg.MaxConnsPerIP,
		MaxRequestsPerConn:           s.cfg.MaxConnReqs,
		TCPKeepalive:                 true,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		StreamRequestBody:            false,
		ReduceMemoryUsage:            false,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		Logger:                       httpLog{s.log},
	}
}

// httpLog takes what fasthttp has to say about single connections.
type httpLog struct{ log zerolog.Logger }

// Printf logs which message of fasthttp it is, and of which type its errors
// are. The arguments themselves hold addresses of clients and the headers that
// could not be read, such as a broken Authorization.
func (l httpLog) Printf(format string, args ...any) {
	line := l.log.Debug().Str("message_format", format)
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			line = line.Type("error_type", err)
		}
	}
	line.Msg("http server")
}

// maxLogged bounds what a client can have in a log line, in bytes; the logger
// escapes it.
const maxLogged = 256

func clipLog(text string) string { return string(clip([]byte(text), maxLogged)) }

// scratch is the memory of one request until its events are settled.
type scratch struct {
	batch   *produce.Batch
	token   proto.Token
	event   proto.Event
	payload []byte // that the texts of token point into
	tally   tally
	visit   visit
	ballot  ballot
	// decision is that of the event.
	decision consent.Decision
	charges  []charge
}

func newScratch(home *sync.Pool) *scratch {
	sc := new(scratch)
	sc.batch = produce.NewBatch(int(unsafe.Sizeof(*sc)), func() { home.Put(sc) })
	return sc
}

// acquire takes a scratch from a pool; the caller holds its batch.
func acquire(pool *sync.Pool) *scratch {
	sc, ok := pool.Get().(*scratch)
	if !ok {
		panic("BUG: foreign value in the pool of scratches")
	}
	sc.batch.Reset()
	sc.tally = tally{}
	sc.charges = sc.charges[:0]
	return sc
}

// append brings what sc holds to the sink and counts it when it is acked.
func (s *Server) append(sc *scratch) produce.Outcome {
	if sc.batch.Len() == 0 {
		return produce.Acked
	}
	out := s.deps.Sink.Append(sc.batch, s.cfg.AckTimeout)
	if out.Durable() {
		s.metrics.events(&sc.tally)
	}
	return out
}

// add encodes the event of sc.
func (s *Server) add(sc *scratch) {
	sc.batch.Add(&sc.event, s.deps.Sink.Partition(&sc.event))
	sc.tally.add(&sc.event)
	if s.tenants != nil {
		sc.charge(sc.event.AdvertiserId)
	}
}
