package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/kafka"
)

// topic is a log in the broker.
type topic struct {
	name       string
	partitions int32
	records    int64
	want       totals
}

// fill makes a topic with one event per record.
func (l *lab) fill(ctx context.Context, name string, s shape) (topic, error) {
	gen := newTraffic(s, time.Now())
	return l.produce(ctx, name, gen, gen.run)
}

// fillPacked makes a topic whose records hold up to n events, each after its
// length.
func (l *lab) fillPacked(ctx context.Context, name string, s shape, n int) (topic, error) {
	packs := make([][]byte, s.partitions)
	held := make([]int, s.partitions)
	gen := newTraffic(s, time.Now())
	return l.produce(ctx, name, gen, func(send emit) error {
		err := gen.run(func(partition int32, lat int64, value []byte) error {
			packs[partition] = append(binary.AppendUvarint(packs[partition], uint64(len(value))), value...)
			if held[partition]++; held[partition] < n {
				return nil
			}
			err := send(partition, lat, packs[partition])
			packs[partition], held[partition] = packs[partition][:0], 0
			return err
		})
		for partition, pack := range packs {
			if err == nil && len(pack) > 0 {
				err = send(int32(partition), time.Now().UnixMilli(), pack)
			}
		}
		return err
	})
}

// produce makes a topic of what records sends.
func (l *lab) produce(ctx context.Context, name string, gen *traffic, records func(emit) error) (topic, error) {
	t := topic{name: name, partitions: gen.partitions}
	client, err := kgo.NewClient(kgo.SeedBrokers(l.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(name),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return t, err
	}
	defer client.Close()
	cfg := kafka.Config{Topic: name, Partitions: gen.partitions, Spread: spread, Replication: 1, Retention: 168 * time.Hour, UnsafeTopic: true}
	if _, err := kafka.Ensure(ctx, client, cfg); err != nil {
		return t, err
	}
	failed := make(chan error, 1)
	promise := func(_ *kgo.Record, err error) {
		if err == nil {
			return
		}
		select {
		case failed <- err:
		default: // one says enough
		}
	}
	err = records(func(partition int32, lat int64, value []byte) error {
		t.records++
		client.Produce(ctx, &kgo.Record{Partition: partition, Timestamp: time.UnixMilli(lat), Value: append([]byte(nil), value...)}, promise)
		return ctx.Err()
	})
	if err := errors.Join(err, client.Flush(ctx)); err != nil {
		return t, err
	}
	select {
	case err := <-failed:
		return t, err
	default:
	}
	t.want = gen.want
	held, err := measure.Stored(ctx, l.broker, name)
	if err == nil && held != t.records {
		err = fmt.Errorf("%d records were sent, the broker holds %d", t.records, held)
	}
	return t, err
}

// remove deletes topics, for the memory of the broker.
func (l *lab) remove(ctx context.Context, topics ...topic) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.broker))
	if err != nil {
		return err
	}
	defer client.Close()
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.name
	}
	deleted, err := kadm.NewClient(client).DeleteTopics(ctx, names...)
	return errors.Join(err, deleted.Error())
}
