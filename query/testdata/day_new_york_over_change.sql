WITH
    multiIf(minute < {z1:DateTime('UTC')}, {o0:Int32}, {o1:Int32}) AS utc_offset,
    intDiv(toInt64(toUnixTimestamp(minute)) + utc_offset, 86400) AS local_day
SELECT
    local_day AS bucket,
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
-- end = 2026-11-08 05:00:00
-- limit = 1001
-- o0 = -14400
-- o1 = -18000
-- start = 2026-11-01 04:00:00
-- z1 = 2026-11-01 06:00:00
