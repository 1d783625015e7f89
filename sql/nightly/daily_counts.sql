-- How many receipts of each estimated year of age contain each product, category and department on one date?
-- Grain: one row per age_year, level and item; level 'all' (item '') counts every receipt of the age.
-- Units: receipts; quantity and amount net of returns, in the units of the lines.
-- Inputs: `item_counts`, the answers of nightly/item_counts for all receipts; `receipts`, that of nightly/receipts.
WITH counts AS (
    SELECT
        age_year,
        level,
        item,
        SUM(n_receipts)::BIGINT AS n_receipts,
        SUM(quantity) AS quantity,
        SUM(amount) AS amount
    FROM item_counts
    WHERE age_year IS NOT NULL
    GROUP BY age_year, level, item
    UNION ALL
    SELECT
        receipts.age_year,
        'all' AS level,
        '' AS item,
        COUNT(*) AS n_receipts,
        ANY_VALUE(totals.quantity) AS quantity,
        ANY_VALUE(totals.amount) AS amount
    FROM receipts
    LEFT JOIN (
        SELECT
            age_year,
            SUM(quantity) AS quantity,
            SUM(amount) AS amount
        FROM item_counts
        WHERE level = 'product'
        GROUP BY age_year
    ) AS totals ON receipts.age_year = totals.age_year
    WHERE receipts.age_year IS NOT NULL
    GROUP BY receipts.age_year
)

SELECT
    age_year,
    level,
    item,
    n_receipts,
    COALESCE(quantity, 0)::DOUBLE / 10000 AS quantity,
    COALESCE(amount, 0)::DOUBLE / 10000 AS amount
FROM counts
