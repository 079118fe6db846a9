WITH
    toInt64(local_day) AS day_of_bucket
SELECT
    day_of_bucket AS bucket,
    campaign,
    country,
    sumIf(net, event_type = 3) AS m_clicks,
    sumIf(net, event_type = 1) AS m_impressions,
    sum(spend_nanos) AS m_spend,
    minIf(reinterpretAsUInt64(currency), spend_nanos != 0) AS first_currency,
    maxIf(reinterpretAsUInt64(currency), spend_nanos != 0) AS last_currency
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
GROUP BY bucket, campaign, country WITH TOTALS
HAVING sum(gross) > 0
ORDER BY if(m_impressions = 0, NULL, intDivOrZero(toInt256(m_clicks) * toInt256(1000000000000000000), toInt256(m_impressions))) DESC NULLS LAST, country, m_spend DESC, bucket, campaign
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20765
-- s0_start0 = 20758
