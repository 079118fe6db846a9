WITH
    intDiv(toInt64(toUnixTimestamp(minute)), 86400) AS local_day
SELECT
    local_day AS bucket,
    campaign,
    country,
    sumIf(net, event_type = 3) AS m_clicks,
    sumIf(net, event_type = 1) AS m_impressions,
    sum(toInt128(spend_nanos)) AS m_spend,
    minIf(currency, spend_nanos != 0) AS first_currency,
    maxIf(currency, spend_nanos != 0) AS last_currency
FROM ledger
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
GROUP BY bucket, campaign, country WITH TOTALS
HAVING sum(gross) > 0
ORDER BY if(m_impressions = 0, NULL, intDivOrZero(toInt256(m_clicks) * toInt256(1000000000000000000), toInt256(m_impressions))) DESC NULLS LAST, country, m_spend DESC, bucket, campaign
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- end = 2026-11-08 00:00:00
-- limit = 1001
-- start = 2026-11-01 00:00:00
