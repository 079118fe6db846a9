// Command benthos is an HTTP server that Benthos makes of a pipeline: a request
// is an array of events, each event becomes a record of Kafka, and the request
// is answered when all of them are acknowledged.
//
// The public components of Benthos hold no Kafka output, so that is a batch
// output of franz-go with its default settings, which is what the Kafka output
// built on Benthos wraps as well.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

const pipeline = `
input:
  http_server:
    address: %q
    path: /e
    timeout: 5s
pipeline:
  processors:
    - unarchive:
        format: json_array
%s
output:
  franz:
    brokers: [%q]
    topic: %q
logger:
  level: ERROR
`

// check is what a beacon needs before it may be counted: the signature over the
// text of its token, and when and from whom it came.
const check = `
    - mapping: |
        let parts = this.token.split(".")
        let mac = $parts.index(0).hash("hmac_sha256", %q.decode("base64")).slice(0, 16)
        root = if $mac.encode("base64rawurl") != $parts.index(1) { throw("signature") }
        root = this
        root.received = timestamp_unix_micro()
        root.user_agent = metadata("User-Agent")
        root.ip = metadata("http_server_remote_ip")
    - catch:
        - mapping: root = deleted()
`

// inFlight is how many requests may wait for Kafka.
const inFlight = 1024

func main() {
	checks := ""
	switch len(os.Args) {
	case 4:
	case 5:
		checks = fmt.Sprintf(check, os.Args[4])
	default:
		fmt.Fprintln(os.Stderr, "usage: benthos ADDRESS BROKER TOPIC [KEY in base64, to check signatures with]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], checks); err != nil {
		fmt.Fprintln(os.Stderr, "benthos:", err)
		os.Exit(1)
	}
}

func run(addr, broker, topic, checks string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	spec := service.NewConfigSpec().Fields(service.NewStringListField("brokers"), service.NewStringField("topic"))
	env := service.NewEnvironment()
	if err := env.RegisterBatchOutput("franz", spec, newFranz); err != nil {
		return err
	}
	builder := env.NewStreamBuilder()
	if err := builder.SetYAML(fmt.Sprintf(pipeline, addr, checks, broker, topic)); err != nil {
		return err
	}
	stream, err := builder.Build()
	if err != nil {
		return err
	}
	if err := stream.Run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// franz writes batches to Kafka.
type franz struct {
	brokers []string
	topic   string
	client  *kgo.Client
}

func newFranz(conf *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
	brokers, err := conf.FieldStringList("brokers")
	if err != nil {
		return nil, service.BatchPolicy{}, 0, err
	}
	topic, err := conf.FieldString("topic")
	return &franz{brokers: brokers, topic: topic}, service.BatchPolicy{}, inFlight, err
}

// Connect implements service.BatchOutput.
func (f *franz) Connect(context.Context) (err error) {
	f.client, err = kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.DefaultProduceTopic(f.topic))
	return err
}

// WriteBatch implements service.BatchOutput. It returns when all of the batch is
// acknowledged.
func (f *franz) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for i, m := range batch {
		value, err := m.AsBytes()
		if err != nil {
			return err
		}
		records[i] = &kgo.Record{Value: value}
	}
	return f.client.ProduceSync(ctx, records...).FirstErr()
}

// Close implements service.BatchOutput.
func (f *franz) Close(context.Context) error {
	if f.client != nil {
		f.client.Close()
	}
	return nil
}
