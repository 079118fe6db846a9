package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/query"
	"github.com/adtally/adtally/query/limit"
)

// lab is a ClickHouse with the rows, and report servers on it.
type lab struct {
	settings
	server *measure.ClickHouse
}

// inLab runs work on a server that is started for it.
func inLab(ctx context.Context, s settings, work func(context.Context, *lab) error) (err error) {
	l := &lab{settings: s}
	if l.data == "" {
		if l.data, err = os.MkdirTemp("", "bench-query-"); err != nil {
			return err
		}
		defer os.RemoveAll(l.data)
	}
	if l.server, err = measure.StartClickHouse(ctx, filepath.Join(l.data, "clickhouse")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.server.Stop()) }()
	return work(ctx, l)
}

func (l *lab) config(who dev.Credentials, database string) clickhouse.Config {
	return clickhouse.Config{
		Addr: []string{l.server.NativeAddr()}, Database: database, User: who.User, Password: who.Password,
		DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Minute, MaxConns: 32,
	}
}

// books is one set of tables, its writer, and a report server on it.
type books struct {
	database string
	writer   clickhouse.Conn
	reader   *recorder
	url      string
	stop     func() error
}

// open migrates a database and serves reports on it.
func (l *lab) open(ctx context.Context, database string) (*books, error) {
	cfg := l.config(l.server.Writer(), database)
	if err := clickhouse.Migrate(ctx, cfg); err != nil {
		return nil, err
	}
	writer, err := clickhouse.Open(cfg)
	if err != nil {
		return nil, err
	}
	reader, err := clickhouse.Open(l.config(l.server.Reader(), database))
	if err != nil {
		return nil, err
	}
	b := &books{database: database, writer: writer, reader: &recorder{Conn: reader}}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.url = "http://" + ln.Addr().String()
	settings := query.Config{Timeout: time.Minute, Skew: time.Second, MaxMemory: 4 << 30, Config: limit.Config{MaxReports: 64, MaxWaiting: 64, MaxWait: time.Minute}}
	server := query.New(settings, b.reader, everyone{}, zerolog.Nop(), metrics.NewSet())
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(serving, ln) }()
	b.stop = func() error {
		stop()
		return errors.Join(<-ended, writer.Close(), reader.Close())
	}
	return b, nil
}

// close ends the server. What it says is no longer of interest.
func (b *books) close() { _ = b.stop() }

// recorder remembers the last statement of a report, so that it can be run
// without the server around it.
type recorder struct {
	clickhouse.Conn

	mu   sync.Mutex
	last clickhouse.BlockQuery
}

// Blocks implements clickhouse.Conn.
func (r *recorder) Blocks(ctx context.Context, q clickhouse.BlockQuery) error {
	r.mu.Lock()
	r.last = q
	r.mu.Unlock()
	return r.Conn.Blocks(ctx, q)
}

// everyone lets every key ask for every advertiser.
type everyone struct{}

// Lookup implements query.Keys.
func (everyone) Lookup(context.Context, string) (access.Grant, error) {
	return access.Grant{KeyID: "bench", Scopes: access.AllScopes, All: true}, nil
}

// Account implements query.Keys.
func (everyone) Account(advertiser uint64) access.Account {
	return access.Account{Advertiser: advertiser, Timezone: "UTC"}
}

// Accounts implements query.Keys.
func (everyone) Accounts() []access.Account { return nil }
