-- Which dates and windows have published category indices?
-- Grain: one row per business date and window. Units: n_cells in published cells.
SELECT
    business_date,
    window_days,
    COUNT(*) AS n_cells
FROM analytics.age_category_affinity
WHERE
    level = 'category'
    AND n_receipts_with_item IS NOT NULL
GROUP BY business_date, window_days
ORDER BY business_date, window_days
