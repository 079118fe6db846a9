package produce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/ops"
)

// Rejected is an event that was not counted, or a body that could not be read.
type Rejected struct {
	Received time.Time
	// Route is the endpoint, as in metrics.
	Route string
	// Reason, Field and Detail are those of the answer.
	Reason, Field, Detail string
	// Advertiser is 0 where it is not known.
	Advertiser uint64
	// KeyID names the key that signed the token, if one did.
	KeyID string
	// Body is what was sent, without what names a person: of an event its known
	// fields, of a beacon its token, of a body that cannot be read its shape.
	Body []byte
}

// Bounds of what waits for Kafka at once; more is dropped and counted.
const (
	maxRejectRecords = 4096
	maxRejectBytes   = 16 << 20
	rejectLinger     = 50 * time.Millisecond
	rejectTimeout    = 30 * time.Second // of a record
	rejectFlush      = 3 * time.Second  // of all of them, at shutdown
)

// Rejects writes what was rejected to a topic, as JSON, through a producer of its
// own: what is rejected never stands in the way of what counts.
type Rejects struct {
	client *kgo.Client
	log    zerolog.Logger

	sent, dropped, failed *metrics.Counter
}

// NewRejects returns a Rejects for a topic, which must exist. The options say where
// the brokers are.
func NewRejects(topic string, log zerolog.Logger, set *metrics.Set, opts ...kgo.Opt) (*Rejects, error) {
	all := append(append([]kgo.Opt(nil), opts...),
		kgo.DefaultProduceTopic(topic),
		kgo.MaxBufferedRecords(maxRejectRecords),
		kgo.MaxBufferedBytes(maxRejectBytes),
		kgo.ProducerLinger(rejectLinger),
		kgo.RecordDeliveryTimeout(rejectTimeout),
	)
	client, err := kgo.NewClient(all...)
	if err != nil {
		return nil, fmt.Errorf("make kafka producer of rejected events: %w", err)
	}
	counter := func(outcome string) *metrics.Counter {
		return set.NewCounter(fmt.Sprintf(`adtally_ingest_rejected_records_total{outcome=%q}`, outcome))
	}
	return &Rejects{
		client: client, log: ops.Sampled(log),
		sent: counter("sent"), dropped: counter("buffer_full"), failed: counter("failed"),
	}, nil
}

// rejectedRecord is a record of the topic.
type rejectedRecord struct {
	Received   time.Time `json:"received"`
	Route      string    `json:"route"`
	Reason     string    `json:"reason"`
	Field      string    `json:"field,omitempty"`
	Detail     string    `json:"detail,omitempty"`
	Advertiser string    `json:"advertiser_id,omitempty"` // as in reports: 64 bits do not fit a JavaScript number
	KeyID      string    `json:"key_id,omitempty"`
	Body       string    `json:"body,omitempty"`
}

// Put takes r, of which it keeps nothing. It never blocks.
func (k *Rejects) Put(r *Rejected) {
	rec := rejectedRecord{
		Received: r.Received.UTC(), Route: r.Route, Reason: r.Reason, Field: r.Field, Detail: r.Detail, KeyID: r.KeyID, Body: string(r.Body),
	}
	if r.Advertiser != 0 {
		rec.Advertiser = strconv.FormatUint(r.Advertiser, 10)
	}
	value, err := json.Marshal(rec)
	if err != nil {
		panic("BUG: a rejected record has no JSON")
	}
	k.client.TryProduce(context.Background(), &kgo.Record{Value: value}, k.settle)
}

func (k *Rejects) settle(_ *kgo.Record, err error) {
	switch {
	case err == nil:
		k.sent.Inc()
	case errors.Is(err, kgo.ErrMaxBuffered):
		k.dropped.Inc()
	default:
		k.failed.Inc()
		k.log.Warn().Err(err).Msg("rejected event could not be written")
	}
}

// Run waits until ctx is done, sends what is still buffered, for a short while
// only, and closes the producer. It must outlive the server.
func (k *Rejects) Run(ctx context.Context) error {
	<-ctx.Done()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), rejectFlush)
	defer cancel()
	if err := k.client.Flush(flush); err != nil {
		// No error of the process: nothing that counts is lost.
		k.log.Warn().Err(err).Int64("records", k.client.BufferedProduceRecords()).Msg("rejected events were not written before the end")
	}
	k.client.Close()
	return nil
}
