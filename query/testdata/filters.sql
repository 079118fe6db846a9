SELECT
    sumIf(net, event_type = 3) AS m_clicks
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
  AND country IN {f0:Array(String)}
  AND campaign NOT IN {f1:Array(UInt64)}
  AND variant IN {f2:Array(String)}
  AND browser NOT IN {f3:Array(String)}
HAVING sum(gross) > 0
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- end = 2026-11-08 00:00:00
-- f0 = ['US','CA']
-- f1 = [1,2]
-- f2 = ['\x27\x20OR\x201\x3d1\x20--']
-- f3 = ['\x7bx\x3aString\x7d\x5c\x00\xc3\xa9']
-- limit = 1001
-- start = 2026-11-01 00:00:00
