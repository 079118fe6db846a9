SELECT
    advertiser,
    campaign,
    ad_group,
    creative,
    placement,
    publisher,
    country,
    region,
    device,
    os,
    browser,
    variant,
    currency,
    arrayStringConcat(arrayMap(flag -> ['crawler', 'non_browser', 'data_centre', 'prefetch', 'expired_token', 'unexpanded_macro', 'future_time', 'click_cap', 'verdict', 'other'][least(flag + 1, 10)], bitPositionsToArray(invalid_flags)), ',') AS invalid_reason,
    sumIf(net, event_type = 3) AS m_clicks
FROM rollup_day
WHERE advertiser = {advertiser:UInt64} AND advertiser > 0
  AND local_day >= {s0_start0:Int32} AND local_day < {s0_end0:Int32}
  AND delta IN {s0_deltas:Array(UUID)}
GROUP BY advertiser, campaign, ad_group, creative, placement, publisher, country, region, device, os, browser, variant, currency, invalid_reason WITH TOTALS
HAVING sum(gross) > 0
ORDER BY advertiser, campaign, ad_group, creative, placement, publisher, country, region, device, os, browser, variant, currency, invalid_reason
LIMIT {limit:UInt64}

-- parameters
-- advertiser = 7
-- limit = 1001
-- s0_deltas = ['11111111-dddd-4ddd-8ddd-dddddddddddd']
-- s0_end0 = 20765
-- s0_start0 = 20758
