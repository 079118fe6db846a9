package query

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/cache"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/manifest"
	"github.com/adtally/adtally/query/export/queue"
	"github.com/adtally/adtally/query/jobs"
	"github.com/adtally/adtally/query/limit"
	"github.com/adtally/adtally/query/watch"
)

// Config says where reports are served and how much one key may ask.
type Config struct {
	Listen     string        `help:"Address for reports (host:port)." default:"127.0.0.1:8081"`
	Timeout    time.Duration `help:"Time allowed for one report." default:"30s"`
	ExportsDir string        `help:"Folder for exports that are asked for over HTTP; none refuses them, in run it is exports in --data." type:"path"`
	Skew       time.Duration `help:"How far the brokers' clocks may differ; complete_through is behind the marks by it." default:"2s"`
	BeaconURL  string        `help:"Where pages send beacons, with its path prefix (https://b.example.com/); the dashboard's tag doctor asks there." name:"beacon-url"`
	Watch      []string      `help:"Admin listeners of the other roles (http://ingest-1:8082), for GET /v1/operations and the operator's page; run watches its own." placeholder:"URL"`
	MaxMemory  uint64        `help:"Bytes that one report may take in ClickHouse, sent as a setting where the user may send any." default:"2147483648"`
	CacheBytes int           `help:"Bytes of answers kept to be sent again; 0 for none." default:"67108864"`
	SecretFile string        `help:"File with a secret of 32 bytes in hex digits that signs cursors and seals dashboard sessions; the same on every instance. None means one that ends with the process." type:"path"`

	// Secret is what SecretFile holds.
	Secret []byte `kong:"-"`
	// News, if there is any, says that the ledger has more than it had.
	News <-chan struct{} `kong:"-"`

	limit.Config `embed:""`
	Jobs         jobs.Config `embed:"" prefix:"job-"`
}

// Validate reports settings that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Timeout <= 0:
		return errors.New("--query-timeout must be more than 0")
	case c.MaxReports < 1:
		return errors.New("--query-max-reports must be at least 1")
	case c.MaxWaiting < 0 || c.MaxWait < 0 || c.Rate < 0 || c.CostRate < 0 || c.MaxCost < 0:
		return errors.New("--query-max-waiting, --query-max-wait, --query-rate, --query-cost-rate and --query-max-cost cannot be negative")
	case c.CacheBytes < 0:
		return errors.New("--query-cache-bytes cannot be negative")
	case c.Skew < 0:
		return errors.New("--query-skew cannot be negative")
	}
	if err := watch.Validate(c.Watch); err != nil {
		return err
	}
	if c.BeaconURL == "" {
		return nil
	}
	if u, err := url.Parse(c.BeaconURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		strings.ContainsAny(c.BeaconURL, " ;,?#'\"") {
		return fmt.Errorf("--query-beacon-url %q: an http or https URL without query is wanted", c.BeaconURL)
	}
	return nil
}

// Keys knows API keys and accounts; access.Directory is one.
type Keys interface {
	// Lookup returns what a bearer may do, access.ErrUnknownKey for nobody, or
	// another error while that is not known.
	Lookup(ctx context.Context, bearer string) (access.Grant, error)
	// Account returns an advertiser's account, or the defaults.
	Account(advertiser uint64) access.Account
	// Accounts lists the advertisers that have an account.
	Accounts() []access.Account
}

// Server answers reports over HTTP.
type Server struct {
	cfg      Config
	conn     clickhouse.Conn
	keys     Keys
	log      zerolog.Logger
	versions *versions
	closes   Closes
	limiter  *limit.Limiter
	cache    *cache.Cache
	jobs     *jobs.Manager // nil without a directory
	graph    http.Handler
	secret   []byte
	// settable says whether our user may send settings: 0 not known, 1 yes, 2 no.
	settable atomic.Int32
	metrics  *serverMetrics
	sessions *sessions
	handler  http.Handler
	// chain is that of closes; exports is nil without a folder.
	chain   *closing.Store
	exports *queue.Queue
	// receipts is nil where nothing knows the log.
	receipts Receipts
}

// New returns a Server that reads from conn, whose user needs no more than
// SELECT and may be read-only: limits are sent as settings where it may set any.
func New(cfg Config, conn clickhouse.Conn, keys Keys, log zerolog.Logger, set *metrics.Set) *Server {
	s := &Server{
		cfg:      cfg,
		conn:     conn,
		keys:     keys,
		log:      log,
		versions: newVersions(books.NewReader(conn), cfg.News),
		closes:   closing.NewFinality(conn),
		chain:    closing.NewStore(conn),
		limiter:  limit.New(cfg.Config),
		cache:    cache.New(cfg.CacheBytes),
		secret:   cfg.Secret,
		metrics:  newServerMetrics(set),
	}
	if len(s.secret) == 0 {
		s.secret = make([]byte, 32)
		_, _ = rand.Read(s.secret) // never fails: it ends the process instead
	}
	if cfg.Jobs.Dir != "" {
		s.jobs = jobs.New(cfg.Jobs, s.runJob, log, set)
	}
	if cfg.ExportsDir != "" {
		s.exports = queue.New(cfg.ExportsDir, manifest.NewExporter(conn), log)
	}
	s.sessions = newSessions(s.secret)
	s.graph = s.newGraph()
	set.NewGauge("adtally_query_reports_running", func() float64 { return float64(s.limiter.Running()) })
	set.NewGauge("adtally_query_cache_bytes", func() float64 { return float64(s.cache.Bytes()) })
	s.handler = s.routes()
	return s
}

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	// writeGrace is the time to write an answer after its report is done.
	writeGrace     = 60 * time.Second
	idleTimeout    = 75 * time.Second // longer than a load balancer's
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 1 << 20
)

// Run serves on ln until ctx is done, then waits for the requests in flight.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if s.exports != nil {
		defer s.exports.Close()
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      s.cfg.Timeout + writeGrace,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(zerolog.NewSlogHandler(s.log), slog.LevelDebug),
	}
	defer s.keepFresh(ctx)()
	jobsCtx, stopJobs := context.WithCancel(ctx)
	defer stopJobs()
	jobsEnded := make(chan error, 1)
	go func() { jobsEnded <- s.runJobs(jobsCtx) }()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		stopJobs()
		return errors.Join(fmt.Errorf("serve reports: %w", err), <-jobsEnded)
	case <-ctx.Done():
	}
	// The grace is longer than a report may take, so only a client that does not
	// read its answer is cut off.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout+5*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain reports: %w", err), srv.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return errors.Join(err, <-jobsEnded)
}

func (s *Server) runJobs(ctx context.Context) error {
	if s.jobs == nil {
		return nil
	}
	return s.jobs.Run(ctx)
}

// keepFresh reads the newest view again and again until the returned function is
// called, also while reports in flight are waited for.
func (s *Server) keepFresh(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.versions.run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}
