WITH
    multiIf(quarter < {z1:DateTime('UTC')}, {o0:Int32}, {o1:Int32}) AS utc_offset,
    intDiv(toInt64(toUnixTimestamp(quarter)) + utc_offset, 86400) AS day_of_bucket
SELECT
    day_of_bucket AS bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM rollup_quarter
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND quarter >= {s0_start0:DateTime('UTC')} AND quarter < {s0_end0:DateTime('UTC')}
  AND delta IN {s0_deltas:Array(UUID)}
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- o0 = -14400
-- o1 = -18000
-- s0_deltas = ['11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa']
-- s0_end0 = 2026-11-08 05:00:00
-- s0_start0 = 2026-11-01 04:00:00
-- z1 = 2026-11-01 06:00:00
