SELECT DISTINCT currency
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
  AND spend_nanos != 0
ORDER BY currency
LIMIT 100

-- parameters
-- advertiser = 7
-- end = 2026-11-08 00:00:00
-- start = 2026-11-01 00:00:00
