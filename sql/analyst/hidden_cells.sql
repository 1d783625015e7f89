-- How many cells are suppressed because they have too few receipts?
-- Grain: one row per level (product, category, department) and age band. Units: cells; hidden_share: share of cells.
-- Parameters: $window_days, $business_date.
SELECT
    level,
    age_band,
    COUNT(*) AS n_cells,
    COUNT(*) FILTER (WHERE suppressed_reason <> 'complementary') AS n_too_few,
    COUNT(*) FILTER (WHERE suppressed_reason = 'complementary') AS n_complementary,
    ROUND(COUNT(suppressed_reason) / COUNT(*), 3) AS hidden_share
FROM analytics.age_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
GROUP BY level, age_band, from_years
ORDER BY level, from_years
