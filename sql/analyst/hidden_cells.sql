-- How much is held back because too few receipts stand behind it?
-- Grain: one row per level (product, category, department) and age band. Units: cells; hidden_share of them.
-- Parameters: $window_days, $business_date.
WITH cells AS (
    SELECT
        'product' AS level,
        age_band,
        suppressed_reason
    FROM analytics.age_product_affinity
    WHERE
        business_date = $business_date
        AND window_days = CAST($window_days AS INTEGER)
    UNION ALL
    SELECT
        level,
        age_band,
        suppressed_reason
    FROM analytics.age_category_affinity
    WHERE
        business_date = $business_date
        AND window_days = CAST($window_days AS INTEGER)
)

SELECT
    level,
    age_band,
    COUNT(*) AS n_cells,
    COUNT(*) FILTER (WHERE suppressed_reason <> 'complementary') AS n_too_few,
    COUNT(*) FILTER (WHERE suppressed_reason = 'complementary') AS n_complementary,
    ROUND(COUNT(suppressed_reason) / COUNT(*), 3) AS hidden_share
FROM cells
GROUP BY level, age_band
ORDER BY level, age_band NOT LIKE 'under%', age_band
