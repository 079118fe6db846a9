// Package kafka holds what ingest and aggregate share about the topic: where
// the brokers are, how the topic is made, and which settings it must have for
// the promises of adtally to hold.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says where the topic is and how it is laid out. Partitions and Spread
// are part of the data format: they are recorded with the ledger and a topic
// grows only by a new generation.
type Config struct {
	Brokers     []string      `help:"Broker addresses (host:port), comma-separated; none means 127.0.0.1:9092, and in run an embedded broker."`
	Topic       string        `help:"Topic of events; the name carries the format version." default:"adtally-events-v1"`
	Partitions  int32         `help:"Partitions of the topic when it is created." default:"8"`
	Spread      uint32        `help:"Partitions that one campaign spreads over at most." default:"4"`
	Replication int16         `help:"Replicas of the topic when it is created." default:"3"`
	Retention   time.Duration `help:"Retention of the topic when it is created; at least horizon + lateness + longest outage + 2 days." default:"168h"`
	UnsafeTopic bool          `help:"Serve although the topic could lose acknowledged events (one replica, unclean election, size-bound retention). For development."`
}

// SideTopic is the name of the topic of events that were spooled for longer
// than repeats of them would be recognised. They are not counted by themselves.
func (c Config) SideTopic() string { return c.Topic + "-side" }

// RejectedTopic is the name of the topic of what was refused, with its reason.
func (c Config) RejectedTopic() string { return c.Topic + "-rejected" }

// Topic is what the brokers say about the topic.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	// Retention is how long the brokers keep events, 0 for ever.
	Retention time.Duration
	// Unsafe lists the settings with which an acknowledged event may be lost;
	// empty for a safe topic.
	Unsafe []string
}

// Ensure makes the topic and its two companions if they are missing, reads its settings back and returns
// them. A topic that cannot keep the promises is an error unless
// cfg.UnsafeTopic. Settings without which no verdict is right (log append time,
// no compaction) are an error always.
func Ensure(ctx context.Context, client *kgo.Client, cfg Config) (Topic, error) {
	adm := kadm.NewClient(client)
	if err := create(ctx, adm, cfg, cfg.Topic); err != nil {
		return Topic{}, err
	}
	t, replicas, err := describe(ctx, adm, cfg.Topic)
	if err != nil {
		return Topic{}, err
	}
	for _, name := range []string{cfg.SideTopic(), cfg.RejectedTopic()} {
		if err := create(ctx, adm, cfg, name); err != nil {
			return Topic{}, err
		}
	}
	settings, err := topicSettings(ctx, adm, cfg.Topic)
	if err != nil {
		return Topic{}, err
	}
	broken, unsafe := judge(settings, replicas)
	t.Unsafe = unsafe
	if ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64); err == nil && ms > 0 && ms < math.MaxInt64/int64(time.Millisecond) {
		t.Retention = time.Duration(ms) * time.Millisecond
	}
	if len(broken) > 0 {
		return t, fmt.Errorf("%w: %s cannot be counted: %s", ErrTopic, cfg.Topic, strings.Join(broken, "; "))
	}
	if len(unsafe) > 0 && !cfg.UnsafeTopic {
		return t, fmt.Errorf("%w: %s could lose acknowledged events: %s; change the topic, or set --kafka-unsafe-topic if that is acceptable",
			ErrTopic, cfg.Topic, strings.Join(unsafe, "; "))
	}
	return t, nil
}

// ErrTopic means that the brokers answered and the topic will not do. Every
// other error of Ensure may pass.
var ErrTopic = errors.New("topic")

func create(ctx context.Context, adm *kadm.Client, cfg Config, name string) error {
	// Looked for first: whoever made the topics may have given us no right to.
	known, err := adm.ListTopics(ctx, name)
	if err == nil && known[name].Err == nil && len(known[name].Partitions) > 0 {
		return nil
	}
	minISR := max(1, cfg.Replication-1)
	settings := map[string]*string{
		"cleanup.policy":                 new("delete"),
		"message.timestamp.type":         new("LogAppendTime"),
		"retention.bytes":                new("-1"),
		"retention.ms":                   new(strconv.FormatInt(cfg.Retention.Milliseconds(), 10)),
		"min.insync.replicas":            new(strconv.Itoa(int(minISR))),
		"unclean.leader.election.enable": new("false"),
	}
	_, err = adm.CreateTopic(ctx, cfg.Partitions, cfg.Replication, settings, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return nil
}

// describe waits for the topic to be known with a leader for every partition:
// a broker answers a create before its own metadata has it.
func describe(ctx context.Context, adm *kadm.Client, name string) (t Topic, replicas int, err error) {
	for {
		details, err := adm.ListTopics(ctx, name)
		if err != nil {
			return Topic{}, 0, fmt.Errorf("describe topic %s: %w", name, err)
		}
		d := details[name]
		replicas = 0
		led := d.Err == nil && len(d.Partitions) > 0
		for _, p := range d.Partitions {
			led = led && p.Err == nil && p.Leader >= 0
			if replicas == 0 || len(p.Replicas) < replicas {
				replicas = len(p.Replicas)
			}
		}
		if led {
			return Topic{Name: name, ID: d.ID, Partitions: int32(len(d.Partitions))}, replicas, nil
		}
		select {
		case <-ctx.Done():
			return Topic{}, 0, fmt.Errorf("wait for leaders of topic %s: %w", name, errors.Join(ctx.Err(), d.Err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func topicSettings(ctx context.Context, adm *kadm.Client, name string) (map[string]string, error) {
	answers, err := adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read settings of topic %s: %w", name, err)
	}
	settings := make(map[string]string)
	for _, a := range answers {
		if a.Err != nil {
			return nil, fmt.Errorf("read settings of topic %s: %w", name, a.Err)
		}
		for _, c := range a.Configs {
			settings[c.Key] = c.MaybeValue()
		}
	}
	return settings, nil
}

// judge sorts what is wrong with a topic into what breaks every verdict and
// what may lose acknowledged events.
func judge(settings map[string]string, replicas int) (broken, unsafe []string) {
	want := func(list *[]string, key, value, why string) {
		if settings[key] != value {
			*list = append(*list, fmt.Sprintf("%s is %q, must be %q (%s)", key, settings[key], value, why))
		}
	}
	want(&broken, "message.timestamp.type", "LogAppendTime", "broker time is the clock of every verdict")
	want(&broken, "cleanup.policy", "delete", "compaction removes events")
	want(&unsafe, "retention.bytes", "-1", "a size bound deletes events that are not counted yet")
	if settings["unclean.leader.election.enable"] == "true" {
		unsafe = append(unsafe, "unclean.leader.election.enable is true (an old replica may become leader)")
	}
	if replicas < 3 {
		unsafe = append(unsafe, fmt.Sprintf("%d replica(s), must be 3 or more", replicas))
	}
	if n, err := strconv.Atoi(settings["min.insync.replicas"]); err != nil || n < 2 {
		unsafe = append(unsafe, fmt.Sprintf("min.insync.replicas is %q, must be 2 or more", settings["min.insync.replicas"]))
	}
	return broken, unsafe
}
