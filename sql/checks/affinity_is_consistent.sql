-- Are the figures of each published cell within their bounds and consistent with each other?
-- Grain: one row per published cell with a figure that is missing, out of bounds or inconsistent; `violated` names the
-- figures. Hidden cells are left out.
-- Units: penetration and spend_share are shares, naive_index is 100 x lift, the other indices are whole points.
-- Parameters: $business_date.
WITH cells AS (
    SELECT
        *,
        COALESCE(reason IN ('too_few_receipts_to_correct', 'no_age_errors', 'category_without_receipts'), FALSE) AS is_uncorrected
    FROM analytics.age_affinity
    WHERE
        business_date = $business_date
        AND COALESCE(reason NOT LIKE 'fewer_than_%', TRUE)
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
                WHEN (ABS(naive_index * penetration_all - 100 * penetration) <= 1e-9) IS NOT TRUE
                    THEN 'naive_index'
            END,
            CASE WHEN (ABS(100 * lift - naive_index) <= 1e-9 * naive_index) IS NOT TRUE THEN 'lift' END,
            -- leverage = P(band) (penetration - penetration_all), so it is not larger than that difference.
            CASE
                WHEN (
                    leverage * (penetration - penetration_all) >= -1e-12
                    AND ABS(leverage) <= ABS(penetration - penetration_all) + 1e-12
                ) IS NOT TRUE
                    THEN 'leverage'
            END,
            -- Null if the band spent nothing; below zero or above one if returns exceed purchases.
            CASE
                WHEN (ISFINITE(spend_share) AND (spend_share = 0) = (amount = 0)) IS FALSE
                    THEN 'spend_share'
            END,
            -- Without a correction, the interval is that of the naive index.
            CASE
                WHEN
                    CASE
                        WHEN is_uncorrected THEN affinity_index IS NULL
                        ELSE affinity_index >= 1
                    END IS NOT TRUE
                    THEN 'affinity_index'
            END,
            CASE
                WHEN
                    (
                        index_low >= 1
                        AND COALESCE(affinity_index, GREATEST(1, ROUND(naive_index))) BETWEEN index_low AND index_high
                    ) IS NOT TRUE
                    THEN 'interval'
            END,
            CASE
                WHEN
                    CASE WHEN is_uncorrected THEN q_value IS NULL ELSE q_value BETWEEN 0 AND 1 END IS NOT TRUE
                    THEN 'q_value'
            END,
            CASE
                WHEN
                    is_notable IS DISTINCT FROM
                    COALESCE(q_value <= 0.05 AND (index_low > 100 OR index_high < 100), FALSE)
                    THEN 'is_notable'
            END
        ) AS violated
    FROM cells
)

SELECT *
FROM violations
WHERE violated <> ''
ORDER BY window_days, level, item, age_band
