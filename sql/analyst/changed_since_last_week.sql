-- Which products does an age band buy more, or less, than a week ago, compared with all shoppers?
-- Grain: one row per band and product, at most 50, the most significant change first. Only cells published on both
-- dates are compared.
-- Units: index_*: 100 = the average of all shoppers; index_ratio: now divided by a week ago; z: log of the ratio in
-- standard errors. Among thousands of cells some exceed 3 by chance. Windows longer than 7 days overlap, which makes z
-- too small.
-- Parameters: $window_days, $business_date.
WITH now AS (
    SELECT *
    FROM analytics.age_product_affinity
    WHERE
        business_date = $business_date
        AND window_days = CAST($window_days AS INTEGER)
        AND suppressed_reason IS NULL
),

week_ago AS (
    SELECT *
    FROM analytics.age_product_affinity
    WHERE
        business_date = CAST($business_date AS DATE) - 7
        AND window_days = CAST($window_days AS INTEGER)
        AND suppressed_reason IS NULL
),

compared AS (
    SELECT
        now.age_band,
        now.product_id,
        now.product_name,
        week_ago.affinity_index AS index_week_ago,
        now.affinity_index AS index_now,
        now.affinity_index / week_ago.affinity_index AS index_ratio,
        SQRT(
            1 / now.n_receipts_with_item - 1 / now.n_receipts
            + 1 / week_ago.n_receipts_with_item - 1 / week_ago.n_receipts
        ) AS standard_error
    FROM now
    INNER JOIN week_ago USING (age_band, product_id)
)

SELECT
    age_band,
    product_id,
    product_name,
    ROUND(index_week_ago) AS index_week_ago,
    ROUND(index_now) AS index_now,
    ROUND(index_ratio, 2) AS index_ratio,
    -- The standard error is 0 for a product that is on every receipt.
    ROUND(LN(index_ratio) / NULLIF(standard_error, 0), 1) AS z
FROM compared
ORDER BY ABS(z) DESC NULLS LAST, age_band, product_id
LIMIT 50
