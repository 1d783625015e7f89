-- How many receipts of each estimated year of age contain each product, category and department on one date?
-- Grain: one row per age_year, level and item; level 'all' (item '') counts every receipt of the age.
-- Units: receipts; quantity and amount net of returns, in the units of the lines.
-- Inputs: {baskets} of one date, from nightly/baskets.
SELECT
    age_year,
    level,
    item,
    COUNT_IF(contains_item) AS n_receipts,
    CAST(SUM(quantity) AS DOUBLE) / 10000 AS quantity,
    CAST(SUM(amount) AS DOUBLE) / 10000 AS amount
FROM {baskets}
GROUP BY age_year, level, item
