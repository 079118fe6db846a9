package kafka

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestJudge(t *testing.T) {
	safe := map[string]string{
		"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "retention.bytes": "-1",
		"min.insync.replicas": "2", "unclean.leader.election.enable": "false",
	}
	f := func(replicas int, key, value string, wantBroken, wantUnsafe string) {
		t.Helper()
		settings := maps.Clone(safe)
		if key != "" {
			settings[key] = value
		}
		broken, unsafe := judge(settings, replicas)
		if !strings.Contains(strings.Join(broken, ";"), wantBroken) || (wantBroken == "") != (len(broken) == 0) ||
			!strings.Contains(strings.Join(unsafe, ";"), wantUnsafe) || (wantUnsafe == "") != (len(unsafe) == 0) {
			t.Errorf("%s=%s, %d replicas: broken %q unsafe %q", key, value, replicas, broken, unsafe)
		}
	}
	f(3, "", "", "", "")
	f(2, "", "", "", "2 replica(s)")
	f(3, "message.timestamp.type", "CreateTime", "message.timestamp.type", "")
	f(3, "cleanup.policy", "compact", "cleanup.policy", "")
	f(3, "retention.bytes", "1000000", "", "retention.bytes")
	f(3, "min.insync.replicas", "1", "", "min.insync.replicas")
	f(3, "min.insync.replicas", "", "", "min.insync.replicas")
	f(3, "unclean.leader.election.enable", "true", "", "unclean")
}

func TestEnsure(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	cfg := Config{Topic: "events", Partitions: 5, Replication: 3, Retention: time.Hour}
	first, err := Ensure(t.Context(), client, cfg)
	if err != nil || first.Partitions != 5 || len(first.Unsafe) > 0 || first.ID == [16]byte{} {
		t.Fatalf("new topic: %+v %v", first, err)
	}
	cfg.Partitions = 9 // of a topic that would be made; this one is there
	if again, err := Ensure(t.Context(), client, cfg); err != nil || again.ID != first.ID || again.Partitions != 5 {
		t.Errorf("known topic: %+v %v", again, err)
	}
	cfg.Topic, cfg.Replication = "single", 1
	if _, err := Ensure(t.Context(), client, cfg); !errors.Is(err, ErrTopic) || !strings.Contains(err.Error(), "--kafka-unsafe-topic") {
		t.Errorf("one replica: %v", err)
	}
	cfg.UnsafeTopic = true
	if topic, err := Ensure(t.Context(), client, cfg); err != nil || len(topic.Unsafe) == 0 {
		t.Errorf("one replica, as told: %+v %v", topic, err)
	}
}
