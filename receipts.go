package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/recount"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ledger"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query"
	"github.com/adtally/adtally/query/closing"
)

// receiptSource is what receipts need beside the ledger.
type receiptSource struct {
	IDKey     string          `help:"File of the key under which event ids are hashed; with it the server answers receipts." type:"path" name:"id-key"`
	Kafka     kafka.Config    `embed:"" prefix:"kafka-"`
	Aggregate aggregate.Rules `embed:"" prefix:"aggregate-"`
}

func (s *receiptSource) open(conn clickhouse.Conn) (*logReceipts, error) {
	r := &logReceipts{rules: s.Aggregate, kafka: s.Kafka, conn: conn}
	key, err := readKey(s.IDKey)
	if err != nil {
		return nil, err
	}
	if len(key) != len(r.idKey) {
		return nil, fmt.Errorf("id key in %s: must be %d hex digits", s.IDKey, 2*len(r.idKey))
	}
	copy(r.idKey[:], key)
	return r, nil
}

// logReceipts are receipts that come from the log and the closes.
type logReceipts struct {
	idKey proto.IDKey
	rules aggregate.Rules
	kafka kafka.Config
	conn  clickhouse.Conn
}

// Find implements query.Receipts.
func (l *logReceipts) Find(ctx context.Context, tenant access.Tenant, id string, since, until time.Time) ([]query.Receipt, error) {
	topic, err := ledger.LastTopic(ctx, l.conn, l.kafka.Topic)
	if err != nil || topic.Lineage == 0 {
		return nil, err
	}
	finder := recount.Receipts{Rules: l.rules.Window(), Topic: topic, Conn: l.conn, Options: kafkaOptions(l.kafka)}
	found, err := finder.Find(ctx, l.idKey.Hash(tenant.Advertiser(), []byte(id)), recount.Stretch{Since: since, Until: until})
	if err != nil {
		return nil, err
	}
	var list []query.Receipt
	for i := range found {
		f := &found[i]
		if f.Event.AdvertiserId != tenant.Advertiser() {
			continue
		}
		one := receiptOf(f)
		if f.To > 0 {
			one.Batch = &query.ReceiptBatch{ID: f.Batch.String(), From: f.From, To: f.To}
			at := time.UnixMicro(f.Event.TimeUs).UTC()
			if one.Books, err = closing.PlaceOf(ctx, l.conn, tenant.Advertiser(), at, topic.ID, topic.Lineage, f.Partition, f.Offset); err != nil {
				return nil, err
			}
		}
		list = append(list, *one)
	}
	return list, nil
}

func receiptOf(f *recount.Receipt) *query.Receipt {
	ev := f.Event
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	one := &query.Receipt{
		Fate: f.Fate, EventType: ev.Type.Name(), Time: time.UnixMicro(ev.TimeUs).UTC(), Arrived: f.LAT, Partition: f.Partition, Offset: f.Offset,
		Flags: proto.Flag(ev.InvalidFlags).String(), Consent: map[proto.Consent]string{
			proto.Consent_CONSENT_UNSPECIFIED: "no signal", proto.Consent_CONSENT_FULL: "full", proto.Consent_CONSENT_NO_IDENTIFIERS: "no identifiers",
		}[ev.Consent],
		Cell: map[string]string{
			"minute": time.UnixMicro(ev.TimeUs).UTC().Truncate(time.Minute).Format(time.RFC3339), "campaign": number(ev.CampaignId), "ad_group": number(ev.AdGroupId),
			"creative": number(ev.CreativeId), "placement": number(ev.PlacementId), "publisher": number(ev.PublisherId), "country": ev.Country,
			"region": ev.Region, "device": ev.Device, "os": ev.Os, "browser": ev.Browser, "variant": ev.Variant, "currency": ev.Currency,
		},
		Spend: proto.FormatNanos(f.Row.SpendNanos),
	}
	if f.Row.Flags != 0 {
		one.Flags = f.Row.Flags.String()
	}
	if f.DuplicateOf >= 0 {
		one.DuplicateOf = &f.DuplicateOf
	}
	for _, v := range ev.Votes {
		one.Lists = append(one.Lists, query.ReceiptVote{Flag: proto.Flag(v.Flag).String(), List: v.List, Version: v.Version})
	}
	return one
}
