WITH
    multiIf(quarter < {z1:DateTime('UTC')}, {o0:Int32}, quarter < {z2:DateTime('UTC')}, {o1:Int32}, quarter < {z3:DateTime('UTC')}, {o2:Int32}, quarter < {z4:DateTime('UTC')}, {o3:Int32}, {o4:Int32}) AS utc_offset,
    intDiv(toInt64(toUnixTimestamp(quarter)) + utc_offset, 86400) AS day_of_bucket
SELECT
    toInt64(toStartOfMonth(toDate(day_of_bucket))) AS bucket,
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
-- o0 = 3600
-- o1 = 7200
-- o2 = 3600
-- o3 = 7200
-- o4 = 3600
-- s0_deltas = ['11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa']
-- s0_end0 = 2026-12-30 23:00:00
-- s0_start0 = 2024-12-31 23:00:00
-- z1 = 2025-03-30 01:00:00
-- z2 = 2025-10-26 01:00:00
-- z3 = 2026-03-29 01:00:00
-- z4 = 2026-10-25 01:00:00
