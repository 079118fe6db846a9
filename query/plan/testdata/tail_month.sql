SELECT
    bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM (
WITH
    toInt64(local_day) AS day_of_bucket
SELECT toInt64(toStartOfMonth(toDate(day_of_bucket))) AS bucket, gross, net, event_type
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
UNION ALL
WITH
    intDiv(toInt64(toUnixTimestamp(quarter)), 86400) AS day_of_bucket
SELECT toInt64(toStartOfMonth(toDate(day_of_bucket))) AS bucket, gross, net, event_type
FROM rollup_quarter
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND quarter >= {s1_start0:DateTime('UTC')} AND quarter < {s1_end0:DateTime('UTC')}
  AND delta IN {s1_deltas:Array(UUID)}
UNION ALL
WITH
    intDiv(toInt64(toUnixTimestamp(minute)), 86400) AS day_of_bucket
SELECT toInt64(toStartOfMonth(toDate(day_of_bucket))) AS bucket, gross, net, event_type
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {s2_start0:DateTime('UTC')} AND minute < {s2_end0:DateTime('UTC')}
  AND (topic_id = {s2_topic0:UUID} AND lineage = {s2_lineage0:UInt32} AND b_end <= {s2_to0:Array(UInt64)}[kafka_partition + 1] AND b_end > {s2_from0:Array(UInt64)}[kafka_partition + 1])
)
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20818
-- s0_start0 = 20454
-- s1_deltas = ['22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa']
-- s1_end0 = 2026-12-31 00:00:00
-- s1_start0 = 2026-01-01 00:00:00
-- s2_end0 = 2026-12-31 00:00:00
-- s2_from0 = [100,101]
-- s2_lineage0 = 1
-- s2_start0 = 2026-01-01 00:00:00
-- s2_to0 = [200,201]
-- s2_topic0 = 11111111-1111-4111-8111-111111111111
