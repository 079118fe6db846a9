package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// lua-resty-kafka speaks Produce up to version 2, which brokers since 4.0 and
// kfake have dropped. legacyBroker understands what it says, counts the
// messages and keeps none of them, so it answers sooner than any broker would.

const (
	topic      = "adtally-events-v1"
	partitions = 8
	// longestRequest of a client that has gone wrong.
	longestRequest = 16 << 20
)

type legacyBroker struct {
	host   string
	port   int32
	stored [partitions]atomic.Int64
}

// serveLegacy is the broker until ctx is done.
func serveLegacy(ctx context.Context, port string) error {
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return err
	}
	b := &legacyBroker{host: "127.0.0.1", port: int32(n)}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(b.host, port))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go b.serve(conn)
	}
}

func (b *legacyBroker) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		frame, err := readFrame(r)
		if err != nil {
			return // the client has gone
		}
		answer, err := b.answer(frame)
		if err != nil {
			fmt.Fprintln(os.Stderr, "legacy broker:", err)
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readFrame reads one request or answer.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > longestRequest {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// answer serves one request: key, version, correlation id, client id, body.
func (b *legacyBroker) answer(frame []byte) ([]byte, error) {
	const fixed = 10
	if len(frame) < fixed {
		return nil, errors.New("request without a header")
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	client := max(0, int(int16(binary.BigEndian.Uint16(frame[8:]))))
	req := kmsg.RequestForKey(key)
	if req == nil || len(frame) < fixed+client {
		return nil, fmt.Errorf("request %d", key)
	}
	req.SetVersion(version)
	if err := req.ReadFrom(frame[fixed+client:]); err != nil {
		return nil, fmt.Errorf("request %s: %w", kmsg.NameForKey(key), err)
	}
	resp := req.ResponseKind()
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		b.versions(resp.(*kmsg.ApiVersionsResponse))
	case *kmsg.MetadataRequest:
		b.metadata(resp.(*kmsg.MetadataResponse))
	case *kmsg.ProduceRequest:
		if err := b.produce(req, resp.(*kmsg.ProduceResponse)); err != nil {
			return nil, err
		}
	case *kmsg.ListOffsetsRequest:
		b.offsets(resp.(*kmsg.ListOffsetsResponse))
	default:
		return nil, fmt.Errorf("request %s is not served", kmsg.NameForKey(key))
	}
	out := append(make([]byte, 4, 256), frame[4:8]...) // length, correlation id
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

func (b *legacyBroker) versions(resp *kmsg.ApiVersionsResponse) {
	for _, k := range []struct{ key, top int16 }{{int16(kmsg.Produce), 2}, {int16(kmsg.ListOffsets), 1}, {int16(kmsg.Metadata), 1}, {int16(kmsg.ApiVersions), 2}} {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.key, MaxVersion: k.top})
	}
}

func (b *legacyBroker) metadata(resp *kmsg.MetadataResponse) {
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: b.host, Port: b.port}}
	name := topic
	t := kmsg.MetadataResponseTopic{Topic: &name}
	for p := range int32(partitions) {
		t.Partitions = append(t.Partitions, kmsg.MetadataResponseTopicPartition{Partition: p, Replicas: []int32{0}, ISR: []int32{0}})
	}
	resp.Topics = []kmsg.MetadataResponseTopic{t}
}

func (b *legacyBroker) produce(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) error {
	for _, t := range req.Topics {
		out := kmsg.ProduceResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			if p.Partition < 0 || p.Partition >= partitions {
				return fmt.Errorf("produce to partition %d of %d", p.Partition, partitions)
			}
			n, err := countMessages(p.Records)
			if err != nil {
				return err
			}
			end := b.stored[p.Partition].Add(n)
			out.Partitions = append(out.Partitions, kmsg.ProduceResponseTopicPartition{Partition: p.Partition, BaseOffset: end - n, LogAppendTime: -1})
		}
		resp.Topics = append(resp.Topics, out)
	}
	return nil
}

func (b *legacyBroker) offsets(resp *kmsg.ListOffsetsResponse) {
	t := kmsg.ListOffsetsResponseTopic{Topic: topic}
	for p := range int32(partitions) {
		t.Partitions = append(t.Partitions, kmsg.ListOffsetsResponseTopicPartition{Partition: p, Offset: b.stored[p].Load()})
	}
	resp.Topics = []kmsg.ListOffsetsResponseTopic{t}
}

// countMessages counts a message set: offset, size, message, and again.
func countMessages(set []byte) (n int64, err error) {
	const header = 12
	for ; len(set) > 0; n++ {
		if len(set) < header {
			return 0, errors.New("message set ends within a header")
		}
		size := binary.BigEndian.Uint32(set[8:])
		if uint64(size) > uint64(len(set)-header) {
			return 0, errors.New("message set ends within a message")
		}
		set = set[header+int(size):]
	}
	return n, nil
}

// legacyStored is the number of messages that a legacyBroker has counted.
func legacyStored(ctx context.Context, broker string) (int64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", broker)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(1)
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)); err != nil {
		return 0, err
	}
	frame, err := readFrame(conn)
	if err != nil {
		return 0, err
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.SetVersion(1)
	if err := resp.ReadFrom(frame[4:]); err != nil {
		return 0, err
	}
	var n int64
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			n += p.Offset
		}
	}
	return n, nil
}
