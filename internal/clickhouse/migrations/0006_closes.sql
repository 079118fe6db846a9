-- A close is a day of a time zone that does not change any more. Closes of all
-- zones are one chain; a row is its own commit. Of two rows for one place in the
-- chain the one that the next row follows counts, or the first.
CREATE TABLE IF NOT EXISTS closes
(
    sequence         UInt64,
    attempt          UUID,
    created          DateTime64(6, 'UTC') DEFAULT now64(6),
    timezone         String,
    day              Date32,
    starts           DateTime('UTC'),
    ends             DateTime('UTC'),
    -- the statement is the rows of the day up to cut; the adjustments are those of
    -- earlier days after previous_cut and up to cut
    cut              UInt64,
    previous_cut     UInt64,
    complete_through DateTime('UTC'),
    lateness_seconds UInt32,
    tiles            UInt64,
    -- advertisers that change their zone with this close, and from which instant
    move_advertiser  Array(UInt64),
    move_timezone    Array(String),
    move_since       Array(DateTime('UTC')),
    code_version     UInt32,
    schema_version   UInt32,
    previous         String,
    hash             String,
    -- the rest of what the hash covers, as JSON: vector, row counts, totals
    body             String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY sequence
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Corrections are a log of their own: rows of the ledger under the topic id below,
-- one batch each. This says why each batch is there.
CREATE TABLE IF NOT EXISTS corrections
(
    number     UInt64,
    batch_id   UUID,
    created    DateTime64(6, 'UTC'),
    kind       LowCardinality(String),
    reason     String,
    author     String,
    reference  String,
    -- names the input, so that the same one is not applied twice
    digest     String,
    summary    String
)
ENGINE = MergeTree
ORDER BY number
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
