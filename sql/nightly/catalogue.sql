-- Which products were sold or returned on the date?
-- Grain: one row per product with a usable line.
-- Units: min_age in years, null without a legal age.
-- Inputs: `products`, the usable rows of landing/products; `purchases`, the answer of nightly/purchases.
SELECT
    products.product_id,
    products.product_name,
    products.category,
    products.department,
    products.legal_age AS min_age
FROM products
SEMI JOIN purchases ON products.product = purchases.product
