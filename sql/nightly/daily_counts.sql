-- How many receipts of each age band contain each product, category and department on one date?
-- Grain: one row per band, level and item; level 'all' (item '') counts every receipt of the band.
-- Units: receipts; quantity and amount net of returns, in the units of the lines.
-- Inputs: {lines} usable lines, {products} usable products, {receipt_ages} receipt and band, all of one date.
WITH baskets AS (
    SELECT
        receipt_ages.receipt_id,
        receipt_ages.age_band,
        CASE
            WHEN GROUPING(lines.product_id) = 0 THEN 'product'
            WHEN GROUPING(products.category) = 0 THEN 'category'
            WHEN GROUPING(products.department) = 0 THEN 'department'
            ELSE 'all'
        END AS level,
        COALESCE(lines.product_id, products.category, products.department, '') AS item,
        -- Integers, in ten-thousandths: a sum of doubles depends on the order of the rows, so a re-run would differ.
        SUM(CAST(ROUND(lines.quantity * 10000) AS BIGINT)) AS quantity,
        SUM(CAST(ROUND(lines.amount * 10000) AS BIGINT)) AS amount
    FROM {receipt_ages} AS receipt_ages
    LEFT JOIN {lines} AS lines ON receipt_ages.receipt_id = lines.receipt_id
    LEFT JOIN {products} AS products ON lines.product_id = products.product_id
    GROUP BY
        receipt_ages.receipt_id,
        receipt_ages.age_band,
        GROUPING SETS ((lines.product_id), (products.category), (products.department), ())
)

SELECT
    age_band,
    level,
    item,
    COUNT_IF(level = 'all' OR quantity > 0) AS n_receipts,
    COALESCE(SUM(quantity), 0) / 10000 AS quantity,
    COALESCE(SUM(amount), 0) / 10000 AS amount
FROM baskets
WHERE level = 'all' OR item != ''
GROUP BY age_band, level, item
