-- How many restricted sales of a window have a photo and a known check, and on how many was a check recorded?
-- Grain: one row per is_self, cashier, block of hours, goods and age_year. `cashier`: number from `cashiers`, the
-- answer of screening/cashiers; at self-checkouts the number of the store. `store`: number from `stores`, the answer of
-- screening/stores. `block`: 0 is the block that begins at the first of $block_starts; hours before it belong to the
-- last block.
-- Units: receipts; ages in years. p_under_18_sum is scaled to the receipts with a known check. Sums are of integers,
-- because those of doubles depend on the order of the rows.
-- Parameters: $dates (business dates of the window), $block_starts (hours, ascending).
SELECT
    counts.cashier_id IS NULL AS is_self,
    COALESCE(cashiers.cashier, stores.store) AS cashier,
    stores.store,
    (LENGTH(LIST_FILTER($block_starts, lambda start: start <= counts.hour)) - 1 + LENGTH($block_starts))
    % LENGTH($block_starts) AS block,
    counts.goods = 'alcohol' AS is_alcohol,
    counts.age_year,
    SUM(counts.n_receipts - counts.n_check_unknown)::DOUBLE AS n,
    SUM(counts.n_checked)::DOUBLE AS n_checked,
    SUM(
        CAST(
            ROUND(1e6 * counts.p_under_18_sum * (counts.n_receipts - counts.n_check_unknown) / counts.n_receipts)
            AS BIGINT
        )
    ) / 1e6 AS p_under_18_sum
FROM restricted.cashier_daily_counts AS counts
INNER JOIN stores ON counts.store_id = stores.store_id
LEFT JOIN cashiers
    ON
        counts.store_id = cashiers.store_id
        AND counts.cashier_id = cashiers.cashier_id
WHERE
    counts.business_date IN (SELECT UNNEST($dates))
    AND counts.age_year IS NOT NULL
GROUP BY is_self, cashiers.cashier, stores.store, block, is_alcohol, counts.age_year
HAVING n > 0
ORDER BY is_self, stores.store, cashiers.cashier, block, is_alcohol, counts.age_year
