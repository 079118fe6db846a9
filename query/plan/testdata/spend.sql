SELECT
    sum(spend_nanos) AS m_spend,
    minIf(reinterpretAsUInt64(currency), spend_nanos != 0) AS first_currency,
    maxIf(reinterpretAsUInt64(currency), spend_nanos != 0) AS last_currency
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
HAVING sum(gross) > 0
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20765
-- s0_start0 = 20758
