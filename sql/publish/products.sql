-- Which products were sold in a window?
-- Grain: one row per product with a line in the window, with its newest entry of the catalogue. min_age: legal age in
-- years, 0 if there is none. last_sold: newest date with a line.
-- Parameters: $dates (list of business dates).
SELECT
    product_id,
    ARG_MAX(product_name, business_date) AS product_name,
    ARG_MAX(category, business_date) AS category,
    ARG_MAX(department, business_date) AS department,
    COALESCE(ARG_MAX_NULL(min_age, business_date), 0) AS min_age,
    MAX(business_date) AS last_sold
FROM restricted.catalogue
WHERE business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
GROUP BY product_id
ORDER BY product_id
