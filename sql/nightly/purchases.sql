-- What does each receipt of a range of numbers contain?
-- Grain: one row per receipt and product with a usable line.
-- Units: quantity and amount in ten-thousandths, net of returns.
-- Inputs: `receipt_lines`, the usable rows of landing/receipt_lines.
-- Parameters: $first, $last, numbers of receipts.
SELECT
    receipt,
    product,
    -- Whole numbers: a sum of doubles depends on the order of the rows, so a re-run would differ.
    SUM(CAST(ROUND(quantity * 10000) AS BIGINT)) AS quantity,
    SUM(CAST(ROUND(amount * 10000) AS BIGINT)) AS amount
FROM receipt_lines
WHERE receipt BETWEEN $first AND $last
GROUP BY receipt, product
