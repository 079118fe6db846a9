SELECT
    sumIf(net, event_type = 3) AS m_clicks
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {s0_start0:DateTime('UTC')} AND minute < {s0_end0:DateTime('UTC')}
  AND false
HAVING sum(gross) > 0
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_end0 = 2026-11-08 00:00:00
-- s0_start0 = 2026-11-01 00:00:00
