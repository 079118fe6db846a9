SELECT
    intDiv(toInt64(toUnixTimestamp(quarter)), 900) * 900 AS bucket,
    sumIf(net, event_type = 3) AS m_clicks
FROM rollup_quarter
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND quarter >= {s0_start0:DateTime('UTC')} AND quarter < {s0_end0:DateTime('UTC')}
  AND delta IN {s0_deltas:Array(UUID)}
GROUP BY bucket WITH TOTALS
HAVING sum(gross) > 0
ORDER BY bucket
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa']
-- s0_end0 = 2026-11-07 18:15:00
-- s0_start0 = 2026-10-31 18:15:00
