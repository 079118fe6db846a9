package aggregate

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

	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/proto"
)

// Reasons in the rejected topic.
const (
	// reasonPoison is a record that no ingest can have written.
	reasonPoison = "not_an_event"
	// reasonSynthetic is an event with the id of an earlier one and another
	// content.
	reasonSynthetic = "synthetic_duplicate"
)

// Bounds of what waits for Kafka at once; more is dropped and counted.
const (
	maxRejectRecords = 4096
	maxRejectBytes   = 4 << 20
	rejectTimeout    = 30 * time.Second // of a record
	rejectFlush      = 3 * time.Second  // of all of them, at the end
)

// rejects writes records that people should look at to the rejected topic, by a
// producer of its own: what is odd never stands in the way of what counts. It is
// best effort, and after a restart a record may be told again.
type rejects struct {
	client *kgo.Client
	log    zerolog.Logger

	sent, dropped *metrics.Counter
}

func newRejects(topic string, opts []kgo.Opt, log zerolog.Logger, set *metrics.Set) (*rejects, error) {
	all := append(append([]kgo.Opt(nil), opts...),
		kgo.DefaultProduceTopic(kafka.Config{Topic: topic}.RejectedTopic()),
		kgo.MaxBufferedRecords(maxRejectRecords),
		kgo.MaxBufferedBytes(maxRejectBytes),
		kgo.RecordDeliveryTimeout(rejectTimeout),
	)
	client, err := kgo.NewClient(all...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka producer of rejected records: %w", err)
	}
	return &rejects{
		client: client, log: log.Sample(&zerolog.BurstSampler{Burst: 3, Period: 10 * time.Second}),
		sent:    set.NewCounter(`adtally_aggregate_rejected_records_total{outcome="sent"}`),
		dropped: set.NewCounter(`adtally_aggregate_rejected_records_total{outcome="dropped"}`),
	}, nil
}

// rejected is a record of the rejected topic, as ingest writes them too.
type rejected struct {
	Received   time.Time `json:"received"`
	Route      string    `json:"route"`
	Reason     string    `json:"reason"`
	Detail     string    `json:"detail"`
	Advertiser string    `json:"advertiser_id,omitempty"`
	Body       string    `json:"body,omitempty"`
}

// poison tells of a record that is not an event: where it is and what is wrong
// with it, and nothing of what is in it, as nobody vouches for that.
func (j *rejects) poison(r *kgo.Record, err error) {
	j.put(&rejected{
		Received: r.Timestamp.UTC(), Route: "aggregate", Reason: reasonPoison,
		Detail: fmt.Sprintf("partition %d offset %d, %d bytes: %v", r.Partition, r.Offset, len(r.Value), err),
	})
}

// synthetic tells of an event by its known fields, without its user.
func (j *rejects) synthetic(r *kgo.Record) {
	var ev proto.Event
	if err := ev.UnmarshalVT(r.Value); err != nil {
		j.poison(r, err)
		return
	}
	text := func(n uint64) string { return strconv.FormatUint(n, 10) }
	body, err := json.Marshal(map[string]string{
		"type": ev.Type.Name(), "time": time.UnixMicro(ev.TimeUs).UTC().Format(time.RFC3339Nano),
		"event_id": hexID(ev.EventID()), "impression_id": hexID(ev.ImpressionID()),
		"campaign_id": text(ev.CampaignId), "ad_group_id": text(ev.AdGroupId), "creative_id": text(ev.CreativeId),
		"placement_id": text(ev.PlacementId), "publisher_id": text(ev.PublisherId), "country": ev.Country,
		"price_nanos": strconv.FormatInt(ev.PriceNanos, 10), "pricing": ev.Pricing.String(), "currency": ev.Currency,
	})
	if err != nil {
		panic("BUG: an event has no JSON")
	}
	j.put(&rejected{
		Received: r.Timestamp.UTC(), Route: "aggregate", Reason: reasonSynthetic, Advertiser: text(ev.AdvertiserId),
		Detail: fmt.Sprintf("partition %d offset %d: an id came again with another content; the first one counts", r.Partition, r.Offset),
		Body:   string(body),
	})
}

func hexID(id proto.ID) string { return fmt.Sprintf("%016x%016x", id.Hi, id.Lo) }

func (j *rejects) put(r *rejected) {
	value, err := json.Marshal(r)
	if err != nil {
		panic("BUG: a rejected record has no JSON")
	}
	j.client.TryProduce(context.Background(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
		if err == nil {
			j.sent.Inc()
			return
		}
		j.dropped.Inc()
		if !errors.Is(err, kgo.ErrMaxBuffered) {
			j.log.Warn().Err(err).Msg("rejected record not written")
		}
	})
}

// close sends what is left, for a short while only.
func (j *rejects) close() {
	ctx, cancel := context.WithTimeout(context.Background(), rejectFlush)
	defer cancel()
	if err := j.client.Flush(ctx); err != nil {
		j.log.Warn().Err(err).Msg("rejected records were not written before the end")
	}
	j.client.Close()
}
