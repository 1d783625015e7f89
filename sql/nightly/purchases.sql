-- What does each receipt contain?
-- Grain: one row per receipt and product with a usable line.
-- Units: quantity and amount in ten-thousandths, net of returns.
-- Inputs: `receipt_lines`, the usable rows of landing/receipt_lines.
SELECT
    receipt,
    product,
    -- Whole numbers: a sum of doubles depends on the order of the rows, so a re-run would differ.
    SUM(CAST(ROUND(quantity * 10000) AS BIGINT)) AS quantity,
    SUM(CAST(ROUND(amount * 10000) AS BIGINT)) AS amount
FROM receipt_lines
GROUP BY receipt, product
