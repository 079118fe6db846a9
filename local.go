package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/compact"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/demo"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ops"
	"github.com/adtally/adtally/query"
)

type runCmd struct {
	Data      string `help:"Directory that holds all state." default:"./data" type:"path"`
	FreePorts bool   `help:"Put every listener on a free loopback port."`
	PortsFile string `help:"Write the ports in use to this file, as JSON, once everything answers." type:"path"`
	Demo      bool   `help:"Make demo advertisers and send demo traffic."`

	KafkaPort            int    `help:"Port of the embedded Kafka broker." default:"9092"`
	ClickHouseNativePort int    `help:"Port of the embedded ClickHouse, native protocol." default:"9000" name:"clickhouse-native-port"`
	ClickHouseHTTPPort   int    `help:"Port of the embedded ClickHouse, HTTP." default:"8123" name:"clickhouse-http-port"`
	ClickHouseLibrary    string `help:"libchdb.so to run; none means an installed clickhouse, or else the library from npm." name:"clickhouse-library" type:"path"`

	taking
	Query     query.Config     `embed:"" prefix:"query-" group:"Reports"`
	Aggregate aggregate.Config `embed:"" prefix:"aggregate-" group:"Counting"`
	Compact   compact.Config   `embed:"" prefix:"compact-" group:"Counting"`
	closeSchedule
	Kafka      kafka.Config      `embed:"" prefix:"kafka-" group:"Kafka"`
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-" group:"ClickHouse"`
	Admin      ops.AdminConfig   `embed:"" prefix:"admin-" group:"Operations"`
}

// ports are the ports in use, as --ports-file has them; 0 for a server that is
// not embedded.
type ports struct {
	Ingest           int `json:"ingest"`
	Query            int `json:"query"`
	Admin            int `json:"admin"`
	ClickHouseNative int `json:"clickhouse_native"`
	ClickHouseHTTP   int `json:"clickhouse_http"`
	Kafka            int `json:"kafka"`
}

// local is the process of adtally run while it starts.
type local struct {
	cfg     *runCmd
	env     *env
	log     zerolog.Logger
	writer  clickhouse.Config
	reader  clickhouse.Config
	runs    []func(context.Context) error
	servers []func(context.Context) error
	ports   ports
	// topicLevel keeps quiet about what the embedded topic lacks: it is one
	// fsynced copy on one machine, as everything here.
	topicLevel zerolog.Level
}

// Run starts everything and stops it in the direction of the data.
func (c *runCmd) Run(ctx context.Context, e *env) error {
	started := time.Now()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := dev.LockDir(c.Data)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := c.choosePorts(); err != nil {
		return err
	}
	l := &local{cfg: c, env: e, log: e.log, topicLevel: e.log.GetLevel()}
	if err := l.start(ctx); err != nil {
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, ops.InOrder(stopped, l.servers...))
	}
	if err := l.announce(time.Since(started)); err != nil {
		l.log.Error().Err(err).Msg("ports cannot be announced")
	}
	return ops.InOrder(ctx, append(l.runs, l.servers...)...)
}

// choosePorts replaces every address by one on a free port, if told so.
func (c *runCmd) choosePorts() error {
	if !c.FreePorts {
		return nil
	}
	free, err := dev.FreePorts(6)
	if err != nil {
		return err
	}
	for i, addr := range []*string{&c.Ingest.Listen, &c.Query.Listen, &c.Admin.Listen} {
		*addr = "127.0.0.1:" + strconv.Itoa(free[i])
	}
	c.ClickHouseNativePort, c.ClickHouseHTTPPort, c.KafkaPort = free[3], free[4], free[5]
	return nil
}

