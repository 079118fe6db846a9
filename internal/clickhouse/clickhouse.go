// Package clickhouse is the one door to ClickHouse: configuration, connection,
// the migrations, and the names of the ledger's columns. No other package
// imports clickhouse-go; they use the aliases below.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

type (
	// Batch is one INSERT. It belongs to one goroutine.
	Batch = driver.Batch
	// Rows is the answer to a query.
	Rows = driver.Rows
	// Exception is an error that the server answered.
	Exception = chgo.Exception
	// Settings are the settings of one query.
	Settings = chgo.Settings
	// Parameters are server-side {name:Type} values of one query.
	Parameters = chgo.Parameters
)

// Config says where ClickHouse is and who we are there.
type Config struct {
	Addr         []string      `help:"Native-protocol addresses (host:port), comma-separated; none means 127.0.0.1:9000, and in run an embedded server."`
	Database     string        `help:"Database that holds adtally's tables." default:"adtally"`
	User         string        `help:"User name." default:"default"`
	PasswordFile string        `help:"File that holds the password; none means an empty password." type:"path"`
	Password     string        `kong:"-"`
	DialTimeout  time.Duration `help:"Time allowed to connect." default:"5s"`
	ReadTimeout  time.Duration `help:"Time allowed for an answer." default:"60s"`
	MaxConns     int           `help:"Connections kept open at most." default:"8"`
}

// Open returns a pool. It connects on first use, not here.
func Open(cfg Config) (Conn, error) {
	if len(cfg.Addr) == 0 {
		return nil, errors.New("no ClickHouse address given")
	}
	if cfg.PasswordFile != "" {
		text, err := os.ReadFile(cfg.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read ClickHouse password: %w", err)
		}
		cfg.Password = strings.TrimRight(string(text), "\r\n")
	}
	pool, err := chgo.Open(&chgo.Options{
		Protocol:         chgo.Native,
		Addr:             cfg.Addr,
		Auth:             chgo.Auth{Database: cfg.Database, Username: cfg.User, Password: cfg.Password},
		DialTimeout:      cfg.DialTimeout,
		ReadTimeout:      cfg.ReadTimeout,
		MaxOpenConns:     cfg.MaxConns,
		MaxIdleConns:     cfg.MaxConns,
		ConnOpenStrategy: chgo.ConnOpenInOrder,
		ClientInfo: chgo.ClientInfo{Products: []struct{ Name, Version string }{
			{Name: "adtally", Version: "1"},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return &conn{Conn: pool, cfg: cfg}, nil
}

// With returns a context whose queries run with the given id, settings and
// parameters; an empty id lets the server choose one.
func With(ctx context.Context, queryID string, settings Settings, params Parameters) context.Context {
	opts := []chgo.QueryOption{chgo.WithSettings(settings)}
	if queryID != "" {
		opts = append(opts, chgo.WithQueryID(queryID))
	}
	if params != nil {
		opts = append(opts, chgo.WithParameters(params))
	}
	return chgo.Context(ctx, opts...)
}
