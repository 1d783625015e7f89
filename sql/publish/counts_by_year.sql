-- How many receipts of each estimated year of age contain each item of a window?
-- Input: table items, from publish/items.
-- Grain: one row per level, item (its number) and year of age. Units: receipts; age_year in completed years.
-- Parameters: $dates (list of business dates).
SELECT
    items.level,
    items.number,
    daily_counts.age_year,
    -- A sum of BIGINT is a HUGEINT, which becomes a slow Arrow decimal.
    CAST(SUM(daily_counts.n_receipts) AS BIGINT) AS n_receipts
FROM restricted.daily_counts
INNER JOIN items USING (level, item)
WHERE daily_counts.business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
GROUP BY items.level, items.number, daily_counts.age_year
ORDER BY items.level, items.number, daily_counts.age_year