// start brings up servers, tables, topic and roles. What it has started is in
// l.servers, also when it fails.
func (l *local) start(ctx context.Context) error {
	if err := l.startServers(ctx); err != nil {
		return err
	}
	if err := clickhouse.Migrate(ctx, l.writer); err != nil {
		return err
	}
	files, err := l.secrets()
	if err != nil {
		return err
	}
	keys, err := newDirectory(l.reader, l.log)
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(l.writer)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is written on closing
	store := access.NewStore(conn)
	key, err := l.adminKey(ctx, store)
	if err != nil {
		return err
	}
	topic, err := openTopic(ctx, l.cfg.Kafka, l.log.Level(l.topicLevel))
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	if l.cfg.Spool.Dir == "" {
		l.cfg.Spool.Dir = filepath.Join(l.cfg.Data, "spool")
	}
	taking, err := newIngest(&ingestParts{l.cfg.taking, l.cfg.Kafka, files, topic, keys.dir, l.log, metrics.NewSet()})
	if err != nil {
		return err
	}
	l.passNews()
	counting, err := newAggregate(l.cfg.Aggregate, l.cfg.Kafka, l.writer, topic, l.log)
	if err != nil {
		return err
	}
	keeping, err := newBooks(l.cfg.Compact, l.cfg.closeSchedule, l.writer, l.log)
	if err != nil {
		return err
	}
	if err := l.reportFiles(); err != nil {
		return err
	}
	ln, err := listen("admin", l.cfg.Admin.Listen)
	if err != nil {
		return err
	}
	if len(l.cfg.Query.Watch) == 0 {
		l.cfg.Query.Watch = []string{urlOf(ln)}
	}
	if l.cfg.Query.BeaconURL == "" {
		l.cfg.Query.BeaconURL = loopbackURL(taking.port) + l.cfg.Ingest.PathPrefix
	}
	reporting, err := newQuery(l.cfg.Query, l.reader, keys.dir, receiptSource{files.IDKey, l.cfg.Kafka, l.cfg.Aggregate.Rules}, l.log)
	if err != nil {
		return err
	}
	l.ports = ports{
		Ingest: taking.port, Query: reporting.port, Admin: portOf(ln),
		ClickHouseNative: l.cfg.ClickHouseNativePort, ClickHouseHTTP: l.cfg.ClickHouseHTTPPort, Kafka: l.cfg.KafkaPort,
	}
	var admin ops.Admin
	l.runs = append(watch(&admin, slices.Concat([]role{taking, outlived(counting, l.log)}, keeping, []role{reporting, keys.role})),
		func(ctx context.Context) error { return admin.Run(ctx, ln) })
	return l.demo(ctx, store, key)
}

// passNews lets the report server know of each block that was counted.
func (l *local) passNews() {
	landed := make(chan struct{}, 1)
	l.cfg.Query.News, l.cfg.Aggregate.Landed = landed, func() {
		select {
		case landed <- struct{}{}:
		default: // the last one was not heard yet
		}
	}
}

// startServers starts the embedded servers that are not replaced by addresses.
func (l *local) startServers(ctx context.Context) error {
	c := l.cfg
	var broker *dev.Kafka
	if len(c.Kafka.Brokers) == 0 {
		var err error
		if broker, err = dev.NewKafka(dev.KafkaConfig{Dir: filepath.Join(c.Data, "kafka"), Port: c.KafkaPort}, l.log); err != nil {
			return err
		}
		c.Kafka.Brokers, c.Kafka.Replication, c.Kafka.UnsafeTopic = []string{broker.Addr()}, 1, true
		l.servers = append(l.servers, ops.Started(ctx, broker.Run))
		l.topicLevel = zerolog.ErrorLevel
	} else {
		c.KafkaPort = 0
	}
	if c.Aggregate.InstanceID == "" {
		c.Aggregate.InstanceID = "run" // a restart after kill -9 is the same member, and does not wait for itself to expire
	}
	// Nobody else writes to servers of our own, and the directory is locked.
	c.Aggregate.Sole = broker != nil && len(c.ClickHouse.Addr) == 0
	l.writer, l.reader = c.ClickHouse, c.ClickHouse
	if len(c.ClickHouse.Addr) == 0 {
		if err := l.startClickHouse(ctx); err != nil {
			return err
		}
	} else {
		c.ClickHouseNativePort, c.ClickHouseHTTPPort = 0, 0
	}
	if broker != nil {
		return broker.Ready(ctx)
	}
	return nil
}

func (l *local) startClickHouse(ctx context.Context) error {
	server, err := dev.NewClickHouse(dev.ClickHouseConfig{
		Dir:        clickHouseDir(l.cfg.Data),
		NativePort: l.cfg.ClickHouseNativePort,
		HTTPPort:   l.cfg.ClickHouseHTTPPort,
		Library:    l.cfg.ClickHouseLibrary,
		Progress:   l.env.stderr,
	}, l.log)
	if err != nil {
		return err
	}
	l.servers = append(l.servers, ops.Started(ctx, server.Run))
	l.writer = asUser(l.writer, server.NativeAddr(), server.Writer())
	l.reader = asUser(l.reader, server.NativeAddr(), server.Reader())
	return server.Ready(ctx)
}

