SELECT
    sumIf(net, event_type = 3) AS m_clicks
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
  AND country IN {f0:Array(String)}
  AND campaign NOT IN {f1:Array(UInt64)}
  AND variant IN {f2:Array(String)}
  AND browser NOT IN {f3:Array(String)}
HAVING sum(gross) > 0
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- f0 = ['US','CA']
-- f1 = [1,2]
-- f2 = ['\x27\x20OR\x201\x3d1\x20--']
-- f3 = ['\x7bx\x3aString\x7d\x5c\x00\xc3\xa9']
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20765
-- s0_start0 = 20758
