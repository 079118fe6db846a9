WITH
    multiIf(minute < {z1:DateTime('UTC')}, {o0:Int32}, minute < {z2:DateTime('UTC')}, {o1:Int32}, minute < {z3:DateTime('UTC')}, {o2:Int32}, minute < {z4:DateTime('UTC')}, {o3:Int32}, {o4:Int32}) AS utc_offset,
    intDiv(toInt64(toUnixTimestamp(minute)) + utc_offset, 86400) AS local_day
SELECT
    toInt64(toStartOfMonth(toDate(local_day))) AS bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- end = 2026-12-30 23:00:00
-- limit = 1001
-- o0 = 3600
-- o1 = 7200
-- o2 = 3600
-- o3 = 7200
-- o4 = 3600
-- start = 2024-12-31 23:00:00
-- z1 = 2025-03-30 01:00:00
-- z2 = 2025-10-26 01:00:00
-- z3 = 2026-03-29 01:00:00
-- z4 = 2026-10-25 01:00:00
