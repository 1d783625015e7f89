-- Are the figures of each published cell within their bounds and consistent with each other?
-- Grain: one row per published cell with a figure that is missing, out of bounds or inconsistent; `violated` names the
-- figures. Units: penetration and spend_share are shares, affinity_index is 100 x lift.
-- Parameters: $business_date.
WITH cells AS (
    SELECT *
    FROM analytics.age_affinity
    WHERE business_date = $business_date
),

violations AS (
    SELECT
        window_days,
        age_band,
        level,
        item,
        -- IS NOT TRUE reports a null and a NaN too: DuckDB sorts NaN above every number.
        CONCAT_WS(
            ', ',
            CASE WHEN (n_days BETWEEN 1 AND window_days) IS NOT TRUE THEN 'n_days' END,
            CASE
                WHEN (n_receipts_with_item BETWEEN 0 AND n_receipts) IS NOT TRUE
                    THEN 'n_receipts_with_item'
            END,
            CASE
                WHEN (ABS(penetration * n_receipts - n_receipts_with_item) <= 1e-6) IS NOT TRUE
                    THEN 'penetration'
            END,
            CASE
                WHEN (penetration_all > 0 AND penetration_all <= 1) IS NOT TRUE
                    THEN 'penetration_all'
            END,
            CASE
                WHEN (ABS(affinity_index * penetration_all - 100 * penetration) <= 1e-9) IS NOT TRUE
                    THEN 'affinity_index'
            END,
            CASE WHEN (ABS(100 * lift - affinity_index) <= 1e-9 * affinity_index) IS NOT TRUE THEN 'lift' END,
            -- leverage = P(band) (penetration - penetration_all), so it is not larger than that difference.
            CASE
                WHEN (
                    leverage * (penetration - penetration_all) >= -1e-12
                    AND ABS(leverage) <= ABS(penetration - penetration_all) + 1e-12
                ) IS NOT TRUE
                    THEN 'leverage'
            END,
            -- Null if the band spent nothing; below zero or above one if returns exceed purchases.
            CASE WHEN NOT COALESCE(ISFINITE(spend_share), TRUE) THEN 'spend_share' END
        ) AS violated
    FROM cells
    WHERE suppressed_reason IS NULL
)

SELECT *
FROM violations
WHERE violated <> ''
ORDER BY window_days, level, item, age_band
