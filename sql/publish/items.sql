-- Which items were sold in a window, and what belongs to what?
-- Grain: one row per level and item with a receipt of its own and of its parent, numbered from 0 within the level. parent: number of a product's
-- category or a category's department, null for a department. min_age: legal age in years, 0 if there is none; that of a
-- category or department holds for all of its products.
-- A category of several departments belongs to the first by name. A product that was moved belongs to its newest
-- category with a receipt; its old category keeps its department.
-- Parameters: $dates (list of business dates).
WITH sold AS (
    SELECT DISTINCT
        level,
        item
    FROM restricted.daily_counts
    WHERE
        business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
        AND n_receipts > 0
        AND level <> 'all'
),

entries AS (
    SELECT
        business_date,
        product_id,
        category,
        department,
        COALESCE(min_age, 0) AS min_age
    FROM restricted.catalogue
    WHERE business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
),

-- An item is left out if its parent has no receipt: only returns of other items of the parent explain this.
departments AS (
    SELECT
        entries.department AS item,
        MIN(entries.min_age) AS min_age
    FROM entries
    INNER JOIN sold
        ON
            sold.level = 'department'
            AND entries.department = sold.item
    GROUP BY entries.department
),

categories AS (
    SELECT
        entries.category AS item,
        MIN(entries.department) AS parent,
        MIN(entries.min_age) AS min_age
    FROM entries
    INNER JOIN departments ON entries.department = departments.item
    INNER JOIN sold
        ON
            sold.level = 'category'
            AND entries.category = sold.item
    GROUP BY entries.category
),

products AS (
    SELECT
        entries.product_id AS item,
        ARG_MAX(entries.category, entries.business_date) AS parent,
        ARG_MAX(entries.min_age, entries.business_date) AS min_age
    FROM entries
    INNER JOIN categories ON entries.category = categories.item
    INNER JOIN sold
        ON
            sold.level = 'product'
            AND entries.product_id = sold.item
    GROUP BY entries.product_id
),

items AS (
    SELECT
        'department' AS level,
        NULL AS parent,
        *
    FROM departments
    UNION ALL BY NAME
    SELECT
        'category' AS level,
        *
    FROM categories
    UNION ALL BY NAME
    SELECT
        'product' AS level,
        *
    FROM products
),

numbered AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY level ORDER BY item) - 1 AS number
    FROM items
)

SELECT
    numbered.level,
    numbered.item,
    numbered.number,
    parents.number AS parent,
    numbered.min_age
FROM numbered
LEFT JOIN numbered AS parents
    ON
        parents.item = numbered.parent
        AND parents.level = CASE numbered.level WHEN 'product' THEN 'category' WHEN 'category' THEN 'department' END
ORDER BY numbered.level, numbered.number
