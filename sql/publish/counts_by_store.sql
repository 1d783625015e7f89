-- How many receipts of each store contain each item of a window, and how old are their shoppers?
-- Input: table items, from publish/items.
-- Grain: one row per store, level and item (its number); at level 'all', where number is null, one per store and year.
-- Units: receipts; store: number from 0, by store_id; age_years_sum: sum of the estimated years of these receipts.
-- Parameters: $dates (list of business dates).
SELECT
    daily_store_counts.level,
    items.number,
    daily_store_counts.age_year,
    DENSE_RANK() OVER (ORDER BY daily_store_counts.store_id) - 1 AS store,
    -- A sum of BIGINT is a HUGEINT, which becomes a slow Arrow decimal.
    CAST(SUM(daily_store_counts.n_receipts) AS BIGINT) AS n_receipts,
    CAST(SUM(daily_store_counts.age_years_sum) AS BIGINT) AS age_years_sum
FROM restricted.daily_store_counts
LEFT JOIN items USING (level, item)
WHERE daily_store_counts.business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
GROUP BY daily_store_counts.level, items.number, daily_store_counts.age_year, daily_store_counts.store_id
ORDER BY daily_store_counts.level, items.number, daily_store_counts.age_year, store
