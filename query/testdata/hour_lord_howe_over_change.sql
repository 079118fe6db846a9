WITH
    multiIf(minute < {z1:DateTime('UTC')}, {o0:Int32}, {o1:Int32}) AS utc_offset,
    multiIf(minute < {z1:DateTime('UTC')}, 0, toUnixTimestamp({z1:DateTime('UTC')})) AS changed
SELECT
    greatest(intDiv(toInt64(toUnixTimestamp(minute)) + utc_offset, 3600) * 3600 - utc_offset, changed) AS bucket,
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
-- end = 2026-04-09 13:30:00
-- limit = 1001
-- o0 = 0
-- o1 = 1800
-- start = 2026-03-31 13:00:00
-- z1 = 2026-04-04 15:00:00
