-- What does an age band buy more, or less, than a week ago, compared with all shoppers?
-- Grain: one row per band and item whose two 95 % intervals do not overlap, at most 50, the largest change first. Only
-- cells with a corrected index on both dates are compared.
-- Two intervals of the same width that just do not overlap differ by 2.8 standard errors, so about 6 of 1,000 unchanged
-- cells can appear by chance. Windows longer than 7 days overlap: those of 28 days have up to 21 days in common, so
-- they differ less than the two weeks that they do not share, and a change is reported later. A new age model or error
-- kernel between the dates can change indices too (analyst/quality_of_date shows the versions).
-- Units: index_*: 100 = the average of all shoppers; ratio: index_now / index_then.
-- Parameters: $window_days, $business_date.
WITH cells AS (
    SELECT
        business_date,
        age_band,
        'product' AS level,
        product_id AS item,
        product_name AS item_name,
        affinity_index,
        index_low,
        index_high
    FROM analytics.age_product_affinity
    WHERE
        business_date IN (CAST($business_date AS DATE), CAST($business_date AS DATE) - 7)
        AND window_days = CAST($window_days AS INTEGER)
        AND affinity_index IS NOT NULL
    UNION ALL
    SELECT
        business_date,
        age_band,
        level,
        item,
        item AS item_name,
        affinity_index,
        index_low,
        index_high
    FROM analytics.age_category_affinity
    WHERE
        business_date IN (CAST($business_date AS DATE), CAST($business_date AS DATE) - 7)
        AND window_days = CAST($window_days AS INTEGER)
        AND affinity_index IS NOT NULL
)

SELECT
    age_band,
    level,
    item,
    today.item_name,
    week_ago.affinity_index AS index_then,
    week_ago.index_low AS index_then_low,
    week_ago.index_high AS index_then_high,
    today.affinity_index AS index_now,
    today.index_low AS index_now_low,
    today.index_high AS index_now_high,
    ROUND(today.affinity_index / week_ago.affinity_index, 2) AS ratio
FROM cells AS today
INNER JOIN cells AS week_ago USING (age_band, level, item)
WHERE
    today.business_date = $business_date
    AND week_ago.business_date < today.business_date
    AND (today.index_low > week_ago.index_high OR today.index_high < week_ago.index_low)
ORDER BY ABS(LN(today.affinity_index / week_ago.affinity_index)) DESC, age_band, level, item
LIMIT 50
