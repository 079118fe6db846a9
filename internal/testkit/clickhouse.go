// Package testkit starts real servers for tests. Packages that use it call
// dev.ChildMain first thing in TestMain.
package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
)

// ClickHouse is an embedded server with adtally's tables.
type ClickHouse struct {
	*dev.ClickHouse
	// AsWriter and AsReader are how its two users connect.
	AsWriter, AsReader clickhouse.Config
}

// StartClickHouse starts a server in a directory of its own and migrates it. It
// ends with the test.
func StartClickHouse(tb testing.TB) *ClickHouse {
	tb.Helper()
	ports, err := dev.FreePorts(2)
	if err != nil {
		tb.Fatal(err)
	}
	server, err := dev.NewClickHouse(dev.ClickHouseConfig{Dir: tb.TempDir(), NativePort: ports[0], HTTPPort: ports[1]}, zerolog.Nop())
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("ClickHouse ends with %v", err)
		}
	})
	ready, stop := context.WithTimeout(ctx, 10*time.Minute) // the first start installs it
	defer stop()
	if err := server.Ready(ready); err != nil {
		tb.Fatal(err)
	}
	as := func(who dev.Credentials) clickhouse.Config {
		return clickhouse.Config{
			Addr: []string{server.NativeAddr()}, Database: "adtally", User: who.User, Password: who.Password,
			DialTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, MaxConns: 8,
		}
	}
	ch := &ClickHouse{ClickHouse: server, AsWriter: as(server.Writer()), AsReader: as(server.Reader())}
	if err := clickhouse.Migrate(ctx, ch.AsWriter); err != nil {
		tb.Fatal(err)
	}
	return ch
}

// Open connects until the test ends.
func Open(tb testing.TB, cfg clickhouse.Config) clickhouse.Conn {
	tb.Helper()
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // nothing is owed on closing
	return conn
}
