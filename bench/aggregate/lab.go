package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
)

// lab is the servers that a section works with: a broker and a ClickHouse in
// processes of their own.
type lab struct {
	settings
	self   string
	dir    string
	broker string
	server *measure.ClickHouse
	// runs numbers databases and groups.
	runs int
}

// inLab runs a section in servers that are started for it.
func inLab(ctx context.Context, s settings, section func(context.Context, *lab) error) (err error) {
	l := &lab{settings: s}
	if l.self, err = os.Executable(); err != nil {
		return err
	}
	if l.dir, err = os.MkdirTemp("", "bench-aggregate-"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	ports, err := dev.FreePorts(1)
	if err != nil {
		return err
	}
	l.broker = fmt.Sprintf("127.0.0.1:%d", ports[0])
	broker, err := measure.Start(ctx, l.broker, l.self, "broker", strconv.Itoa(ports[0]))
	if err != nil {
		return err
	}
	defer broker.Stop()
	if l.server, err = measure.StartClickHouse(ctx, filepath.Join(l.dir, "clickhouse")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.server.Stop()) }()
	return section(ctx, l)
}

// database makes a new database with adtally's tables.
func (l *lab) database(ctx context.Context) (clickhouse.Config, error) {
	l.runs++
	who := l.server.Writer()
	file := filepath.Join(l.dir, "password")
	if err := os.WriteFile(file, []byte(who.Password), 0o600); err != nil {
		return clickhouse.Config{}, err
	}
	cfg := clickhouse.Config{
		Addr: []string{l.server.NativeAddr()}, Database: fmt.Sprintf("adtally_%d", l.runs), User: who.User, PasswordFile: file,
		DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Minute, MaxConns: 4,
	}
	return cfg, clickhouse.Migrate(ctx, cfg)
}
