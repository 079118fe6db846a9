package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/kafka"
)

// topicPatience is how long a start waits for the brokers before it goes on
// with the topic as it was.
const topicPatience = 5 * time.Second

// remembered is the part of the topic that ingest needs to take events while
// no broker answers. It lies beside the spool, whose entries carry partitions.
type remembered struct {
	Topic      string `json:"topic"`
	Partitions int32  `json:"partitions"`
}

// openTopic returns the topic, and what looks after it from then on. An
// instance that is started while the brokers are away goes on with the topic
// as it was: what it takes lies in the spool until they are back.
func (c *ingestCmd) openTopic(ctx context.Context, log zerolog.Logger) (kafka.Topic, func(context.Context) error, error) {
	idle := func(ctx context.Context) error { <-ctx.Done(); return nil }
	known, err := c.recall()
	if err != nil {
		return kafka.Topic{}, nil, err
	}
	look := func(ctx context.Context) (kafka.Topic, error) {
		t, err := openTopic(ctx, c.Kafka, log)
		if err != nil || t.Name == "" {
			return t, err
		}
		return t, c.remember(known, t)
	}
	if known.Topic == "" {
		t, err := look(ctx)
		return t, idle, err
	}
	patience, cancel := context.WithTimeout(ctx, topicPatience)
	defer cancel()
	t, err := look(patience)
	if err != nil || t.Name != "" || ctx.Err() != nil {
		return t, idle, err
	}
	log.Warn().Str("topic", known.Topic).Int32("partitions", known.Partitions).
		Msg("brokers do not answer; taking events into the spool for the topic as it was")
	check := func(ctx context.Context) error {
		if _, err := look(ctx); err != nil {
			return err
		}
		return idle(ctx)
	}
	return kafka.Topic{Name: known.Topic, Partitions: known.Partitions}, check, nil
}

func (c *ingestCmd) topicFile() string { return filepath.Join(c.Spool.Dir, "topic.json") }

// recall reads what an earlier start has remembered of the topic; nothing
// without a spool, as nothing could be kept then.
func (c *ingestCmd) recall() (known remembered, err error) {
	if c.Spool.Dir == "" {
		return known, nil
	}
	text, err := os.ReadFile(c.topicFile())
	if errors.Is(err, os.ErrNotExist) {
		return known, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil {
		return known, fmt.Errorf("read what is remembered of the topic: %w; with brokers that answer the file may be removed", err)
	}
	if known.Topic != c.Kafka.Topic {
		return remembered{}, nil
	}
	return known, nil
}

// remember writes down what ingest needs of t. Another number of partitions is
// refused: repeats would land on other partitions than their firsts, and what
// lies in the spool belongs to the partitions as they were.
func (c *ingestCmd) remember(known remembered, t kafka.Topic) error {
	now := remembered{Topic: t.Name, Partitions: t.Partitions}
	switch {
	case known.Topic != "" && known != now:
		return fmt.Errorf("topic %s has %d partitions, but events were written to it with %d: make a new topic with a new name, or remove %s if the topic was made anew and the spool is empty",
			t.Name, t.Partitions, known.Partitions, c.topicFile())
	case c.Spool.Dir == "" || known == now:
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encode topic: %w", err)
	}
	if err := os.MkdirAll(c.Spool.Dir, 0o700); err != nil {
		return fmt.Errorf("make spool directory: %w", err)
	}
	return writeFile(c.topicFile(), append(text, '\n'))
}
