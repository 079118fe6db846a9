WITH
    toInt64(local_day) AS day_of_bucket
SELECT
    day_of_bucket AS bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20765
-- s0_start0 = 20758
