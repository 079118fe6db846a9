-- Days of broker time whose rows the ledger keeps no longer. The row here comes
-- first, and readers go by it; the rows of the ledger go some time later, their
-- marks stay. Two rows for one day mean the same.
CREATE TABLE IF NOT EXISTS dropped_days
(
    day     Date,
    -- the last minute that rows of the day are about
    through DateTime('UTC'),
    -- a cut in which all of the day is, and whose deltas are kept
    cut     UInt64,
    created DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY day
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
