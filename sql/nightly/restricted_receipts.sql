-- Which receipts contain age-restricted goods?
-- Grain: one row per receipt with a restricted product whose net quantity is above zero.
-- Inputs: `purchases`, the answer of nightly/purchases; `products`, the usable rows of landing/products.
SELECT
    purchases.receipt,
    BOOL_OR(products.is_alcohol) AS has_alcohol
FROM purchases
INNER JOIN products ON purchases.product = products.product
WHERE
    products.legal_age > 0
    AND purchases.quantity > 0
GROUP BY purchases.receipt
