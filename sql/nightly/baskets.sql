-- What does each receipt with an age contain, at each level?
-- Grain: one row per receipt, level and item with a usable line; level 'all' (item '') has a row for every receipt.
-- Units: age_year in completed years, 100 and over as 100; quantity and amount in ten-thousandths, net of returns.
-- contains_item: the net quantity is above zero. At level 'all' it is true.
-- Inputs: {lines} usable lines, {products} usable products, {receipt_ages} receipts with an age, all of one date.
WITH totals AS (
    SELECT
        receipt_ages.receipt_id,
        receipt_ages.store_id,
        receipt_ages.age_years,
        CASE
            WHEN GROUPING(lines.product_id) = 0 THEN 'product'
            WHEN GROUPING(products.category) = 0 THEN 'category'
            WHEN GROUPING(products.department) = 0 THEN 'department'
            ELSE 'all'
        END AS level,
        COALESCE(lines.product_id, products.category, products.department, '') AS item,
        -- Whole numbers: a sum of doubles depends on the order of the rows, so a re-run would differ. A sum of a
        -- million lines of the largest figure does not fit into 64 bits; this one has 28 digits, and sums of it have 38.
        SUM(CAST(CAST(ROUND(lines.quantity * 10000) AS BIGINT) AS DECIMAL(18, 0))) AS quantity,
        SUM(CAST(CAST(ROUND(lines.amount * 10000) AS BIGINT) AS DECIMAL(18, 0))) AS amount
    FROM {receipt_ages} AS receipt_ages
    LEFT JOIN {lines} AS lines ON receipt_ages.receipt_id = lines.receipt_id
    LEFT JOIN {products} AS products ON lines.product_id = products.product_id
    GROUP BY
        receipt_ages.receipt_id,
        receipt_ages.store_id,
        receipt_ages.age_years,
        GROUPING SETS ((lines.product_id), (products.category), (products.department), ())
)

SELECT
    store_id,
    CAST(LEAST(100, FLOOR(age_years + 0.5)) AS INT) AS age_year,
    level,
    item,
    level = 'all' OR quantity > 0 AS contains_item,
    COALESCE(quantity, 0) AS quantity,
    COALESCE(amount, 0) AS amount
FROM totals
-- A receipt without a usable line has a row of every grouping set; only the one at level 'all' counts.
WHERE level = 'all' OR item != ''
