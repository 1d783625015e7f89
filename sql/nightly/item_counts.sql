-- How many receipts of a range of numbers contain each product, category and department, by age and by store? Receipts
-- with an age are counted.
-- Grain: one row per level, item and age_year, where store_id is null; one row per level, item and store_id, where
-- age_year is null. A receipt contains an item if its net quantity is above zero; the quantity and amount of the others
-- are summed too.
-- Units: receipts; quantity and amount in ten-thousandths, net of returns; age_years_sum: sum of age_year over the
-- receipts that contain the item.
-- Inputs: `purchases`, the answer of nightly/purchases; `receipts`, of nightly/receipts; `products`, the usable rows of
-- landing/products.
-- Parameters: $first, $last, numbers of receipts.
-- Numbers instead of names, and no column of the receipt beside its number, until the rows are few: 7 s of CPU instead
-- of 16 for ten million lines.
WITH products_numbered AS (
    SELECT
        product AS number,
        DENSE_RANK() OVER (ORDER BY category)::INTEGER AS category_number,
        DENSE_RANK() OVER (ORDER BY department)::INTEGER AS department_number,
        product_id,
        category,
        department
    FROM products
),

items AS (
    SELECT
        'product' AS level,
        number,
        product_id AS item
    FROM products_numbered
    UNION ALL
    SELECT DISTINCT
        'category' AS level,
        category_number AS number,
        category AS item
    FROM products_numbered
    UNION ALL
    SELECT DISTINCT
        'department' AS level,
        department_number AS number,
        department AS item
    FROM products_numbered
),

stores AS (
    SELECT
        store_id,
        DENSE_RANK() OVER (ORDER BY store_id)::INTEGER AS store
    FROM (
        SELECT DISTINCT store_id
        FROM receipts
        WHERE receipt BETWEEN $first AND $last
    )
),

shoppers AS (
    SELECT
        receipts.receipt,
        receipts.age_year::TINYINT AS age_year,
        stores.store
    FROM receipts
    INNER JOIN stores ON receipts.store_id = stores.store_id
    WHERE
        receipts.age_year IS NOT NULL
        AND receipts.receipt BETWEEN $first AND $last
),

categories AS (
    SELECT
        purchases.receipt,
        products_numbered.category_number AS number,
        SUM(purchases.quantity) AS quantity,
        SUM(purchases.amount) AS amount
    FROM purchases
    INNER JOIN products_numbered ON purchases.product = products_numbered.number
    GROUP BY purchases.receipt, products_numbered.category_number
),

departments AS (
    SELECT
        purchases.receipt,
        products_numbered.department_number AS number,
        SUM(purchases.quantity) AS quantity,
        SUM(purchases.amount) AS amount
    FROM purchases
    INNER JOIN products_numbered ON purchases.product = products_numbered.number
    GROUP BY purchases.receipt, products_numbered.department_number
),

baskets AS (
    SELECT
        'product' AS level,
        receipt,
        product AS number,
        quantity,
        amount
    FROM purchases
    UNION ALL
    SELECT
        'category' AS level,
        *
    FROM categories
    UNION ALL
    SELECT
        'department' AS level,
        *
    FROM departments
),

counted AS (
    SELECT
        baskets.level,
        baskets.number,
        shoppers.age_year,
        shoppers.store,
        COUNT(*) FILTER (WHERE baskets.quantity > 0) AS n_receipts,
        SUM(baskets.quantity) AS quantity,
        SUM(baskets.amount) AS amount,
        SUM(shoppers.age_year) FILTER (WHERE baskets.quantity > 0) AS age_years_sum
    FROM baskets
    INNER JOIN shoppers ON baskets.receipt = shoppers.receipt
    GROUP BY
        GROUPING SETS (
            (baskets.level, baskets.number, shoppers.age_year),
            (baskets.level, baskets.number, shoppers.store)
        )
)

SELECT
    counted.level,
    items.item,
    counted.age_year,
    stores.store_id,
    counted.n_receipts,
    counted.quantity,
    counted.amount,
    counted.age_years_sum
FROM counted
INNER JOIN items
    ON
        counted.level = items.level
        AND counted.number = items.number
LEFT JOIN stores ON counted.store = stores.store
