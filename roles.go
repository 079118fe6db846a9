package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/compact"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ops"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query"
)

const (
	defaultBroker     = "127.0.0.1:9092"
	defaultClickHouse = "127.0.0.1:9000"
)

type aggregateCmd struct {
	Aggregate  aggregate.Config  `embed:"" prefix:"aggregate-"`
	Kafka      kafka.Config      `embed:"" prefix:"kafka-"`
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-"`
	Admin      ops.AdminConfig   `embed:"" prefix:"admin-"`
}

// Run counts until ctx is done.
func (c *aggregateCmd) Run(ctx context.Context, e *env) error {
	return serve(ctx, c.Admin, e.log, func(ctx context.Context) ([]role, error) {
		topic, err := openTopic(ctx, c.Kafka, e.log)
		if err != nil || ctx.Err() != nil {
			return nil, err
		}
		part, err := newAggregate(c.Aggregate, c.Kafka, c.ClickHouse, topic, e.log)
		return []role{part}, err
	})
}

type queryCmd struct {
	Query      query.Config      `embed:"" prefix:"query-"`
	Receipts   receiptSource     `embed:""`
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-"`
	Admin      ops.AdminConfig   `embed:"" prefix:"admin-"`
}

// Run serves reports until ctx is done.
func (c *queryCmd) Run(ctx context.Context, e *env) error {
	return serve(ctx, c.Admin, e.log, func(context.Context) ([]role, error) {
		keys, err := newDirectory(c.ClickHouse, e.log)
		if err != nil {
			return nil, err
		}
		part, err := newQuery(c.Query, c.ClickHouse, keys.dir, c.Receipts, e.log)
		return []role{part, keys.role}, err
	})
}

type compactCmd struct {
	Once    bool           `help:"Make one cut and end; for cron."`
	Compact compact.Config `embed:"" prefix:"compact-"`
	closeSchedule
	target
	Admin ops.AdminConfig `embed:"" prefix:"admin-"`
}

// Run makes cuts until ctx is done, or one.
func (c *compactCmd) Run(ctx context.Context, e *env) error {
	where, err := c.config()
	if err != nil {
		return err
	}
	compactor, part, err := newCompact(c.Compact, where, e.log)
	if err != nil {
		return err
	}
	if !c.Once {
		return serve(ctx, c.Admin, e.log, func(context.Context) ([]role, error) {
			closing, err := newClosing(c.closeSchedule, where, e.log)
			return append([]role{part}, closing...), err
		})
	}
	cut, err := compactor.Once(ctx)
	switch {
	case errors.Is(err, compact.ErrTaken):
		_, err = fmt.Fprintln(e.stdout, err)
	case err != nil:
		return err
	case cut == nil:
		_, err = fmt.Fprintln(e.stdout, "nothing was counted since the last cut")
	default:
		_, err = fmt.Fprintf(e.stdout, "cut %d: %d rows, %d deltas\n", cut.Number, cut.Rows, len(cut.Cover))
	}
	return err
}

type migrateCmd struct {
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-"`
}

// Run makes or updates the tables.
func (c *migrateCmd) Run(ctx context.Context, e *env) error {
	if err := clickhouse.Migrate(ctx, withAddr(c.ClickHouse)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "tables of database %s are current\n", c.ClickHouse.Database)
	return err
}

// role is a running part of the process: what it runs, whether it can do its
// work, and its figures.
type role struct {
	run   func(context.Context) error
	ready ops.Check
	set   *metrics.Set
	// port is where it listens, 0 without a listener.
	port int
}