func clickHouseDir(data string) string { return filepath.Join(data, "clickhouse") }

func asUser(cfg clickhouse.Config, addr string, who dev.Credentials) clickhouse.Config {
	cfg.Addr, cfg.User, cfg.Password, cfg.PasswordFile = []string{addr}, who.User, who.Password, ""
	return cfg
}

// secrets returns the files with the keys of this instance, made on the first
// start.
func (l *local) secrets() (secrets, error) {
	files := secrets{
		SigningKeys: signingKeysFile(l.cfg.Data),
		IDKey:       filepath.Join(l.cfg.Data, "id.key"),
		UserKey:     filepath.Join(l.cfg.Data, "user.key"),
	}
	if _, err := os.Stat(files.SigningKeys); errors.Is(err, os.ErrNotExist) {
		if _, err := token.CreateKeyring(files.SigningKeys); err != nil {
			return files, err
		}
	}
	return files, errors.Join(makeKey(files.IDKey, 16), makeKey(files.UserKey, 32))
}

// reportFiles names what reports keep in the data directory.
func (l *local) reportFiles() error {
	if l.cfg.Query.ExportsDir == "" {
		l.cfg.Query.ExportsDir = filepath.Join(l.cfg.Data, "exports")
	}
	q := &l.cfg.Query
	if q.Jobs.Dir == "" {
		q.Jobs.Dir = filepath.Join(l.cfg.Data, "report-jobs")
	}
	if q.SecretFile != "" {
		return nil
	}
	q.SecretFile = filepath.Join(l.cfg.Data, "cursor.key")
	return makeKey(q.SecretFile, 32)
}

// makeKey writes a random key of so many bytes, unless there is one.
func makeKey(path string, length int) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key := make([]byte, length)
	_, _ = rand.Read(key) // never fails
	return writeFile(path, []byte(hex.EncodeToString(key)+"\n"))
}

func signingKeysFile(data string) string { return filepath.Join(data, "signing-keys.json") }

// adminKey makes the key with every scope over all advertisers on the first
// start. Later starts bring it back if the tables were lost meanwhile, but not
// if it was revoked.
func (l *local) adminKey(ctx context.Context, store *access.Store) (string, error) {
	path := adminKeyFile(l.cfg.Data)
	spec := access.KeySpec{Name: "admin", Scopes: access.AllScopes, All: true}
	known, err := os.ReadFile(path) //nolint:gosec // in the data directory
	switch {
	case err == nil:
		text := strings.TrimSpace(string(known))
		_, err = store.ImportKey(ctx, text, spec)
		if errors.Is(err, access.ErrRevoked) {
			l.log.Warn().Str("file", path).Msg("admin key is revoked; make another with adtally key create")
			err = nil
		}
		return text, err
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("read admin key: %w", err)
	}
	text, _, err := store.CreateKey(ctx, spec)
	if err != nil {
		return "", err
	}
	return text, writeFile(path, []byte(text+"\n"))
}

// demoEvents is the size of the demo's history: enough for two days to look
// like the live traffic that follows.
const demoEvents = 120_000

// demo makes the demo advertisers and puts their traffic first in order, if
// told so. History is sent on the first start only.
func (l *local) demo(ctx context.Context, store *access.Store, key string) error {
	if !l.cfg.Demo {
		return nil
	}
	for _, a := range demo.Accounts() {
		if err := store.PutAccount(ctx, access.Account(a)); err != nil {
			return err
		}
	}
	ring, err := token.LoadKeyring(signingKeysFile(l.cfg.Data))
	if err != nil {
		return err
	}
	marker := filepath.Join(l.cfg.Data, "demo.done")
	_, err = os.Stat(marker)
	traffic, err := demo.New(demo.Config{
		IngestURL:  loopbackURL(l.ports.Ingest) + l.cfg.Ingest.PathPrefix,
		Keyring:    ring,
		ServerKey:  key,
		FirstStart: errors.Is(err, os.ErrNotExist), BackfillEvents: demoEvents,
	}, l.log)
	if err != nil {
		return err
	}
	if err := writeFile(marker, nil); err != nil {
		return err
	}
	l.runs = append([]func(context.Context) error{traffic.Run}, l.runs...)
	return nil
}

func adminKeyFile(data string) string { return filepath.Join(data, "admin.key") }

// writeFile writes a file that is there wholly or not at all, for our eyes only.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what is left of it is of no use
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
