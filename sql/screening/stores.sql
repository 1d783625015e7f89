-- Which stores sold age-restricted goods or have control receipts in a window, at staffed tills and at self-checkouts?
-- Grain: one row per store, in the order of `store`, its number from 0.
-- Units: receipts; n_* of restricted goods; n_with_photo also has a known check; n_cashiers have such a receipt.
-- Parameters: $dates (business dates of the window).
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY store_id) - 1 AS BIGINT) AS store,
    store_id,
    COUNT(DISTINCT cashier_id) FILTER (WHERE age_year IS NOT NULL AND n_receipts > n_check_unknown) AS n_cashiers,
    COALESCE(SUM(n_receipts) FILTER (WHERE cashier_id IS NOT NULL AND goods != 'unrestricted'), 0)::BIGINT
        AS n_restricted,
    COALESCE(
        SUM(n_receipts - n_check_unknown) FILTER (WHERE cashier_id IS NOT NULL AND age_year IS NOT NULL), 0
    )::BIGINT AS n_with_photo,
    COALESCE(SUM(n_check_unknown) FILTER (WHERE cashier_id IS NOT NULL), 0)::BIGINT AS n_check_unknown,
    COALESCE(SUM(n_receipts) FILTER (WHERE cashier_id IS NULL AND goods != 'unrestricted'), 0)::BIGINT
        AS n_restricted_self,
    COALESCE(SUM(n_receipts - n_check_unknown) FILTER (WHERE cashier_id IS NULL AND age_year IS NOT NULL), 0)::BIGINT
        AS n_with_photo_self,
    COALESCE(SUM(n_check_unknown) FILTER (WHERE cashier_id IS NULL), 0)::BIGINT AS n_check_unknown_self
FROM restricted.cashier_daily_counts
WHERE business_date IN (SELECT UNNEST($dates))
GROUP BY store_id
ORDER BY store
