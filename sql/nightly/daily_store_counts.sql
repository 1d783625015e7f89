-- How many receipts of each store contain each product, category and department on one date, and how old are the
-- shoppers?
-- Grain: one row per store and age_year at level 'all' (item ''); one row per store, level and item at the other levels,
-- where age_year is null. Items that no receipt contains have no row.
-- Units: receipts; age_years_sum: sum of age_year over these receipts.
-- Inputs: `item_counts`, the answers of nightly/item_counts for all receipts; `receipts`, that of nightly/receipts.
SELECT
    store_id,
    level,
    item,
    NULL::INTEGER AS age_year,
    SUM(n_receipts)::BIGINT AS n_receipts,
    SUM(age_years_sum)::BIGINT AS age_years_sum
FROM item_counts
WHERE
    store_id IS NOT NULL
    AND n_receipts > 0
GROUP BY store_id, level, item
UNION ALL
SELECT
    store_id,
    'all' AS level,
    '' AS item,
    age_year,
    COUNT(*) AS n_receipts,
    SUM(age_year)::BIGINT AS age_years_sum
FROM receipts
WHERE age_year IS NOT NULL
GROUP BY store_id, age_year
