-- How many cells are hidden because they have too few receipts, or are not corrected, and how many are notable?
-- Grain: one row per level (product, category, department) and age band.
-- Units: cells. n_uncorrected: published, but without a corrected index; hidden_share: share of all cells.
-- Parameters: $window_days, $business_date.
SELECT
    level,
    age_band,
    COUNT(*) AS n_cells,
    COUNT(*) FILTER (WHERE n_receipts_with_item IS NULL) AS n_hidden,
    COUNT(*) FILTER (WHERE n_receipts_with_item IS NOT NULL AND affinity_index IS NULL) AS n_uncorrected,
    COUNT(*) FILTER (WHERE is_notable) AS n_notable,
    ROUND(n_hidden / n_cells, 3) AS hidden_share
FROM analytics.age_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
GROUP BY level, age_band, from_years
ORDER BY level, from_years
