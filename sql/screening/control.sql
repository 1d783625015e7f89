-- How old do the buyers of unrestricted goods look, who have a photo, at the staffed tills of a window?
-- Grain: one row per cashier and block of hours; `cashier`, `store` and `block` as in screening/sales.
-- Units: receipts; sums of min(age, 60) in years, and of its square.
-- Parameters: $dates (business dates of the window), $block_starts (hours, ascending).
SELECT
    cashiers.cashier,
    cashiers.store,
    (LENGTH(LIST_FILTER($block_starts, lambda start: start <= counts.hour)) - 1 + LENGTH($block_starts))
    % LENGTH($block_starts) AS block,
    SUM(counts.n_with_photo)::DOUBLE AS n,
    SUM(CAST(ROUND(counts.age_capped_sum * 10000) AS BIGINT)) / 10000.0 AS age_sum,
    SUM(CAST(ROUND(counts.age_capped_square_sum * 10000) AS BIGINT)) / 10000.0 AS square_sum,
    SUM(counts.n_under_27)::DOUBLE AS n_under_27,
    SUM(counts.n_under_60)::DOUBLE AS n_under_cap
FROM restricted.cashier_daily_counts AS counts
INNER JOIN cashiers
    ON
        counts.store_id = cashiers.store_id
        AND counts.cashier_id = cashiers.cashier_id
WHERE
    counts.business_date IN (SELECT UNNEST($dates))
    AND counts.goods = 'unrestricted'
GROUP BY cashiers.cashier, cashiers.store, block
HAVING n > 0
ORDER BY cashiers.cashier, block
