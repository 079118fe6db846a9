package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/ingest"
	"github.com/adtally/adtally/ingest/agent"
	"github.com/adtally/adtally/ingest/consent"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/spool"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ops"
)

// taking are the settings of the ingest role that are the same in run.
type taking struct {
	Ingest  ingest.Config     `embed:"" prefix:"ingest-" group:"Beacons"`
	Spool   spool.Config      `embed:"" prefix:"spool-" group:"Spool"`
	Consent consent.Config    `embed:"" prefix:"consent-" group:"Consent"`
	Geo     network.GeoConfig `embed:"" prefix:"geo-" group:"Invalid traffic and places"`

	AgentsList   string        `help:"Crawler list (JSON of monperrus/crawler-user-agents) instead of the built-in one; read again when it changes." type:"path" group:"Invalid traffic and places"`
	DataCentres  string        `help:"File of data-centre networks, one CIDR a line; read again when it changes." type:"path" group:"Invalid traffic and places"`
	UserRotation time.Duration `help:"How long one user keeps one hash." default:"2160h" group:"Consent"`
}

// secrets are what ingest signs and hashes with.
type secrets struct {
	SigningKeys string `help:"File of the keys that sign beacon tokens (JSON); read again when it changes." type:"path" required:""`
	IDKey       string `help:"File of the key under which event ids are hashed (32 hex digits); the same for every instance, for good." type:"path" required:"" name:"id-key"`
	UserKey     string `help:"File of the key under which user ids are hashed (64 hex digits or more); none drops user ids." type:"path" name:"user-key"`
}

type ingestCmd struct {
	TimerSlack time.Duration `help:"How late the kernel may fire the timers of this process, which saves wake-ups (Linux; 0 for the system's default)." default:"5ms"`
	secrets
	taking
	Kafka      kafka.Config      `embed:"" prefix:"kafka-"`
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-"`
	Admin      ops.AdminConfig   `embed:"" prefix:"admin-"`
}

// Run takes beacons until ctx is done.
func (c *ingestCmd) Run(ctx context.Context, e *env) error {
	slack, err := ops.SetTimerSlack(c.TimerSlack)
	if err != nil {
		e.log.Warn().Err(err).Msg("timers keep the system's slack: a beacon costs more at low rates")
	} else {
		e.log.Info().Dur("slack", slack).Msg("timers may fire late by this much")
	}
	return serve(ctx, c.Admin, e.log, func(ctx context.Context) ([]role, error) {
		topic, check, err := c.openTopic(ctx, e.log)
		if err != nil || ctx.Err() != nil {
			return nil, err
		}
		keys, err := newDirectory(c.ClickHouse, e.log)
		if err != nil {
			return nil, err
		}
		part, err := newIngest(&ingestParts{c.taking, c.Kafka, c.secrets, topic, keys.dir, e.log, metrics.NewSet()})
		return []role{part, keys.role, {run: check, ready: always}}, err
	})
}

// ingestParts is what the ingest role is made of.
type ingestParts struct {
	taking
	kafka kafka.Config
	files secrets
	topic kafka.Topic
	keys  *access.Directory
	log   zerolog.Logger
	set   *metrics.Set
}

func newIngest(p *ingestParts) (role, error) {
	deps := ingest.Deps{
		Tokens: new(atomic.Pointer[token.Keyring]), Lists: new(atomic.Pointer[ingest.Lists]),
		Keys: ingestKeys{p.keys}, Log: p.log, Metrics: p.set,
	}
	watched := p.watched(&deps)
	for _, file := range watched {
		if err := file.Load(); err != nil {
			return role{}, err
		}
	}
	if err := p.decisions(&deps); err != nil {
		return role{}, err
	}
	sink, runSink, err := p.sink()
	if err != nil {
		return role{}, err
	}
	rejects, err := produce.NewRejects(p.kafka.RejectedTopic(), p.log, p.set, kafkaOptions(p.kafka)...)
	if err != nil {
		return role{}, err
	}
	deps.Sink, deps.Rejects = sink, rejects
	server, err := ingest.New(p.Ingest, deps)
	if err != nil {
		return role{}, err
	}
	ln, err := listen("ingest", p.Ingest.Listen)
	if err != nil {
		return role{}, err
	}
	run := func(ctx context.Context) error {
		return ops.InOrder(ctx,
			func(ctx context.Context) error { return server.Run(ctx, ln) },
			runSink,
			rejects.Run,
			func(ctx context.Context) error { return ops.Watch(ctx, watched, p.log) })
	}
	return role{run: run, ready: server.Ready, set: p.set, port: portOf(ln)}, nil
}

