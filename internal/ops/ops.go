// Package ops is what an operator sees: logs, metrics, health and profiles. It
// is imported by main only; other packages are handed a zerolog.Logger and a
// *metrics.Set.
package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// LogConfig are the settings of the log.
type LogConfig struct {
	Level  string `help:"Least level that is logged." enum:"debug,info,warn,error" default:"info"`
	Format string `help:"json for machines, console for people." enum:"json,console" default:"json"`
}

// NewLogger returns a logger that writes to w.
func NewLogger(cfg LogConfig, w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log level: %w", err)
	}
	if cfg.Format == "console" {
		f, ok := w.(*os.File)
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !ok || !isatty.IsTerminal(f.Fd())}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

// Sampled returns a logger that lets a few messages through of what may happen
// with every request; it must be counted as well.
func Sampled(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: 5, Period: 10 * time.Second})
}

// Check tells whether a part of the process can do its work; the error says
// what it waits for.
type Check func() error

// AdminConfig are the settings of the admin listener.
type AdminConfig struct {
	Listen string `help:"Address of metrics, health and profiles; keep it on loopback or a private network." default:"127.0.0.1:8082"`
}

// Admin serves /livez, /readyz, /metrics and /debug/pprof. The zero Admin is
// not ready: the process is still starting.
type Admin struct {
	watched atomic.Pointer[watched]
}

// watched is what the process consists of once it has started.
type watched struct {
	checks []Check
	sets   []*metrics.Set
}

// Watch says that the process has started: it is ready from now on when every
// check is.
func (a *Admin) Watch(checks []Check, sets []*metrics.Set) {
	a.watched.Store(&watched{checks, sets})
}

// Run serves on ln until ctx is done.
func (a *Admin) Run(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: a.routes(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve admin: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // a profile that somebody still reads is no reason to stay
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (a *Admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.Ready(); err != nil {
		answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	answer(w, http.StatusOK, "ok\n")
}

// Ready joins what the checks wait for, a line each.
func (a *Admin) Ready() error {
	w := a.watched.Load()
	if w == nil {
		return errors.New("starting: the log says what is waited for")
	}
	var waits []string
	for _, check := range w.checks {
		if err := check(); err != nil {
			waits = append(waits, err.Error())
		}
	}
	if len(waits) == 0 {
		return nil
	}
	return errors.New(strings.Join(waits, "\n"))
}

func (a *Admin) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if started := a.watched.Load(); started != nil {
		for _, set := range started.sets {
			set.WritePrometheus(w)
		}
	}
	metrics.WriteProcessMetrics(w)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client has gone; nothing is owed to it
}
