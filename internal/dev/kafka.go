package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// retentionInterval is how often expired records are removed.
const retentionInterval = time.Minute

// KafkaConfig says where a broker lives.
type KafkaConfig struct {
	// Dir holds the log.
	Dir string
	// Port is served on 127.0.0.1.
	Port int
}

// Kafka is a one-node Kafka broker in this process. What it acknowledged is
// fsynced in its directory, stamped with the broker's time. After kill -9 it no
// longer knows its producers' sequence numbers, so that a producer in another
// process that goes on may write a batch twice.
// Its methods may be called from any goroutine; Run is called once.
type Kafka struct {
	cfg   KafkaConfig
	log   zerolog.Logger
	ready chan struct{} // closed when the broker serves
	done  chan struct{} // closed when Run has returned
	err   error         // what Run returned; read after done
}

// NewKafka prepares a broker. Nothing runs before Run.
func NewKafka(cfg KafkaConfig, log zerolog.Logger) (*Kafka, error) {
	if cfg.Port == 0 || cfg.Dir == "" {
		return nil, errors.New("kafka: directory and port must be set")
	}
	return &Kafka{cfg: cfg, log: log, ready: make(chan struct{}), done: make(chan struct{})}, nil
}

// Addr is where the broker is served.
func (k *Kafka) Addr() string { return loopback(k.cfg.Port) }

// Run serves until ctx is done and everything is on disk.
func (k *Kafka) Run(ctx context.Context) error {
	k.err = k.run(ctx)
	close(k.done)
	return k.err
}

// Ready waits until the broker serves, or until it is known that it will not.
func (k *Kafka) Ready(ctx context.Context) error {
	select {
	case <-k.ready:
		return nil
	case <-k.done:
		if k.err == nil {
			return errors.New("kafka ended")
		}
		return k.err
	case <-ctx.Done():
		return fmt.Errorf("wait for kafka: %w", ctx.Err())
	}
}

func (k *Kafka) run(ctx context.Context) error {
	lock, err := LockDir(k.cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := checkPort(k.cfg.Port); err != nil {
		return fmt.Errorf("start kafka: %w", err)
	}
	stamp, err := newStamper()
	if err != nil {
		return fmt.Errorf("start kafka: %w", err)
	}
	started := time.Now()
	ln, err := net.Listen("tcp", k.Addr()) //nolint:noctx // returns at once
	if err != nil {
		return fmt.Errorf("start kafka: %w", err)
	}
	door := newGate(ln)
	defer door.Close()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return door, nil }),
		kfake.ClusterID("adtally"),
		kfake.DataDir(filepath.Join(k.cfg.Dir, "data")),
		kfake.SyncWrites(),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}),
		kfake.WithLogger(kafkaLogger{k.log}),
	)
	if err != nil {
		return fmt.Errorf("start kafka: %w", err)
	}
	defer cluster.Close()
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if produce, is := req.(*kmsg.ProduceRequest); is {
			stamp.stampRequest(produce, time.Now().UnixMilli())
		}
		return nil, nil, false // the broker goes on with it
	})
	close(door.opened)
	close(k.ready)
	k.log.Info().Str("addr", k.Addr()).Dur("took", time.Since(started)).Msg("kafka ready")
	tick := time.NewTicker(retentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			cluster.ApplyRetention() // the broker does so only when told
		}
	}
}

// kafkaLogger passes on what the broker complains about.
type kafkaLogger struct {
	log zerolog.Logger
}

// Logf logs warnings and errors; the rest is per request.
func (l kafkaLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := zerolog.WarnLevel
	switch level {
	case kfake.LogLevelError:
		to = zerolog.ErrorLevel
	case kfake.LogLevelWarn:
	default:
		return
	}
	l.log.WithLevel(to).Str("reason", strings.TrimSpace(fmt.Sprintf(format, args...))).Msg("kafka broker")
}