// serve runs the roles that build makes, and the admin listener from before
// that until the last of them has stopped: build may have to wait for servers,
// and an operator must see that.
func serve(ctx context.Context, cfg ops.AdminConfig, log zerolog.Logger, build func(context.Context) ([]role, error)) error {
	ln, err := listen("admin", cfg.Listen)
	if err != nil {
		return err
	}
	log.Info().Stringer("admin", ln.Addr()).Msg("started")
	var admin ops.Admin
	work := func(ctx context.Context) error {
		roles, err := build(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		return ops.InOrder(ctx, watch(&admin, roles)...)
	}
	return ops.InOrder(ctx, work, func(ctx context.Context) error { return admin.Run(ctx, ln) })
}

// watch shows roles to the operator and lists what they run, in the direction
// of the data.
func watch(admin *ops.Admin, roles []role) []func(context.Context) error {
	var runs []func(context.Context) error
	var checks []ops.Check
	var sets []*metrics.Set
	for _, r := range roles {
		runs, checks = append(runs, r.run), append(checks, r.ready)
		if r.set != nil {
			sets = append(sets, r.set)
		}
	}
	admin.Watch(checks, sets)
	return runs
}

func listen(what, addr string) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s cannot listen on %s: %w; stop what uses the address, or choose another with --%s-listen", what, addr, err, what)
	}
	return ln, nil
}

func portOf(ln net.Listener) int {
	addr, _ := ln.Addr().(*net.TCPAddr) // listen makes no others
	return addr.Port
}

func withAddr(cfg clickhouse.Config) clickhouse.Config {
	if len(cfg.Addr) == 0 {
		cfg.Addr = []string{defaultClickHouse}
	}
	return cfg
}

func kafkaOptions(cfg kafka.Config) []kgo.Opt {
	brokers := cfg.Brokers
	if len(brokers) == 0 {
		brokers = []string{defaultBroker}
	}
	return []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.ClientID("adtally")}
}

// openTopic makes or checks the topic, and waits for brokers that are away
// until ctx is done; then there is neither a topic nor an error.
func openTopic(ctx context.Context, cfg kafka.Config, log zerolog.Logger) (kafka.Topic, error) {
	// A topic that was just looked for and then made is otherwise missing for as
	// long as the client believes its first answer, 5 s.
	client, err := kgo.NewClient(append(kafkaOptions(cfg), kgo.MetadataMinAge(50*time.Millisecond))...)
	if err != nil {
		return kafka.Topic{}, fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		t, err := kafka.Ensure(attempt, client, cfg)
		cancel()
		if err == nil && len(t.Unsafe) > 0 {
			log.Warn().Strs("unsafe", t.Unsafe).Msg("topic could lose acknowledged events; serving all the same, as told")
		}
		if err == nil || errors.Is(err, kafka.ErrTopic) {
			return t, err
		}
		log.Warn().Err(err).Msg("brokers do not answer yet")
		select {
		case <-ctx.Done():
			return kafka.Topic{}, nil
		case <-time.After(time.Second):
		}
	}
}

// directory is the API keys and accounts in memory, kept current by its role.
type directory struct {
	dir  *access.Directory
	role role
}

func newDirectory(cfg clickhouse.Config, log zerolog.Logger) (directory, error) {
	conn, err := clickhouse.Open(withAddr(cfg))
	if err != nil {
		return directory{}, err
	}
	set := metrics.NewSet()
	dir := access.NewDirectory(conn, log, set)
	ready := func() error {
		if !dir.Ready() {
			return errors.New("access: API keys are not read yet")
		}
		return nil
	}
	run := func(ctx context.Context) error { return errors.Join(dir.Run(ctx), conn.Close()) }
	return directory{dir: dir, role: role{run: run, ready: ready, set: set}}, nil
}

func newAggregate(cfg aggregate.Config, kcfg kafka.Config, ccfg clickhouse.Config, topic kafka.Topic, log zerolog.Logger) (role, error) {
	conn, err := clickhouse.Open(withAddr(ccfg))
	if err != nil {
		return role{}, err
	}
	set := metrics.NewSet()
	t := aggregate.Topic{Name: topic.Name, ID: topic.ID, Partitions: topic.Partitions, Spread: kcfg.Spread, Scheme: proto.PartitionScheme, Retention: topic.Retention}
	counter, err := aggregate.New(cfg, t, aggregate.NewLedger(conn, cfg.Group), kafkaOptions(kcfg), log, set)
	if err != nil {
		return role{}, err
	}
	run := func(ctx context.Context) error { return errors.Join(counter.Run(ctx), conn.Close()) }
	return role{run: run, ready: counter.Ready, set: set}, nil
}

