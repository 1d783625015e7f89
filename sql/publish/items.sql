-- Which items were sold in a window, and what belongs to what?
-- Grain: one row per level and item with a receipt, numbered from 0 within the level. parent: number of a product's
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

described AS (
    SELECT
        'product' AS level,
        entries.product_id AS item,
        ARG_MAX(entries.category, entries.business_date) AS parent,
        ARG_MAX(entries.min_age, entries.business_date) AS min_age
    FROM entries
    INNER JOIN sold
        ON
            sold.level = 'category'
            AND entries.category = sold.item
    GROUP BY entries.product_id
    UNION ALL
    SELECT
        'category' AS level,
        category AS item,
        MIN(department) AS parent,
        MIN(min_age) AS min_age
    FROM entries
    GROUP BY category
    UNION ALL
    SELECT
        'department' AS level,
        department AS item,
        NULL AS parent,
        MIN(min_age) AS min_age
    FROM entries
    GROUP BY department
),

numbered AS (
    SELECT
        sold.level,
        sold.item,
        described.parent,
        COALESCE(described.min_age, 0) AS min_age,
        ROW_NUMBER() OVER (PARTITION BY sold.level ORDER BY sold.item) - 1 AS number
    FROM sold
    LEFT JOIN described USING (level, item)
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
