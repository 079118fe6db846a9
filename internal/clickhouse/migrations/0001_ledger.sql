-- The ledger: what each batch of the topic added to the books, and which batch
-- it was, in one row. One flush is one block in one table partition, which
-- ClickHouse writes wholly or not at all, so the counts and the position of the
-- reader cannot part. Rows are never changed or summed here.
--
-- Each Kafka partition in a batch also writes one mark row (advertiser 0, sorts
-- first): its position, and control totals of its rows. The position of a
-- partition is the end of the contiguous chain of its marks.
CREATE TABLE IF NOT EXISTS ledger
(
    -- what is counted
    advertiser    UInt64,
    minute        DateTime('UTC'),
    event_type    UInt8,
    campaign      UInt64,
    ad_group      UInt64,
    creative      UInt64,
    placement     UInt64,
    publisher     UInt64,
    country       LowCardinality(String),
    region        LowCardinality(String),
    device        LowCardinality(String),
    os            LowCardinality(String),
    browser       LowCardinality(String),
    variant       LowCardinality(String),
    currency      LowCardinality(String),
    invalid_flags UInt32,
    -- how often, and what it costs: gross = net + duplicate + invalid + orphan
    gross         Int64,
    net           Int64,
    duplicate     Int64,
    invalid       Int64,
    orphan        Int64,
    spend_nanos   Int64,
    -- which batch of the topic says so
    topic_id      UUID,
    kafka_partition Int32,
    b_start       UInt64,
    b_end         UInt64,
    batch_id      UUID,
    leader_epoch  Int32,
    lineage       UInt32,
    code_version  UInt32,
    lat_day       Date,
    -- mark rows only: control totals and the broker time reached
    mark_rows     UInt32,
    mark_gross    Int64,
    mark_net      Int64,
    mark_spend_nanos Int64,
    mark_lat      DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY lat_day
ORDER BY (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
          country, region, device, os, browser, variant, currency, invalid_flags,
          kafka_partition, b_start, batch_id)
SETTINGS non_replicated_deduplication_window = 1000, min_bytes_for_wide_part = 33554432,
         fsync_after_insert = 1, fsync_part_directory = 1;

-- A topic generation that the ledger counts. The number of partitions, the
-- spread and the partition rule are part of the data format.
CREATE TABLE IF NOT EXISTS topics
(
    topic      String,
    topic_id   UUID,
    partitions UInt32,
    spread     UInt32,
    scheme     String,
    lineage    UInt32,
    created    DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (topic, lineage);
