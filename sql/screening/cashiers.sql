-- Which cashiers have receipts in a window?
-- Grain: one row per store and cashier, in the order of `cashier`, its number from 0. An id that occurs in two stores is
-- two cashiers. `store`: number of the store, from `stores`, the answer of screening/stores.
-- Units: receipts with restricted goods; n_with_photo also has a known check.
-- Parameters: $dates (business dates of the window).
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY counts.store_id, counts.cashier_id) - 1 AS BIGINT) AS cashier,
    stores.store,
    counts.store_id,
    counts.cashier_id,
    stores.n_cashiers,
    COALESCE(SUM(counts.n_receipts) FILTER (WHERE counts.goods != 'unrestricted'), 0)::BIGINT AS n_restricted,
    COALESCE(SUM(counts.n_receipts) FILTER (WHERE counts.age_year IS NOT NULL), 0)::BIGINT AS n_photos,
    COALESCE(SUM(counts.n_receipts - counts.n_check_unknown) FILTER (WHERE counts.age_year IS NOT NULL), 0)::BIGINT
        AS n_with_photo,
    SUM(counts.n_check_unknown)::BIGINT AS n_check_unknown
FROM restricted.cashier_daily_counts AS counts
INNER JOIN stores ON counts.store_id = stores.store_id
WHERE
    counts.business_date IN (SELECT UNNEST($dates))
    AND counts.cashier_id IS NOT NULL
GROUP BY stores.store, counts.store_id, counts.cashier_id, stores.n_cashiers
ORDER BY cashier
