WITH
    multiIf(minute < {z1:DateTime('UTC')}, {o0:Int32}, {o1:Int32}) AS utc_offset,
    intDiv(toInt64(toUnixTimestamp(minute)) + utc_offset, 86400) AS day_of_bucket
SELECT
    day_of_bucket AS bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {s0_start0:DateTime('UTC')} AND minute < {s0_end0:DateTime('UTC')}
  AND (topic_id = {s0_topic0:UUID} AND lineage = {s0_lineage0:UInt32} AND b_end <= {s0_to0:Array(UInt64)}[kafka_partition + 1])
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- o0 = -9000
-- o1 = -12600
-- s0_end0 = 2009-11-05 03:30:00
-- s0_lineage0 = 1
-- s0_start0 = 2009-10-30 02:30:00
-- s0_to0 = [100,101]
-- s0_topic0 = 11111111-1111-4111-8111-111111111111
-- z1 = 2009-11-01 02:31:00
