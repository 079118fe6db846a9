SELECT
    bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM (
SELECT intDiv(toInt64(toUnixTimestamp(quarter)), 3600) * 3600 AS bucket, gross, net, event_type
FROM rollup_quarter
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND quarter >= {s0_start0:DateTime('UTC')} AND quarter < {s0_end0:DateTime('UTC')}
  AND delta IN {s0_deltas:Array(UUID)}
  AND country IN {f0:Array(String)}
UNION ALL
SELECT intDiv(toInt64(toUnixTimestamp(minute)), 3600) * 3600 AS bucket, gross, net, event_type
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {s1_start0:DateTime('UTC')} AND minute < {s1_end0:DateTime('UTC')}
  AND (topic_id = {s1_topic0:UUID} AND lineage = {s1_lineage0:UInt32} AND b_end <= {s1_to0:Array(UInt64)}[kafka_partition + 1] AND b_end > {s1_from0:Array(UInt64)}[kafka_partition + 1])
  AND country IN {f0:Array(String)}
)
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- f0 = ['US']
-- limit = 1001
-- s0_deltas = ['11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa','22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa']
-- s0_end0 = 2026-10-29 23:00:00
-- s0_start0 = 2026-10-19 22:00:00
-- s1_end0 = 2026-10-29 23:00:00
-- s1_from0 = [100,101]
-- s1_lineage0 = 1
-- s1_start0 = 2026-10-19 22:00:00
-- s1_to0 = [200,201]
-- s1_topic0 = 11111111-1111-4111-8111-111111111111
