SELECT
    sumIf(net, event_type = 1) AS m_impressions,
    sumIf(gross, event_type = 1) AS m_impressions_gross,
    sumIf(duplicate, event_type = 1) AS m_impressions_duplicate,
    sumIf(invalid, event_type = 1) AS m_impressions_invalid,
    sumIf(net, event_type = 2) AS m_viewable,
    sumIf(gross, event_type = 2) AS m_viewable_gross,
    sumIf(duplicate, event_type = 2) AS m_viewable_duplicate,
    sumIf(invalid, event_type = 2) AS m_viewable_invalid,
    sumIf(net, event_type = 3) AS m_clicks,
    sumIf(gross, event_type = 3) AS m_clicks_gross,
    sumIf(duplicate, event_type = 3) AS m_clicks_duplicate,
    sumIf(invalid, event_type = 3) AS m_clicks_invalid,
    sumIf(orphan, event_type = 3) AS m_clicks_orphan,
    sumIf(net, event_type = 4) AS m_conversions,
    sumIf(gross, event_type = 4) AS m_conversions_gross,
    sumIf(duplicate, event_type = 4) AS m_conversions_duplicate,
    sumIf(invalid, event_type = 4) AS m_conversions_invalid,
    sumIf(net, event_type = 5) AS m_video_start,
    sumIf(gross, event_type = 5) AS m_video_start_gross,
    sumIf(duplicate, event_type = 5) AS m_video_start_duplicate,
    sumIf(invalid, event_type = 5) AS m_video_start_invalid,
    sumIf(net, event_type = 6) AS m_video_q1,
    sumIf(gross, event_type = 6) AS m_video_q1_gross,
    sumIf(duplicate, event_type = 6) AS m_video_q1_duplicate,
    sumIf(invalid, event_type = 6) AS m_video_q1_invalid,
    sumIf(net, event_type = 7) AS m_video_mid,
    sumIf(gross, event_type = 7) AS m_video_mid_gross,
    sumIf(duplicate, event_type = 7) AS m_video_mid_duplicate,
    sumIf(invalid, event_type = 7) AS m_video_mid_invalid,
    sumIf(net, event_type = 8) AS m_video_q3,
    sumIf(gross, event_type = 8) AS m_video_q3_gross,
    sumIf(duplicate, event_type = 8) AS m_video_q3_duplicate,
    sumIf(invalid, event_type = 8) AS m_video_q3_invalid,
    sumIf(net, event_type = 9) AS m_video_complete,
    sumIf(gross, event_type = 9) AS m_video_complete_gross,
    sumIf(duplicate, event_type = 9) AS m_video_complete_duplicate,
    sumIf(invalid, event_type = 9) AS m_video_complete_invalid,
    sumIf(net, event_type = 10) AS m_video_skip,
    sumIf(gross, event_type = 10) AS m_video_skip_gross,
    sumIf(duplicate, event_type = 10) AS m_video_skip_duplicate,
    sumIf(invalid, event_type = 10) AS m_video_skip_invalid,
    sumIf(net, event_type = 11) AS m_video_pause,
    sumIf(gross, event_type = 11) AS m_video_pause_gross,
    sumIf(duplicate, event_type = 11) AS m_video_pause_duplicate,
    sumIf(invalid, event_type = 11) AS m_video_pause_invalid,
    sumIf(net, event_type = 12) AS m_video_resume,
    sumIf(gross, event_type = 12) AS m_video_resume_gross,
    sumIf(duplicate, event_type = 12) AS m_video_resume_duplicate,
    sumIf(invalid, event_type = 12) AS m_video_resume_invalid,
    sumIf(net, event_type = 13) AS m_video_mute,
    sumIf(gross, event_type = 13) AS m_video_mute_gross,
    sumIf(duplicate, event_type = 13) AS m_video_mute_duplicate,
    sumIf(invalid, event_type = 13) AS m_video_mute_invalid,
    sumIf(net, event_type = 14) AS m_video_unmute,
    sumIf(gross, event_type = 14) AS m_video_unmute_gross,
    sumIf(duplicate, event_type = 14) AS m_video_unmute_duplicate,
    sumIf(invalid, event_type = 14) AS m_video_unmute_invalid,
    sumIf(net, event_type = 15) AS m_video_fullscreen,
    sumIf(gross, event_type = 15) AS m_video_fullscreen_gross,
    sumIf(duplicate, event_type = 15) AS m_video_fullscreen_duplicate,
    sumIf(invalid, event_type = 15) AS m_video_fullscreen_invalid,
    sum(duplicate) AS m_duplicates,
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
