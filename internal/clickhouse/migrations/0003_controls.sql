-- Control totals of marks: where each record of the span went. Marks from before
-- this migration have version 0 and only the totals of 0001.
ALTER TABLE ledger
    ADD COLUMN IF NOT EXISTS mark_version   UInt8,
    -- records of the span = ticks + poison + gross + change of pending
    ADD COLUMN IF NOT EXISTS mark_records   Int64,
    ADD COLUMN IF NOT EXISTS mark_ticks     Int64,
    ADD COLUMN IF NOT EXISTS mark_poison    Int64,
    ADD COLUMN IF NOT EXISTS mark_duplicate Int64,
    ADD COLUMN IF NOT EXISTS mark_invalid   Int64,
    ADD COLUMN IF NOT EXISTS mark_orphan    Int64,
    -- duplicates whose content differs from the first event
    ADD COLUMN IF NOT EXISTS mark_synthetic Int64,
    -- clicks that wait for their impression after the span
    ADD COLUMN IF NOT EXISTS mark_pending   Int64;

-- Who took and who gave up which partition. An owner whose last row is not a
-- release may still be writing; its successor waits for it.
CREATE TABLE IF NOT EXISTS owners
(
    topic_id        UUID,
    lineage         UInt32,
    kafka_partition Int32,
    owner           UUID,
    consumer_group  String,
    released        Bool,
    at              DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (topic_id, lineage, kafka_partition, at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Unique users. States are idempotent, so they are written at least once and
-- beside the ledger; they can be united, but neither added nor subtracted.
CREATE TABLE IF NOT EXISTS uniques
(
    advertiser  UInt64,
    quarter     DateTime('UTC'),
    campaign    UInt64,
    country     LowCardinality(String),
    device      LowCardinality(String),
    users       AggregateFunction(uniqCombined64, UInt64) DEFAULT arrayReduce('uniqCombined64State', user_hashes),
    user_hashes Array(UInt64) EPHEMERAL
)
ENGINE = AggregatingMergeTree
ORDER BY (advertiser, quarter, campaign, country, device);
