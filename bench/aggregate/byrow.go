package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/aggregate"
	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/clickhouse"
)

// ledgerRow is a row of the ledger as a struct, for the ways of the client that
// take whole rows. They are used as most programs do: mark columns are left to
// their defaults, and no setting is given.
type ledgerRow struct {
	Advertiser     uint64    `ch:"advertiser"`
	Minute         time.Time `ch:"minute"`
	EventType      uint8     `ch:"event_type"`
	Campaign       uint64    `ch:"campaign"`
	AdGroup        uint64    `ch:"ad_group"`
	Creative       uint64    `ch:"creative"`
	Placement      uint64    `ch:"placement"`
	Publisher      uint64    `ch:"publisher"`
	Country        string    `ch:"country"`
	Region         string    `ch:"region"`
	Device         string    `ch:"device"`
	OS             string    `ch:"os"`
	Browser        string    `ch:"browser"`
	Variant        string    `ch:"variant"`
	Currency       string    `ch:"currency"`
	InvalidFlags   uint32    `ch:"invalid_flags"`
	Gross          int64     `ch:"gross"`
	Net            int64     `ch:"net"`
	Duplicate      int64     `ch:"duplicate"`
	Invalid        int64     `ch:"invalid"`
	Orphan         int64     `ch:"orphan"`
	SpendNanos     int64     `ch:"spend_nanos"`
	TopicID        uuid.UUID `ch:"topic_id"`
	KafkaPartition int32     `ch:"kafka_partition"`
	Start          uint64    `ch:"b_start"`
	End            uint64    `ch:"b_end"`
	BatchID        uuid.UUID `ch:"batch_id"`
	LATDay         time.Time `ch:"lat_day"`
}

const insertRows = `INSERT INTO ledger (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
country, region, device, os, browser, variant, currency, invalid_flags, gross, net, duplicate, invalid, orphan, spend_nanos,
topic_id, kafka_partition, b_start, b_end, batch_id, lat_day)`

// eachRow makes a row of each cell.
func eachRow(b *aggregate.Block, write func(*ledgerRow) error) error {
	span := b.Spans[0]
	day := time.UnixMilli(span.FirstLAT).UTC().Truncate(24 * time.Hour)
	var r window.Row
	for i := range span.Delta.Len() {
		span.Delta.Row(i, &r)
		err := write(&ledgerRow{
			r.Advertiser, time.Unix(r.Minute*60, 0).UTC(), uint8(r.Type), r.Campaign, r.AdGroup, r.Creative, r.Placement, r.Publisher,
			r.Country, r.Region, r.Device, r.OS, r.Browser, r.Variant, r.Currency, uint32(r.Flags),
			r.Gross, r.Net, r.Duplicate, r.Invalid, r.Orphan, r.SpendNanos,
			b.Topic.ID, span.Partition, uint64(span.Start), uint64(span.End), b.ID, day,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func appendStructs(ctx context.Context, conn clickhouse.Conn, b *aggregate.Block) error {
	batch, err := conn.PrepareBatch(ctx, insertRows)
	if err != nil {
		return err
	}
	if err := eachRow(b, func(r *ledgerRow) error { return batch.AppendStruct(r) }); err != nil {
		return errors.Join(err, batch.Abort())
	}
	return batch.Send()
}

func appendRows(ctx context.Context, conn clickhouse.Conn, b *aggregate.Block) error {
	batch, err := conn.PrepareBatch(ctx, insertRows)
	if err != nil {
		return err
	}
	err = eachRow(b, func(r *ledgerRow) error {
		return batch.Append(r.Advertiser, r.Minute, r.EventType, r.Campaign, r.AdGroup, r.Creative, r.Placement, r.Publisher,
			r.Country, r.Region, r.Device, r.OS, r.Browser, r.Variant, r.Currency, r.InvalidFlags,
			r.Gross, r.Net, r.Duplicate, r.Invalid, r.Orphan, r.SpendNanos,
			r.TopicID, r.KafkaPartition, r.Start, r.End, r.BatchID, r.LATDay)
	})
	if err != nil {
		return errors.Join(err, batch.Abort())
	}
	return batch.Send()
}
