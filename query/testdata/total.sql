SELECT
    sumIf(net, event_type = 3) AS m_clicks
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
HAVING sum(gross) > 0
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- end = 2026-11-08 00:00:00
-- limit = 1001
-- start = 2026-11-01 00:00:00
