WITH
    {o0:Int32} AS utc_offset
SELECT
    intDiv(toInt64(toUnixTimestamp(minute)) + utc_offset, 3600) * 3600 - utc_offset AS bucket,
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
-- end = 2026-11-07 18:15:00
-- limit = 1001
-- o0 = 2700
-- start = 2026-10-31 18:15:00
