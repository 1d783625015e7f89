-- Which products moved towards an age band, or away from it, since a week ago?
-- Grain: one row per band and product, at most 50, the surest change first. Only cells published on both
-- dates are compared: a suppressed one could have moved either way.
-- Units: affinity_index: 100 = as all shoppers; index_ratio: now divided by then; z: log of that in standard
-- errors. Among thousands of cells some pass 3 by chance. A window longer than 7 days shares days with its
-- predecessor, which makes z too small.
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
    -- A product on every receipt has no error and no change.
    ROUND(LN(index_ratio) / NULLIF(standard_error, 0), 1) AS z
FROM compared
ORDER BY ABS(z) DESC NULLS LAST, age_band, product_id
LIMIT 50
