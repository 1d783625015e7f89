-- What does each age band buy, for products, categories and departments in one table?
-- Grain: one row per business date, window, band, level and item; item is the product_id at level product.
-- Units: as in analytics.age_product_affinity and analytics.age_category_affinity.
SELECT
    'product' AS level,
    product_id AS item,
    COLUMNS(* EXCLUDE (product_id, product_name, category, department))
FROM analytics.age_product_affinity
UNION ALL BY NAME
SELECT *
FROM analytics.age_category_affinity