// watched lists the files that are in use and read again when they change.
func (p *ingestParts) watched(deps *ingest.Deps) []ops.Watched {
	var mu sync.Mutex // a list is swapped by copying the others
	change := func(set func(*ingest.Lists)) {
		mu.Lock()
		defer mu.Unlock()
		var lists ingest.Lists
		if old := deps.Lists.Load(); old != nil {
			lists = *old
		}
		set(&lists)
		deps.Lists.Store(&lists)
	}
	files := []ops.Watched{
		{Path: p.files.SigningKeys, Load: func() error {
			ring, err := token.LoadKeyring(p.files.SigningKeys)
			if err == nil {
				deps.Tokens.Store(ring)
			}
			return err
		}},
		{Path: p.AgentsList, Load: func() error {
			parser, err := p.agents()
			if err == nil {
				change(func(l *ingest.Lists) { l.Agents = parser })
			}
			return err
		}},
	}
	if p.DataCentres != "" {
		files = append(files, ops.Watched{Path: p.DataCentres, Load: func() error {
			ranges, err := network.LoadRanges(p.DataCentres)
			if err == nil {
				change(func(l *ingest.Lists) { l.DataCentres = ranges })
			}
			return err
		}})
	}
	if p.Geo != (network.GeoConfig{}) {
		files = append(files, ops.Watched{Path: p.Geo.Database, Load: func() error {
			geo, err := network.OpenGeo(p.Geo)
			if err == nil {
				change(func(l *ingest.Lists) { l.Geo = geo })
			}
			return err
		}})
	}
	return files
}

func (p *ingestParts) agents() (*agent.Parser, error) {
	load := agent.EmbeddedList
	if p.AgentsList != "" {
		load = func() (*agent.List, error) { return agent.LoadList(p.AgentsList) }
	}
	list, err := load()
	if err != nil {
		return nil, err
	}
	return agent.New(list, agent.DefaultCache)
}

// decisions adds what decides on identifiers.
func (p *ingestParts) decisions(deps *ingest.Deps) error {
	idKey, err := readKey(p.files.IDKey)
	if err != nil {
		return err
	}
	if len(idKey) != len(deps.IDKey) {
		return fmt.Errorf("id key in %s: must be %d hex digits", p.files.IDKey, 2*len(deps.IDKey))
	}
	copy(deps.IDKey[:], idKey)
	if deps.Consent, err = consent.New(p.Consent, p.set); err != nil {
		return err
	}
	if p.files.UserKey == "" {
		return nil
	}
	secret, err := readKey(p.files.UserKey)
	if err != nil {
		return err
	}
	deps.Users, err = consent.NewUserHasher(secret, p.UserRotation)
	return err
}

// leastRecords is twice what the spool drains at once.
const leastRecords = 16384

// sink returns where events go, and what must run beside it.
func (p *ingestParts) sink() (ingest.Sink, func(context.Context) error, error) {
	target := produce.Topic{Name: p.topic.Name, Partitions: int(p.topic.Partitions), Spread: int(p.kafka.Spread)}
	direct, err := produce.NewKafka(p.Ingest.ProduceOptions, target, p.log, p.set, kafkaOptions(p.kafka)...)
	if err != nil {
		return nil, nil, err
	}
	if p.Spool.Dir == "" {
		p.log.Warn().Msg("no spool: events that Kafka does not acknowledge in time are refused; set --spool-dir")
		return direct, func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	if p.Ingest.ProduceOptions.MaxRecords < leastRecords {
		return nil, nil, wrongUsage("--ingest-produce-max-records is %d; with a spool it must be at least %d, to take what is drained at once",
			p.Ingest.ProduceOptions.MaxRecords, leastRecords)
	}
	disk, err := spool.Open(p.Spool, p.log, p.set)
	if err != nil {
		return nil, nil, fmt.Errorf("open spool: %w", err)
	}
	durable := produce.NewDurable(direct, disk, p.kafka.SideTopic())
	return durable, durable.Run, nil
}

// ingestKeys shows the directory to ingest, which knows scopes by name.
type ingestKeys struct{ dir *access.Directory }

// Lookup implements ingest.Keys.
func (k ingestKeys) Lookup(ctx context.Context, bearer string) (ingest.Grant, error) {
	grant, err := k.dir.Lookup(ctx, bearer)
	if errors.Is(err, access.ErrUnknownKey) {
		return nil, ingest.ErrUnknownKey
	}
	return ingestGrant{grant}, err
}

type ingestGrant struct{ access.Grant }

// Allows implements ingest.Grant.
func (g ingestGrant) Allows(scope string) bool {
	scopes, err := access.ParseScopes([]string{scope})
	return err == nil && g.Grant.Allows(scopes)
}

// readKey reads a secret that is written in hex digits.
func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the file that the operator named
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("key in %s: %w", path, err)
	}
	return raw, nil
}