func newQuery(cfg query.Config, ccfg clickhouse.Config, keys *access.Directory, from receiptSource, log zerolog.Logger) (role, error) {
	conn, err := clickhouse.Open(withAddr(ccfg))
	if err != nil {
		return role{}, err
	}
	ln, err := listen("query", cfg.Listen)
	if err != nil {
		return role{}, err
	}
	if cfg.SecretFile != "" {
		if cfg.Secret, err = readKey(cfg.SecretFile); err != nil {
			return role{}, err
		}
		if len(cfg.Secret) < 32 {
			return role{}, wrongUsage("--query-secret-file: %s holds less than 32 bytes in hex digits", cfg.SecretFile)
		}
	} else {
		log.Warn().Msg("no --query-secret-file: cursors and dashboard sessions end with this process, and other instances do not know them")
	}
	set := metrics.NewSet()
	server := query.New(cfg, conn, keys, log, set)
	if from.IDKey != "" {
		receipts, err := from.open(conn)
		if err != nil {
			return role{}, err
		}
		server.UseReceipts(receipts)
	}
	run := func(ctx context.Context) error { return errors.Join(server.Run(ctx, ln), conn.Close()) }
	return role{run: run, ready: always, set: set, port: portOf(ln)}, nil
}

func newCompact(cfg compact.Config, ccfg clickhouse.Config, log zerolog.Logger) (*compact.Compactor, role, error) {
	ccfg.ReadTimeout = max(ccfg.ReadTimeout, cfg.Timeout) // adding up a large delta says nothing for long
	conn, err := clickhouse.Open(withAddr(ccfg))
	if err != nil {
		return nil, role{}, err
	}
	set := metrics.NewSet()
	compactor, err := compact.New(cfg, conn, accountZones{access.NewStore(conn)}, log, set)
	if err != nil {
		return nil, role{}, err
	}
	run := func(ctx context.Context) error { return errors.Join(compactor.Run(ctx), conn.Close()) }
	return compactor, role{run: run, ready: always, set: set}, nil
}

// accountZones are the time zones that accounts have now.
type accountZones struct{ store *access.Store }

// Zones implements compact.Zones.
func (z accountZones) Zones(ctx context.Context) (map[uint64]*time.Location, error) {
	accounts, err := z.store.ListAccounts(ctx)
	if err != nil {
		return nil, err
	}
	zones := make(map[uint64]*time.Location, len(accounts))
	for _, a := range accounts {
		// A zone that this program does not know is no zone of a report either.
		if zone, err := access.LoadZone(a.Timezone); err == nil {
			zones[a.Advertiser] = zone
		}
	}
	return zones, nil
}

// outlived is a role that the rest of the process does not end with: once it has
// failed it is not ready any more, and says why, until the process is stopped.
func outlived(r role, log zerolog.Logger) role {
	var failed atomic.Pointer[error]
	r.set.NewGauge("adtally_counting_refused", func() float64 {
		if failed.Load() != nil {
			return 1
		}
		return 0
	})
	run, ready := r.run, r.ready
	r.run = func(ctx context.Context) error {
		err := run(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed.Store(&err)
		log.Error().Err(err).Msg("nothing is counted from now on, and beacons are taken as before; do what the error says and start again: what was taken is counted then")
		<-ctx.Done()
		return err
	}
	r.ready = func() error {
		if err := failed.Load(); err != nil {
			return fmt.Errorf("aggregate: counting has stopped, beacons are taken: %w", *err)
		}
		return ready()
	}
	return r
}

// always is the readiness of a role whose lateness keeps nothing from being taken
// or asked.
func always() error { return nil }
