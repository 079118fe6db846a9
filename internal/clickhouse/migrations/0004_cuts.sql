-- When the block of a row began, by the broker's clock: what came after a cut is
-- in few granules of the ledger, and this finds them. Rows of one block have one
-- value, so what a mark says holds for the rows that came with it.
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS block_lat DateTime('UTC') DEFAULT toDateTime(lat_day, 'UTC');

ALTER TABLE ledger ADD INDEX IF NOT EXISTS block_lat_range block_lat TYPE minmax GRANULARITY 1;

-- A cut is a version of the books: a position for every partition. Its one row
-- is its commit. Rollup rows count only through the cover of a cut.
CREATE TABLE IF NOT EXISTS cuts
(
    cut              UInt64,
    attempt          UUID,
    -- the attempt that made the cut before; none for the first
    previous         UUID,
    -- set by the server, so of two attempts at one cut the first one is the cut
    created          DateTime64(6, 'UTC') DEFAULT now64(6),
    -- until when the deltas of the cover are kept, whatever later cuts do
    kept_until       DateTime('UTC'),
    code_version     UInt32,
    complete_through DateTime('UTC'),
    -- the vector: the offsets [first, position) of each partition count; lat is the
    -- broker time reached
    topic_id         Array(UUID),
    lineage          Array(UInt32),
    kafka_partition  Array(Int32),
    first            Array(UInt64),
    position         Array(UInt64),
    lat              Array(DateTime64(3, 'UTC')),
    -- what the cut added: tiles that were seen to join, rows, sums by currency
    tiles            UInt64,
    gaps             UInt32,
    rows             UInt64,
    currency         Array(String),
    gross            Array(Int64),
    net              Array(Int64),
    duplicate        Array(Int64),
    invalid          Array(Int64),
    orphan           Array(Int64),
    spend_nanos      Array(Int128),
    -- the deltas that add up to the whole of the books at this cut, as JSON
    cover            String,
    seconds          Float64
)
ENGINE = MergeTree
ORDER BY cut
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What the ledger holds between two cuts, added up by quarters of an hour. A
-- delta is one table partition, so an old one is dropped without rewriting.
CREATE TABLE IF NOT EXISTS rollup_quarter
(
    delta         UUID,
    advertiser    UInt64,
    quarter       DateTime('UTC'),
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
    gross         Int64,
    net           Int64,
    duplicate     Int64,
    invalid       Int64,
    orphan        Int64,
    spend_nanos   Int128
)
ENGINE = MergeTree
PARTITION BY delta
ORDER BY (advertiser, quarter, event_type, campaign, ad_group, creative, placement, publisher,
          country, region, device, os, browser, variant, currency, invalid_flags)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The same by days, each advertiser's in the time zone that a row of zone_maps
-- gives it. local_day counts days since 1970 on the advertiser's calendar.
CREATE TABLE IF NOT EXISTS rollup_day
(
    delta         UUID,
    advertiser    UInt64,
    local_day     Int32,
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
    gross         Int64,
    net           Int64,
    duplicate     Int64,
    invalid       Int64,
    orphan        Int64,
    spend_nanos   Int128
)
ENGINE = MergeTree
PARTITION BY delta
ORDER BY (advertiser, local_day, event_type, campaign, ad_group, creative, placement, publisher,
          country, region, device, os, browser, variant, currency, invalid_flags)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which zone each advertiser's days were rolled up in, and by which rules; who is
-- not listed was in UTC. A map is named by its content.
CREATE TABLE IF NOT EXISTS zone_maps
(
    map        UUID,
    advertiser Array(UInt64),
    zone       Array(String),
    rules      Array(UInt64)
)
ENGINE = MergeTree
ORDER BY map
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
