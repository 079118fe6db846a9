package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
)

// Config says where reports are served and how much one key may ask.
type Config struct {
	Listen     string        `help:"Address for reports (host:port)." default:"127.0.0.1:8081"`
	Timeout    time.Duration `help:"Time allowed for one report." default:"30s"`
	MaxReports int           `help:"Reports of one key that may run at once; more are answered 429." default:"8"`
	Skew       time.Duration `help:"How far the brokers' clocks may differ; complete_through is behind the marks by it." default:"2s"`
}

// Validate reports settings that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Timeout <= 0:
		return errors.New("--query-timeout must be more than 0")
	case c.MaxReports < 1:
		return errors.New("--query-max-reports must be at least 1")
	case c.Skew < 0:
		return errors.New("--query-skew cannot be negative")
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
}

// Server answers reports over HTTP.
type Server struct {
	cfg      Config
	conn     clickhouse.Conn
	keys     Keys
	log      zerolog.Logger
	versions *versions
	closes   Closes
	limiter  *limiter
	metrics  *serverMetrics
	handler  http.Handler
}

// New returns a Server that reads from conn, whose user needs no more than
// SELECT and may be read-only: no settings are sent.
func New(cfg Config, conn clickhouse.Conn, keys Keys, log zerolog.Logger, set *metrics.Set) *Server {
	s := &Server{
		cfg:      cfg,
		conn:     conn,
		keys:     keys,
		log:      log,
		versions: newVersions(books.NewReader(conn)),
		closes:   noCloses{},
		limiter:  newLimiter(cfg.MaxReports),
		metrics:  newServerMetrics(set),
	}
	set.NewGauge("adtally_query_reports_running", func() float64 { return float64(s.limiter.total()) })
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
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      s.cfg.Timeout + writeGrace,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(zerolog.NewSlogHandler(s.log), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve reports: %w", err)
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
	return err
}
