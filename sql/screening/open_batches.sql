-- Which cashiers have a batch of review cases that is not due for deletion?
-- Grain: one row per cashier.
-- Parameters: $as_of (newest business date).
SELECT DISTINCT
    store_id,
    cashier_id
FROM restricted.cashier_cases
WHERE
    role = 'cashier'
    AND delete_after >= $as_of
ORDER BY store_id, cashier_id
