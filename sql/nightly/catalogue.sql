-- Which products were sold or returned on the date?
-- Grain: one row per product with a usable line.
-- Units: min_age in years, null without a legal age.
-- Inputs: `products` and `receipt_lines`, the usable rows of landing/products and landing/receipt_lines.
SELECT
    products.product_id,
    products.product_name,
    products.category,
    products.department,
    products.legal_age AS min_age
FROM products
SEMI JOIN receipt_lines ON products.product = receipt_lines.product
