-- How many receipts of each store contain each product, category and department on one date, and how old are the
-- shoppers?
-- Grain: one row per store and age_year at level 'all' (item ''); one row per store, level and item at the other levels,
-- where age_year is null. Items that no receipt contains have no row.
-- Units: receipts; age_years_sum: sum of age_year over these receipts.
-- Inputs: {baskets} of one date, from nightly/baskets.
SELECT
    store_id,
    level,
    item,
    CASE WHEN level = 'all' THEN age_year END AS age_year,
    COUNT(*) AS n_receipts,
    SUM(age_year) AS age_years_sum
FROM {baskets}
WHERE contains_item
GROUP BY store_id, level, item, CASE WHEN level = 'all' THEN age_year END
